"""Reports of a search for a plan: the candidates tried, their cost and their error."""

import dataclasses
from typing import final

from lrnde_core._plans._plan import FixedSteps, Plan, SDEPlan


@final
@dataclasses.dataclass(frozen=True)
class Candidate:
    """Fixed steps to try.

    - `method`: one of `FIXED_METHODS`. `num_steps`: over the whole interval.
    - `follows_solver`: whether the steps are placed like the solver's own on the calibration inputs; else they are of
      equal size.
    """

    method: str
    num_steps: int
    follows_solver: bool = False

    def check(self) -> None:
        """Raise `UnknownNameError` or `InputError` for steps that there are not."""
        FixedSteps.equal(self.method, self.num_steps)

    def __str__(self) -> str:
        grid = "the solver's grid" if self.follows_solver else "a uniform grid"
        return f"{self.num_steps} {'step' if self.num_steps == 1 else 'steps'} of {self.method} on {grid}"


@final
@dataclasses.dataclass(frozen=True)
class Trial:
    """A candidate that was tried: its steps, their cost, and their error on each half of the calibration calls.

    - `held_back_error`: `None` if the search half already ruled it out.
    """

    candidate: Candidate | FixedSteps
    num_evaluations: int
    search_error: float
    held_back_error: float | None


@final
@dataclasses.dataclass(frozen=True)
class FreezeReport:
    """The cost of a frozen solve and its error against the adaptive one.

    - `plan`: the plan. `trials`: every candidate that was tried, in order.
    - `num_evaluations`, `native_evaluations`: of one frozen and, on average, of one native solve; the latter `None`
      if the library hides them.
    - `error`: the promised error, from the held-back calls: their largest, mean or quantile. `errors`: those of each
      held-back sample, sorted.
    - `share_beyond`: the expected share of fresh samples, drawn like the calibration inputs, with an error above
      `error`; `None` for a mean, which says nothing about single samples.
    - `seconds`, `native_seconds`: median wall time of one call of the size of the first calibration call.
    """

    plan: Plan
    trials: tuple[Trial, ...]
    num_evaluations: int
    native_evaluations: float | None
    error: float
    errors: tuple[float, ...]
    share_beyond: float | None
    seconds: float
    native_seconds: float

    def __str__(self) -> str:
        share = "" if self.share_beyond is None else f"; {self.share_beyond:.2%} of fresh samples expected beyond it"
        evaluations = "" if self.native_evaluations is None else f" (native {self.native_evaluations:.4g})"
        return (
            f"{self.plan.describe()}{evaluations}; error {self.error:.2g} on {len(self.errors)} held-back samples"
            f"{share}; {1e3 * self.seconds:.3g} ms (native {1e3 * self.native_seconds:.3g} ms)."
        )

    def __repr__(self) -> str:
        return f"<FreezeReport: {self}>"


@final
@dataclasses.dataclass(frozen=True)
class WeakError:
    """The difference of a statistic's mean from that of the native solve, in its standard deviations over paths.

    - `estimate`: the largest over the statistics. `bound`: a bound on all statistics at 95% confidence, given the
      number of paths.
    """

    estimate: float
    bound: float


@final
@dataclasses.dataclass(frozen=True)
class SDETrial:
    """A number of steps that was tried, and its error on each half of the calibration calls.

    - `held_back`: `None` if the search half already ruled it out.
    """

    num_steps: int
    search: WeakError
    held_back: WeakError | None


@final
@dataclasses.dataclass(frozen=True)
class SDEFreezeReport:
    """The cost of a frozen stochastic solve and the error of its statistics against the native one.

    - `plan`: the plan. `trials`: every number of steps that was tried, in order.
    - `num_evaluations`, `native_evaluations`: of one frozen and, on average, of one native solve, drift plus diffusion;
      `None` if the library hides them.
    - `error`: the error on the held-back calls. `num_paths`: the number of paths in them.
    - `seconds`, `native_seconds`: median wall time of one call of the size of the first calibration call.
    """

    plan: SDEPlan
    trials: tuple[SDETrial, ...]
    num_evaluations: int | None
    native_evaluations: float | None
    error: WeakError
    num_paths: int
    seconds: float
    native_seconds: float

    def __str__(self) -> str:
        evaluations = "" if self.num_evaluations is None else f", {self.num_evaluations} evaluations"
        native = "" if self.native_evaluations is None else f" (native {self.native_evaluations:.4g})"
        return (
            f"{self.plan.num_steps} step{'s' if self.plan.num_steps > 1 else ''}{evaluations}{native}; weak error "
            f"{self.error.estimate:.2g}, at most {self.error.bound:.2g} with 95% confidence, on {self.num_paths} "
            f"held-back paths; {1e3 * self.seconds:.3g} ms (native {1e3 * self.native_seconds:.3g} ms)."
        )

    def __repr__(self) -> str:
        return f"<SDEFreezeReport: {self}>"
