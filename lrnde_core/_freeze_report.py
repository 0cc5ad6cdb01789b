"""What a search for a plan found."""

import dataclasses
from typing import final

from lrnde_core._plan import Plan


@final
@dataclasses.dataclass(frozen=True)
class Candidate:
    """Fixed steps to try.

    - `method`: one of `FIXED_METHODS`. `num_steps`: over the whole interval.
    - `follows_solver`: whether the steps are placed as the solver's own were on the calibration inputs; else they are
      of equal size.
    """

    method: str
    num_steps: int
    follows_solver: bool = False


@final
@dataclasses.dataclass(frozen=True)
class Trial:
    """A candidate that was tried: what it costs, and its error on each half of the calibration calls.

    - `held_back_error`: `None` where the search half ruled it out already.
    """

    candidate: Candidate
    num_evaluations: int
    search_error: float
    held_back_error: float | None


@final
@dataclasses.dataclass(frozen=True)
class FreezeReport:
    """What a frozen solve costs and how far it is from the adaptive one.

    - `plan`: the plan. `trials`: all that was tried, in that order.
    - `num_evaluations`, `native_evaluations`: of one frozen and, on average, of one native solve; the latter `None`
      where the library hides them.
    - `error`: on the held-back calls, as promised: their largest, mean or quantile. `errors`: of each sample there,
      sorted.
    - `share_beyond`: how many of fresh samples, drawn as the calibration inputs were, are expected to be further off
      than `error`; `None` for a mean, which says nothing of single samples.
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
