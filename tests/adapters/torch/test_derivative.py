"""Derivatives in a direction, wherever autodiff is to be had: with a graph, without, and under `torch.func.vmap`."""

import contextlib

import pytest
import torch

from lrnde_torch import directional_derivative

Tensor = torch.Tensor
_T, _Y, _DY = torch.tensor(0.3).double(), torch.tensor([0.5, -1.2]).double(), torch.tensor([2.0, 0.7]).double()


def _function(t: Tensor, y: Tensor) -> Tensor:
    return torch.sin(t) * y**3


def _first(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) * y**3 + torch.sin(t) * 3 * y**2 * _DY


def _second(t: Tensor, y: Tensor) -> Tensor:
    return -torch.sin(t) * y**3 + torch.cos(t) * 6 * y**2 * _DY + torch.sin(t) * 6 * y * _DY**2


@pytest.mark.parametrize("context", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_it_is_right_once_and_twice(context: type[contextlib.AbstractContextManager[None]]) -> None:
    with context():
        once = directional_derivative(_function, _T, _Y, 1.0, _DY)
        twice = directional_derivative(lambda t, y: directional_derivative(_function, t, y, 1.0, _DY), _T, _Y, 1.0, _DY)
    torch.testing.assert_close(once, _first(_T, _Y))
    torch.testing.assert_close(twice, _second(_T, _Y))


def test_it_is_right_once_and_twice_under_vmap() -> None:
    def once(t: Tensor, y: Tensor) -> Tensor:
        return directional_derivative(_function, t, y, 1.0, _DY, is_vectorized=True)

    times, states = torch.stack([_T, 2 * _T]), torch.stack([_Y, -_Y])
    expected = [torch.stack([f(t, y) for t, y in zip(times, states, strict=True)]) for f in (_first, _second)]
    torch.testing.assert_close(torch.func.vmap(once)(times, states), expected[0])
    twice = torch.func.vmap(lambda t, y: directional_derivative(once, t, y, 1.0, _DY, is_vectorized=True))
    torch.testing.assert_close(twice(times, states), expected[1])


def test_it_is_two_backward_passes_again_after_inference_mode() -> None:
    with torch.inference_mode():
        directional_derivative(_function, _T, _Y, 1.0, _DY)
    y = _Y.clone().requires_grad_()
    seen: list[bool] = []

    def function(t: Tensor, y: Tensor) -> Tensor:
        # Forward-mode autodiff would hand over a tensor in which nothing may ask for its gradient.
        seen.append(torch.autograd.grad(y.square().sum(), y, create_graph=True)[0].requires_grad)
        return _function(t, y)

    directional_derivative(function, _T, y, 1.0, _DY).sum().backward()
    assert seen == [True]
    assert y.grad is not None
