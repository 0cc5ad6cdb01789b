"""Faults that an adapter may have: changes of what the reference adapter says and does."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance import ReferenceDriver
from lrnde_conformance._backends import _dual as _namespace
from lrnde_conformance._backends._dual import Dual, plain
from lrnde_conformance._checks._jumps import JUMP
from lrnde_core import Capabilities, Capability, Draw
from tests.conformance.mutant_adapter import Change

_TRUE = ReferenceDriver()


def replaced(**changes: Any) -> Change:
    """Fields of a named tuple or of a frozen value replaced; functions are given the true value."""

    def change(value: Any, *_: Any) -> Any:
        new = {name: c(getattr(value, name)) if callable(c) else c for name, c in changes.items()}
        # A named tuple.
        return value._replace(**new) if hasattr(value, "_replace") else dataclasses.replace(value, **new)

    return change


class _Problem:
    """A local problem whose estimate of a step is changed; it is the true one in all else."""

    def __init__(self, problem: Any, change: Callable[[Any, Any], Any]) -> None:
        self._problem = problem
        self._change = change

    def step(self, t: Any, h: Any, y: Any, **kwargs: Any) -> Any:
        return self._change(self._problem.step(t, h, y, **kwargs), h)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


def _estimate(change: Callable[[Any, Any], Any]) -> Change:
    return lambda problem: _Problem(problem, change)


def error_times(factor: Callable[[Any], Any]) -> Change:
    return _estimate(lambda e, h: e._replace(error=tuple(factor(h) * leaf for leaf in e.error)))


class _Sampler:
    """A sampler that keeps as it likes; it is the true one in all else."""

    def __init__(self, sampler: Any, keep: Callable[[Any, Draw, Any], Any]) -> None:
        self._sampler = sampler
        self._keep = keep

    def keep(self, draw: Draw, step: Any) -> Any:
        return self._keep(self._sampler, draw, step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


def keep_where(keep: Callable[[Any, Draw, Any], Any]) -> Change:
    def change(plan: Any) -> Any:
        sampler: Any = _Sampler(plan.sampler, keep)
        return dataclasses.replace(plan, penalty=dataclasses.replace(plan.penalty, sampler=sampler))

    return change


def last_bit(states: Any) -> Any:
    last = states[-1]
    moved = np.nextafter(plain(last), np.inf)
    return [*states[:-1], Dual(moved, last.tangent, last.level) if isinstance(last, Dual) else moved]


def ended_otherwise(result: Any) -> Any:
    """An event that ends the solve in another state, by the last bit."""
    return (result[0], last_bit(result[1])) if isinstance(result, tuple) else result


def detached(value: Any, *_: Any) -> Any:
    return Dual(plain(value))


def leaking(record: Any, call: Any) -> Any:
    leak = Dual(0.0 * plain(record.y[0]), getattr(call.y0, "tangent", None))
    return record._replace(y=(record.y[0] + leak,))


def evaluate_once_more(run: Any, call: Any) -> Any:
    call.field(call.ts[0], call.y0)
    return run


def backward_as_forward(counts: Any, *_: Any) -> Any:
    return counts._replace(nfe_backward=counts.nfe)


def weighted_again(value: Any, penalty: Any, recording: Any, _: Any) -> Any:
    drawn = recording.records[0].drawn
    return value * (drawn.duration / drawn.measure) if penalty.sampler.weighting == "paper" else value


def unmasked(_: Any, penalty: Any, recording: Any, draws: Any) -> Any:
    with np.errstate(all="ignore"):
        return penalty(recording.problem, draws[0], recording.records[0]).cost


def masked_afterwards(value: Any, penalty: Any, recording: Any, draws: Any) -> Any:
    """The value beside what the gradient of each cost is once it was multiplied by 0."""
    with np.errstate(all="ignore"):
        costs = [penalty(recording.problem, draws[0], record).cost for record in recording.records]
        return value + sum(Dual(0.0 * plain(value), 0.0 * cost.tangent) for cost in costs)


def with_global_noise(value: Any, *_: Any) -> Any:
    return value * (1.0 + 1e-3 * float(np.random.uniform()))


def widened(value: Any, *_: Any) -> Any:
    return Dual(np.asarray(plain(value), np.float64), value.tangent)


def narrowed(value: Any, *_: Any) -> Any:
    return Dual(np.asarray(plain(value), np.float32))


def with_swapped_tolerances(problem: Any) -> Any:
    return dataclasses.replace(problem, rtol=problem.atol, atol=problem.rtol)


def by_swapped_tolerances(solve: Any, task: Any, **extra: Any) -> Any:
    return _TRUE.call(solve, dataclasses.replace(task, rtol=task.atol, atol=task.rtol), **extra)


def from_the_end_of_the_step(record: Any, _: Any) -> Any:
    return record._replace(remaining=record.remaining - record.h)


def declared(**reasons: str) -> Change:
    return lambda true: Capabilities.declare(
        {**dict(true.unsupported), **{Capability[n]: r for n, r in reasons.items()}}
    )


def supporting(capability: Capability) -> Change:
    return lambda true: Capabilities.declare({c: r for c, r in true.unsupported if c is not capability})


def by_adjoint(solve: Any, task: Any, **extra: Any) -> Any:
    """A call whose penalty loses its gradient under the second adjoint."""
    pair = _TRUE.call(solve, task, **extra)
    if task.adjoint != "other":
        return pair
    result, report = pair
    return result, report._replace(penalty=detached(report.penalty))


def of_a_joined_tree(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that joins states of several arrays."""
    if not isinstance(task.y0, tuple):
        return _TRUE.call(solve, task, **extra)

    def joined(t: Any, y: Any) -> Any:
        return _namespace.concat(task.field(t, (y[:, :1], y[:, 1:])))

    return _TRUE.call(solve, dataclasses.replace(task, field=joined, y0=_namespace.concat(task.y0)), **extra)


