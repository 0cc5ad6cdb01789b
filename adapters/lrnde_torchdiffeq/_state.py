"""The user's state as one flat tensor, as torchdiffeq itself keeps it."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import TypeAlias, final

import torch

from lrnde_core import InputError, InputTypeError, Scalar, State, Tolerance

Tensor = torch.Tensor

Field: TypeAlias = Callable[[Tensor, State], State]
"""The user's field: takes the time, a scalar tensor, and the state, a tensor or a tuple of tensors."""

Tolerances: TypeAlias = Tolerance | tuple[Tolerance, ...]
"""A tolerance as the user gives it: one, or one for each tensor of a tuple."""


@final
@dataclasses.dataclass(frozen=True)
class StateLayout:
    """Shapes, dtype and device of a state: a tensor, or a tuple of tensors that is flattened into a vector."""

    shapes: tuple[torch.Size, ...]
    dtype: torch.dtype
    device: torch.device
    is_tuple: bool

    @classmethod
    def of(cls, y0: State) -> "StateLayout":
        """The layout of `y0`. Raises `InputTypeError` if it is neither a tensor nor a non-empty tuple of tensors."""
        tensors: State = (y0,) if isinstance(y0, Tensor) else y0
        if not isinstance(tensors, tuple) or not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise InputTypeError(f"`y0` must be a tensor or a tuple of tensors, not `{type(y0).__name__}`.")
        shapes = tuple(tensor.shape for tensor in tensors)
        dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
        return cls(shapes, dtype, tensors[0].device, not isinstance(y0, Tensor))

    def flatten(self, y: State) -> Tensor:
        """A user's state as one tensor."""
        return torch.cat([tensor.reshape(-1) for tensor in y]) if self.is_tuple else y

    def unflatten(self, y: Tensor) -> State:
        """One tensor as a state that the user's functions expect."""
        if not self.is_tuple:
            return y
        # One view each, as in torchdiffeq: the field may write into these, unlike the views of `torch.split`.
        starts = itertools.accumulate((shape.numel() for shape in self.shapes), initial=0)
        return tuple(
            y[start : start + shape.numel()].view(shape) for start, shape in zip(starts, self.shapes, strict=False)
        )

    def flat_field(self, field: Field, t: Tensor, y: Tensor) -> Tensor:
        """The user's field on the flat state, in the state's dtype and shape, as methods take it.

        Raises `InputError` if its value does not broadcast to the state.
        """
        return self._like_state(self.flatten(field(t, self.unflatten(y))), y.shape)

    def own_field(self, field: Field, t: Tensor, y: State) -> State:
        """The same on a state as the user has it, of which each part has the state's dtype."""
        derivative = field(t, y)
        if not self.is_tuple:
            return self._like_state(derivative, y.shape)
        parts = tuple(derivative)
        if tuple(part.shape for part in parts) != self.shapes:
            # torchdiffeq only looks at the vector that they make.
            length = sum(shape.numel() for shape in self.shapes)
            return self.unflatten(self._like_state(self.flatten(parts), torch.Size((length,))))
        return tuple(part.to(self.dtype) for part in parts)

    def in_one_dtype(self, y: State) -> State:
        """A state of which each part has the state's dtype, as torchdiffeq makes it."""
        return tuple(part.to(self.dtype) for part in y) if self.is_tuple else y

    def flat_norm(self, norm: Callable[[State], Scalar], y: Tensor) -> Tensor:
        """The user's norm on the flat state; a scalar."""
        return torch.as_tensor(norm(self.unflatten(y)), dtype=self.dtype, device=self.device).abs().reshape(())

    def flat_tolerance(self, tolerance: Tolerances) -> float | Tensor:
        """A tolerance that broadcasts against the flat state: a number, a tensor, or one for each tensor of a tuple."""
        if isinstance(tolerance, int | float):
            return tolerance
        if not self.is_tuple or _is_scalar(tolerance):
            return self._constant(tolerance)
        parts = zip(tolerance, self.shapes, strict=True)
        return torch.cat([self._constant(part).expand(shape.numel()) for part, shape in parts])

    def _like_state(self, derivative: Tensor, shape: torch.Size) -> Tensor:
        if not isinstance(derivative, Tensor):
            derivative = torch.as_tensor(derivative, dtype=self.dtype, device=self.device)
        if derivative.shape != shape:
            derivative = _broadcast(derivative, shape)
        return derivative.to(self.dtype)

    def _constant(self, value: Tolerance) -> Tensor:
        return torch.as_tensor(value, dtype=self.dtype, device=self.device).detach()


def _broadcast(derivative: Tensor, shape: torch.Size) -> Tensor:
    try:
        return derivative.broadcast_to(shape)
    except RuntimeError as exc:
        raise InputError(
            f"The field gives dy/dt of shape {tuple(derivative.shape)} for a state of shape {tuple(shape)}; penalties "
            "and fixed steps need them alike."
        ) from exc


def rms_norm(tensor: Tensor) -> Tensor:
    """The root mean square over the whole batch: torchdiffeq's norm of a tensor state."""
    return tensor.abs().pow(2).mean().sqrt()


def mixed_norm(tensors: tuple[Tensor, ...]) -> Tensor:
    """The largest root mean square of the tensors: torchdiffeq's norm of a tuple state."""
    return torch.stack([rms_norm(tensor) for tensor in tensors]).max()


def _is_scalar(tolerance: Tolerances) -> bool:
    return torch.as_tensor(tolerance).ndim == 0 if not isinstance(tolerance, list | tuple) else False
