"""The interval, output times and shapes that a plan was found for, and their comparison with those of a call."""

import dataclasses
import math
from collections.abc import Sequence
from typing import final

from lrnde_core._errors import InputError

# A fraction of the interval.
_CLOSE = 1e-6
# A fraction of the times themselves: two roundings of float32.
_ROUNDING = 2.0**-22
_ADVICE = "Freeze anew for these times."


@final
@dataclasses.dataclass(frozen=True)
class PlannedTimes:
    """The start and end of a frozen solve, and its output times if the plan has them; in the user's time.

    A plan's error was measured at these times, and says nothing about others.
    """

    t0: float
    t1: float
    outputs: tuple[float, ...] = ()

    @property
    def slack(self) -> float:
        """The allowed distance of a call's times from these: about the rounding of float32."""
        return _CLOSE * abs(self.t1 - self.t0) + _ROUNDING * max(abs(self.t0), abs(self.t1))

    @classmethod
    def at(cls, t0: float, t1: float, fractions: Sequence[float]) -> "PlannedTimes":
        """Outputs at these fractions of the interval."""
        return cls(t0, t1, tuple(t0 + fraction * (t1 - t0) for fraction in fractions))

    def difference(
        self, t0: float | None, t1: float | None, outputs: Sequence[float | None] = ()
    ) -> tuple[str, str] | None:
        """The first time of a call that differs from the plan, in words: the call's, then the plan's.

        `None` stands for a time that compiled code does not know yet. That code must compare it when it runs, within
        `slack`, and fail with `message`.
        """
        if len(outputs) != len(self.outputs):
            return f"asks for {len(outputs)} output times", str(len(self.outputs))
        if not (self._is_close(t0, self.t0) and self._is_close(t1, self.t1)):
            return f"goes from {t0} to {t1}", f"{self.t0} to {self.t1}"
        for index, (time, planned) in enumerate(zip(outputs, self.outputs, strict=True)):
            if not self._is_close(time, planned):
                return f"has output {index} at {time}", f"{planned} there"
        return None

    def check(self, t0: float | None, t1: float | None, outputs: Sequence[float | None] = ()) -> None:
        """Raise `InputError` if there is a `difference`."""
        found = self.difference(t0, t1, outputs)
        if found is not None:
            raise InputError(f"The call {found[0]}; the plan was found for {found[1]}. {_ADVICE}")

    @property
    def message(self) -> str:
        """The error message of compiled code that gets other times when it runs."""
        at = f" and {len(self.outputs)} output times" if self.outputs else ""
        return (
            f"The times of this call of a frozen solve are not those that its plan was found for, {self.t0} to "
            f"{self.t1}{at}. {_ADVICE}"
        )

    def _is_close(self, time: float | None, planned: float) -> bool:
        return time is None or abs(time - planned) <= self.slack


def check_interval(t0: float, t1: float) -> None:
    """Raise `InputError` unless the interval from `t0` to `t1` has a length."""
    if not (math.isfinite(t0) and math.isfinite(t1) and t0 != t1):
        raise InputError(
            f"The interval from {t0} to {t1} has no length that a plan could divide; give the start and a later or "
            "earlier end."
        )


Shape = tuple[int, ...]


@final
@dataclasses.dataclass(frozen=True)
class Span:
    """The properties that all calls of one frozen solve share: interval, output fractions and shapes, as in `Plan`."""

    t0: float
    t1: float
    outputs: tuple[float, ...]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, t0: float, t1: float, times: Sequence[float], shapes: Sequence[Shape], *, is_batched: bool) -> "Span":
        """The span of a call.

        - `times`: its output times. `shapes`: the shape of each array of its initial state, as the user gave it.

        Raises `InputError` if there is nothing to freeze: an interval without length, no output on it, no samples.
        """
        check_interval(t0, t1)
        if all(time == t0 for time in times):
            raise InputError(
                f"It asks for no output after its start at {t0}, so nothing can be compared; ask for the end too."
            )
        if is_batched and not all(shapes):
            raise InputError("`y0` has no axis of samples; with `batched=False` each call is one sample.")
        if is_batched and len({shape[0] for shape in shapes}) > 1:
            counts = ", ".join(str(shape[0]) for shape in shapes)
            raise InputError(
                f"The arrays of `y0` hold {counts} samples; their first axis must count the same ones. With "
                "`batched=False` each call is one sample."
            )
        if any(0 in shape for shape in shapes):
            raise InputError(f"`y0` holds no numbers: its shape is {', '.join(map(str, shapes))}.")
        outputs = tuple((time - t0) / (t1 - t0) for time in times)
        return cls(t0, t1, outputs, tuple(tuple(shape)[is_batched:] for shape in shapes))

    def difference(self, first: "Span") -> tuple[str, str] | None:
        """The difference from the span of the first call, in words: this one's, then the first one's; or `None`."""
        mine, planned = (PlannedTimes.at(span.t0, span.t1, span.outputs) for span in (self, first))
        if self.shapes != first.shapes:
            shapes = [", ".join(map(str, span.shapes)) for span in (self, first)]
            return f"has a state of shape {shapes[0]} for each sample", shapes[1]
        return planned.difference(mine.t0, mine.t1, mine.outputs)
