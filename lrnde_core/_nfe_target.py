"""A weight that adapts until the solve reaches a target cost, and backs off if it cannot."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, final

from lrnde_core._arrays import Array, Count, Real, cast_like, clip, is_traced, joined, mean_number, scalars, where
from lrnde_core._checks import check_choice
from lrnde_core._errors import InputError, InputTypeError, TargetWarning
from lrnde_core._report import Report, listed_reports
from lrnde_core._weights import AbstractWeight, GradientNorms, check_numbers
from lrnde_core._wrapping import warn_at_call

Measure = Literal["nfe", "num_steps"]

# Phases of a state.
_SEARCHING, _HOLDING, _ANSWERED, _STALLED = 0, 1, 2, 3

# The memory of the average cost, in iterations, and the time it gets to settle after a jump of the weight.
_MEMORY, _SETTLING = 24, 16
# A fall of the average that counts as a response: this share of it, and at least its mean deviation, since costs are
# whole numbers of steps and vary from batch to batch. And the share that ends a search.
_FALL, _FIRST_FALL = 0.08, 0.1
# While the weight searches, the gain is this many times as large, and the excess at least this.
_SEARCH, _SEARCH_EXCESS = 2.0, 0.5
# Responses come late, so on a response the weight steps back by this many iterations at the full gain of a search.
_RETREAT = 8
# How far the weight may grow without a response, and for how many iterations at least.
_REACH, _WINDOW = 4.0, 64
# Iterations until a stalled weight tries again, times the number of stalls.
_PATIENCE = 256
# A stalled weight falls by this share of the gain: back to where the cost rises.
_STALLED_GROWTH = -0.25


class NFETargetState(NamedTuple):
    """State of `NFETarget`, all of it scalars.

    - `value`: the current weight. `count`: the iterations done.
    - `average`, `deviation`: mean and mean absolute deviation of the cost over the latest iterations.
    - `phase`: 0 while the weight searches for a response of the cost; 1 while it holds the target, 2 if the cost has
      responded since the mark; 3 once stalled.
    - `mark`: the weight from which a response is measured. `since`: iterations since the mark or the latest response;
      `reference`: the average cost then.
    - `num_stalls`: how often the cost has stopped responding above the target.
    """

    value: Real
    count: Count  # pyright: ignore[reportIncompatibleMethodOverride]  # nobody searches a state as a tuple
    average: Real
    deviation: Real
    phase: Count
    since: Count
    mark: Real
    reference: Real
    num_stalls: Count


@final
@dataclasses.dataclass(frozen=True)
class NFETarget(AbstractWeight):
    r"""Adapts the weight until the solve reaches a target cost: multiplicative ascent on the excess.

    $w \leftarrow w \exp(g \, \mathrm{clip}((N - N^*) / N^*, -1, 1))$, kept in `[minimum, maximum]`.

    - `target`: $N^*$, the desired cost of one solve. `measure`: the cost N, `"nfe"` or `"num_steps"` (for methods whose
      evaluations are hidden).
    - `initial`: first weight. `gain`: $g$, the largest relative change in one iteration once the cost has responded.

    **Several solves.** A count with several entries (of a vmapped report, or of a batch whose members take their own
    steps) and a list of reports stand for several solves: N is their mean.

    **Start.** Until the cost first responds, by falling by a tenth or to the target, the weight grows faster, by a
    factor of exp(g) to exp(2 g) per iteration: from 1e-3 to 1 in 70 to 140 iterations with the default gain.

    **Targets out of reach.** No weight makes a solve cheaper than its first step, its output times or its noise allow.
    The weight grows fourfold at a time, and waits there until the cost has stopped falling for 64 iterations. If the
    cost did not respond, the weight stalls: it falls back (from `maximum` to `initial` if the cost has never
    responded), and then slowly further, until the cost rises again. So it stays about as large as the smallest weight
    that makes the solve as cheap as possible. A `TargetWarning` names the cost reached: `update` issues it if values
    are known; under `jit` call `check(state)` outside now and then.

    **What to expect.** The cost is quantised (a whole number of steps), so the weight does not settle but moves in a
    band around the one that holds the target. Training responds late, so at first the weight may overshoot that band a
    few times over; a cost that varies a lot from batch to batch may make it stall early.
    """

    target: float
    measure: Measure = "nfe"
    initial: float = 1e-3
    gain: float = 0.05
    minimum: float = 1e-6
    maximum: float = 1e3

    def __post_init__(self) -> None:
        check_numbers(self, "target", "initial", "gain", "minimum", "maximum")
        if not 0 < self.target < math.inf:
            raise InputError(f"`NFETarget(target={self.target})`: the target must be finite and above 0.")
        check_choice("measure", self.measure, Measure, self)
        if not 0 < self.minimum <= self.initial <= self.maximum < math.inf:
            raise InputError(
                f"`NFETarget(initial={self.initial}, minimum={self.minimum}, maximum={self.maximum})`: needs "
                "0 < minimum <= initial <= maximum < infinity."
            )
        if not 0 < self.gain <= 1:
            raise InputError(f"`NFETarget(gain={self.gain})`: `gain` must be above 0 and at most 1.")

    def init(self, like: Array | float | None = None) -> NFETargetState:
        initial = float(self.initial)
        return NFETargetState(*scalars(like, initial, 0, 0.0, 0.0, _SEARCHING, 0, initial, 0.0, 0))

    def value(self, state: NFETargetState) -> Real:
        return state.value

    def update(
        self, state: NFETargetState, report: Report | Sequence[Report], norms: GradientNorms | None = None
    ) -> NFETargetState:
        """The state after an iteration. Warns at the first stall if values are known.

        Raises `InputTypeError` for anything but a report or a list of reports, and `InputError` for an empty list, or
        if the method hides its evaluations.
        """
        del norms
        cost, *known = joined(self._cost(report, state.average), *state)
        advanced = self._advance(NFETargetState(*known), cost)
        new = NFETargetState(*map(cast_like, advanced, state))
        is_known = not is_traced(new.num_stalls) and not is_traced(state.num_stalls)
        if is_known and state.num_stalls == 0 and new.num_stalls == 1:
            self._warn(new)
        return new

    def check(self, state: NFETargetState) -> None:
        """Issue a `TargetWarning` if the weight has stalled and the cost is still a tenth above the target.

        Raises `InputTypeError` within `jit`, where values are not known.
        """
        if is_traced(state.num_stalls):
            raise InputTypeError(
                "`NFETarget.check` was called within `jit`, where the values of a state are not known. Call it "
                "outside, with the state that the compiled function returned."
            )
        if state.num_stalls > 0 and state.average > 1.1 * self.target:
            self._warn(state)

    def _advance(self, state: NFETargetState, cost: Real) -> NFETargetState:
        since, value = state.since + 1, state.value
        # A plain mean at first.
        rate = 1.0 / cast_like(clip(state.count + 1, 1, _MEMORY), state.average)
        deviation = state.deviation + rate * (abs(cost - state.average) - state.deviation)
        deviation = where(state.count > 0, deviation, 0.0)
        average = state.average + rate * (cost - state.average)
        is_searching, is_settled = state.phase == _SEARCHING, since > _SETTLING
        is_above, is_reached = average > self.target, average <= self.target

        # Responses are measured from the highest average: in a search the highest of all, else of those right after the
        # mark, which still belong to earlier weights.
        highest = where(average > state.reference, average, state.reference)
        reference = where(is_searching | (since <= _SETTLING), highest, state.reference)
        reference = where(state.count < _MEMORY, average, reference)
        fall, visible = reference - average, _FALL * reference
        visible = where(deviation > visible, deviation, visible)

        # The end of a search: the response belongs to a weight of some iterations ago.
        is_found = is_searching & is_settled & (is_reached | (fall > visible) & (fall > _FIRST_FALL * reference))
        earlier = value * math.exp(-_SEARCH * self.gain * _RETREAT)
        value = where(is_found, where(earlier > state.mark, earlier, state.mark), value)
        # At the target, or the cost has changed by itself, or it is time to try again: the weight starts over.
        is_stalled = state.phase == _STALLED
        has_risen = is_settled & (-fall > where(is_stalled, 1, 2) * visible)
        # A stalled weight has fallen so far that the cost rises: back up.
        raised = where(2.0 * value < state.mark, 2.0 * value, state.mark)
        value = where(is_stalled & has_risen, raised, value)
        is_patient = is_stalled & (since > _PATIENCE * state.num_stalls)
        is_renewed = (state.phase != _SEARCHING) & (is_reached | has_risen | is_patient)
        is_marked = is_found | is_renewed | is_reached
        has_fallen = (state.phase != _SEARCHING) & is_settled & (fall > visible)
        phase = where(has_fallen & (state.phase != _STALLED), _ANSWERED, state.phase)
        phase = where(is_found | is_renewed, _HOLDING, phase)
        since = where(is_marked | (has_fallen & (state.phase != _STALLED)), 0, since)
        mark = where(is_marked, value, state.mark)

        # The weight is at its limit and the cost no longer falls: continue from here if it has responded, else go back.
        reach = self._reach(phase, mark)
        is_due = is_above & (phase != _STALLED) & (since >= _WINDOW) & (value >= 0.999 * reach)
        is_stalled = is_due & (phase != _ANSWERED)
        phase = where(is_stalled, _STALLED, where(is_due, _HOLDING, phase))
        value = where(is_stalled, mark, value)
        mark = where(is_due, value, mark)

        excess = clip((cost - self.target) / self.target, -1.0, 1.0)
        faster = _SEARCH * clip(excess, _SEARCH_EXCESS, 1.0)
        growth = where((phase == _SEARCHING) & is_above, faster, where(phase == _STALLED, _STALLED_GROWTH, excess))
        return NFETargetState(
            value=clip(value * math.e ** (self.gain * growth), self.minimum, self._reach(phase, mark)),
            count=state.count + 1,
            average=average,
            deviation=deviation,
            phase=phase,
            since=where(is_due, 0, since),
            mark=mark,
            reference=where(is_marked | has_fallen | is_due, average, reference),
            num_stalls=state.num_stalls + where(is_stalled, 1, 0),
        )

    def _reach(self, phase: Count, mark: Real) -> Real:
        """How far the weight may grow."""
        reach = where(phase == _SEARCHING, self.maximum, where(phase == _STALLED, 1.0, _REACH) * mark)
        return where(reach < self.maximum, reach, self.maximum)

    def _cost(self, report: Report | Sequence[Report], like: Real) -> Real:
        """The mean over all solves."""
        reports = listed_reports("NFETarget.update", report)
        costs = [each.nfe if self.measure == "nfe" else each.num_steps for each in reports]
        if any(cost is None for cost in costs):
            raise InputError(_hidden(self.measure))
        return sum(mean_number(cost, like) for cost in costs) / len(costs)

    def _warn(self, state: NFETargetState) -> None:
        what = "evaluations" if self.measure == "nfe" else "steps"
        average, mark = float(state.average), float(state.mark)
        warn_at_call(
            f"`NFETarget({self.target:g})` is out of reach: the solve costs {average:.3g} {what} on average, and a "
            f"larger weight does not make it cheaper. The weight falls from {mark:.3g} until the cost rises. Choose a "
            f"target of at least {average:.3g}, or change what bounds the cost: the first step, output times, "
            "tolerances, the noise of the equation, or a penalty that is exactly 0.",
            TargetWarning,
        )


def _hidden(measure: str) -> str:
    if measure == "nfe":
        return (
            '`NFETarget(measure="nfe")` was given a report whose `nfe` is None, because the method hides its '
            'evaluations; use `measure="num_steps"`.'
        )
    return (
        '`NFETarget(measure="num_steps")` was given a report whose `num_steps` is None, because the method does not '
        'show its steps; use `measure="nfe"`.'
    )
