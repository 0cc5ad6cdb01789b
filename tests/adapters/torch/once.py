"""An operation of torch that cannot be differentiated twice."""

from typing import Any

import torch


class Once(torch.autograd.Function):
    """The sine."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(y)
        return torch.sin(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * torch.cos(ctx.saved_tensors[0])
