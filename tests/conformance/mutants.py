"""Adapters with one fault each, and for each the check that is there to catch it."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance import CHECKS, Check, ReferenceDriver
from lrnde_conformance._reference import _namespace
from lrnde_conformance._reference._dual import Dual, plain
from lrnde_core import Capabilities, Capability, Draw
from tests.conformance.mutant_adapter import Change, Faults, Mutant, is_caught, subject

_TRUE = ReferenceDriver()


def _replaced(**changes: Any) -> Change:
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


def _error_times(factor: Callable[[Any], Any]) -> Change:
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


def _keep(keep: Callable[[Any, Draw, Any], Any]) -> Change:
    return lambda plan: dataclasses.replace(plan, sampler=_Sampler(plan.sampler, keep))


def _last_bit(states: Any) -> Any:
    last = states[-1]
    moved = np.nextafter(plain(last), np.inf)
    return [*states[:-1], Dual(moved, last.tangent, last.level) if isinstance(last, Dual) else moved]


def _detached(value: Any, *_: Any) -> Any:
    return Dual(plain(value))


def _leaking(record: Any, call: Any) -> Any:
    leak = Dual(0.0 * plain(record.y[0]), getattr(call.y0, "tangent", None))
    return record._replace(y=(record.y[0] + leak,))


def _evaluate_once_more(run: Any, call: Any) -> Any:
    call.field(call.ts[0], call.y0)
    return run


def _weighted_again(value: Any, penalty: Any, recording: Any, _: Any) -> Any:
    drawn = recording.records[0].drawn
    return value * (drawn.duration / drawn.measure) if penalty.sampler.weighting == "paper" else value


def _unmasked(_: Any, penalty: Any, recording: Any, draws: Any) -> Any:
    with np.errstate(all="ignore"):
        return penalty(recording.problem, draws[0], recording.records[0]).cost


def _with_global_noise(value: Any, *_: Any) -> Any:
    return value * (1.0 + 1e-3 * float(np.random.uniform()))


def _widened(value: Any, *_: Any) -> Any:
    return Dual(np.asarray(plain(value), np.float64), value.tangent)


def _declared(**reasons: str) -> Change:
    return lambda true: Capabilities.declare(
        {**dict(true.unsupported), **{Capability[n]: r for n, r in reasons.items()}}
    )


def _supporting(capability: Capability) -> Change:
    return lambda true: Capabilities.declare({c: r for c, r in true.unsupported if c is not capability})


def _by_adjoint(solve: Any, task: Any, **extra: Any) -> Any:
    """A call whose penalty loses its gradient under the second adjoint."""
    pair = _TRUE.call(solve, task, **extra)
    if task.adjoint != "other":
        return pair
    result, report = pair
    return result, report._replace(penalty=_detached(report.penalty))


def _of_a_tree(solve: Any, task: Any, **extra: Any) -> Any:
    """A call that joins states of several arrays, and penalises them a little more."""
    if not isinstance(task.y0, tuple):
        return _TRUE.call(solve, task, **extra)

    def joined(t: Any, y: Any) -> Any:
        return _namespace.concat(task.field(t, (y[:, :1], y[:, 1:])))

    result, report = _TRUE.call(
        solve, dataclasses.replace(task, field=joined, y0=np.concatenate([plain(y) for y in task.y0], 1)), **extra
    )
    return result, report._replace(penalty=1.1 * report.penalty)


_UNFINISHED: list[int] = []
_ACTIVE: list[int] = []
_KEPT: list[Any] = []


def _start() -> None:
    _ACTIVE.append(1)
    time.sleep(0.01)


def _end(run: Any, _: Any) -> Any:
    _ACTIVE.pop()
    return run


def _finish(run: Any, _: Any) -> Any:
    _UNFINISHED.pop()
    return run


def _remember(sampler: Any, draw: Draw, step: Any) -> Any:
    _KEPT.append(np.zeros(200))
    return sampler.keep(draw, step)


_ERROR_FLOOR = _estimate(lambda e, _: e._replace(rounding_factor=0.0))

MUTANTS: tuple[Mutant, ...] = (
    Mutant("random-source-unnamed", "interface.contract", Faults(random_argument=None)),
    Mutant(
        "capability-undeclared",
        "interface.capabilities",
        Faults(capabilities=lambda true: Capabilities(true.supported - {Capability.FLOAT32}, true.unsupported)),
    ),
    Mutant("method-missing", "interface.driver", Faults(methods=lambda all_: tuple(m for m in all_ if m.is_adaptive))),
    Mutant("solver-unclaimed", "interface.claim", Faults(is_claimed=False), "dopri5"),
    Mutant("adapter-with-identity", "interface.value", Faults(is_equal=False)),
    Mutant("sample-not-stacked", "interface.report", Faults(sample=_replaced(t=lambda t: t[0])), "dopri5"),
    Mutant("solution-altered-in-the-last-bit", "identity.solution", Faults(result=_last_bit), "dopri5"),
    Mutant(
        "task-gradient-lost",
        "identity.gradient",
        Faults(result=lambda states: [plain(state) for state in states]),
        "dopri5",
    ),
    Mutant("silence-evaluates", "silence.penalize-false", Faults(silent=_evaluate_once_more), "dopri5"),
    Mutant("silence-penalises", "silence.penalize-false", Faults(zero=lambda zero: zero + 1.0), "dopri5"),
    Mutant("estimate-unscaled", "penalty.oracle", Faults(problem=_replaced(rtol=0.0, atol=1.0)), "dopri5-error"),
    Mutant("h-dropped", "penalty.oracle", Faults(problem=_error_times(lambda h: 1 / abs(h))), "dopri5-error"),
    Mutant("order-wrong", "penalty.oracle", Faults(facts=_replaced(error_order=lambda p: p + 1)), "bosh3-predicted"),
    Mutant(
        "path-resampled",
        "penalty.oracle",
        Faults(problem=_replaced(path=lambda path: path and (lambda t: path(t + 0.1)))),
        "euler_heun-error",
    ),
    Mutant(
        "stability-interval-missing",
        "penalty.oracle",
        Faults(facts=_replaced(stability_interval=1.0)),
        "dopri5-stiffness",
    ),
    Mutant(
        "derivative-halved",
        "penalty.oracle",
        Faults(problem=_replaced(field=lambda f: lambda t, y: 0.5 * f(t, y))),
        "rk4-taylor",
    ),
    Mutant("sum-in-place-of-the-mean", "penalty.mean", Faults(value=lambda value, _, __, draws: value * len(draws))),
    Mutant("weighted-again", "penalty.paper-weight", Faults(value=_weighted_again)),
    Mutant("gradient-detached", "gradient.finite-differences", Faults(value=_detached), "dopri5-error"),
    Mutant(
        "gradient-halved",
        "gradient.finite-differences",
        Faults(value=lambda v, *_: 0.5 * v + 0.5 * _detached(v)),
        "bosh3-taylor",
    ),
    Mutant(
        "gradient-of-the-whole-solve",
        "gradient.local-step",
        Faults(plan=_replaced(keeps_gradient=True)),
        "dopri5-error",
    ),
    Mutant("gradient-leaked-to-y0", "gradient.not-to-y0", Faults(record=_leaking)),
    Mutant("gradient-never-full", "gradient.full", Faults(plan=_replaced(keeps_gradient=False))),
    Mutant(
        "gradient-lost-under-an-adjoint",
        "adjoint.local-gradient",
        Faults(adjoints=("one", "other"), call=_by_adjoint),
        "other",
    ),
    Mutant(
        "error-off-by-a-millionth",
        "agreement.vectors",
        Faults(problem=_error_times(lambda _: 1 + 1e-6)),
        "dopri5-error",
    ),
    Mutant(
        "accepted-steps-off-by-one",
        "time-sampling.tiling",
        Faults(counts=_replaced(num_accepted=lambda n: n + 1)),
        "dopri5",
    ),
    Mutant(
        "last-step-not-drawn",
        "time-sampling.tiling",
        Faults(plan=_keep(lambda s, d, step: s.keep(d, step) and step.elapsed + step.size < 1)),
        "dopri5",
    ),
    Mutant("end-time-sampled", "time-sampling.weight", Faults(plan=_keep(lambda *_: True)), "dopri5"),
    Mutant(
        "weight-wrong",
        "time-sampling.weight",
        Faults(
            record=lambda record, _: record._replace(drawn=record.drawn._replace(measure=0.5 * record.drawn.measure))
        ),
        "bosh3",
    ),
    Mutant(
        "cost-depends-on-the-draw",
        "time-sampling.average",
        Faults(value=lambda v, _, __, draws: v * (1 + draws[0].uniform)),
    ),
    Mutant(
        "bits-wrong",
        "step-sampling.index",
        Faults(check_draw=lambda draw, n: [Draw(float(u), math.floor(float(u) * 2**23)) for u in np.ravel(draw)[:n]]),
    ),
    Mutant("first-step-always", "step-sampling.uniform", Faults(plan=_keep(lambda s, d, step: step.index == 1))),
    Mutant("rounding-floor-missing", "zero-error.constant", Faults(problem=_ERROR_FLOOR), "dopri5-float32"),
    Mutant("error-replaced", "poison.not-a-number", Faults(error=lambda error: RuntimeError(str(error))), "dopri5"),
    Mutant(
        "penalty-without-a-step",
        "poison.no-step",
        Faults(value=lambda value, _, recording, __: value if recording.is_valid else value + 1.0),
        "dopri5",
    ),
    Mutant("overflow-unmasked", "poison.overflow", Faults(value=_unmasked)),
    Mutant(
        "counter-never-reset-after-an-error",
        "poison.recovery",
        Faults(
            before_run=lambda: _UNFINISHED.append(1),
            counts=_replaced(nfe=lambda n: n + len(_UNFINISHED) - 1),
            after_run=_finish,
        ),
    ),
    Mutant("count-off-by-one", "counts.nfe", Faults(counts=_replaced(nfe=lambda n: n + 1)), "bosh3"),
    Mutant("diffusion-not-counted", "counts.nfe", Faults(counts=_replaced(nfe_diffusion=0)), "euler_heun"),
    Mutant(
        "extra-count-wrong",
        "counts.extra",
        Faults(facts=_replaced(evaluations_per_step=lambda n: n + 1)),
        "dopri5-error",
    ),
    Mutant("extra-evaluation", "counts.extra", Faults(after_run=_evaluate_once_more), "dopri5-taylor"),
    Mutant("rejections-hidden", "counts.steps", Faults(counts=_replaced(num_rejected=0)), "dopri5"),
    Mutant("global-generator-advanced", "no-trace.global-state", Faults(before_run=np.random.uniform)),
    Mutant("global-seed-used", "no-trace.global-state", Faults(value=_with_global_noise)),
    Mutant("source-ignored", "no-trace.source", Faults(draw=lambda _, n: np.full(n, 0.5))),
    Mutant("field-left-changed", "no-trace.field-state", Faults(after_run=_evaluate_once_more)),
    Mutant("backward-without-sign", "shape.backward", Faults(record=_replaced(h=abs)), "dopri5"),
    Mutant(
        "state-of-an-output-time",
        "shape.output-times",
        Faults(record=lambda r, call: r._replace(y=(1.01 * r.y[0],)) if len(call.ts) > 3 else r),
    ),
    Mutant(
        "tree-penalised-more",
        "shape.tree",
        Faults(capabilities=_supporting(Capability.TREE_STATE), call=_of_a_tree),
        "error",
    ),
    Mutant("dtype-promoted", "shape.float32", Faults(value=_widened), "error"),
    Mutant(
        "calls-share-a-counter",
        "transform.threads",
        Faults(before_run=_start, counts=_replaced(nfe=lambda n: n + len(_ACTIVE) - 1), after_run=_end),
    ),
    Mutant("collected-report-of-another-call", "transform.collect", Faults(value=_with_global_noise)),
    Mutant(
        "refusal-missing",
        "refusal.capability",
        Faults(capabilities=_declared(REVERSE_TIME="the solver runs forward; negate the time.")),
        "REVERSE_TIME",
    ),
    Mutant("method-refuses-nothing", "refusal.method", Faults(facts=_replaced(unsupported=())), "bosh3-stiffness"),
    Mutant(
        "any-draw-accepted",
        "refusal.draw",
        Faults(check_draw=lambda draw, n: [Draw(abs(float(u)) % 1, 0) for u in np.ravel(draw)[:n]]),
    ),
    Mutant("all-steps-recorded", "memory.independent-of-steps", Faults(plan=_keep(_remember))),
    Mutant("trained-without-gradient", "reduction.adaptive", Faults(value=_detached), "dopri5"),
    Mutant("fixed-steps-trained-without-gradient", "reduction.fixed-step", Faults(value=_detached), "rk4"),
)
"""At least one for each check that can have one."""

WITHOUT_MUTANT = {
    "transform.jit": "numpy compiles nothing; the tests of the diffrax adapter run it",
    "transform.vmap": "numpy vectorises nothing; the tests of the diffrax adapter run it",
}
"""Checks that no mutant of a numpy adapter can fail, with the reason."""


def table(*, with_slow_checks: bool = False) -> dict[str, dict[str, str]]:
    """Mutants against checks: for each mutant the cases on which each check catches it, as the suite would report them.

    Takes a minute or two: every check runs on every mutant. Slow checks run on those that are made for them, at most.
    """
    return {mutant.name: _catches(mutant, with_slow_checks=with_slow_checks) for mutant in MUTANTS}


def _catches(mutant: Mutant, *, with_slow_checks: bool) -> dict[str, str]:
    under_test = subject(mutant)
    caught: dict[str, str] = {}
    for check in CHECKS:
        if check.is_slow and not (with_slow_checks and check.id == mutant.check):
            continue
        cases = _cases(check, under_test)
        failed = [case for case in cases if is_caught(under_test, check, case)]
        if failed:
            caught[check.id] = f"{len(failed)} of {len(cases)}"
    return caught


def _cases(check: Check, under_test: Any) -> list[str]:
    try:
        return list(check.cases(under_test))
    except Exception:  # a mutant may be too broken to have cases
        return [""]
