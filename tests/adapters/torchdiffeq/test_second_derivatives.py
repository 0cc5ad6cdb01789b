"""Fields without a second derivative, and solves within `torch.func`: they work, or what the refusal says works."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lrnde
from lrnde_core import AbstractHeuristic
from tests.adapters.torch.once import Once
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

Tensor = torch.Tensor
_Y0 = torch.tensor([[0.4, -0.3, 0.8], [0.1, 0.2, -0.5]])
_TIMES = torch.tensor([0.0, 1.0])
_ADAPTIVE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}
_FIXED: dict[str, Any] = {"method": "rk4", "options": {"step_size": 0.25}}
_OF_DERIVATIVES = [lrnde.TaylorDerivative(2, at="step"), lrnde.JacobianNorm(), lrnde.JacobianNorm(mode="jvp")]
# What the refusals say, to the letter.
_ADVISED = [lrnde.KineticEnergy(at="step"), lrnde.ErrorEstimate(rtol=1e-3, atol=1e-3)]


def _attention(weight: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def field(_t: Tensor, y: Tensor) -> Tensor:
        query = (y @ weight)[None, None]
        return torch.nn.functional.scaled_dot_product_attention(query, query, query)[0, 0]

    return field


class _Recurrent(torch.autograd.Function):
    """What cuDNN's recurrent networks say, which are to be had on a GPU alone."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(y)
        return torch.sin(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _RecurrentBackward.apply(gradient, ctx.saved_tensors[0])


class _RecurrentBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * torch.cos(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        raise NotImplementedError(
            "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN "
            "RNNs due to limitations in the CuDNN API."
        )


@torch.library.custom_op("lrnde_tests::sine", mutates_args=())
def _sine(y: Tensor) -> Tensor:
    return torch.sin(y)


@torch.library.custom_op("lrnde_tests::sine_backward", mutates_args=())
def _sine_backward(gradient: Tensor, y: Tensor) -> Tensor:
    return gradient * torch.cos(y)


_sine.register_autograd(
    lambda ctx, gradient: _sine_backward(gradient, ctx.saved_tensors[0]),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
)

_UNDIFFERENTIABLE: dict[str, Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "attention": _attention,
    "once-differentiable": lambda weight: lambda _t, y: Once.apply(y @ weight),
    "recurrent": lambda weight: lambda _t, y: _Recurrent.apply(y @ weight),
    "custom-operator": lambda weight: lambda _t, y: _sine(y @ weight),
}


@pytest.mark.parametrize("settings", [_ADAPTIVE, _FIXED], ids=["adaptive", "fixed"])
@pytest.mark.parametrize("name", list(_UNDIFFERENTIABLE))
def test_an_operation_without_a_second_derivative_is_refused_and_what_is_advised_works(
    name: str, settings: dict[str, Any]
) -> None:
    weight = torch.eye(3).requires_grad_()
    field = _UNDIFFERENTIABLE[name](weight)
    for heuristic in _OF_DERIVATIVES:
        with pytest.raises(lrnde.CapabilityError, match=r"cannot differentiate again.*KineticEnergy.*ErrorEstimate"):
            lrnde.regularize(odeint, heuristic=heuristic)(field, _Y0, _TIMES, **settings)
    for heuristic in _ADVISED:
        ys, report = lrnde.regularize(odeint, heuristic=heuristic)(field, _Y0, _TIMES, draw=[0.4], **settings)
        (ys[-1].sum() + report.penalty).backward()
    assert weight.grad is not None


_READERS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda t: float(np.interp(t.numpy(), [0, 1], [0, 1])),
    "asarray": lambda t: float(np.asarray(t)),
    "from-numpy": lambda t: torch.from_numpy(np.asarray(np.sin(t.numpy()))),
}


@pytest.mark.parametrize("reader", list(_READERS))
def test_a_field_that_takes_its_time_out_of_torch_is_refused_and_what_is_advised_works(reader: str) -> None:
    network = Perceptron(dtype=torch.float32)

    def field(t: Tensor, y: Tensor) -> Tensor:
        return network(torch.zeros(()), y) + _READERS[reader](t)

    with pytest.raises(lrnde.CapabilityError, match=r"takes its time or its state out of torch.*KineticEnergy"):
        lrnde.regularize(odeint)(field, _Y0, _TIMES, **_FIXED)
    for heuristic in _ADVISED:
        _, report = lrnde.regularize(odeint, heuristic=heuristic)(field, _Y0, _TIMES, draw=[0.4], **_FIXED)
        report.penalty.backward()
    assert network.inner.grad is not None


@pytest.mark.parametrize("heuristic", [*_OF_DERIVATIVES, *_ADVISED], ids=repr)
def test_gradients_within_torch_func_are_those_of_backward(heuristic: AbstractHeuristic) -> None:
    network = Perceptron(dtype=torch.float64)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    solve = lrnde.regularize(odeint, heuristic=heuristic)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        def field(t: Tensor, y: Tensor) -> Tensor:
            return torch.func.functional_call(network, parameters, (t, y))

        ys, report = solve(field, _Y0.double(), _TIMES.double(), draw=[0.3], **_FIXED)
        return ys[-1].mean() + report.penalty

    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    loss(leaves).backward()
    expected = {name: leaf.grad for name, leaf in leaves.items()}
    torch.testing.assert_close(torch.func.grad(loss)(parameters), expected)
    torch.testing.assert_close(torch.func.jacrev(loss)(parameters), expected)
    ones = {name: torch.ones_like(value) for name, value in parameters.items()}
    tangent: Any = torch.func.jvp(loss, (parameters,), (ones,))[1]
    torch.testing.assert_close(tangent, sum(gradient.sum() for gradient in expected.values() if gradient is not None))


def test_a_draw_under_vmap_is_refused_in_words() -> None:
    with pytest.raises(lrnde.CapabilityError, match=r"`torch\.func\.vmap`.*whole batch"):
        torch.func.vmap(lambda y: lrnde.regularize(odeint)(lambda t, y: -y, y, _TIMES, **_FIXED)[1].penalty)(_Y0)


class _Network(torch.nn.Module):
    """Without a counter, for which it would be compiled at every call, and then no more."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.weight + torch.sin(3 * t))


def _as_written(network: _Network) -> Any:
    return network


def _compiled_module(network: _Network) -> Any:
    return torch.compile(network, backend="aot_eager")


def _compiled_function(network: _Network) -> Any:
    return torch.compile(network.forward, backend="aot_eager")


def _compiled_part(network: _Network) -> Any:
    part: Any = torch.compile(network, backend="aot_eager")
    return lambda t, y: part(t, y) + 0.0 * y


def _compiled_in_place(network: _Network) -> Any:
    network.compile(backend="aot_eager")
    return network


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("make", [_compiled_module, _compiled_function, _compiled_part, _compiled_in_place])
def test_a_compiled_field_has_the_penalty_of_the_field_as_written(make: Callable[[_Network], Any]) -> None:
    torch.compiler.reset()
    for heuristic in [*_OF_DERIVATIVES, *_ADVISED]:
        for solve in (odeint, odeint_adjoint):
            wrapped = lrnde.regularize(solve, heuristic=heuristic)
            outcomes: list[Any] = []
            for compile_field in (_as_written, make):
                network = _Network()
                field = compile_field(network)
                parameters = tuple(network.parameters())
                more = {"adjoint_params": parameters} if solve is odeint_adjoint else {}
                ys, report = wrapped(field, _Y0.double(), _TIMES.double(), draw=[0.3], **_ADAPTIVE, **more)
                (ys[-1].sum() + report.penalty).backward()
                outcomes.append((report.penalty, network.weight.grad))
            torch.testing.assert_close(*outcomes)
