"""Fixed-step plans as data: the steps of a method, what they were found for, and their JSON form."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, final

from lrnde_core._arrays import Time, Truth
from lrnde_core._checks import check_count
from lrnde_core._errors import InputError, UnknownNameError
from lrnde_core._tableau import FIXED_METHODS, ExplicitTableau

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Plan = TypeVar("_Plan")

Json: TypeAlias = dict[str, Any]
"""An object as `json` reads it."""


def write_plan(plan: "DataclassInstance", plan_format: str) -> str:
    """A plan, which is a dataclass, as JSON with the name of its format; exact to the last bit."""
    return json.dumps({"format": plan_format, **dataclasses.asdict(plan)}, indent=1)


def read_plan(text: str, plan_format: str, make: Callable[[Json], _Plan]) -> _Plan:
    """The plan that `make` makes from the fields in JSON of this format. Raises `InputError` for anything else."""
    try:
        fields = json.loads(text)
        found = fields.pop("format")
        if found != plan_format:
            raise InputError(f"The plan has format {found!r}; here {plan_format!r} is read.")
        return make(fields)
    except (AttributeError, LookupError, TypeError, json.JSONDecodeError) as exc:
        raise InputError(f"This is not a plan ({exc!r}); load what `to_json` wrote.") from exc


# Where lengths vary, the longest of a few calls is a little shorter than that of many.
_LONGER = 1.25


def is_longer(longest_interval: float | None, t0: Time, t1: Time) -> Truth:
    """Whether the interval from `t0` to `t1`, numbers or arrays, is too long for a plan: by more than a quarter.

    - `longest_interval`: that of the plan.
    """
    return abs(t1 - t0) > (math.inf if longest_interval is None else _LONGER * longest_interval)


def check_not_longer(longest_interval: float | None, t0: float, t1: float) -> None:
    """Raise `InputError` if the interval from `t0` to `t1` is too long for a plan, as `is_longer` tells."""
    if is_longer(longest_interval, t0, t1):
        raise InputError(f"The interval from {t0:g} to {t1:g} is too long: {describe_longest(longest_interval)}")


def describe_longest(longest_interval: float | None) -> str:
    """The reason why a longer interval is refused, for messages."""
    return (
        f"the calibration's longest has length {longest_interval:g}, and over more than {_LONGER:g} times that the "
        "error of the plan is unknown. Freeze with calibration calls of the lengths that you need."
    )


def step_ladder(most: int) -> list[int]:
    """The numbers of steps that a search tries, up to `most`: 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    powers = [2**exponent for exponent in range(most.bit_length())]
    return sorted(count for count in {*powers, *(3 * power for power in powers)} if count <= most)


_FORMAT = "lrnde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class FixedSteps:
    """The steps of an explicit method, placed by fractions of the interval, whatever that is. Hashable.

    - `method`: one of `FIXED_METHODS`.
    - `ends`: where each step ends, as fractions of the interval: increasing, the last 1.

    Raises `UnknownNameError` or `InputError`.
    """

    method: str
    ends: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.method not in FIXED_METHODS:
            raise UnknownNameError(f"There is no method `{self.method}`; known are {list(FIXED_METHODS)}.")
        ends = (0.0, *self.ends)
        if not self.ends or self.ends[-1] != 1 or any(not a < b for a, b in pairwise(ends)):
            raise InputError(f"`ends={self.ends}` must increase from above 0 to exactly 1.")

    @classmethod
    def equal(cls, method: str, num_steps: int) -> "FixedSteps":
        """`num_steps` steps of equal size."""
        num_steps = check_count("num_steps", num_steps)
        ends = (*(index / num_steps for index in range(1, num_steps)), 1.0)
        return cls(method, ends)

    @classmethod
    def from_fields(cls, fields: Json) -> "FixedSteps":
        """The steps whose fields `dataclasses.asdict` gave, from JSON too."""
        return cls(**{name: _tuples(value) for name, value in fields.items()})

    @property
    def num_steps(self) -> int:
        return len(self.ends)

    @property
    def tableau(self) -> ExplicitTableau:
        """The coefficients of the method."""
        return FIXED_METHODS[self.method].tableau

    @property
    def order(self) -> int:
        """The order of the method."""
        return FIXED_METHODS[self.method].order

    @property
    def signals_need_last(self) -> bool:
        """Whether the signals of a guard need the field at the very end, which is a stage of the method then."""
        return self.tableau.is_last_stage_solution

    def num_evaluations(self, *, needs_last: bool) -> int:
        """Evaluations of the field in one solve.

        - `needs_last`: whether the field is needed at the very end, where no further step evaluates it.
        """
        return self.num_steps * self.tableau.evaluations_per_advance + needs_last

    def __str__(self) -> str:
        return f"{self.num_steps} step{'s' if self.num_steps > 1 else ''} of {self.method}"

    def __repr__(self) -> str:
        return f"<FixedSteps: {self}>"


