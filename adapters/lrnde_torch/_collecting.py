"""`collect` blocks in torch: a generator, and care where gradients are not what they seem."""

import contextlib
import contextvars
import inspect
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, final

import torch

from lrnde_core import CapabilityError, accompany_collect
from lrnde_torch._derivative import is_within_transform

if TYPE_CHECKING:
    from types import FrameType


@final
class _Block:
    """The innermost `collect` block.

    - `generator`: of the calls in it. `is_within_transform`: whether it began within a transform of `torch.func`.
    """

    def __init__(self, outer: "_Block | None") -> None:
        # The number that the global generator would give next; it is taken when the block ends, if it was needed. Taken
        # within, it would be missing where a checkpoint, which rewinds the generator, runs its function again.
        source = torch.Generator().set_state(torch.random.get_rng_state()) if outer is None else outer.used_generator()
        self.generator = torch.Generator().manual_seed(_draw_seed(source))
        self.is_used = False
        self.is_within_transform = is_within_transform()

    def used_generator(self) -> torch.Generator:
        self.is_used = True
        return self.generator


_APPLY_CODE = torch.autograd.Function.apply.__func__.__code__

_BLOCK: contextvars.ContextVar[_Block | None] = contextvars.ContextVar("lrnde_torch_block", default=None)


@contextlib.contextmanager
def _block() -> Generator[None]:
    outer = _BLOCK.get()
    block = _Block(outer)
    token = _BLOCK.set(block)
    try:
        yield
    finally:
        _BLOCK.reset(token)
        if block.is_used and outer is None:
            _draw_seed(None)


def _draw_seed(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=generator, device="cpu"))


accompany_collect(_block)


def block_generator() -> torch.Generator | None:
    """The generator of the innermost `collect` block, `None` outside of any."""
    block = _BLOCK.get()
    return None if block is None else block.used_generator()


def is_collected() -> bool:
    """Whether a call in a `collect` block is reported: not in a backward pass, where checkpoints solve again.

    Raises `CapabilityError` within an autograd function that hides gradients, as reentrant checkpointing is, and within
    a transform of `torch.func` that began inside of the block.
    """
    if is_in_backward():
        return False
    block = _BLOCK.get()
    if block is not None and not block.is_within_transform and is_within_transform():
        raise CapabilityError(
            "The call is within a transform of `torch.func` that began inside of the `collect` block, and its report "
            "would outlive it. Begin the block inside of the function that is transformed."
        )
    if not torch.is_grad_enabled():
        _check_gradients_are_not_hidden()
    return True


def is_training(values: Iterable[object]) -> bool:
    """Whether gradients are recorded for a module in training mode, or a method of one, among `values`."""
    if not torch.is_grad_enabled() or is_in_backward():
        return False
    holders = (value.__self__ if inspect.ismethod(value) else value for value in values)
    return any(isinstance(holder, torch.nn.Module) and holder.training for holder in holders)


@contextlib.contextmanager
def saved_apart() -> Generator[None]:
    """Within the block, what a backward pass needs is kept as it is, whatever hooks the user has set.

    A checkpoint solves again whenever something asks for a tensor that it saved, as a penalty with derivatives does
    still in the forward pass. And it compares what it saves with what the same function saves when it runs again, where
    a collected call is the bare one. So what the penalty saves is no part of it. Transforms of `torch.func` go together
    with no hooks at all.
    """
    if is_within_transform() or not saves_by_hooks():
        yield
        return
    with torch.autograd.graph.saved_tensors_hooks(_unchanged, _unchanged):
        yield


def _unchanged(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def saves_by_hooks() -> bool:
    """Whether what a backward pass needs goes through hooks now, such as those of a checkpoint, forward or again."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None  # pyright: ignore


def is_in_backward() -> bool:
    # As `torch.utils.checkpoint` tells it; there is no public word for it.
    return torch._C._current_graph_task_id() != -1  # pyright: ignore[reportPrivateUsage]


def _check_gradients_are_not_hidden() -> None:
    """Refuse a call inside of the forward pass of an autograd function whose result will have a gradient."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        name = _name_of_recorded(frame)
        if name is not None:
            raise CapabilityError(
                f"The call is collected inside of `{name}.forward`, an autograd function, where no gradient is "
                "recorded: its penalty would have none. With reentrant checkpointing (`torch.utils.checkpoint`) "
                "set `use_reentrant=False`; else solve outside of that function."
            )
        frame = frame.f_back


def _name_of_recorded(frame: "FrameType") -> str | None:
    """The name of the autograd function whose forward pass, or whose application, a frame is, if it has a gradient."""
    if frame.f_code is _APPLY_CODE:
        # One with `setup_context` has no context in its forward pass, and what it is given must tell.
        function, args = frame.f_locals.get("cls"), frame.f_locals.get("args", ())
        has_context = getattr(function, "setup_context", None) is torch.autograd.Function.setup_context
        has_gradient = any(isinstance(value, torch.Tensor) and value.requires_grad for value in args)
        return function.__name__ if function is not None and has_gradient and not has_context else None
    if frame.f_code.co_name == "forward" and frame.f_code.co_argcount:
        context = frame.f_locals.get(frame.f_code.co_varnames[0])
        # It has edges where gradients were recorded outside; a prediction without any is nothing to refuse.
        if isinstance(context, torch.autograd.function.FunctionCtx) and context.next_functions:  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            return type(context).__name__.removesuffix("Backward")
    return None
