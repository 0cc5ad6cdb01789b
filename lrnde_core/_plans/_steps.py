"""The loop over fixed steps. It never looks at a value, so it compiles, exports and differentiates."""

import functools
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

from lrnde_core._arrays import Array, Flags, Leaf, Leaves, OfOutputs, Real, Signal, Time, matching
from lrnde_core._explicit import AbstractStages, read_solution, take_stages
from lrnde_core._plans._of_steps import AbstractOfSteps, Unrolled
from lrnde_core._plans._plan import FixedSteps, Plan, is_longer
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


class StepTaken(NamedTuple):
    """One step as it was taken.

    - `t`, `h`: its start and signed size. `y`, `y1`: the states at its start and end.
    - `increments`: h k for each stage k that was evaluated, that at the start first. `stage_states`: the states of the
      stages that these reach. `last`: h f at the end; `None` if it was not evaluated.
    """

    t: Time
    h: Time
    y: Leaves
    y1: Leaves
    increments: list[Leaves]
    stage_states: list[Leaves]
    last: Leaves | None

    def inside(self, fraction: Real) -> Leaves:
        """The state at a fraction of the step, by the cubic through the states and derivatives of both ends.

        - `fraction`: a number, or one for each member of a batch.
        """
        assert self.last is not None  # asked for
        ends = zip(self.y, self.y1, self.increments[0], self.last, strict=True)
        return tuple(_hermite(_beside(fraction, each[0]), *each) for each in ends)

    def each(self, function: Callable[..., Leaves], *others: "StepTaken") -> "StepTaken":
        """The same step with `function` of each of its states and increments, beside those of `others`."""
        steps = (self, *others)
        lasts = [step.last for step in steps]
        return self._replace(
            y=function(*(step.y for step in steps)),
            y1=function(*(step.y1 for step in steps)),
            increments=[function(*each) for each in zip(*(step.increments for step in steps), strict=True)],
            stage_states=[function(*each) for each in zip(*(step.stage_states for step in steps), strict=True)],
            last=None if None in lasts else function(*lasts),
        )


def follow_steps(
    stages: AbstractStages, steps: FixedSteps, t0: Time, t1: Time, y0: Leaves, *, needs_last: bool = False
) -> AbstractOfSteps[StepTaken]:
    """Take fixed steps from `y0` over the interval from `t0` to `t1`, whose values nobody needs to know.

    - `needs_last`: whether the field is also evaluated at the very end. Outputs inside the last step need it, and the
      signals of a method that ends with that evaluation.
    """
    duration, tableau = t1 - t0, steps.tableau
    taken: list[StepTaken] = []
    y, first, before = y0, None, 0.0
    for index, end in enumerate(steps.ends):
        t, h = t0 + before * duration, (end - before) * duration
        is_end = index == steps.num_steps - 1
        step = take_step(stages, tableau, t, h, y, first, needs_last=needs_last or not is_end)
        if step.last is not None and not is_end:
            first = _scaled(step.last, (steps.ends[index + 1] - end) / (end - before))
        taken.append(step)
        y, before = step.y1, end
    return Unrolled(taken)


def take_step(
    stages: AbstractStages,
    tableau: ExplicitTableau,
    t: Time,
    h: Time,
    y: Leaves,
    first: Leaves | None,
    *,
    needs_last: bool,
) -> StepTaken:
    """Take one fixed step.

    - `first`: h f at its start, if it is known. `needs_last`: whether to evaluate it at the end.
    """
    num_evaluated = tableau.num_stages if needs_last else tableau.evaluations_per_advance
    increments, stage_states = take_stages(stages, tableau, t, h, y, first, num_evaluated)
    y1 = read_solution(stages, tableau, y, increments, stage_states)
    last = None
    if needs_last:
        last = increments[-1] if tableau.is_last_stage_solution else stages.increment(t, h, 1.0, y1)
    return StepTaken(t, h, y, y1, increments, stage_states, last)


