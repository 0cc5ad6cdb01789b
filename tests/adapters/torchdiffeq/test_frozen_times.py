"""Frozen solves of torchdiffeq at other times than their plan's, in code that is captured before it runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torchdiffeq import odeint

import lrnde
from lrnde_core import FIXED_METHODS, InputError, Plan

_PLANNED = torch.tensor([0.0, 0.4, 1.0])
_OTHERS = [
    torch.tensor(times) for times in ([0.0, 0.4, 3.0], [0.5, 0.7, 1.0], [0.0, 0.6, 1.0], [0.0, float("nan"), 1.0])
]
_PLAN = Plan("rk4", FIXED_METHODS["rk4"].tableau, 0.0, 1.0, (0.5, 1.0), (0.0, 0.4, 1.0), ((2,),), True, (1e3, 1e3))
_FROZEN = lrnde.apply_plan(odeint, _PLAN)
_Y0 = torch.ones(3, 2)


def _solve(y0: torch.Tensor, t: torch.Tensor) -> Any:
    return _FROZEN(lambda t, y: -y * t, y0, t)


class _Solve(torch.nn.Module):
    def forward(self, y0: torch.Tensor, t: torch.Tensor) -> Any:
        return _solve(y0, t)


def _exported() -> Callable[..., Any]:
    return torch.export.export(_Solve(), (_Y0, _PLANNED)).module()


@pytest.mark.parametrize(
    "capture",
    [
        lambda: torch.compile(_solve, fullgraph=True, backend="eager"),
        lambda: torch.compile(_solve, fullgraph=True, backend="aot_eager"),
        _exported,
        lambda: make_fx(_solve)(_Y0, _PLANNED),
    ],
    ids=["compile", "compile-ahead-of-time", "export", "make_fx"],
)
def test_captured_code_fails_at_other_times(capture: Callable[[], Callable[..., Any]]) -> None:
    captured = capture()
    for ours, eager in zip(captured(_Y0, _PLANNED), _solve(_Y0, _PLANNED), strict=True):
        assert torch.equal(ours, eager)
    for times in _OTHERS:
        with pytest.raises(RuntimeError, match=r"not those that its plan was found for, 0.0 to 1.0 and 3 output times"):
            captured(_Y0, times)


def _traced() -> Any:
    return torch.jit.trace(_solve, (_Y0, _PLANNED))


def _by_onnx_runtime() -> Callable[..., Any]:
    program = torch.onnx.export(_Solve().eval(), (_Y0, _PLANNED), dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    return lambda y0, t: session.run(None, {"y0": y0.numpy(), "t": t.numpy()})


# Warned of by torch's own exporter and tracer, of their own calls; to be removed when they no longer do.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("form", ["onnx", "trace"])
def test_where_nothing_can_be_asserted_results_are_not_a_number_at_other_times(form: str) -> None:
    solve = _traced() if form == "trace" else _by_onnx_runtime()
    ys, flagged = map(np.asarray, solve(_Y0, _PLANNED))
    np.testing.assert_allclose(ys, _solve(_Y0, _PLANNED)[0].numpy(), rtol=1e-6)
    assert not flagged.any()
    ys, flagged = map(np.asarray, solve(_Y0, _OTHERS[0]))
    assert np.isnan(ys).all()
    assert flagged.all()


def test_times_of_each_sample_are_refused() -> None:
    with pytest.raises(InputError, match="One plan has one interval"):
        torch.func.vmap(lambda t: _solve(_Y0, t)[0])(torch.stack([_PLANNED, _PLANNED]))


def test_a_gradient_with_respect_to_times_is_refused() -> None:
    with pytest.raises(InputError, match="`t` requires a gradient"):
        _solve(_Y0, _PLANNED.clone().requires_grad_())
    with torch.no_grad():
        assert _solve(_Y0, _PLANNED.clone().requires_grad_())[0].shape == (3, 3, 2)
