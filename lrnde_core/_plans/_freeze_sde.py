"""The public entry points for freezing a stochastic solve, by the weak error of the user's statistics."""

import dataclasses
import math
from collections.abc import Sequence
from typing import final

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._claims import NativeFunction
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, described
from lrnde_core._plans._calls import (
    CalibrationCall,
    bind_calls,
    find_freezer,
    find_solver,
    read_all,
    solve_all,
)
from lrnde_core._plans._contract import AbstractSDEFreezer, mean_known, median_seconds, without_a_trace
from lrnde_core._plans._errors import (
    MIN_PATHS,
    Rows,
    Statistic,
    check_bound,
    check_paths,
    check_rows,
    check_same_paths,
    native_scales,
    statistic_rows,
    weak_error,
)
from lrnde_core._plans._plan import SDEPlan, step_ladder
from lrnde_core._plans._progress import SearchProgress
from lrnde_core._plans._report import SDEFreezeReport, SDETrial, WeakError

_MOST_STEPS = 1024


def freeze_sde(
    solve: NativeFunction,
    *,
    calibration: Sequence[CalibrationCall],
    statistic: Statistic,
    error: float = 1e-2,
    candidates: Sequence[int] | None = None,
    adapter: str | None = None,
) -> tuple[NativeFunction, SDEFreezeReport]:
    """Replace a solve of a stochastic equation, for prediction, by the fewest equal steps that keep its statistics.

        solve = functools.partial(sdeint, method="srk", adaptive=True, rtol=1e-3, atol=1e-3)
        frozen, report = lrnde.freeze_sde(
            solve, calibration=[(sde, y0, ts, bm) for bm in paths], statistic=lambda ys: ys[-1]
        )
        ys = frozen(sde, y0, ts)

    The steps are those of the call's own method (under diffrax's `HalfSolver`, of the solver inside). Every second call
    of `calibration`, from the second on, is held back. Numbers of steps are tried from small to large; the other calls
    rule some out, and the first whose error is at most `error` on the held-back calls, with 95% confidence, wins.

    - `solve`: the native call with its tolerances, adaptive or with small steps. Errors are measured against it, so it
      may need tighter tolerances than training.
    - `calibration`: calls to solve, as in `freeze`. Give each its own Brownian motion (`bm` in
      torchsde, the path inside `terms` in diffrax), so that both solves follow the same paths: with new noise in each
      solve, measuring an error takes (2 / error)^2 paths or more.
    - `statistic`: the quantity whose mean to preserve, for each path: a function of a native result that returns an
      array of shape `(paths,)` or `(paths, statistics)`, without averaging over paths. For example `lambda ys: ys[-1]`
      preserves the mean of the final states. In diffrax, where a state may be one path, the entries of a state with a
      single axis are taken for paths if it returns as many rows.
    - `error`: the largest difference between frozen and native means, in standard deviations of the statistic over the
      native paths. The mean of n paths has the standard error 1 / sqrt(n) in this unit.
    - `candidates`: numbers of steps to try. By default 1, 2, 3, 4, 6, 8, 12, ... up to as many evaluations as the
      native solve takes.
    - `adapter`: as in `regularize`.

    Returns the frozen solve, which takes the arguments of the native call and returns its result, and the report.

    Raises `InputError` if no number of steps stays within `error` (it names the best), for fewer than 30 held-back
    paths, and for a statistic without a row for each path; `CapabilityError` for an ordinary equation, for which there
    is `freeze`.
    """
    check_bound(error)
    solver = find_solver(solve, adapter)
    freezer = find_freezer(solver, Capability.FREEZE_SDE, AbstractSDEFreezer)
    calls = bind_calls(solver, calibration)
    longest_interval = max(_durations(freezer, calls))
    with without_a_trace(freezer, calls):
        measured = _Calibration.solve(freezer, calls, longest_interval, statistic)
        report = _search(measured, float(error), candidates)
    return freezer.frozen(solver.partial, report.plan), report


def apply_sde_plan(solve: NativeFunction, plan: SDEPlan, *, adapter: str | None = None) -> NativeFunction:
    """The frozen solve of an existing plan, such as one read by `SDEPlan.from_json`.

    - `solve`: the call that the plan was found for, with the same method. `adapter`: as in `regularize`.
    """
    if not isinstance(plan, SDEPlan):
        raise InputTypeError(f"`plan` must be an `SDEPlan`, not {described(plan)}; `SDEPlan.from_json` reads one.")
    solver = find_solver(solve, adapter)
    return find_freezer(solver, Capability.FREEZE_SDE, AbstractSDEFreezer).frozen(solver.partial, plan)


