"""Products of a cotangent with a Jacobian, wherever autodiff is available, and what they refuse."""

import contextlib

import pytest
import torch

import lrnde
from lrnde_torch import transposed_product
from tests.adapters.torch.once import Once

Tensor = torch.Tensor
_T, _Y, _V = torch.tensor(0.3).double(), torch.tensor([0.5, -1.2]).double(), torch.tensor([2.0, 0.7]).double()
_MATRIX = torch.tensor([[0.4, -1.0], [0.8, 0.3]]).double()


def _function(t: Tensor, y: Tensor) -> Tensor:
    return torch.sin(t) * _MATRIX @ y**3


def _expected(t: Tensor, y: Tensor) -> Tensor:
    return torch.sin(t) * (_V @ _MATRIX) * 3 * y**2


@pytest.mark.parametrize("context", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_it_is_right(context: type[contextlib.AbstractContextManager[None]]) -> None:
    with context():
        product = transposed_product(_function, _T, _Y, _V)
    torch.testing.assert_close(product, _expected(_T, _Y))
    assert product.requires_grad is (context is contextlib.nullcontext)


def test_it_is_right_under_vmap_and_can_be_differentiated_there() -> None:
    times, states = torch.stack([_T, 2 * _T]), torch.stack([_Y, -_Y])
    matrix = _MATRIX.clone().requires_grad_()

    def product(t: Tensor, y: Tensor) -> Tensor:
        return transposed_product(lambda t, y: torch.sin(t * (matrix @ y)), t, y, _V)

    together = torch.func.vmap(product)(times, states)
    alone = torch.stack([product(t, y) for t, y in zip(times, states, strict=True)])
    torch.testing.assert_close(together, alone)
    gradients = [torch.autograd.grad(value.square().sum(), matrix)[0] for value in (together, alone)]
    torch.testing.assert_close(*gradients)


def test_a_function_that_does_not_depend_on_the_state_has_product_0() -> None:
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    for function in (lambda t, y: torch.ones_like(_Y), lambda t, y: weight * t):
        assert torch.equal(transposed_product(function, _T, _Y, _V), torch.zeros_like(_Y))


def test_an_operation_that_can_not_be_differentiated_again_is_refused_wherever_it_stands() -> None:
    weight = torch.eye(2, dtype=torch.float64, requires_grad=True)
    # At the end, PyTorch itself says nothing: the cotangent that reaches it is a constant.
    for function in (lambda t, y: Once.apply(weight @ y), lambda t, y: weight @ Once.apply(y)):
        with pytest.raises(
            lrnde.CapabilityError, match=r"cannot differentiate again.*`ErrorEstimate\(rtol=1e-3, atol=1e-3\)`"
        ):
            transposed_product(function, _T, _Y, _V)
