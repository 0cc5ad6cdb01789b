"""The times that a plan was found for, and comparing those of a call with them."""

import dataclasses
from collections.abc import Sequence
from typing import final

from lrnde_core._errors import InputError

# Of the interval.
_CLOSE = 1e-6
# Of the times themselves: two roundings of float32.
_ROUNDING = 2.0**-22
_ADVICE = "Freeze anew for these times."


@final
@dataclasses.dataclass(frozen=True)
class PlannedTimes:
    """Where a frozen solve starts and ends, and its output times where the plan has them; in the user's time.

    A plan's error was measured at these, and says nothing of others.
    """

    t0: float
    t1: float
    outputs: tuple[float, ...] = ()

    @property
    def slack(self) -> float:
        """How far the times of a call may be from these: about as far as float32 rounds them."""
        return _CLOSE * abs(self.t1 - self.t0) + _ROUNDING * max(abs(self.t0), abs(self.t1))

    def check(self, t0: float | None, t1: float | None, outputs: Sequence[float | None] = ()) -> None:
        """Raise `InputError` for the first time of a call that is not the planned one.

        `None` stands for a time that compiled code does not know yet: that code must compare it itself when it runs,
        within `slack`, and fail with `message`.
        """
        if len(outputs) != len(self.outputs):
            raise self._other(f"asks for {len(outputs)} output times", str(len(self.outputs)))
        if not (self._is_close(t0, self.t0) and self._is_close(t1, self.t1)):
            raise self._other(f"goes from {t0} to {t1}", f"{self.t0} to {self.t1}")
        for index, (time, planned) in enumerate(zip(outputs, self.outputs, strict=True)):
            if not self._is_close(time, planned):
                raise self._other(f"has output {index} at {time}", f"{planned} there")

    @property
    def message(self) -> str:
        """What compiled code says that meets other times when it runs."""
        at = f" and {len(self.outputs)} output times" if self.outputs else ""
        return (
            f"The times of this call of a frozen solve are not those that its plan was found for, {self.t0} to "
            f"{self.t1}{at}. {_ADVICE}"
        )

    def _is_close(self, time: float | None, planned: float) -> bool:
        return time is None or abs(time - planned) <= self.slack

    def _other(self, asked: str, planned: str) -> InputError:
        return InputError(f"The call {asked}; the plan was found for {planned}. {_ADVICE}")