@final
@dataclasses.dataclass(frozen=True)
class _Calibration:
    """The calibration calls with the statistics of their native solutions."""

    freezer: AbstractSDEFreezer
    calls: Sequence[AbstractCall]
    longest_interval: float
    statistic: Statistic
    natives: Sequence[Rows]
    scales: Sequence[float]
    native_evaluations: float | None

    @classmethod
    def solve(
        cls,
        freezer: AbstractSDEFreezer,
        calls: Sequence[AbstractCall],
        longest_interval: float,
        statistic: Statistic,
    ) -> "_Calibration":
        solves = solve_all(freezer, calls)
        natives = [statistic_rows(statistic, native.result) for native in solves]
        for index, (call, rows) in enumerate(zip(calls, natives, strict=True)):
            check_paths(len(rows), freezer.path_counts(call), index)
            check_rows(rows, len(natives[0][0]), index)
        num_held_back = sum(map(len, natives[1::2]))
        if num_held_back < MIN_PATHS:
            raise InputError(
                f"`calibration` holds {num_held_back} paths in every second call, which are held back to decide; at "
                f"least {MIN_PATHS} are needed. Give more or larger calls."
            )
        scales = native_scales([row for rows in natives for row in rows])
        num_evaluations = mean_known(native.num_evaluations for native in solves)
        return cls(freezer, calls, longest_interval, statistic, natives, scales, num_evaluations)

    def solve_by(self, plan: SDEPlan, *, is_held_back: bool) -> tuple[WeakError, int | None]:
        """The weak error on one half, and the evaluations of one solve."""
        native: Rows = []
        frozen: Rows = []
        num_evaluations = None
        for index in range(int(is_held_back), len(self.calls), 2):
            found = self.freezer.solve(self.freezer.with_plan(self.freezer.copied(self.calls[index]), plan))
            num_evaluations = found.num_evaluations
            if found.failure is not None:
                return WeakError(math.inf, math.inf), num_evaluations
            rows = statistic_rows(self.statistic, found.result)
            check_same_paths(rows, self.natives[index])
            native += self.natives[index]
            frozen += rows
        return weak_error(native, frozen, self.scales), num_evaluations


def _search(measured: _Calibration, error: float, candidates: Sequence[int] | None) -> SDEFreezeReport:
    trials: list[SDETrial] = []
    # Each step takes an evaluation or more, and dearer ones than the native solve are not tried.
    most = measured.native_evaluations
    ladder = [num_steps for num_steps in step_ladder(_MOST_STEPS) if most is None or num_steps <= most]
    asked = ladder if candidates is None else _checked(candidates)
    progress = SearchProgress("freeze_sde", asked)
    for num_steps in asked:
        plan = SDEPlan(num_steps, measured.longest_interval)
        searched, num_evaluations = measured.solve_by(plan, is_held_back=False)
        is_dear = most is not None and num_evaluations is not None and num_evaluations > most
        if candidates is None and is_dear and trials:
            break
        held_back = None
        if searched.estimate <= error:
            held_back, _ = measured.solve_by(plan, is_held_back=True)
        trials.append(SDETrial(num_steps, searched, held_back))
        progress.tried(f"{num_steps} steps, weak error {(held_back or searched).estimate:.2g}")
        if held_back is not None and held_back.bound <= error:
            return _report(measured, plan, num_evaluations, held_back, trials)
    raise InputError(_none_within(error, trials))


def _report(
    measured: _Calibration, plan: SDEPlan, num_evaluations: int | None, error: WeakError, trials: list[SDETrial]
) -> SDEFreezeReport:
    freezer, first = measured.freezer, measured.freezer.copied(measured.calls[0])
    return SDEFreezeReport(
        plan=plan,
        trials=tuple(trials),
        num_evaluations=num_evaluations,
        native_evaluations=measured.native_evaluations,
        error=error,
        num_paths=sum(map(len, measured.natives[1::2])),
        seconds=median_seconds(freezer.runner(freezer.with_plan(first, plan))),
        native_seconds=median_seconds(freezer.runner(first)),
    )


def _none_within(error: float, trials: Sequence[SDETrial]) -> str:
    best = min(trials, key=lambda trial: (trial.held_back is None, (trial.held_back or trial.search).bound))
    reached = best.held_back or best.search
    last = trials[-1].search
    # An error within its own uncertainty may be chance, which no number of steps lowers.
    is_native_doubtful = last.bound < 2 * last.estimate and any(
        trial.search.estimate <= last.estimate for trial in trials[:-1]
    )
    doubt = " The error does not fall with more steps: the native solve itself may be off; give it a tighter tolerance."
    return (
        f"No number of steps keeps the statistics within `error={error:g}`. The best, {best.num_steps} steps, is off "
        f"by {reached.estimate:.2g} standard deviations, and by at most {reached.bound:.2g} with 95% confidence. Where "
        "these differ much, more paths tell them apart, or the same Brownian paths in both solves (`bm=...`); else "
        f"allow a larger error or give `candidates` with more steps.{doubt if is_native_doubtful else ''}"
    )


def _durations(freezer: AbstractSDEFreezer, calls: Sequence[AbstractCall]) -> list[float]:
    """The lengths of the calls' intervals."""
    if not all(call.facts.is_stochastic for call in calls):
        raise CapabilityError("This is an ordinary equation, whose solution itself has an error; use `lrnde.freeze`.")
    return read_all(calls, freezer.read)


def _checked(candidates: Sequence[int]) -> list[int]:
    if not isinstance(candidates, list | tuple):
        raise InputTypeError(f"`candidates` must be a list of numbers of steps, not {described(candidates)}.")
    if not candidates:
        raise InputError("`candidates` is empty; name at least one number of steps, or leave it out.")
    return sorted(set(candidates))
