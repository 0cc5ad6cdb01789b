"""The properties of a call that decide whether a plan can stand for it, and at what cost."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, final

from lrnde_core._errors import InputError
from lrnde_core._wrapping import warn_at_call

Shape: TypeAlias = tuple[int, ...]


@final
class CallForm(NamedTuple):
    """The form of a call.

    - `shapes`: of each array of its state, without the axis of the samples. All calls of a frozen solve share them.
    - `has_outputs_inside`: whether it asks for outputs between its start and its end.
    - `duration`: the length of its interval.
    """

    shapes: tuple[Shape, ...]
    has_outputs_inside: bool
    duration: float

    @classmethod
    def of(
        cls, t0: float, t1: float, times: Sequence[float], shapes: Sequence[Shape], *, is_batched: bool
    ) -> "CallForm":
        """The form of a call from `t0` to `t1`.

        - `times`: its output times. `shapes`: the shape of each array of its initial state, as the user gave it.

        Raises `InputError` if there is nothing to freeze: an interval without length, no output on it, no samples.
        """
        duration = interval_length(t0, t1)
        if all(time == t0 for time in times):
            raise InputError(
                f"It asks for no output after its start at {t0}, so nothing can be compared; ask for the end too."
            )
        check_samples(shapes, is_batched=is_batched)
        if any(0 in shape for shape in shapes):
            raise InputError(f"`y0` holds no numbers: its shape is {', '.join(map(str, shapes))}.")
        inside = any(time not in (t0, t1) for time in times)
        return cls(tuple(tuple(shape)[is_batched:] for shape in shapes), inside, duration)

    @classmethod
    def joint(cls, forms: Sequence["CallForm"]) -> "CallForm":
        """The form of a plan for calls of all these forms, whose states have the shapes of the first."""
        inside = any(form.has_outputs_inside for form in forms)
        return cls(forms[0].shapes, inside, max(form.duration for form in forms))

    def difference(self, first: "CallForm") -> tuple[str, str] | None:
        """The difference from the form of the first call, in words: this one's, then the first one's; or `None`."""
        if self.shapes == first.shapes:
            return None
        mine, others = (", ".join(map(str, form.shapes)) for form in (self, first))
        return f"has a state of shape {mine} for each sample", others


def check_samples(shapes: Sequence[Shape], *, is_batched: bool) -> None:
    """Raise `InputError` if the first axis of these arrays of a state is to count samples, and does not.

    Warns if it is the only axis of the only array: the state may well be one sample, whose entries are taken for
    samples.
    """
    if is_batched and not all(shapes):
        raise InputError("`y0` has no axis of samples; with `batched=False` each call is one sample.")
    if is_batched and len({shape[0] for shape in shapes}) > 1:
        counts = ", ".join(str(shape[0]) for shape in shapes)
        raise InputError(
            f"The arrays of `y0` hold {counts} samples; their first axis must count the same ones. With "
            "`batched=False` each call is one sample."
        )
    if is_batched and len(shapes) == 1 and len(shapes[0]) == 1:
        warn_at_call(
            f"The entries of `y0`, of shape {tuple(shapes[0])}, are counted as samples. If it is one sample, as under "
            "`jax.vmap`, pass `batched=False`. If they are samples, give it a second axis of length 1.",
            UserWarning,
        )


def interval_length(t0: float, t1: float) -> float:
    """The length of the interval from `t0` to `t1`. Raises `InputError` if it has none."""
    if not (math.isfinite(t0) and math.isfinite(t1) and t0 != t1):
        raise InputError(
            f"The interval from {t0} to {t1} has no length that a plan could divide; give the start and a later or "
            "earlier end."
        )
    return abs(t1 - t0)
