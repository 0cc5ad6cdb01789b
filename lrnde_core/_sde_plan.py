"""A frozen stochastic solve as data, and what a search for it found."""

import dataclasses
from typing import final

from lrnde_core._errors import InputError
from lrnde_core._plan_json import read_plan, write_plan
from lrnde_core._planned_times import PlannedTimes, check_interval

_FORMAT = "lrnde-sde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class SDEPlan:
    """The fixed steps of a frozen stochastic solve, by the method of the call. Hashable; to and from JSON without loss.

    - `t0`, `t1`: the interval, in the user's time. `num_steps`: of equal size.
    """

    t0: float
    t1: float
    num_steps: int

    def __post_init__(self) -> None:
        check_interval(self.t0, self.t1)
        if isinstance(self.num_steps, bool) or not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise InputError(f"`num_steps={self.num_steps!r}` must be a whole number of at least 1.")

    @property
    def times(self) -> PlannedTimes:
        """The interval; output times are the call's own."""
        return PlannedTimes(self.t0, self.t1)

    def to_json(self) -> str:
        """This plan as JSON, every number to the last bit."""
        return write_plan(self, _FORMAT)

    @classmethod
    def from_json(cls, text: str) -> "SDEPlan":
        """The plan that `to_json` wrote. Raises `InputError` for anything else."""
        return read_plan(text, _FORMAT, lambda fields: cls(**fields))


@final
@dataclasses.dataclass(frozen=True)
class WeakError:
    """How far the mean of a statistic is from that of the native solve, in its standard deviations over paths.

    - `estimate`: the largest over the statistics. `bound`: what is not exceeded, for all statistics, with 95%
      confidence given the number of paths.
    """

    estimate: float
    bound: float


@final
@dataclasses.dataclass(frozen=True)
class SDETrial:
    """A number of steps that was tried, and its error on each half of the calibration calls.

    - `held_back`: `None` where the search half ruled it out already.
    """

    num_steps: int
    search: WeakError
    held_back: WeakError | None


@final
@dataclasses.dataclass(frozen=True)
class SDEFreezeReport:
    """What a frozen stochastic solve costs and how far its statistics are from those of the native one.

    - `plan`: the plan. `trials`: all that was tried, in that order.
    - `num_evaluations`, `native_evaluations`: of one frozen and, on average, of one native solve, drift plus diffusion;
      `None` where the library hides them.
    - `error`: on the held-back calls. `num_paths`: how many they hold.
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
