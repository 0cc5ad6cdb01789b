"""What all calls that one plan stands for have in common."""

import dataclasses
from collections.abc import Sequence
from typing import final

from lrnde_core._errors import InputError
from lrnde_core._planned_times import PlannedTimes, check_interval

Shape = tuple[int, ...]


@final
@dataclasses.dataclass(frozen=True)
class Span:
    """What all calls of one frozen solve share: interval and output fractions, shapes; as `Plan` has them."""

    t0: float
    t1: float
    outputs: tuple[float, ...]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, t0: float, t1: float, times: Sequence[float], shapes: Sequence[Shape], *, is_batched: bool) -> "Span":
        """The span of a call.

        - `times`: of its outputs. `shapes`: of each array of its initial state, as the user gave it.

        Raises `InputError` where there is nothing to freeze: no way to go, no output on it, no samples.
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
        """What differs from the span of the first call, in words: this one's, then the first one's; or `None`."""
        mine, planned = (PlannedTimes.at(span.t0, span.t1, span.outputs) for span in (self, first))
        if self.shapes != first.shapes:
            shapes = [", ".join(map(str, span.shapes)) for span in (self, first)]
            return f"has a state of shape {shapes[0]} for each sample", shapes[1]
        return planned.difference(mine.t0, mine.t1, mine.outputs)
