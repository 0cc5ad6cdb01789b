"""The steps of `odeint_taylor` and of `Taylor`: their order, and Lagrange's remainder where its midpoint is known."""

import math
from collections.abc import Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lrnde_taylor.odeint import odeint_taylor
from lrnde_taylor.solver import Taylor

_Y0 = np.array([[0.3, -0.8], [0.5, 0.1]])
_END = 1.2


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _torch_field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Solved by y = sinh^-1 of a sine plus a constant: dy/dt = cos(t) / cosh(y)."""
    return torch.cos(t) / torch.cosh(y)


def _jax_field(t: Any, y: Any, args: Any = None) -> Any:
    return jnp.cos(t) / jnp.cosh(y)


def _solution(t: float) -> np.ndarray:
    return np.arcsinh(np.sinh(_Y0) + np.sin(t))


def _solve_torch(order: int, num_steps: int, end: float = _END, **own: Any) -> np.ndarray:
    ts = torch.tensor([0.0, end], dtype=torch.float64)
    ys = odeint_taylor(_torch_field, torch.tensor(_Y0), ts, order=order, num_steps=num_steps, **own)
    return ys[-1].numpy()


def _diffeqsolve(solver: Any, num_steps: int, end: float = _END, term: Any = None, **own: Any) -> Any:
    term = diffrax.ODETerm(_jax_field) if term is None else term
    # Arrays, for which diffrax compiles one solve, not one for each number.
    times = jnp.asarray(0.0), jnp.asarray(end), jnp.asarray(end / num_steps)
    return diffrax.diffeqsolve(term, solver, *times, jnp.asarray(_Y0), **own)


def _order(solve: Any, num_steps: int) -> float:
    errors = [np.abs(solve(n) - _solution(_END)).max() for n in (num_steps, 2 * num_steps)]
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_steps_are_two_orders_better_than_their_expansion(order: int) -> None:
    num_steps = 16 if order < 4 else 8
    assert _order(lambda n: _solve_torch(order, n), num_steps) == pytest.approx(order + 2, abs=0.2)


def test_both_backends_take_the_same_steps_in_both_directions() -> None:
    for end in (_END, -_END):
        solution = _diffeqsolve(Taylor(2), 5, end)
        np.testing.assert_allclose(solution.ys[0], _solve_torch(2, 5, end), rtol=1e-13)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_step_is_exact_where_the_midpoint_is(order: int) -> None:
    # Of y' = a y all that the expansion leaves out is (a h)^(p+1) / (p+1)! times the state at the midpoint.
    rate, h = -0.7, 1.3
    z = rate * h
    rest = math.exp(z) - sum(z**i / math.factorial(i) for i in range(order + 1))
    midpoint = rest * math.factorial(order + 1) / z ** (order + 1)
    stretch = (midpoint - 1) * (order + 2) / z - 1
    # What is left out cancels, and its share is multiplied up again.
    rounding = 8 * np.finfo(float).eps * sum(abs(z) ** i / math.factorial(i) for i in range(order + 3))

    ts = torch.tensor([0.0, h], dtype=torch.float64)
    ys = odeint_taylor(
        lambda t, y: rate * y, torch.tensor(_Y0), ts, order=order, midpoint=lambda t, y, h: stretch + 0 * y
    )
    np.testing.assert_allclose(ys[-1], math.exp(z) * _Y0, rtol=0.0, atol=rounding * np.abs(_Y0).max())
    if order != 2:
        return
    term = diffrax.ODETerm(lambda t, y, args: rate * y)
    solver = Taylor(order, lambda t, y, h: jnp.full_like(y, stretch))
    ys: Any = diffrax.diffeqsolve(term, solver, 0.0, h, h, jnp.asarray(_Y0)).ys
    np.testing.assert_allclose(ys[0], math.exp(z) * _Y0, rtol=0.0, atol=rounding * np.abs(_Y0).max())


def test_an_adaptive_solve_keeps_to_its_tolerance() -> None:
    controller = diffrax.PIDController(rtol=1e-7, atol=1e-7)
    saveat = diffrax.SaveAt(ts=jnp.asarray([0.31, _END]))
    solution = _diffeqsolve(Taylor(3), 4, stepsize_controller=controller, saveat=saveat)
    for t, y in zip((0.31, _END), solution.ys, strict=True):
        np.testing.assert_allclose(y, _solution(t), atol=1e-6)


@pytest.mark.parametrize("adjoint", [diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()])
def test_gradients_are_those_of_the_solution(adjoint: diffrax.AbstractAdjoint) -> None:
    @jax.jit
    @jax.grad
    def slope(rate: Any) -> Any:
        term = diffrax.ODETerm(lambda t, y, rate: rate * jnp.cos(t) / jnp.cosh(y))
        ys: Any = diffrax.diffeqsolve(term, Taylor(2), 0.0, _END, _END / 16, jnp.asarray(0.3), rate, adjoint=adjoint).ys
        return ys[0]

    expected = math.sin(_END) / math.cosh(math.asinh(math.sinh(0.3) + math.sin(_END)))
    assert float(slope(jnp.asarray(1.0))) == pytest.approx(expected, rel=1e-5)
