"""The ending of a call, and where that of a wrapped call differs from that of the bare one."""

import dataclasses
import re
import traceback
from typing import Any

from calls import Call, FieldError, LimitError

import lrnde

# What torch itself says, once, where a field is evaluated for the penalty: of results that are complex where the state
# is not; of times that are read as numbers (docs/limits.md); of its forward mode, which compiles its rules (to be
# removed when torch no longer does).
_OF_TORCH = (
    "Casting complex values to real discards",
    "Converting a tensor with requires_grad=True to a scalar",
    "`torch.jit.script` is deprecated",
    # `batched=True` evaluates the field under `torch.func.vmap`.
    "There is a performance drop because we have not yet implemented the batching rule",
)

OWN_WARNINGS = (lrnde.ResolutionWarning, lrnde.UncollectedWarning)

PHASE = {"now": "bare"}
"""Which of the two calls runs."""


@dataclasses.dataclass
class Ending:
    """What a call returned or raised, and what it left behind.

    - `refusal`: the reason of an `LrndeError`. `error`: type and message of any other. `error_of_gradient`: of the
      backward pass. `error_of_total`: of that of result and penalty together.
    - `values`: the bits of the result and of its gradients, by name. `is_finite`: whether all of the result is.
      `finite`: whether the gradient of result and penalty together (of a bare call: of the result) is, by leaf.
    - `left`: random states, process settings, and what the user holds; `left_by_solve`: before any backward pass;
      `untouched`: before the call; `drawn`: what of it the documented draw changes.
    - `warned`: kind and text of each warning. `evaluations`: of the field in the solve.
    - `num_rounded`: gradients that differ in their last bits. `has_compiled`: whether a program was compiled.
    - `faults`: what is wrong whatever the bare call does. `trace`: where the error came from.
    """

    refusal: str | None = None
    error: tuple[str, str] | None = None
    error_of_gradient: tuple[str, str] | None = None
    error_of_total: tuple[str, str] | None = None
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    finite: dict[str, bool] = dataclasses.field(default_factory=dict)
    is_finite: bool = True
    left_by_solve: dict[str, Any] = dataclasses.field(default_factory=dict)
    left: dict[str, Any] = dataclasses.field(default_factory=dict)
    drawn: dict[str, Any] = dataclasses.field(default_factory=dict)
    untouched: dict[str, Any] = dataclasses.field(default_factory=dict)
    warned: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    evaluations: int = 0
    num_rounded: int = 0
    has_compiled: bool = False
    faults: list[str] = dataclasses.field(default_factory=list)
    trace: str = ""

    @property
    def outcome(self) -> str:
        """One word for how it ended."""
        if self.refusal is not None:
            return "refused"
        return "result" if self.error is None else "error"

    def raised(self, exc: BaseException) -> None:
        """Note the error that ended the call."""
        self.trace = "".join(traceback.format_exception(exc)[-12:])
        if isinstance(exc, lrnde.LrndeError):
            self.refusal = f"{type(exc).__name__}: {exc}"
        else:
            self.error = described(exc)


def described(exc: BaseException | str) -> tuple[str, str]:
    """Type and message of an error or warning, without the addresses of objects and the lines of programs in it."""
    text = str(exc)
    if text.startswith("Above is the stack"):
        text = text.rpartition("equinox.EquinoxRuntimeError: ")[2]
    # A tensor that is no buffer has been written to by the penalty as well (docs/limits.md).
    text = re.sub(r"(is at|expected) version \d+", r"\1 version", text)
    return type(exc).__name__, re.sub(r"0x[0-9a-f]+", "0x", text)


def reason(refusal: str) -> str:
    """A refusal without the names, values and shapes that differ from call to call."""
    text = re.sub(r"`[^`]*`", "`..`", refusal)
    text = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "(..)", text)
    return re.sub(r"-?\d[\d.e+-]*", "#", text)[:160]


def disagreements(bare: Ending, wrapped: Ending, call: Call) -> list[str]:
    """Where `wrapped` ended otherwise than `bare`; empty where it is as it should be."""
    if _is_raised_beyond(bare, wrapped, call.raises_at):
        return []
    found = list(wrapped.faults)
    for name in bare.left.keys() & wrapped.left.keys():
        # What is refused before the solve leaves everything as it was, and after it as it was then.
        allowed = [bare.left[name]]
        if wrapped.refusal is not None:
            allowed += [
                wrapped.drawn.get(name),
                wrapped.untouched.get(name, wrapped.left[name]),
                bare.left_by_solve.get(name),
            ]
        if wrapped.left[name] not in allowed:
            found.append(f"left behind: {name}")
    new = sorted(wrapped.warned - bare.warned)
    found += [f"warned: {kind}: {text[:200]}" for kind, text in new if not text.startswith(_OF_TORCH)]
    if wrapped.refusal is not None:
        return found
    if wrapped.error != bare.error:
        return [*found, f"ended in {wrapped.error or wrapped.outcome}, bare in {bare.error or bare.outcome}"]
    if wrapped.error_of_gradient != bare.error_of_gradient:
        found.append(f"gradient ended in {wrapped.error_of_gradient}, bare in {bare.error_of_gradient}")
        return found
    for name in bare.values.keys() | wrapped.values.keys():
        left, right = bare.values.get(name), wrapped.values.get(name)
        if left != right:
            found.append(f"differs: {name}: bare {_brief(left)}, wrapped {_brief(right)}")
    # A result that is not finite may have a finite gradient by chance, that of a branch that was not taken; and a
    # penalty squares and differentiates the field, which may leave the range of its dtype (docs/limits.md).
    found += [
        f"gradient with the penalty is not finite: {name}"
        for name, is_finite in wrapped.finite.items()
        if not is_finite and bare.finite.get(name, True) and bare.is_finite and not call.is_wild
    ]
    return found


def _is_raised_beyond(bare: Ending, wrapped: Ending, raises_at: int | None) -> bool:
    """Whether the field raised in the backward pass because the penalty had evaluated it as well."""
    error = wrapped.error_of_gradient
    return (
        raises_at is not None and error is not None and error[0] == FieldError.__name__ and raises_at > bare.evaluations
    )


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 120 else text[:117] + "..."


__all__ = ["OWN_WARNINGS", "Ending", "LimitError", "described", "disagreements", "reason"]