def of_a_tree(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that joins states of several arrays, and penalises them a little more."""
    pair = of_a_joined_tree(solve, task, **extra)
    if not isinstance(task.y0, tuple):
        return pair
    result, report = pair
    return result, report._replace(penalty=1.1 * report.penalty)


def of_a_narrow_tree(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that joins states of several arrays in the dtype of the first."""
    if isinstance(task.y0, tuple):
        dtype = plain(task.y0[0]).dtype
        task = dataclasses.replace(task, y0=tuple(_namespace.astype(part, dtype) for part in task.y0))
    return of_a_joined_tree(solve, task, **extra)


def of_a_tree_narrow_on_a_plan(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that joins states of several arrays, and whose solution by a plan has the dtype of the first."""
    found = of_a_joined_tree(solve, task, **extra)
    if not extra or not isinstance(task.y0, tuple):
        return found
    states, report = found
    dtype = plain(task.y0[0]).dtype
    return [_namespace.astype(state, dtype) for state in states], report


def gradient_lost_by_adjoint(solve: Any, task: Any, **extra: Any) -> Any:
    """A call whose penalised solution loses its gradient under the second adjoint."""
    pair = _TRUE.call(solve, task, **extra)
    if task.adjoint != "other" or not extra:
        return pair
    states, report = pair
    return [plain(state) for state in states], report


def with_first_times(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that takes the output times of the first call with the same field."""
    ts = _FIRST_TIMES.setdefault(task.field, task.ts)
    return _TRUE.call(solve, dataclasses.replace(task, ts=ts) if extra else task, **extra)


def differentiated_once(solve: Any, task: Any, **extra: Any) -> Any:
    """A call whose penalty has a gradient only if it is the first with this field."""
    pair = _TRUE.call(solve, task, **extra)
    if not extra:
        return pair
    result, report = pair
    if task.field in _DIFFERENTIATED:
        report = report._replace(penalty=detached(report.penalty))
    _DIFFERENTIATED.add(task.field)
    return result, report


def without_gradient_of_partials(solve: Any, task: Any, **extra: Any) -> Any:
    """A call whose penalty has a gradient only where the field is a function."""
    pair = _TRUE.call(solve, task, **extra)
    if not (isinstance(task.field, functools.partial) and isinstance(pair, tuple)):
        return pair
    result, report = pair
    return result, report._replace(penalty=detached(report.penalty))


def row_by_row(solve: Any, task: Any, *, is_first_alone: bool = False, **extra: Any) -> Any:
    """A call that solves for each state of a batch alone, so that each takes its own steps.

    `is_first_alone`: whether the penalty is that of the first state.
    """
    rows = [dataclasses.replace(task, y0=task.y0[place : place + 1]) for place in range(len(plain(task.y0)))]
    done = [_TRUE.call(solve, row, **extra) for row in rows]
    if not extra:
        return _joined(done)
    reports = [report for _, report in done]
    penalty = reports[0].penalty if is_first_alone else sum(each.penalty for each in reports) * (1 / len(rows))
    counts = {
        name: np.array([getattr(each, name) for each in reports])
        for name in ("num_steps", "num_accepted", "num_rejected")
    }
    sample = reports[0].sample
    if sample is not None:
        columns = zip(*(each.sample for each in reports), strict=True)
        sample = type(sample)(*(None if column[0] is None else np.stack(column, 1) for column in columns))
    return _joined([states for states, _ in done]), reports[0]._replace(penalty=penalty, sample=sample, **counts)


def _joined(rows: list[Any]) -> list[Any]:
    """States of the rows of a batch, with their derivatives."""

    def join(parts: list[Any]) -> Any:
        duals = [part if isinstance(part, Dual) else Dual(part) for part in parts]
        values = np.concatenate([dual.value for dual in duals])
        tangents = [dual.tangent for dual in duals]
        return Dual(values, None if tangents[0] is None else np.concatenate(tangents, axis=1))

    return [join(list(parts)) for parts in zip(*rows, strict=True)]


def without_event_clipping(record: Any, _: Any) -> Any:
    return record if record.drawn.is_end_known else record._replace(h=record.drawn.measure)


def weighted_by_clipped_sizes(record: Any, _: Any) -> Any:
    return record if record.drawn.is_end_known else record._replace(drawn=record.drawn._replace(measure=abs(record.h)))


def one_step_late(run: Any, call: Any) -> Any:
    """Counts of a solve that an event ends, with the evaluations that found it."""
    is_ended = call.settings.get("event") is not None
    return run._replace(counts=run.counts._replace(nfe=run.counts.nfe + 2)) if is_ended else run


def state_of_the_end(record: Any, _: Any) -> Any:
    return record if record.drawn.is_end_known else record._replace(y=(1.001 * record.y[0],))


def onto_the_jump(t: float) -> float:
    return JUMP if abs(t - JUMP) < 1e-12 else t


class Scaled:
    """A path, scaled."""

    def __init__(self, path: Any, factor: float) -> None:
        self._path = path
        self._factor = factor

    def __call__(self, t: Any) -> Any:
        return self._factor * self._path(t)


def fresh_path(change: Callable[[Any], Any]) -> Change:
    return lambda record, _: record if record.carry is None else record._replace(carry=change(record.carry))


def first_sample_alone(_: Any, penalty: Any, recording: Any, draws: Any) -> Any:
    return penalty(recording.problem, draws[0], recording.records[0]).cost


def elsewhere(_: Any, penalty: Any, recording: Any, draws: Any) -> Any:
    """The penalty with another hash of the draws, once the steps are chosen."""
    pairs = zip(draws, recording.records, strict=True)
    terms = [penalty(recording.problem, Draw(draw.uniform, draw.bits ^ 1), record) for draw, record in pairs]
    return sum(term.cost for term in terms) * (1 / len(terms))


def without_first_step(run: Any, _: Any) -> Any:
    """Every step but the first, where all are kept."""
    return run._replace(recording=run.recording._replace(records=run.recording.records[1:] or run.recording.records))


class EqualWeights:
    """A local problem whose quadrature rule weights all stages alike."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem

    def nodes(self, t: Any, h: Any, y: Any, *, carry: Any) -> Any:
        nodes = self._problem.nodes(t, h, y, carry=carry)
        return tuple(node._replace(weight=1 / len(nodes)) for node in nodes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


class NormOverRows:
    """A local problem whose norm takes an array for the leaves of a state."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem

    def norm(self, leaves: Any) -> Any:
        (leaf,) = leaves
        return self._problem.norm(tuple(leaf[place : place + 1] for place in range(len(plain(leaf)))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


class FreshFirstStage:
    """A local problem that evaluates the first stage of its steps whatever it is given."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem

    def step(self, t: Any, h: Any, y: Any, *, first_stage: Any, carry: Any) -> Any:
        del first_stage
        return self._problem.step(t, h, y, first_stage=None, carry=carry)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


class WithoutDirections:
    """A local problem in which a value of another shape than the state's has no derivative along the solution."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem

    def vector_field(self, t: Any, y: Any) -> Any:
        return (self._problem.field(t, y[0]),)

    def jvp(self, function: Any, t: Any, y: Any, dt: Any, dy: Any) -> Any:
        if dy[0].shape != y[0].shape:
            return (0.0 * dy[0],)
        return self._problem.jvp(function, t, y, dt, dy)

    def total_derivative(self, *args: Any) -> Any:
        return type(self._problem).total_derivative(self, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


def poisoned_by_members_at_rest(value: Any, _: Any, recording: Any, __: Any) -> Any:
    """The penalty; if a member of the batch is 0, with a norm that is differentiated there."""
    state = plain(recording.records[0].y[0])
    return value + 0.0 * _namespace.sqrt(0.0 * value) if np.any(np.all(state == 0, axis=-1)) else value


class WithoutCopies:
    """A local problem that gives the field the recorded state itself."""

    def __init__(self, problem: Any) -> None:
        self._problem = problem

    def copy(self, leaves: Any) -> Any:
        return leaves

    def total_derivative(self, *args: Any) -> Any:
        return type(self._problem).total_derivative(self, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


UNFINISHED: list[int] = []
ACTIVE: list[int] = []
_KEPT: list[Any] = []
_FIRST_TIMES: dict[Any, Any] = {}
_DIFFERENTIATED: set[Any] = set()


def start_slowly() -> None:
    ACTIVE.append(1)
    time.sleep(0.01)


def end_call(run: Any, _: Any) -> Any:
    ACTIVE.pop()
    return run


def finish_call(run: Any, _: Any) -> Any:
    UNFINISHED.pop()
    return run


def refused_in_other_words(run: Any, _: Any) -> Any:
    del run
    raise TypeError("The recorder takes no integers.")


def remember_every_step(sampler: Any, draw: Draw, step: Any) -> Any:
    _KEPT.append(np.zeros(200))
    return sampler.keep(draw, step)


NO_ERROR_FLOOR = _estimate(lambda e, _: e._replace(rounding_factor=0.0))