def outputs_inside(
    steps: FixedSteps,
    taken: AbstractOfSteps[StepTaken],
    fractions: OfOutputs,
    xp: ModuleType,
    members: Array | None = None,
) -> Leaves:
    """The states at outputs anywhere in the interval, stacked along a first axis of times.

    - `fractions`: where they lie in the interval, of shape `(times,)`; or `(batch, times)` if each member of a batch
      has its own, and then the axis of times comes second. The steps were taken with `needs_last`.
    - `xp`: the array library. `members`: the numbers of the members, of shape `(batch, 1)`, if each has its own.
    """
    index, start = xp.where(fractions > 1, 1, 0) * 0, fractions * 0
    size = start + steps.ends[0]
    for place, (end, following) in enumerate(zip(steps.ends, steps.ends[1:], strict=False), start=1):
        is_beyond = fractions > end
        index = xp.where(is_beyond, place, index)
        start = xp.where(is_beyond, end, start)
        size = xp.where(is_beyond, following - end, size)
    inside = (fractions - start) / size
    place = index if members is None else (index, members)
    ends = taken.stacked(lambda step: (*step.y, *step.y1, *step.increments[0], *_last(step)), xp)
    num_leaves = len(ends) // 4
    of_leaves = ([each[place] for each in ends[leaf::num_leaves]] for leaf in range(num_leaves))
    return tuple(_hermite(_beside(inside, each[0]), *each) for each in of_leaves)


def guard_signals(tableau: ExplicitTableau, taken: AbstractOfSteps[StepTaken], *, is_batched: bool) -> GuardSignals:
    """The signals of a solve whose every stage was evaluated.

    - `is_batched`: whether the first axis of every array counts samples.
    """
    norm = functools.partial(_norm, is_batched=is_batched)
    errors = taken.total(lambda step: norm(_estimate(tableau, step.increments)))
    sizes = norm(taken[0].y) + taken.total(lambda step: norm(step.y1))
    return GuardSignals(errors / norm(taken[-1].y1), sizes / (len(taken) + 1))


def is_flagged(plan: Plan, signals: GuardSignals, t0: Time, t1: Time) -> Flags:
    """Which samples are beyond the bounds of the guard, or not finite; boolean, of the shape of the signals.

    - `t0`, `t1`: the ends of the interval, or of that of each sample. Over one longer than the plan's all are flagged.
    """
    assert plan.bounds is not None
    error_bound, size_bound = plan.bounds
    is_within = (signals.error_estimate <= error_bound) & (signals.size <= size_bound)
    return ~is_within | is_longer(plan.longest_interval, t0, t1)


def _last(step: StepTaken) -> Leaves:
    assert step.last is not None  # asked for
    return step.last


def _scaled(leaves: Leaves, factor: float) -> Leaves:
    return leaves if factor == 1 else tuple(factor * leaf for leaf in leaves)


def _beside(fraction: Real, leaf: Leaf) -> Real:
    """A number, or one for each entry of the first axes of `leaf`, to multiply it by."""
    if isinstance(fraction, int | float):
        return fraction
    return matching(fraction.reshape(fraction.shape + (1,) * (leaf.ndim - fraction.ndim)), leaf)


def _hermite(x: Array, y0: Leaf, y1: Leaf, first: Leaf, last: Leaf) -> Leaf:
    # Exact at both ends.
    rise = x * x * (3 - 2 * x)
    return (1 - rise) * y0 + rise * y1 + x * (1 - x) ** 2 * first + x * x * (x - 1) * last


def _estimate(tableau: ExplicitTableau, increments: list[Leaves]) -> Leaves:
    """The method's own estimate of the error of a step."""
    assert tableau.error is not None  # every fixed method has one
    pairs = [(weight, leaves) for weight, leaves in zip(tableau.error, increments, strict=True) if weight != 0]
    terms = [tuple(weight * leaf for leaf in leaves) for weight, leaves in pairs]
    return tuple(_sum(leaves) for leaves in zip(*terms, strict=True))


def _norm(leaves: Leaves, *, is_batched: bool) -> Signal:
    """The Euclidean norm of each sample over all arrays of the state."""
    # Methods of the arrays: `torch.compile` warns about the cache behind `array_namespace`.
    # An axis of size -1 would be open where there are no samples.
    shapes = ((*leaf.shape[:is_batched], math.prod(leaf.shape[is_batched:])) for leaf in leaves)
    rows = (leaf.reshape(shape) for leaf, shape in zip(leaves, shapes, strict=True))
    return _sum([(row * row).sum(axis=-1) for row in rows]) ** 0.5


def _sum(terms: Sequence[Array]) -> Array:
    return sum(terms[1:], terms[0])
