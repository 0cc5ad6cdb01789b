"""What `AbstractTorchAdapter` asks of a local problem."""

from typing import Any

import torch

from lrnde_core import AbstractLocalProblem, Leaves


class AbstractTorchProblem(AbstractLocalProblem):
    """The local problem of a torch solve.

    - `user_field`: what the user gave, which may be a module with buffers. `dtype`, `device`: of the state.
    """

    user_field: Any
    dtype: torch.dtype
    device: torch.device

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.detach() for leaf in leaves)

    def copy(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.clone() for leaf in leaves)
