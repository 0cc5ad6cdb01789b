"""A frozen solve as data: which steps of which method, and where its outputs lie."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast, final

from lrnde_core._errors import InputError
from lrnde_core._plan_json import read_plan, write_plan
from lrnde_core._planned_times import PlannedTimes, check_interval
from lrnde_core._tableau import ExplicitTableau

_FORMAT = "lrnde-plan/1"


@final
@dataclasses.dataclass(frozen=True)
class Plan:
    """The fixed steps of a frozen solve. Hashable; to and from JSON without loss.

    - `method`: the name of the method. `tableau`: its coefficients.
    - `t0`, `t1`: the interval, in the user's time; backward where `t1 < t0`.
    - `step_ends`: where each step ends, as fractions of the interval: increasing, the last 1.
    - `outputs`: the output times as such fractions too. One inside of a step is read off the cubic Hermite interpolant.
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
        """Whether the field is needed at the very end, which no further step evaluates."""
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

        def make(fields: dict[str, Any]) -> Plan:
            tableau = ExplicitTableau(**{name: _tuples(value) for name, value in fields.pop("tableau").items()})
            return cls(tableau=tableau, **{name: _tuples(value) for name, value in fields.items()})

        return read_plan(text, _FORMAT, make)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, cast("list[Any]", value))) if isinstance(value, list) else value
