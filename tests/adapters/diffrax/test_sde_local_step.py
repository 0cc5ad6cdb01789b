"""The local step of a stochastic equation: against numpy along the same path, and against the solver's own error."""

import dataclasses
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
import pytest

import lrnde
from lrnde_diffrax._step import take_step
from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import DIRECT, PID, SCALE, SOLVE, RoughPath, Waves, solve

HALF = diffrax.HalfSolver


def numpy_fields(kind: str) -> tuple[Any, Any]:
    def drift(t: float, y: np.ndarray) -> np.ndarray:
        return np.sin(3 * t) - SCALE * y

    def diffusion(t: float, y: np.ndarray) -> np.ndarray:
        if kind == "diagonal":
            return np.diag(SCALE * np.cos(y + t))
        if kind == "additive":
            return np.diag(SCALE * np.asarray([1 + t, 0.5 - t]))
        return SCALE * np.stack([np.cos(y), np.full_like(y, 0.3), y[::-1]], axis=-1)

    return drift, diffusion


def heun(kind: str, t: float, t1: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (f, g), h = numpy_fields(kind), t1 - t
    w, _ = problems.increment(np, problems.amplitudes(problems.NOISE[kind][1]), t, t1)
    first = f(t, y) * h + g(t, y) @ w
    second = f(t1, y + first) * h + g(t1, y + first) @ w
    return y + (first + second) / 2, (first - second) / 2


def shark(kind: str, t: float, t1: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Foster, dos Reis and Strange, 2023, equation (6.1), for additive noise; its error estimate as in diffrax."""
    (f, g), h = numpy_fields(kind), t1 - t
    w, area = problems.increment(np, problems.amplitudes(2), t, t1)
    first = f(t, y + g(t, y) @ area)
    stage = y + 5 / 6 * (h * first + g(t, y) @ w) + g(t, y) @ area
    second = f(t + 5 / 6 * h, stage)
    noise = g(t, y) @ w + (g(t1, y) - g(t, y)) @ (w / 2 - area)
    return y + h * (0.4 * first + 0.6 * second) + noise, 0.6 * h * (second - first)


def euler_heun(kind: str, t: float, t1: float, y: np.ndarray) -> np.ndarray:
    f, g = numpy_fields(kind)
    w, _ = problems.increment(np, problems.amplitudes(problems.NOISE[kind][1]), t, t1)
    return y + f(t, y) * (t1 - t) + 0.5 * (g(t, y) + g(t, y + g(t, y) @ w)) @ w


def halved(step: Any) -> Any:
    def both(kind: str, t: float, t1: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = t + 0.5 * (t1 - t)
        y1 = step(kind, middle, t1, step(kind, t, middle, y))
        return y1, y1 - step(kind, t, t1, y)

    return both


STEPS: list[tuple[str, Any, str, Any, Any]] = [
    ("heun", diffrax.Heun(), "general", heun, (0.0, 1.0)),
    ("shark", diffrax.ShARK(), "additive", shark, (0.0, 1.0)),
    ("euler_heun_backward", HALF(diffrax.EulerHeun()), "diagonal", halved(euler_heun), (1.0, 0.0)),
]


@pytest.mark.parametrize(("solver", "kind", "step", "span"), [c[1:] for c in STEPS], ids=[c[0] for c in STEPS])
def test_penalty_averages_to_the_sum_over_all_steps(solver, kind, step, span):
    num_draws = 1000
    draws = (np.arange(num_draws) + 0.5) / num_draws
    regularized = dataclasses.replace(SOLVE, num_samples=num_draws)
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"saveat": saveat, "max_steps": 256}
    solution, report = solve(regularized, problems.terms(kind), solver, span=span, draw=draws, **options)
    n = int(report.num_accepted) + 1
    ts, ys = np.asarray(solution.ts)[:n], np.asarray(solution.ys)[:n]
    ratios = []
    for t, t1, y in zip(ts, ts[1:], ys, strict=False):
        y1, error = step(kind, t, t1, y)
        ratios.append(problems.error_ratio(y, y1, error))
    sizes = abs(np.diff(ts))
    index = np.searchsorted(np.cumsum(sizes), draws)
    np.testing.assert_allclose(report.sample.error_ratio, np.asarray(ratios)[index], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(report.sample.weight, 1 / sizes[index], rtol=1e-9)
    assert n > 3
    slack = max(ratios) * len(sizes) * 2 / num_draws
    assert abs(float(report.penalty) - np.sum(np.asarray(ratios) * sizes)) < slack


def test_predicted_steps_go_by_the_strong_order_that_diffrax_states_for_any_noise():
    regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.PredictedSteps(), sampler="uniform_step")
    _, report = solve(regularized, problems.terms("diagonal"), HALF(diffrax.Heun()), draw=[0.5])
    # Order 1/2, though 1 for this noise.
    expected = int(report.num_accepted) * float(report.sample.error_ratio[0]) ** (1 / (0.5 + 0.5))
    np.testing.assert_allclose(report.penalty, expected, rtol=1e-12)


@final
class Watching(diffrax.AbstractAdaptiveStepSizeController[Any, Any]):
    """A test double: notes start and scaled error of each accepted step, as the user's controller computes it."""

    controller: Any
    rtol: Any = 5e-2
    atol: Any = 2e-2
    norm: Any = optx.rms_norm

    def wrap(self, direction: Any) -> Any:
        return Watching(self.controller.wrap(direction))

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order) -> Any:
        end, state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, (state, jnp.zeros((), int), jnp.full((128, 2), jnp.nan))

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state) -> Any:
        state, count, notes = controller_state
        scaled = y_error / (self.atol + self.rtol * jnp.maximum(abs(y0), abs(y1_candidate)))
        keep, *rest, state, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state
        )
        notes = jnp.where(keep, notes.at[count].set(jnp.stack([t0, self.norm(scaled)])), notes)
        return keep, *rest, (state, count + jnp.where(keep, 1, 0), notes), result


