"""Fixed-step plans as data: the steps of a method, the places of the outputs, and their JSON form."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, final

from lrnde_core._errors import InputError
from lrnde_core._plans._times import PlannedTimes, check_interval
from lrnde_core._tableau import ExplicitTableau

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
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as exc:
        raise InputError(f"This is no plan ({exc!r}); load what `to_json` wrote.") from exc


_FORMAT = "lrnde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class Plan:
    """The fixed steps of a frozen solve. Hashable; to and from JSON without loss.

    - `method`: the name of the method. `tableau`: its coefficients.
    - `t0`, `t1`: the interval, in the user's time; backward where `t1 < t0`.
    - `step_ends`: where each step ends, as fractions of the interval: increasing, the last 1.
    - `outputs`: the output times, also as fractions. Inside a step, the cubic Hermite interpolant gives the output.
    - `shapes`: of each array of the state, without the axis of the samples.
    - `is_batched`: whether the first axis of every array counts samples.
    - `bounds`: the largest `GuardSignals` that are not flagged; `None` without a guard.
    """

    method: str
    tableau: ExplicitTableau
    t0: float
    t1: float
    step_ends: tuple[float, ...]
    outputs: tuple[float, ...]
    shapes: tuple[tuple[int, ...], ...]
    is_batched: bool
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_interval(self.t0, self.t1)
        ends = (0.0, *self.step_ends)
        if not self.step_ends or self.step_ends[-1] != 1 or any(not a < b for a, b in pairwise(ends)):
            raise InputError(f"`step_ends={self.step_ends}` must increase from above 0 to exactly 1.")
        if not self.outputs or any(not 0 <= output <= 1 for output in self.outputs):
            raise InputError(f"`outputs={self.outputs}` must lie between 0 and 1, and be at least one.")
        if self.bounds is not None and self.tableau.error is None:
            raise InputError(f"A guard needs an error estimate, and the tableau of `{self.method}` has none.")

    @property
    def is_guarded(self) -> bool:
        return self.bounds is not None

    @property
    def times(self) -> PlannedTimes:
        """Interval and output times in the user's time."""
        return PlannedTimes.at(self.t0, self.t1, self.outputs)

    @property
    def num_steps(self) -> int:
        return len(self.step_ends)

    @property
    def num_evaluations(self) -> int:
        """Evaluations of the field in one solve, those of guard and interpolation included."""
        is_shared = self.tableau.is_last_stage_solution
        return self.num_steps * (self.tableau.num_stages - is_shared) + self._ends_with_field

    @property
    def _ends_with_field(self) -> bool:
        """Whether a guard or an output needs the field at the very end, where no further step evaluates it."""
        start = self.step_ends[-2] if self.num_steps > 1 else 0.0
        has_output_inside = any(start < output < 1 for output in self.outputs)
        return has_output_inside or (self.is_guarded and self.tableau.is_last_stage_solution)

    def check_shapes(self, shapes: Sequence[Sequence[int]]) -> None:
        """Raise `InputError` unless arrays of these shapes, that of the samples included, are a state of this plan."""
        if tuple(tuple(shape)[self.is_batched :] for shape in shapes) != self.shapes:
            found = ", ".join(str(tuple(shape)) for shape in shapes)
            needed = ", ".join(str(("batch", *shape) if self.is_batched else shape) for shape in self.shapes)
            raise InputError(f"`y0` has shape {found}; the plan was found for {needed}. Freeze anew for this state.")

    def describe(self) -> str:
        """The method, the steps and their cost, for messages and tables."""
        steps = f"{self.num_steps} step{'s' if self.num_steps > 1 else ''}"
        return f"{steps} of {self.method}, {self.num_evaluations} evaluations"

    def to_json(self) -> str:
        """This plan as JSON, every number to the last bit."""
        return write_plan(self, _FORMAT)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that `to_json` wrote. Raises `InputError` for anything else."""

        def make(fields: Json) -> Plan:
            tableau = ExplicitTableau(**{name: _tuples(value) for name, value in fields.pop("tableau").items()})
            return cls(tableau=tableau, **{name: _tuples(value) for name, value in fields.items()})

        return read_plan(text, _FORMAT, make)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, cast("list[Any]", value))) if isinstance(value, list) else value


_SDE_FORMAT = "lrnde-sde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class SDEPlan:
    """The fixed steps of a frozen stochastic solve, by the method of the call. Hashable; to and from JSON without loss.

    - `t0`, `t1`: the interval, in the user's time. `num_steps`: the number of equal steps.
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
        return write_plan(self, _SDE_FORMAT)

    @classmethod
    def from_json(cls, text: str) -> "SDEPlan":
        """The plan that `to_json` wrote. Raises `InputError` for anything else."""
        return read_plan(text, _SDE_FORMAT, lambda fields: cls(**fields))
