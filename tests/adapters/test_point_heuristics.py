"""Kinetic energy, Jacobian norm and Taylor derivatives on two backends, against dense Jacobians and sympy."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest
import scipy.integrate
import sympy
import sympy.codegen.rewriting
import torch
import torchdiffeq  # pyright: ignore[reportMissingTypeStubs]
import torchsde

import lrnde
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_core._draws import Probe, probe_seed, random_probe
from tests.adapters.torchdiffeq.problems import DOPRI5, RK4
from tests.rounding import assert_gradient_within_rounding, assert_within_rounding, rounded

_SIZE = 6
_RANDOM = np.random.default_rng(3)
_WEIGHTS = {"inner": _RANDOM.normal(size=(_SIZE, 6)), "shift": _RANDOM.normal(size=6), "outer": _RANDOM.normal(size=6)}
_Y0 = _RANDOM.normal(size=_SIZE)
_PROBE = _RANDOM.normal(size=_SIZE)
_EPSILON = float(np.finfo(float).eps)
# One step, there and back.
_FORWARD, _BACKWARD = (0.1, 0.3), (0.3, 0.1)

_HEURISTICS: dict[str, Any] = {
    "kinetic, rnode": lrnde.KineticEnergy(),
    "kinetic, taynode": lrnde.KineticEnergy("taynode"),
    "jacobian, vjp": lrnde.JacobianNorm(),
    "jacobian, jvp": lrnde.JacobianNorm("rademacher", "jvp"),
    "sum": lrnde.KineticEnergy() + 0.1 * lrnde.JacobianNorm(),
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


# The equation dx/dt = outer * tanh(inner x + shift sin(3 t)) of a vector, its Jacobian, and what is penalised.


def _field(weights: Any, t: float, x: Any) -> Any:
    return weights["outer"] * np.tanh(weights["inner"] @ x + weights["shift"] * np.sin(3 * t))


def _jacobian(weights: Any, t: float, x: Any) -> Any:
    inside = weights["inner"] @ x + weights["shift"] * np.sin(3 * t)
    return (weights["outer"] * (1 - np.tanh(inside) ** 2))[:, None] * weights["inner"]


def _third_derivative(weights: Any, t: float, x: Any) -> Any:
    inner, shift, outer = weights["inner"], weights["shift"], weights["outer"]
    value = np.tanh(inner @ x + shift * np.sin(3 * t))
    slope = 1 - value * value
    speed = inner @ (outer * value) + 3 * shift * np.cos(3 * t)
    acceleration = inner @ (outer * slope * speed) - 9 * shift * np.sin(3 * t)
    return outer * slope * (acceleration - 2 * value * speed * speed)


def _density(name: str, weights: Any, t: float, x: Any, probe: Any) -> Any:
    velocity, jacobian = _field(weights, t, x), _jacobian(weights, t, x)
    third = np.mean(_third_derivative(weights, t, x) ** 2)
    return {
        "kinetic, rnode": 0.5 * np.mean(velocity**2),
        "kinetic, taynode": np.mean(velocity**2),
        "jacobian, vjp": np.mean((probe @ jacobian) ** 2),
        "jacobian, jvp": np.mean((jacobian @ probe) ** 2),
        "sum": 0.5 * np.mean(velocity**2) + 0.1 * np.mean((probe @ jacobian) ** 2),
        "vjp and third derivative": np.mean((probe @ jacobian) ** 2) + third,
        "jvp and third derivative": np.mean((jacobian @ probe) ** 2) + third,
    }[name]


def _by_one_step(
    name: str, draws: list[float], span: tuple[float, float] = _FORWARD, *, y0: Any = _Y0, probes: Any, **given: Any
) -> Any:
    """The penalty of a solve of one step, `Rounded`: its length times the mean density at the drawn times.

    - `probes`: one for each draw. `given`: weights in place of the usual ones.
    """
    start, end = map(rounded, span)
    weights = {**{name: rounded(value) for name, value in _WEIGHTS.items()}, **given}
    total: Any = 0
    for draw, probe in zip(draws, probes, strict=True):
        t = start + draw * (end - start)
        x = DOPRI5.solve(lambda t, x: _field(weights, t, x), start, t - start, y0)
        total = total + _density(name, weights, t, x, probe)
    return abs(end - start) * total / len(draws)


def _assert_gradients(gradients: dict[str, Any], *args: Any, **settings: Any) -> None:
    """Of the penalty that `_by_one_step` is told of, a weight at a time."""
    for weight, value in _WEIGHTS.items():

        def penalty(moved: Any, weight: str = weight) -> Any:
            return _by_one_step(*args, **settings, **{weight: moved})

        assert_gradient_within_rounding(gradients[weight], value, penalty)


def _drawn_probes(kind: Probe, draws: list[float]) -> list[Any]:
    """Those that the draws decide, with their rounding."""
    probes: list[Any] = []
    for draw in draws:
        (probe,) = random_probe(kind, probe_seed(int(draw * 2**24)), (np.zeros(_SIZE),))
        # Box and Muller: angles up to 2 pi are rounded twice, logarithm, root and cosine by 4 units at most.
        radius = np.tile(np.hypot(*probe.reshape(2, -1)), 2) if kind == "gaussian" else np.zeros(_SIZE)
        probes.append(Rounded(probe, (4 * math.pi + 12) * _EPSILON * radius, _EPSILON))
    return probes


# The same equation as the solvers take it, for a vector or for a state of several arrays.


def _tree(x: Any, kind: str) -> Any:
    return {"vector": x, "tuple": (x[:4].reshape(2, 2), x[4:]), "dict": {"a": x[:4].reshape(2, 2), "b": x[4:]}}[kind]


def _vector(concatenate: Callable[..., Any], tree: Any, kind: str) -> Any:
    leaves = {"vector": lambda: (tree,), "tuple": lambda: tree, "dict": lambda: (tree["a"], tree["b"])}[kind]()
    return concatenate([leaf.reshape(-1) for leaf in leaves])


def _by_torchdiffeq(
    heuristic: Any, span: Any, draws: list[float], kind: str = "vector", *, probe: Any = None, **how: Any
) -> tuple[lrnde.Report, dict[str, Any]]:
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in _WEIGHTS.items()}

    def field(t: Any, y: Any) -> Any:
        x = _vector(torch.cat, y, kind)
        return _tree(weights["outer"] * torch.tanh(weights["inner"] @ x + weights["shift"] * torch.sin(3 * t)), kind)

    settings: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2, "options": {"first_step": 0.2}, **how.pop("settings", {})}
    solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=heuristic, num_samples=len(draws), **how)
    probes = {} if probe is None else {"probes": _tree(torch.tensor(probe), kind)}
    times = torch.tensor(span, dtype=torch.float64)
    _, report = solve(field, _tree(torch.tensor(_Y0), kind), times, draw=draws, **probes, **settings)
    gradients = torch.autograd.grad(report.penalty, list(weights.values()), materialize_grads=True, allow_unused=True)
    return report, dict(zip(weights, [gradient.numpy() for gradient in gradients], strict=True))


def _by_diffrax(
    heuristic: Any, span: Any, draws: list[float], kind: str = "vector", *, probe: Any = None, **how: Any
) -> tuple[lrnde.Report, dict[str, Any]]:
    def field(t: Any, y: Any, weights: Any) -> Any:
        x = _vector(jnp.concatenate, y, kind)
        return _tree(weights["outer"] * jnp.tanh(weights["inner"] @ x + weights["shift"] * jnp.sin(3 * t)), kind)

    tolerance = how.pop("tolerance", 1e-2)
    solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, num_samples=len(draws), **how)
    probes = {} if probe is None else {"probes": _tree(jnp.asarray(probe), kind)}

    def penalty(weights: Any, draws: Any) -> Any:
        _, report = solve(
            diffrax.ODETerm(field),
            diffrax.Dopri5(),
            *span,
            None if tolerance < 1e-2 else span[1] - span[0],
            _tree(jnp.asarray(_Y0), kind),
            weights,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            draw=draws,
            **probes,
        )
        return report.penalty, report

    weights = {name: jnp.asarray(value) for name, value in _WEIGHTS.items()}
    gradients, report = jax.jit(jax.grad(penalty, has_aux=True))(weights, jnp.asarray(draws))
    return report, {name: np.asarray(gradient) for name, gradient in gradients.items()}


_BACKENDS = {"torchdiffeq": _by_torchdiffeq, "diffrax": _by_diffrax}


# In diffrax each is compiled; the sum holds kinetic energy and Jacobian in their other forms.
_TOLD_APART = [
    *(("torchdiffeq", name, _FORWARD) for name in _HEURISTICS),
    *(("diffrax", name, _FORWARD) for name in ("kinetic, taynode", "jacobian, jvp")),
    *((backend, "sum", _BACKWARD) for backend in _BACKENDS),
]


@pytest.mark.parametrize(("backend", "name", "span"), _TOLD_APART, ids=str)
def test_value_and_gradient_are_those_of_the_dense_jacobian(backend: str, name: str, span: tuple[float, float]) -> None:
    report, gradients = _BACKENDS[backend](_HEURISTICS[name], span, [0.4], probe=_probe_for(name))
    assert report.num_accepted == 1
    assert_within_rounding(report.penalty.item(), _by_one_step(name, [0.4], span, probes=[_PROBE]))
    _assert_gradients(gradients, name, [0.4], span, probes=[_PROBE])


def _probe_for(name: str) -> Any:
    return None if name.startswith("kinetic") else _PROBE


@pytest.mark.parametrize(
    ("backend", "kind", "how"),
    [
        ("torchdiffeq", "tuple", {}),
        ("torchdiffeq", "tuple", {"batched": True}),
        ("torchdiffeq", "vector", {"batched": True}),
        ("diffrax", "dict", {}),
    ],
)
def test_several_samples_and_states_of_several_arrays(backend: str, kind: str, how: dict[str, Any]) -> None:
    draws, name, solve = [0.1, 0.4, 0.9], "sum", _BACKENDS[backend]
    report, _ = solve(_HEURISTICS[name], _FORWARD, draws, kind, probe=_PROBE, **how)
    assert_within_rounding(report.penalty.item(), _by_one_step(name, draws, probes=[_PROBE] * len(draws)))
    # Without probes of the user's, too, a state is the vector of its elements.
    report, gradients = solve(_HEURISTICS[name], _FORWARD, draws, kind, **how)
    probes = _drawn_probes("gaussian", draws)
    assert_within_rounding(report.penalty.item(), _by_one_step(name, draws, probes=probes))
    _assert_gradients(gradients, name, draws, probes=probes)


@pytest.mark.parametrize(("probe", "mode"), [("gaussian", "vjp"), ("rademacher", "jvp")])
def test_backends_agree_on_the_probes_that_the_draws_decide(probe: Any, mode: Any) -> None:
    draws, name = [0.2, 0.7], f"{mode} and third derivative"
    heuristic, probes = lrnde.JacobianNorm(probe, mode) + lrnde.TaylorDerivative(3), _drawn_probes(probe, draws)
    expected = _by_one_step(name, draws, probes=probes)
    for solve in (*_BACKENDS.values(), functools.partial(_by_torchdiffeq, batched=True)):
        report, gradients = solve(heuristic, _FORWARD, draws)
        assert_within_rounding(report.penalty.item(), expected)
        _assert_gradients(gradients, name, draws, probes=probes)
    # Each sample has its own probe: the difference between two draws is more than that of their times.
    one, other = (_by_torchdiffeq(heuristic, _FORWARD, [draw])[0].penalty.item() for draw in (0.2, 0.2 + 1e-6))
    assert abs(one / other - 1) > 1e-3


@pytest.mark.parametrize("mode", ["vjp", "jvp"])
@pytest.mark.parametrize("backend", list(_BACKENDS))
def test_signs_average_to_the_squared_frobenius_norm(backend: str, mode: Any) -> None:
    matrix = np.array([[0.5, -1.0, 2.0], [0.3, 0.1, 0.0], [-0.7, 1.5, 0.2]])
    settings: dict[str, Any]
    if backend == "torchdiffeq":
        native, weight, as_array = torchdiffeq.odeint, torch.tensor(matrix), torch.tensor
        zeros, times = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 2.0], dtype=torch.float64)
        arguments = (lambda _t, y: torch.sin(weight @ y), zeros, times)
        settings = {"rtol": 1e-2, "atol": 1e-2}
    else:
        native, as_array = diffrax.diffeqsolve, jnp.asarray
        term = diffrax.ODETerm(lambda _t, y, _: jnp.sin(matrix @ y))
        arguments = (term, diffrax.Tsit5(), 0.0, 2.0, 0.1, jnp.zeros(3))
        settings = {"stepsize_controller": diffrax.PIDController(rtol=1e-2, atol=1e-2)}
    solve: Any = lrnde.regularize(native, heuristic=lrnde.JacobianNorm("rademacher", mode))
    probes = [np.array(signs) for signs in itertools.product([-1.0, 1.0], repeat=3)]
    values = [solve(*arguments, **settings, draw=[0.0], probes=as_array(each))[1].penalty.item() for each in probes]
    expected: Any = 2 * sum(np.mean((each @ rounded(matrix)) ** 2) for each in probes) / len(probes)
    assert_within_rounding(2 * np.sum(matrix**2) / 3, expected)
    assert_within_rounding(np.mean(values), expected)


def _exponential(x: Any) -> Any:
    tangent = np.tanh(x / 2)
    return (1 + tangent) / (1 - tangent)


def _derivatives_by_sympy(t: float, y: tuple[float, float]) -> dict[int, Any]:
    """The mean squares of the derivatives of orders 2 to 6 of a solution of y' = sin(t) z, z' = y z - exp(-y).

    Written out they have the terms of any way to compute them, and no fewer operations.
    """
    time, first, second = sympy.symbols("t y z")
    slopes = [sympy.sin(time) * second, first * second - sympy.exp(-first)]
    multiplied = sympy.codegen.rewriting.create_expand_pow_optimization(6)
    modules: Any = [{"exp": _exponential}, "numpy"]
    expressions, values = slopes, dict[int, Any]()
    for order in range(2, 7):
        expressions = [
            sympy.diff(e, time) + sympy.diff(e, first) * slopes[0] + sympy.diff(e, second) * slopes[1]
            for e in expressions
        ]
        written = [multiplied(sympy.expand(e)) for e in expressions]
        functions = [sympy.lambdify((time, first, second), each, modules) for each in written]
        values[order] = sum(function(*map(rounded, (t, *y))) ** 2 for function in functions) / 2
    return values


def test_taylor_derivatives_of_orders_2_to_6_are_those_of_sympy() -> None:
    t, y, end = 0.7, (0.4, -1.2), 0.9
    expected, length = _derivatives_by_sympy(t, y), rounded(end) - rounded(t)
    settings: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2}
    controller = diffrax.PIDController(rtol=1e-2, atol=1e-2)
    for order, value in expected.items():
        heuristic = lrnde.TaylorDerivative(order)
        solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=heuristic)
        _, report = solve(
            lambda t, y: torch.stack([torch.sin(t) * y[1], y[0] * y[1] - torch.exp(-y[0])]),
            torch.tensor(y, dtype=torch.float64),
            torch.tensor([t, end], dtype=torch.float64),
            draw=[0.0],
            **settings,
        )
        assert_within_rounding(report.penalty.item(), length * value)
    # One program for all orders, each in a share of its own and with about the same weight in the sum.
    shares = {order: number / value.value for number, (order, value) in enumerate(expected.items(), start=1)}
    total: Any = functools.reduce(operator.add, (share * lrnde.TaylorDerivative(n) for n, share in shares.items()))
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=total)
    term = diffrax.ODETerm(lambda t, y, _: jnp.stack([jnp.sin(t) * y[1], y[0] * y[1] - jnp.exp(-y[0])]))
    arguments = (term, diffrax.Heun(), t, end, 0.1, jnp.asarray(y))
    _, report = solve(*arguments, stepsize_controller=controller, draw=[0.0])
    assert_within_rounding(report.penalty.item(), length * sum(shares[order] * expected[order] for order in expected))


@pytest.mark.parametrize("backend", list(_BACKENDS))
def test_the_mean_over_draws_is_the_running_cost(backend: str) -> None:
    span, num_draws = (0.0, 1.5), 600
    solution = scipy.integrate.solve_ivp(
        lambda t, x: _field(_WEIGHTS, t, x), span, _Y0, method="DOP853", rtol=1e-13, atol=1e-13, dense_output=True
    ).sol
    nodes, shares = np.polynomial.legendre.leggauss(60)
    times = 0.5 * (span[0] + span[1]) + 0.5 * (span[1] - span[0]) * nodes
    expected = (
        0.5
        * (span[1] - span[0])
        * sum(share * _density("sum", _WEIGHTS, t, solution(t), _PROBE) for share, t in zip(shares, times, strict=True))
    )
    how: dict[str, Any] = {"tolerance": 1e-9}
    if backend == "torchdiffeq":
        how = {"batched": True, "settings": {"rtol": 1e-9, "atol": 1e-9, "options": {}}}
    errors: list[float] = []
    # In diffrax each number of draws is a program of its own.
    for count in (num_draws // 10, num_draws) if backend == "torchdiffeq" else (num_draws,):
        draws = ((np.arange(count) + 0.5) / count).tolist()
        report, _ = _BACKENDS[backend](_HEURISTICS["sum"], span, draws, probe=_PROBE, **how)
        assert report.num_accepted is not None
        assert report.num_accepted > 5
        errors.append(abs(report.penalty.item() / expected - 1))
    assert errors[-1] < 1e-6
    if backend == "torchdiffeq":
        # The midpoint rule over the draws converges with its square.
        assert errors[0] / errors[1] == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize("backend", list(_BACKENDS))
def test_at_the_step_it_is_the_left_riemann_sum_over_the_steps(backend: str) -> None:
    heuristic: Any = lrnde.KineticEnergy(at="step")
    draws = ((np.arange(4) + 0.5) / 4).tolist()
    if backend == "torchdiffeq":
        settings = {"method": "rk4", "options": {"step_size": 0.25}}
        field = lambda t, y: torch.cos(3 * t) * y  # noqa: E731
        solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=heuristic, num_samples=4)
        _, report = solve(field, torch.ones(2).double(), torch.tensor([0.0, 1.0]).double(), draw=draws, **settings)
    else:
        solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, num_samples=4)
        term = diffrax.ODETerm(lambda t, y, _: jnp.cos(3 * t) * y)
        _, report = solve(term, diffrax.Dopri5(), 0.0, 1.0, 0.25, jnp.ones(2), draw=draws)
    tableau, state = RK4 if backend == "torchdiffeq" else DOPRI5, rounded(np.ones(2))
    expected: Any = 0
    for time in np.arange(4) / 4:
        expected = expected + 0.25 * 0.5 * np.mean((np.cos(3 * rounded(time)) * state) ** 2)
        state = tableau.solve(lambda t, y: np.cos(3 * t) * y, rounded(time), 0.25, state)
    assert_within_rounding(report.penalty.item(), expected)
    integral = scipy.integrate.quad(lambda t: 0.5 * np.cos(3 * t) ** 2 * np.exp(2 * np.sin(3 * t) / 3), 0, 1)[0]
    # The Riemann sum is off by a half of the first step's share and more.
    assert 0.01 < abs(expected.value / integral - 1) < 0.5


@pytest.mark.parametrize(
    "heuristic",
    [lrnde.KineticEnergy(at="step"), *(lrnde.JacobianNorm(mode=mode, at="step") for mode in ("vjp", "jvp"))],
    ids=["kinetic", "vjp", "jvp"],
)
def test_the_evaluations_are_those_that_are_counted(heuristic: Any) -> None:
    for total in (heuristic, heuristic + lrnde.TaylorDerivative(4, at="step")):
        calls: list[None] = []

        def field(t: Any, y: Any, calls: list[None] = calls) -> Any:
            calls.append(None)
            return torch.cos(t) * torch.sin(y)

        solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=total)
        settings: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}
        _, report = solve(field, torch.ones(3), torch.tensor([0.0, 1.0]), draw=[0.5], **settings)
        assert len(calls) == report.nfe + report.nfe_extra
        assert report.nfe_extra == (1 if total is heuristic else 2)
        calls.clear()

        def counted(t: Any, y: Any, _: Any, calls: list[None] = calls) -> Any:
            jax.debug.callback(lambda _: calls.append(None), t)
            return jnp.cos(t) * jnp.sin(y)

        solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=total)
        arguments = (diffrax.ODETerm(counted), diffrax.Heun(), 0.0, 1.0, 0.1, jnp.ones(3))
        controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
        _, report = jax.block_until_ready(solve(*arguments, stepsize_controller=controller, draw=[0.5]))
        jax.effects_barrier()
        assert len(calls) == report.nfe + report.nfe_extra
        assert report.nfe_extra == (1 if total is heuristic else 2)


def test_solves_that_are_vectorised_and_compiled_have_probes_of_their_own() -> None:
    solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.JacobianNorm())
    start, end = _FORWARD

    # Made once: a field made anew is compiled anew.
    @diffrax.ODETerm
    def term(t: Any, y: Any, _: Any) -> Any:
        return _WEIGHTS["outer"] * jnp.tanh(_WEIGHTS["inner"] @ y + _WEIGHTS["shift"] * jnp.sin(3 * t))

    def penalty(y0: Any, draw: Any, probes: Any) -> Any:
        # Of one step, however far its error is from the tolerance.
        return solve(term, diffrax.Dopri5(), start, end, end - start, y0, draw=draw, probes=probes)[1].penalty

    states, draws, own = np.stack([_Y0, -2 * _Y0]), [[0.3], [0.8]], np.stack([_PROBE, 1 - _PROBE])
    for probes in (None, own):
        together = jax.jit(jax.vmap(penalty))(jnp.asarray(states), jnp.asarray(draws), probes)
        for i, (y0, draw) in enumerate(zip(states, draws, strict=True)):
            expected_probes = _drawn_probes("gaussian", draw) if probes is None else [own[i]]
            expected = _by_one_step("jacobian, vjp", draw, y0=y0, probes=expected_probes)
            assert_within_rounding(together[i].item(), expected)
            alone = penalty(jnp.asarray(y0), jnp.asarray(draw), None if probes is None else own[i])
            assert_within_rounding(alone.item(), expected)


@pytest.mark.parametrize("library", ["torchsde", "diffrax"])
def test_of_a_stochastic_equation_they_see_the_drift_alone(library: str) -> None:
    heuristic = lrnde.KineticEnergy(at="step") + lrnde.JacobianNorm(at="step") + lrnde.TaylorDerivative(3, at="step")
    matrix, y0, probe = _WEIGHTS["inner"], _Y0[None], _PROBE[None]
    once = rounded(matrix)
    expected: Any = sum(
        [
            0.5 * np.mean((y0 @ once) ** 2),
            np.mean((probe @ rounded(matrix.T)) ** 2),
            np.mean((y0 @ once @ once @ once) ** 2),
        ]
    )
    if library == "torchsde":
        equation = _LinearEquation(matrix)
        motion = torchsde.BrownianInterval(0.0, 0.5, (1, _SIZE), dtype=torch.float64, entropy=1)
        solve: Any = lrnde.regularize(torchsde.sdeint, heuristic=heuristic)
        times, probes = torch.tensor([0.0, 0.5], dtype=torch.float64), torch.tensor(probe)
        settings: dict[str, Any] = {"method": "euler", "dt": 0.5, "bm": motion}
        _, report = solve(equation, torch.tensor(y0), times, draw=[0.0], probes=probes, **settings)
    else:
        path = diffrax.VirtualBrownianTree(0.0, 0.5, 1e-3, (1, _SIZE), jax.random.key(0))
        noise = diffrax.ControlTerm(lambda _t, y, _: lineax.DiagonalLinearOperator(y), path)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda _t, y, _: y @ matrix), noise)
        solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)
        _, report = solve(terms, diffrax.Euler(), 0.0, 0.5, 0.5, jnp.asarray(y0), draw=[0.0], probes=jnp.asarray(probe))
    assert_within_rounding(report.penalty.item(), 0.5 * expected)


class _LinearEquation(torch.nn.Module):
    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor(matrix))

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y @ self.matrix

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(
    shape=st.sampled_from([(3,), (2, 3), (2, 1, 2)]),
    factor=st.floats(0.1, 3.0),
    is_reversed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_linear_field_has_the_same_penalty_at_every_time(
    shape: tuple[int, ...], factor: float, is_reversed: bool, seed: int
) -> None:
    # Its Jacobian is constant, so the penalty is the length of the solve times one number, and quadratic in the field.
    size, random = int(np.prod(shape)), np.random.default_rng(seed)
    matrix, probe = random.normal(size=(size, size)), random.normal(size=size)
    times = torch.tensor([1.0, 0.0] if is_reversed else [0.0, 1.0]).double() * 0.5
    expected: Any = 0.5 * np.mean((probe @ rounded(matrix)) ** 2)
    for scale in (1.0, factor):
        weight = scale * torch.tensor(matrix)
        solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic="jacobian_norm", num_samples=2)
        settings: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2, "probes": torch.tensor(probe).reshape(shape)}
        _, report = solve(
            lambda _t, y, w=weight: (w @ y.reshape(-1)).reshape(shape),
            torch.ones(shape).double(),
            times,
            draw=random.random(2),
            **settings,
        )
        assert_within_rounding(report.penalty.item(), rounded(scale) ** 2 * expected)


_WRONG_PROBES: dict[str, tuple[str, Any, str]] = {
    "shape": ("torchdiffeq", torch.ones(2), r"shape \(2,\) and dtype torch.float32 on cpu; it must be of shape \(3,\)"),
    "dtype": ("torchdiffeq", torch.ones(3).double(), "dtype torch.float64 on cpu; it must be .* torch.float32"),
    "structure": ("torchdiffeq", (torch.ones(3),), "must be a tensor like the state, not a tuple of 1"),
    "no tensor": ("torchdiffeq", np.ones(3), "must be a tensor like the state, not a `ndarray`"),
    "JAX: shape": (
        "diffrax",
        jnp.ones(2, "float32"),
        r"have shape \(2,\) and dtype float32; they must have shape \(3,\)",
    ),
    "JAX: dtype": ("diffrax", jnp.ones(3, int), r"have shape \(3,\) and dtype int.*must have .* float32"),
    "JAX: structure": ("diffrax", {"a": 1}, "`probes` are a tree .*'a'.*like the state"),
}


@pytest.mark.parametrize("name", list(_WRONG_PROBES))
def test_probes_unlike_the_state_are_refused_before_the_solve(name: str) -> None:
    backend, probes, words = _WRONG_PROBES[name]

    def never(*_: Any) -> Any:
        raise AssertionError

    native, arguments = _never_solved(backend, never)
    with pytest.raises(lrnde.InputError, match=words):
        lrnde.regularize(native, heuristic=lrnde.JacobianNorm())(*arguments, draw=[0.5], probes=probes)
    with pytest.raises(lrnde.InputError, match="uses none; leave them out, or use `JacobianNorm"):
        lrnde.regularize(native, heuristic=lrnde.KineticEnergy())(*arguments, draw=[0.5], probes=probes)


def _never_solved(backend: str, field: Any) -> tuple[Any, Any]:
    if backend == "torchdiffeq":
        return torchdiffeq.odeint, (field, torch.ones(3), torch.tensor([0.0, 1.0]))
    term = diffrax.ODETerm(field)
    return diffrax.diffeqsolve, (
        term,
        diffrax.Euler(),
        jnp.float32(0),
        jnp.float32(1),
        jnp.float32(0.1),
        jnp.ones(3, "float32"),
    )
