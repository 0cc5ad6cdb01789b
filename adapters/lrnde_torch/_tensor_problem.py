"""What the local problems of torch solves have in common whose state is one tensor and whose time is a scalar."""

from collections.abc import Callable
from typing import Any

import torch

from lrnde_core import Leaves
from lrnde_torch._derivative import directional_derivative, transposed_product
from lrnde_torch._torch_problem import AbstractTorchProblem

Tensor = torch.Tensor


class AbstractTensorProblem(AbstractTorchProblem):
    """The field and its derivatives.

    - `field`: takes a scalar time tensor and a state tensor, both of `dtype`.
    """

    field: Callable[[Tensor, Tensor], Tensor]

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        return (self.field(self._time(t), y[0]),)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        def on_tensors(time: Tensor, state: Tensor) -> Tensor:
            return function(time, (state,))[0]

        return (directional_derivative(on_tensors, self._time(t), y[0], dt, dy[0]),)

    def vjp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, cotangent: Leaves) -> Leaves:
        def on_tensors(time: Tensor, state: Tensor) -> Tensor:
            return function(time, (state,))[0]

        return (transposed_product(on_tensors, self._time(t), y[0], cotangent[0]),)

    def _time(self, t: Any) -> Tensor:
        if isinstance(t, Tensor):
            return t.to(self.dtype)
        return torch.full((), t, dtype=self.dtype, device=self.device)