OWN: list[tuple[str, Any, str, Any, Any]] = [
    ("spark", diffrax.SPaRK(), "general", None, (0.0, 1.0)),
    ("slow_rk", HALF(diffrax.SlowRK()), "diagonal", None, (0.0, 1.0)),
    ("midpoint_tree_backward", diffrax.Midpoint(), "general", "tree", (1.0, 0.0)),
    ("reversible_heun_backward", diffrax.ReversibleHeun(), "diagonal", None, (0.3, -0.7)),
]


@pytest.mark.parametrize(("solver", "kind", "path", "span"), [c[1:] for c in OWN], ids=[c[0] for c in OWN])
def test_error_ratio_is_what_the_controller_compared_with_1(solver, kind, path, span):
    if path == "tree":
        path = problems.tree(3)
    controller = diffrax.ClipStepSizeController(Watching(PID), jump_ts=[0.123])
    regularized = dataclasses.replace(SOLVE, num_samples=40)
    draws = (np.arange(40) + 0.5) / 40
    saveat = diffrax.SaveAt(t1=True, controller_state=True)
    solution, report = solve(
        regularized,
        problems.terms(kind, path),
        solver,
        span=span,
        draw=draws,
        stepsize_controller=controller,
        saveat=saveat,
    )
    _, count, notes = solution.controller_state.inner_state
    starts, ratios = np.asarray(notes)[: int(count)].T
    sampled = np.asarray(report.sample.t) * np.sign(span[1] - span[0])
    index = np.argmin(abs(sampled[:, None] - starts), axis=1)
    assert len(set(index)) > 5
    np.testing.assert_allclose(sampled, starts[index], rtol=0, atol=1e-15)
    np.testing.assert_allclose(report.sample.error_ratio, ratios[index], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("solver", "is_tree", "precision"),
    [(HALF(diffrax.EulerHeun()), True, "float32"), (diffrax.ShARK(), False, "float64")],
    ids=["euler_heun", "shark"],
)
def test_constant_drift_and_diffusion_cost_exactly_nothing(solver, is_tree, precision):
    # Also where drift and noise, or the noise of the two halves, all but cancel: 500 scales, times and sizes.
    regularized = dataclasses.replace(SOLVE, heuristic=lrnde.ErrorEstimate() + lrnde.PredictedSteps())
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-6)

    def penalty(scales, seed, y0, t0, h):
        key = jax.random.key(seed)
        path = problems.tree(3, key) if is_tree else Waves(jax.random.normal(key, (6, 3)))
        noise = diffrax.ControlTerm(lambda t, y, args: args[1:][None], path)
        equation = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: args[:1]), noise)
        options = {"stepsize_controller": controller, "draw": jnp.asarray([0.5]), **DIRECT}
        _, report = regularized(equation, solver, t0, t0 + h, h, y0, scales, **options)
        return report.penalty, report

    with jax.enable_x64(precision == "float64"):
        rng = np.random.default_rng(0)

        def log(low: float, high: float, shape: Any) -> jax.Array:
            return jnp.asarray(rng.choice([-1, 1], shape) * 10 ** rng.uniform(low, high, shape))

        arguments = (log(-3, 3, (500, 4)), jnp.arange(500), log(-6, 3, (500, 1)))
        times = jnp.asarray(rng.uniform(0, 0.5, 500)), abs(log(-3, -0.4, 500))
        gradient, report = jax.jit(jax.vmap(jax.grad(penalty, has_aux=True)))(*arguments, *times)
        assert jnp.all(report.sample.weight > 0)
        np.testing.assert_array_equal(report.penalty, jnp.zeros(500))
        np.testing.assert_array_equal(gradient, jnp.zeros((500, 4)))


