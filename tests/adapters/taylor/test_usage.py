"""Uses of `lrnde_taylor` beside solving: penalise the remainder, learn the midpoint, and err."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import pytest
import torch

import lrnde
from lrnde_taylor import odeint, solver

_TS = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
_Y0 = torch.tensor([[0.3, -0.8], [0.5, 0.1]], dtype=torch.float64)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _remainder_cost(rate: float) -> float:
    """The sum over steps of y' = a y of h times the root mean square of h^2 / 2 a^2 (1 + a h / 3) y over tolerance.

    Of 4 steps at a tolerance of 0.01.
    """
    h = 0.25
    factor = (rate * h) ** 2 / 2 * (1 + rate * h / 3)
    growth = 1 + rate * h + factor
    size = float(_Y0.square().mean().sqrt())
    return sum(h * abs(factor) * size * growth**step / 1e-2 for step in range(4))


def test_the_penalty_of_the_error_estimate_is_the_remainder() -> None:
    rate = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    heuristic = lrnde.ErrorEstimate(rtol=0.0, atol=1e-2)
    regularized = lrnde.regularize(odeint.odeint_taylor, heuristic=heuristic, sampler=lrnde.AllSteps())
    ys, report = regularized(lambda t, y: rate * y, _Y0, _TS, num_steps=2)
    torch.testing.assert_close(ys, odeint.odeint_taylor(lambda t, y: rate * y, _Y0, _TS, num_steps=2), rtol=0, atol=0)
    assert report.penalty.item() == pytest.approx(_remainder_cost(-0.7), rel=1e-12)
    report.penalty.backward()
    slope = (_remainder_cost(-0.7 + 1e-6) - _remainder_cost(-0.7 - 1e-6)) / 2e-6
    assert float(rate.grad) == pytest.approx(slope, rel=1e-7)
    assert (report.nfe, report.nfe_extra, report.num_steps, report.num_rejected) == (8, 0, 4, 0)


def test_in_diffrax_it_is_the_same() -> None:
    heuristic = lrnde.ErrorEstimate(rtol=0.0, atol=1e-2)
    regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, sampler=lrnde.AllSteps())
    term = diffrax.ODETerm(lambda t, y, rate: rate * y)
    _, report = regularized(term, solver.Taylor(), 0.0, 1.0, 0.25, jnp.asarray(_Y0.numpy()), -0.7)
    assert float(report.penalty) == pytest.approx(_remainder_cost(-0.7), rel=1e-12)


def test_an_expansion_in_inference_mode_is_that_of_training() -> None:
    regularized = lrnde.regularize(odeint.odeint_taylor)
    with torch.inference_mode():
        ys, report = regularized(lambda t, y: torch.sin(t) * y, _Y0, _TS, order=3)
    torch.testing.assert_close(ys, odeint.odeint_taylor(lambda t, y: torch.sin(t) * y, _Y0, _TS, order=3))
    assert report.nfe == 2 * 2


def test_a_trained_midpoint_makes_steps_more_exact() -> None:
    torch.manual_seed(0)
    network = odeint.Midpoint(2).double()
    optimizer = torch.optim.Adam(network.parameters(), 3e-2)
    states = torch.randn(16, 2, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.5], dtype=torch.float64)
    # The solution of Bernoulli's equation y' = -y - y^3.
    target = states * math.exp(-1.5) / (1 + states.square() * (1 - math.exp(-3.0))).sqrt()

    def error() -> torch.Tensor:
        ys = odeint.odeint_taylor(lambda t, y: -y - y**3, states, ends, num_steps=2, midpoint=network)
        return (ys[-1] - target).abs().mean()

    before = error().item()
    for _ in range(25):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert error().item() < 0.4 * before


def test_both_midpoint_networks_compute_the_same() -> None:
    ours = solver.Midpoint(2, 5, key=jax.random.key(0))
    theirs = odeint.Midpoint(2, 5).double()
    with torch.no_grad():
        for parameter, value in zip(
            theirs.parameters(), (ours.inner.weight, ours.inner.bias, ours.outer.weight, ours.outer.bias), strict=True
        ):
            parameter.copy_(torch.tensor(value.tolist()))
    t, h = torch.tensor(0.3), torch.tensor(0.1)
    expected = ours(0.3, jnp.asarray(_Y0.numpy()), 0.1)
    assert 0 < float(jnp.abs(expected).max()) < 1e-3
    torch.testing.assert_close(theirs(t, _Y0, h), torch.tensor(expected.tolist(), dtype=torch.float64))


_BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "order 0": (lambda: _call(order=0), r"`order=0`: `order` must be a whole number of at least 1"),
    "order 5": (lambda: _call(order=5), r"`order=5`: the expansion must be of order 1 to 4; .* take more steps"),
    "order of diffrax": (lambda: solver.Taylor(5), r"`order=5`: the expansion must be of order 1 to 4"),
    "order no integer": (lambda: solver.Taylor(1.5), r"`order=1.5`: `order` must be a whole number"),
    "no steps": (lambda: _call(num_steps=0), r"`num_steps=0`: .* of at least 1"),
    "not monotone": (lambda: _call(t=torch.tensor([0.0, 1.0, 0.5])), r"output times must strictly increase or"),
    "one time": (lambda: _call(t=torch.tensor([0.0])), r"shape \(1,\); it must hold at least two times"),
    "integer state": (lambda: _call(y0=torch.tensor([1, 2])), r"real floating-point dtype, not torch.int64"),
    "no tensor": (lambda: _call(y0=(_Y0, _Y0)), r"`y0` must be a tensor .*, not tuple"),
    "hidden": (lambda: odeint.Midpoint(2, 0), r"`hidden=0`: .* of at least 1"),
    "control": (lambda: _solve(_CONTROL), r"given a `ControlTerm`: pass `term.to_ode\(\)` in its place"),
    "several terms": (lambda: _solve(diffrax.MultiTerm(_ODE, _ODE)), r"given a `MultiTerm`: write it as one"),
}
_ODE = diffrax.ODETerm(lambda t, y, args: -y)
_CONTROL = diffrax.ControlTerm(
    lambda t, y, args: lineax.DiagonalLinearOperator(y),
    diffrax.LinearInterpolation(jnp.asarray([0.0, 1.0]), jnp.asarray([[0.0], [1.0]])),
)


def _call(**changes: Any) -> Any:
    given = {"y0": _Y0, "t": _TS, **changes}
    return lrnde.regularize(odeint.odeint_taylor)(lambda t, y: -y, given.pop("y0"), given.pop("t"), **given)


def _solve(term: Any) -> Any:
    return diffrax.diffeqsolve(term, solver.Taylor(), 0.0, 1.0, 0.5, jnp.ones(1))


@pytest.mark.parametrize("name", list(_BAD_CALLS))
def test_bad_input_is_answered_in_words(name: str) -> None:
    call, message = _BAD_CALLS[name]
    with pytest.raises((lrnde.InputError, lrnde.InputTypeError), match=message):
        call()
