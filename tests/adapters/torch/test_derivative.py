"""Derivatives in a direction, wherever autodiff is available: with a graph, without, and under `torch.func.vmap`."""

import contextlib

import pytest
import sympy
import torch

from lrnde_torch import directional_derivative, solution_derivatives

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
        return directional_derivative(_function, t, y, 1.0, _DY)

    times, states = torch.stack([_T, 2 * _T]), torch.stack([_Y, -_Y])
    expected = [torch.stack([f(t, y) for t, y in zip(times, states, strict=True)]) for f in (_first, _second)]
    torch.testing.assert_close(torch.func.vmap(once)(times, states), expected[0])
    twice = torch.func.vmap(lambda t, y: directional_derivative(once, t, y, 1.0, _DY))
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


@pytest.mark.parametrize("context", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_derivatives_along_a_solution_are_those_of_sympy(
    context: type[contextlib.AbstractContextManager[None]],
) -> None:
    time, state = sympy.symbols("t y")
    slope = sympy.sin(time) * sympy.exp(-state) * state + sympy.tanh(state)
    num_calls = 0

    def field(t: Tensor, y: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        return torch.sin(t) * torch.exp(-y) * y + torch.tanh(y)

    with context():
        got = solution_derivatives(field, 5, _T, _Y)
        assert num_calls == 1
    expression = slope
    for derivative in got:
        expected = sympy.lambdify((time, state), expression)(float(_T), _Y.numpy())
        torch.testing.assert_close(derivative, torch.tensor(expected), rtol=1e-10, atol=1e-10)
        expression = sympy.diff(expression, time) + sympy.diff(expression, state) * slope


@pytest.mark.parametrize("context", [contextlib.nullcontext, torch.inference_mode])
def test_a_field_may_return_what_broadcasts_to_the_state(
    context: type[contextlib.AbstractContextManager[None]],
) -> None:
    state = torch.stack([_Y, 2 * _Y])

    def narrow(t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(t) * y.square().sum(0, keepdim=True)

    def whole(t: Tensor, y: Tensor) -> Tensor:
        return narrow(t, y).expand_as(y)

    with context():
        for got, expected in zip(
            solution_derivatives(narrow, 3, _T, state), solution_derivatives(whole, 3, _T, state), strict=True
        ):
            torch.testing.assert_close(got.expand_as(state), expected)
        along = [directional_derivative(field, _T, state, 1.0, field(_T, state)) for field in (narrow, whole)]
    torch.testing.assert_close(along[0].expand_as(state), along[1])


def test_derivatives_along_a_solution_have_gradients_of_state_and_parameters() -> None:
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def third(rate: Tensor, y: Tensor) -> Tensor:
        return solution_derivatives(lambda t, y: rate * t * y**2, 3, _T, y)[-1]

    assert torch.autograd.gradcheck(third, (rate, _Y.clone().requires_grad_()))


def test_derivatives_along_the_solution_of_a_constant_field_are_zero() -> None:
    first, second, third = solution_derivatives(lambda t, y: torch.ones_like(y), 3, _T, _Y)
    torch.testing.assert_close(first, torch.ones_like(_Y))
    assert not second.any()
    assert not third.any()