def test_point_heuristic_sees_the_drift_alone():
    # Of dy/dt = A y with noise beside it the second derivative is A A y at the start of the step.
    matrix = np.asarray([[0.1, -2.0], [1.0, 0.3]])
    regularized = dataclasses.replace(SOLVE, heuristic=lrnde.TaylorDerivative(2, at="step"))
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    equation = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, y, args: args * (matrix @ y)), diffrax.ControlTerm(problems.diagonal, path)
    )
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"saveat": saveat, "max_steps": 256, "draw": jnp.asarray([0.5])}
    solution, report = solve(regularized, equation, diffrax.Heun(), **options)
    index = int(np.argmin(abs(solution.ts - report.sample.t[0])))
    second = SCALE**2 * matrix @ matrix @ np.asarray(solution.ys[index])
    np.testing.assert_allclose(report.penalty, np.mean(second**2), rtol=1e-10)
    # The second derivative by a Taylor series takes one.
    assert report.nfe_extra == 1


def test_path_that_diffrax_takes_for_a_smooth_control():
    equation = diffrax.MultiTerm(
        diffrax.ODETerm(problems.drift),
        diffrax.ControlTerm(problems.general, RoughPath(jnp.asarray(problems.amplitudes(3)))),
    )
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"saveat": saveat, "max_steps": 256, "draw": jnp.asarray([0.5])}
    solution, report = solve(SOLVE, equation, diffrax.Heun(), **options)
    index = int(np.argmin(abs(solution.ts - report.sample.t[0])))
    t, t1 = (float(t) for t in solution.ts[index : index + 2])
    y = np.asarray(solution.ys[index])
    np.testing.assert_allclose(
        report.sample.error_ratio[0], problems.error_ratio(y, *heun("general", t, t1, y)), rtol=1e-10
    )


def test_langevin_solver_takes_its_own_step():
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    equation = diffrax.MultiTerm(
        diffrax.UnderdampedLangevinDriftTerm(1.0, 2.0, lambda x, args: args * x),
        diffrax.UnderdampedLangevinDiffusionTerm(1.0, 2.0, path),
    )
    y0 = (jnp.ones(2), jnp.zeros(2))
    options = {"stepsize_controller": PID, "draw": jnp.asarray([0.5]), **DIRECT, "max_steps": 64}

    def penalty(scale):
        _, report = SOLVE(equation, diffrax.ALIGN(0.1), 0.0, 1.0, 0.05, y0, scale, **options)
        return report.penalty, report

    slope, report = jax.jit(jax.grad(penalty, has_aux=True))(1.5)
    assert report.penalty > 0
    assert slope != 0
    assert report.nfe is None
    assert report.nfe_diffusion is None


def test_control_term_alone_and_operators_of_lineax():
    def matrix(t, y, scale):
        return lx.MatrixLinearOperator(problems.general(t, y, scale))

    path = Waves(jnp.asarray(problems.amplitudes(3)))
    reports = [
        solve(SOLVE, diffrax.ControlTerm(field, path), diffrax.Heun(), draw=jnp.asarray([0.5]))[1]
        for field in (matrix, problems.general)
    ]
    assert reports[0].penalty > 0
    np.testing.assert_allclose(reports[0].penalty, reports[1].penalty, rtol=1e-9)
    assert reports[0].nfe == reports[0].nfe_diffusion == 2 * reports[0].num_steps


@pytest.mark.parametrize("solver", [diffrax.Heun(), HALF(diffrax.ItoMilstein())])
def test_local_step_compiles_a_brownian_tree_once(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    original, requests = diffrax.VirtualBrownianTree.evaluate, []

    def counted(self: Any, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        requests.append(1 if t1 is None else 2)
        return original(self, t0, t1, left, use_levy)

    monkeypatch.setattr(diffrax.VirtualBrownianTree, "evaluate", counted)
    terms = problems.terms("diagonal", problems.tree(2))
    jax.make_jaxpr(lambda t, end, y: take_step(solver, terms, SCALE, t, end, y).error)(0.25, 0.5, problems.Y0)
    assert sum(requests) == 1