@final
@dataclasses.dataclass(frozen=True)
class Plan:
    """The fixed steps of a frozen solve, whatever its output times. Hashable; to and from JSON without loss.

    - `steps`: the steps. Inside a step, the cubic Hermite interpolant gives the output.
    - `shapes`: of each array of the state, without the axis of the samples.
    - `is_batched`: whether the first axis of every array counts samples.
    - `interpolates`: whether outputs may lie inside the interval, as they do in the calibration calls.
    - `bounds`: the largest `GuardSignals` that are not flagged; `None` without a guard.
    - `longest_interval`: the length of the longest calibration call. Over more than 1.25 times that a call fails, or is
      flagged by a guard, since its error is unknown. `None`: no limit.
    """

    steps: FixedSteps
    shapes: tuple[tuple[int, ...], ...]
    is_batched: bool
    interpolates: bool
    bounds: tuple[float, float] | None = None
    longest_interval: float | None = None

    def __post_init__(self) -> None:
        if self.bounds is not None and self.steps.tableau.error is None:
            raise InputError(f"A guard needs an error estimate, and the tableau of `{self.steps.method}` has none.")

    @property
    def is_guarded(self) -> bool:
        return self.bounds is not None

    @property
    def num_evaluations(self) -> int:
        """Evaluations of the field in one solve, those of guard and interpolation included."""
        is_read = self.is_guarded and self.steps.signals_need_last
        return self.steps.num_evaluations(needs_last=self.interpolates or is_read)

    def check_shapes(self, shapes: Sequence[Sequence[int]]) -> None:
        """Raise `InputError` unless arrays of these shapes, that of the samples included, are a state of this plan."""
        if tuple(tuple(shape)[self.is_batched :] for shape in shapes) != self.shapes:
            found = ", ".join(str(tuple(shape)) for shape in shapes)
            needed = ", ".join(str(("batch", *shape) if self.is_batched else shape) for shape in self.shapes)
            raise InputError(f"`y0` has shape {found}; the plan was found for {needed}. Freeze anew for this state.")

    def describe(self) -> str:
        """The method, the steps and their cost, for messages and tables."""
        return f"{self.steps}, {self.num_evaluations} evaluations"

    def to_json(self) -> str:
        """This plan as JSON, every number to the last bit."""
        return write_plan(self, _FORMAT)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that `to_json` wrote. Raises `InputError` for anything else."""

        def make(fields: Json) -> Plan:
            steps = FixedSteps.from_fields(fields.pop("steps"))
            return cls(steps, **{name: _tuples(value) for name, value in fields.items()})

        return read_plan(text, _FORMAT, make)


def _tuples(value: Any) -> Any:
    is_row = isinstance(value, list | tuple)
    return tuple(map(_tuples, cast("Sequence[Any]", value))) if is_row else value


_SDE_FORMAT = "lrnde-sde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class SDEPlan:
    """The fixed steps of a frozen stochastic solve, by the method of the call. Hashable; to and from JSON without loss.

    - `num_steps`: the number of equal steps.
    - `longest_interval`: as in `Plan`.
    """

    num_steps: int
    longest_interval: float | None = None

    def __post_init__(self) -> None:
        # JSON takes no other kind of whole number.
        object.__setattr__(self, "num_steps", check_count("num_steps", self.num_steps, self))

    def to_json(self) -> str:
        """This plan as JSON, every number to the last bit."""
        return write_plan(self, _SDE_FORMAT)

    @classmethod
    def from_json(cls, text: str) -> "SDEPlan":
        """The plan that `to_json` wrote. Raises `InputError` for anything else."""
        return read_plan(text, _SDE_FORMAT, lambda fields: cls(**fields))
