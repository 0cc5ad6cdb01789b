"""The search for the cheapest plan within an error, and the grids of steps that it tries."""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import final

from lrnde_core._arrays import Leaves, OfMembers, array_namespace
from lrnde_core._call import AbstractCall
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, described
from lrnde_core._plans._call_form import CallForm
from lrnde_core._plans._calls import solve_all
from lrnde_core._plans._contract import AbstractFreezer, FrozenRun, NativeSolve, mean_known, median_seconds
from lrnde_core._plans._errors import (
    RELATIVE,
    ErrorMeasure,
    Over,
    metric_errors,
    reduced_error,
    sample_norms,
    share_beyond,
)
from lrnde_core._plans._plan import FixedSteps, Plan, step_ladder
from lrnde_core._plans._progress import SearchProgress
from lrnde_core._plans._report import Candidate, FreezeReport, Trial
from lrnde_core._tableau import FIXED_METHODS


def solver_grid(num_steps: int, grids: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """`num_steps` steps with the average density of the solver's steps over its `grids`.

    Each grid counts its steps: i/N at the end of step i of N, linear in between. The new steps end where the mean of
    these counts, weighted by N, is a multiple of 1/num_steps.
    """
    points = sorted({0.0, *(end for grid in grids for end in grid)})
    total = sum(len(grid) for grid in grids)
    counts = [sum(_count(grid, point) for grid in grids) / total for point in points]
    ends = [_inverse(points, counts, index / num_steps) for index in range(1, num_steps)]
    return (*ends, 1.0)


def _count(grid: Sequence[float], point: float) -> float:
    """The number of steps of a grid that end before a point, counting a part of the step around it."""
    ends = (0.0, *grid)
    index = bisect.bisect_right(ends, point) - 1
    if index >= len(grid):
        return float(len(grid))
    return index + (point - ends[index]) / (ends[index + 1] - ends[index])


def _inverse(points: Sequence[float], counts: Sequence[float], count: float) -> float:
    index = bisect.bisect_left(counts, count)
    low, high = counts[index - 1], counts[index]
    return points[index - 1] + (points[index] - points[index - 1]) * (count - low) / (high - low)


# If the library hides its evaluations.
_MOST_EVALUATIONS = 200
_MOST_STEPS = 64
# If the ends of the solver's grid are all this close to uniform, only the uniform grid is tried.
_ALIKE = 0.02
# Relative differences of this size come from float32 sums in another order.
_ROUNDING = 1e-5


@final
@dataclasses.dataclass(frozen=True)
class Calibration:
    """The calibration calls with their native solutions. Every second call, from the second on, is held back.

    - `references`: the states of each native solution. `counts`: its numbers of samples.
    """

    freezer: AbstractFreezer
    calls: Sequence[AbstractCall]
    form: CallForm
    measure: ErrorMeasure
    is_batched: bool
    natives: Sequence[NativeSolve]
    references: Sequence[Leaves]
    counts: Sequence[int]

    @classmethod
    def solve(
        cls,
        freezer: AbstractFreezer,
        calls: Sequence[AbstractCall],
        form: CallForm,
        measure: ErrorMeasure,
        *,
        is_batched: bool,
    ) -> "Calibration":
        """Solve all calls natively. Raises `InputError` if a solution is not finite."""
        natives = solve_all(freezer, calls)
        references = [freezer.states(call, native.result) for call, native in zip(calls, natives, strict=True)]
        norms = [sample_norms(reference, is_batched=is_batched) for reference in references]
        for index, call_norms in enumerate(norms):
            broken = sum(not math.isfinite(norm) for norm in call_norms)
            if broken:
                raise InputError(
                    f"The native solution of `calibration[{index}]` is not finite for {broken} of its "
                    f"{len(call_norms)} samples, so nothing can be compared with it; leave these inputs out."
                )
        return cls(freezer, calls, form, measure, is_batched, natives, references, [len(found) for found in norms])

    @property
    def num_held_back(self) -> int:
        return sum(self.counts[1::2])

    @property
    def native_evaluations(self) -> float | None:
        return mean_known(native.num_evaluations for native in self.natives)

    def errors(self, plan: Plan, *, is_held_back: bool) -> list[float]:
        """The errors by a plan of every sample of one half."""
        found: list[float] = []
        for index in range(int(is_held_back), len(self.calls), 2):
            call, native = self.calls[index], self.natives[index]
            result = self._run(call, plan).result
            if self.measure.metric is not None:
                found += metric_errors(self.measure.metric, result, native.result, index, self.counts[index])
            else:
                states = self.freezer.states(call, result)
                found += self.measure.errors(states, self.references[index], is_batched=self.is_batched)
        return found

    def check_repeatable(self, plan: Plan) -> None:
        """Raise `CapabilityError` if two solves of the first call by this plan differ by more than rounding."""
        call = self.calls[0]
        one, other = (self.freezer.states(call, self._run(call, plan).result) for _ in range(2))
        differences = RELATIVE.errors(other, one, is_batched=self.is_batched)
        if any(_ROUNDING < difference < math.inf for difference in differences):
            raise CapabilityError(
                "Two solves of one call by the same steps differ, so the field draws random numbers or keeps a state, "
                "and the error of fixed steps cannot be measured. Give a field whose values depend only on its "
                "arguments."
            )

    def bounds(self, plan: Plan) -> tuple[float, float]:
        """The largest value of each signal over all samples."""
        signals = [self._run(call, plan).signals for call in self.calls]
        estimates, sizes = zip(*signals, strict=True)
        return _largest(estimates), _largest(sizes)

    def plan(self, candidate: Candidate | FixedSteps, *, is_guarded: bool) -> Plan:
        """The plan of a candidate; the bounds of a guard are found later."""
        steps = candidate
        if isinstance(steps, Candidate):
            equal = FixedSteps.equal(steps.method, steps.num_steps)
            ends = solver_grid(steps.num_steps, self.solver_grids) if steps.follows_solver else equal.ends
            steps = dataclasses.replace(equal, ends=ends)
        bounds = (math.inf, math.inf) if is_guarded else None
        form = self.form
        return Plan(steps, form.shapes, self.is_batched, form.has_outputs_inside, bounds, form.duration)

    @functools.cached_property
    def solver_grids(self) -> list[tuple[float, ...]]:
        """The solver's own grids on the calls that are not held back, if the library shows them."""
        grids = [self.freezer.step_ends(self.freezer.copied(call)) for call in self.calls[::2]]
        return [grid for grid in grids if grid]

    def seconds(self, plan: Plan) -> tuple[float, float]:
        """The wall times of the first call, by the plan and natively."""
        native, frozen = self.freezer.runners(self.freezer.copied(self.calls[0]), plan)
        return median_seconds(frozen), median_seconds(native)

    def _run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        return self.freezer.run(self.freezer.copied(call), plan)


def search(
    calibration: Calibration,
    *,
    error: float,
    over: Over,
    candidates: Sequence[Candidate | FixedSteps] | None,
    is_guarded: bool,
) -> FreezeReport:
    """The report of the cheapest candidate within `error`. Raises `InputError` if there is none."""
    asked = _default_candidates(calibration) if candidates is None else _checked(candidates, calibration)
    plans = [(calibration.plan(candidate, is_guarded=is_guarded), candidate) for candidate in asked]
    plans.sort(key=lambda pair: pair[0].num_evaluations)
    calibration.check_repeatable(plans[0][0])
    trials: list[Trial] = []
    progress = SearchProgress("freeze", [plan.num_evaluations for plan, _ in plans])
    for _, group in itertools.groupby(plans, key=lambda pair: pair[0].num_evaluations):
        passed: list[tuple[float, Plan, list[float]]] = []
        for plan, candidate in group:
            search_error = reduced_error(calibration.errors(plan, is_held_back=False), over)
            held_back_error = None
            if search_error <= error:
                errors = calibration.errors(plan, is_held_back=True)
                held_back_error = reduced_error(errors, over)
                if held_back_error <= error:
                    passed.append((held_back_error, plan, errors))
            trials.append(Trial(candidate, plan.num_evaluations, search_error, held_back_error))
            found = search_error if held_back_error is None else held_back_error
            progress.tried(f"{candidate}, error {found:.2g}")
        if passed:
            _, plan, errors = min(passed, key=lambda found: found[0])
            return _report(calibration, plan, errors, over, trials)
    raise InputError(_none_within(error, over, trials))


def _report(calibration: Calibration, plan: Plan, errors: list[float], over: Over, trials: list[Trial]) -> FreezeReport:
    if plan.is_guarded:
        plan = dataclasses.replace(plan, bounds=calibration.bounds(plan))
    seconds, native_seconds = calibration.seconds(plan)
    return FreezeReport(
        plan=plan,
        trials=tuple(trials),
        num_evaluations=plan.num_evaluations,
        native_evaluations=calibration.native_evaluations,
        error=reduced_error(errors, over),
        errors=tuple(sorted(errors)),
        share_beyond=share_beyond(over, len(errors)),
        seconds=seconds,
        native_seconds=native_seconds,
    )


def _none_within(error: float, over: Over, trials: Iterable[Trial]) -> str:
    best = min(trials, key=lambda trial: trial.search_error if trial.held_back_error is None else trial.held_back_error)
    reached = best.search_error if best.held_back_error is None else best.held_back_error
    return (
        f"No candidate stays within `error={error:g}` (over={over!r}). The best, {best.candidate} with "
        f"{best.num_evaluations} evaluations, reaches {reached:.2g}. Allow "
        "that, give `candidates` with more steps, or train the dynamics to be easier to solve (`regularize`)."
    )


def _default_candidates(calibration: Calibration) -> list[Candidate | FixedSteps]:
    native = calibration.native_evaluations
    most = _MOST_EVALUATIONS if native is None else native
    found: list[Candidate | FixedSteps] = []
    for method, num_steps in itertools.product(FIXED_METHODS, step_ladder(_MOST_STEPS)):
        uniform = Candidate(method, num_steps)
        plan = calibration.plan(uniform, is_guarded=False)
        if plan.num_evaluations > most:
            continue
        found.append(uniform)
        if calibration.solver_grids and num_steps > 1:
            alike = Candidate(method, num_steps, follows_solver=True)
            ends = calibration.plan(alike, is_guarded=False).steps.ends
            if max(abs(a - b) for a, b in zip(ends, plan.steps.ends, strict=True)) > _ALIKE:
                found.append(alike)
    return found or [Candidate("euler", 1)]


def _checked(candidates: Sequence[Candidate | FixedSteps], calibration: Calibration) -> list[Candidate | FixedSteps]:
    is_list = isinstance(candidates, list | tuple)
    if not is_list or not all(isinstance(each, Candidate | FixedSteps) for each in candidates):
        raise InputTypeError(
            f"`candidates` must be a list of `Candidate`s and `FixedSteps`, not {described(candidates)}."
        )
    if not candidates:
        raise InputError("`candidates` is empty; name at least one `Candidate`, or leave it out.")
    for candidate in candidates:
        if isinstance(candidate, FixedSteps):
            continue
        candidate.check()
        if candidate.follows_solver and not calibration.solver_grids:
            raise InputError(f"`{candidate!r}` follows the solver's steps, and this native solve does not show them.")
    return list(candidates)


def _largest(signals: Iterable[OfMembers]) -> float:
    rows = (array_namespace(signal).reshape(signal, (-1,)) for signal in signals)
    return max(itertools.chain.from_iterable(row.tolist() for row in rows))
