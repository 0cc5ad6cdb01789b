"""Taking the steps of a plan. Nothing here looks at a value, so it compiles, exports and differentiates."""

from itertools import pairwise
from typing import Any, NamedTuple

from lrnde_core._explicit import AbstractStages, take_stages
from lrnde_core._local import Leaves
from lrnde_core._plan import Plan


class GuardSignals(NamedTuple):
    """What a guard looks at, of each sample: of shape `(batch,)`, or scalars where the state is one sample.

    - `error_estimate`: the sum over steps of the norm of the method's own estimate, relative to the norm of the final
      state. Dimensionless.
    - `size`: the mean norm of the state over all starts and ends of steps, in its units. An estimate from a few stages
      can miss what happens far from the inputs that it was calibrated on; that they are far, this does not miss.
    """

    error_estimate: Any
    size: Any


class FrozenSolution(NamedTuple):
    """What a plan came to: the state at each of its outputs, and the signals for a guard where they were asked for."""

    states: tuple[Leaves, ...]
    signals: GuardSignals | None


def follow_plan(stages: AbstractStages, plan: Plan, y0: Leaves, *, is_watched: bool) -> FrozenSolution:
    """Take the steps of a plan from `y0`: `plan.num_evaluations` evaluations.

    - `is_watched`: whether to return the signals; one more evaluation where the plan has no guard and its method
      evaluates the field at its new solution.
    """
    tableau, duration = plan.tableau, plan.t1 - plan.t0
    found: dict[float, Leaves] = {0.0: y0}
    y, first = y0, None
    errors: list[Any] = []
    sizes: list[Any] = [_norm(y0, plan)] if is_watched else []
    for start, end in pairwise((0.0, *plan.step_ends)):
        t, h = plan.t0 + start * duration, (end - start) * duration
        inside = plan.outputs_inside(start, end)
        shares_last = tableau.is_last_stage_solution
        needs_last = end < 1 or bool(inside) or is_watched
        num_stages = tableau.num_stages - (shares_last and not needs_last)
        increments, stage_states = take_stages(stages, tableau, t, h, y, first, num_stages)
        y1 = stage_states[-1] if shares_last else stages.combine(y, tableau.b, increments)
        last = increments[-1] if shares_last and needs_last else None
        if inside:
            last = stages.increment(t, h, 1.0, y1) if last is None else last
            outputs = [output for output in plan.outputs if start < output < end]
            for output, fraction in zip(outputs, inside, strict=True):
                found[output] = _interpolate(stages, fraction, y, y1, increments[0], last)
        if is_watched:
            assert tableau.error is not None  # every plan of a guard has one
            errors.append(_norm(_weighted_sum(tableau.error, increments), plan))
            sizes.append(_norm(y1, plan))
        if last is not None and end < 1:
            ratio = _size_of_next(plan, end) / (end - start)
            first = tuple(ratio * leaf for leaf in last)
        else:
            first = None
        y = found[end] = y1
    states = tuple(found[output] for output in plan.outputs)
    if not is_watched:
        return FrozenSolution(states, None)
    return FrozenSolution(
        states, GuardSignals(sum(errors[1:], errors[0]) / sizes[-1], sum(sizes[1:], sizes[0]) / len(sizes))
    )


def is_flagged(plan: Plan, signals: GuardSignals) -> Any:
    """Which samples are beyond the bounds of the guard, or not finite; boolean, of the shape of the signals."""
    assert plan.bounds is not None
    error_bound, size_bound = plan.bounds
    return ~((signals.error_estimate <= error_bound) & (signals.size <= size_bound))


def _size_of_next(plan: Plan, end: float) -> float:
    return plan.step_ends[plan.step_ends.index(end) + 1] - end


def _interpolate(stages: AbstractStages, x: float, y0: Leaves, y1: Leaves, first: Leaves, last: Leaves) -> Leaves:
    """The cubic with the states and derivatives of both ends, at the fraction `x` of the step."""
    rise = tuple(b - a for a, b in zip(y0, y1, strict=True))
    return stages.combine(y0, (x * x * (3 - 2 * x), x * (1 - x) ** 2, x * x * (x - 1)), [rise, first, last])


def _weighted_sum(weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
    pairs = [(weight, leaves) for weight, leaves in zip(weights, increments, strict=True) if weight != 0]
    terms = [tuple(weight * leaf for leaf in leaves) for weight, leaves in pairs]
    return tuple(sum(leaves[1:], leaves[0]) for leaves in zip(*terms, strict=True))


def _norm(leaves: Leaves, plan: Plan) -> Any:
    """The Euclidean norm of each sample over all arrays of the state."""
    rows = (leaf.reshape((leaf.shape[0], -1) if plan.is_batched else (-1,)) for leaf in leaves)
    squares = [(row * row).sum(-1) for row in rows]
    return sum(squares[1:], squares[0]) ** 0.5
