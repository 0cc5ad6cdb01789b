"""Each value that Python reads from a GPU waits for it: the adapter reads none that torchsde does not read itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lrnde
from tests.adapters.torchsde.problems import Y0, Equation, brownian, sdeint, sdeint_adjoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_READ = torch.ops.aten._local_scalar_dense.default


class _Reads(TorchDispatchMode):
    """Counts the tensors whose value Python asks for."""

    num = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.num += func is _READ
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint], ids=["sdeint", "sdeint_adjoint"])
@pytest.mark.parametrize("steps", [{"adaptive": True, "atol": 3e-2}, {"adaptive": False}], ids=["adaptive", "fixed"])
def test_no_value_is_read_that_the_bare_iteration_does_not_read(
    solve: Callable[..., Any], steps: dict[str, Any]
) -> None:
    def num_reads(call: Callable[..., Any]) -> int:
        equation = Equation("stratonovich", "diagonal")
        with _Reads() as reads:
            solved = call(equation, Y0, [0.0, 0.5], method="heun", dt=0.1, bm=brownian("heun", "diagonal"), **steps)
            ys, penalty = (solved[0], solved[1].penalty) if isinstance(solved, tuple) else (solved, 0.0)
            (ys[-1].sum() + penalty).backward()
        assert equation.drift.grad is not None
        return reads.num

    wrapped = lrnde.regularize(solve, heuristic=lrnde.ErrorEstimate(rtol=1e-3, atol=1e-3))
    bare = num_reads(solve)
    assert bare > 0
    assert num_reads(wrapped) <= bare
