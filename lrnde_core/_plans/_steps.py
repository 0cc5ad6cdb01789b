"""The loop over a plan's steps. It never looks at a value, so it compiles, exports and differentiates."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lrnde_core._arrays import Array, Flags, Leaves, Signal
from lrnde_core._explicit import AbstractStages, take_stages
from lrnde_core._plans._plan import Plan
from lrnde_core._tableau import ExplicitTableau


class GuardSignals(NamedTuple):
    """The signals of each sample for a guard: of shape `(batch,)`, or scalars if the state is one sample.

    - `error_estimate`: the sum over steps of the norm of the method's own estimate, relative to the norm of the final
      state. Dimensionless.
    - `size`: the mean norm of the state over all starts and ends of steps, in its units. An estimate from a few stages
      can miss what happens far from the inputs that it was calibrated on; the norm still shows that they are far away.
    """

    error_estimate: Signal
    size: Signal


class FrozenSolution(NamedTuple):
    """The result of a plan: the state at each of its outputs, and the signals for a guard if requested."""

    states: tuple[Leaves, ...]
    signals: GuardSignals | None


def follow_plan(stages: AbstractStages, plan: Plan, y0: Leaves, *, is_watched: bool) -> FrozenSolution:
    """Take the steps of a plan from `y0`: `plan.num_evaluations` evaluations.

    - `is_watched`: whether to return the signals. They cost one more evaluation if the plan has no guard and its method
      evaluates the field at its new solution.
    """
    duration, ends = plan.t1 - plan.t0, (0.0, *plan.step_ends)
    found: dict[float, Leaves] = {0.0: y0}
    y, first = y0, None
    errors: list[Signal] = []
    sizes: list[Signal] = [_norm(y0, plan)] if is_watched else []
    for index, (start, end) in enumerate(pairwise(ends)):
        t, h = plan.t0 + start * duration, (end - start) * duration
        inside = [output for output in plan.outputs if start < output < end]
        needs_last = end < 1 or bool(inside) or is_watched
        y1, increments, last = _take_step(stages, plan.tableau, t, h, y, first, needs_last=needs_last)
        if inside:
            last = stages.increment(t, h, 1.0, y1) if last is None else last
            for output in inside:
                found[output] = _interpolate(stages, (output - start) / (end - start), y, y1, increments[0], last)
        if is_watched:
            errors.append(_norm(_estimate(plan.tableau, increments), plan))
            sizes.append(_norm(y1, plan))
        first = None
        if last is not None and end < 1:
            ratio = (ends[index + 2] - end) / (end - start)
            first = tuple(ratio * leaf for leaf in last)
        y = found[end] = y1
    signals = GuardSignals(_sum(errors) / sizes[-1], _sum(sizes) / len(sizes)) if is_watched else None
    return FrozenSolution(tuple(found[output] for output in plan.outputs), signals)


def is_flagged(plan: Plan, signals: GuardSignals) -> Flags:
    """Which samples are beyond the bounds of the guard, or not finite; boolean, of the shape of the signals."""
    assert plan.bounds is not None
    error_bound, size_bound = plan.bounds
    return ~((signals.error_estimate <= error_bound) & (signals.size <= size_bound))


def _take_step(
    stages: AbstractStages,
    tableau: ExplicitTableau,
    t: float,
    h: float,
    y: Leaves,
    first: Leaves | None,
    *,
    needs_last: bool,
) -> tuple[Leaves, list[Leaves], Leaves | None]:
    """The new state, the increments, and the increment at the new state if a stage has it and `needs_last`."""
    if not tableau.is_last_stage_solution:
        increments, _ = take_stages(stages, tableau, t, h, y, first, tableau.num_stages)
        return stages.combine(y, tableau.b, increments), increments, None
    increments, stage_states = take_stages(stages, tableau, t, h, y, first, tableau.num_stages - (not needs_last))
    return stage_states[-1], increments, increments[-1] if needs_last else None


def _interpolate(stages: AbstractStages, x: float, y0: Leaves, y1: Leaves, first: Leaves, last: Leaves) -> Leaves:
    """The cubic through the states and derivatives of both ends, at the fraction `x` of the step."""
    rise = tuple(b - a for a, b in zip(y0, y1, strict=True))
    return stages.combine(y0, (x * x * (3 - 2 * x), x * (1 - x) ** 2, x * x * (x - 1)), [rise, first, last])


def _estimate(tableau: ExplicitTableau, increments: list[Leaves]) -> Leaves:
    """The method's own estimate of the error of a step."""
    assert tableau.error is not None  # every plan with a guard has one
    pairs = [(weight, leaves) for weight, leaves in zip(tableau.error, increments, strict=True) if weight != 0]
    terms = [tuple(weight * leaf for leaf in leaves) for weight, leaves in pairs]
    return tuple(_sum(leaves) for leaves in zip(*terms, strict=True))


def _norm(leaves: Leaves, plan: Plan) -> Signal:
    """The Euclidean norm of each sample over all arrays of the state."""
    # Methods of the arrays: `torch.compile` warns about the cache behind `array_namespace`.
    rows = (leaf.reshape((leaf.shape[0], -1) if plan.is_batched else (-1,)) for leaf in leaves)
    return _sum([(row * row).sum(axis=-1) for row in rows]) ** 0.5


def _sum(terms: Sequence[Array]) -> Array:
    return sum(terms[1:], terms[0])
