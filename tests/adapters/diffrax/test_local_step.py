"""The penalty against an independent step, its gradient against finite differences, and the sampler's law."""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import lrnde
from lrnde_diffrax._solvers import explicit_tableau, step_cost
from lrnde_diffrax._terms import TermCount
from tests.adapters.diffrax.sde_problems import DIRECT

RTOL, ATOL = 1e-4, 1e-6
PID = diffrax.PIDController(rtol=RTOL, atol=ATOL)
ERROR = lrnde.ErrorEstimate()
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR)

# Published tableaus, independent of diffrax's: (a, b, c, weights of the error estimate).
HEUN = ([[1.0]], [1 / 2, 1 / 2], [0, 1], [1 / 2, -1 / 2])
BOSH3 = (
    [[1 / 2], [0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]],
    [2 / 9, 1 / 3, 4 / 9, 0],
    [0, 1 / 2, 3 / 4, 1],
    [2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8],
)
DOPRI5 = (
    [
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1],
    # Shampine's fourth-order companion, as torchdiffeq and diffrax have it.
    [
        35 / 384 - 1951 / 21600,
        0,
        500 / 1113 - 22642 / 50085,
        125 / 192 - 451 / 720,
        -2187 / 6784 + 12231 / 42400,
        11 / 84 - 649 / 6300,
        -1 / 60,
    ],
)


def numpy_step(field, tableau, t, h, y):
    a, b, c, error = tableau
    stages = [field(t, y)]
    states = [y]
    for row, abscissa in zip(a, c[1:], strict=True):
        states.append(y + h * sum(w * k for w, k in zip(row, stages, strict=True)))
        stages.append(field(t + abscissa * h, states[-1]))
    y1 = y + h * sum(w * k for w, k in zip(b, stages, strict=True))
    return y1, h * sum(w * k for w, k in zip(error, stages, strict=True)), stages, states


def numpy_error_ratio(y, y1, error):
    return np.sqrt(np.mean((error / (ATOL + RTOL * np.maximum(abs(y), abs(y1)))) ** 2))


def numpy_field(term, shift):
    weight, shift = np.asarray(term.vector_field.weight), np.asarray(shift)
    return lambda t, y: np.tanh(weight @ y + t) + shift


def all_steps(solve, term, solver, y0, shift, t0=0.0, t1=1.0, *, draw):
    """The times and states between all steps of a solve, and its report."""
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"stepsize_controller": PID, "saveat": saveat, "max_steps": 512, "draw": draw}
    solution, report = solve(term, solver, t0, t1, None, y0, shift, **options)
    n = int(solution.stats["num_accepted_steps"]) + 1
    return np.asarray(solution.ts)[:n], np.asarray(solution.ys)[:n], report


@pytest.mark.parametrize(
    ("solver", "tableau", "span"),
    [
        (diffrax.Heun(), HEUN, (0.5, -0.5)),
        (diffrax.Bosh3(), BOSH3, (0.0, 1.0)),
    ],
    ids=["heun-backward", "bosh3"],
)
def test_penalty_averages_to_the_sum_over_all_steps(term, y0, shift, solver, tableau, span):
    field = numpy_field(term, shift)
    num_draws = 2000
    draws = (np.arange(num_draws) + 0.5) / num_draws
    solve = dataclasses.replace(SOLVE, num_samples=num_draws)
    ts, ys, report = all_steps(solve, term, solver, y0, shift, *span, draw=draws)
    ratios = []
    for t, after, y in zip(ts, ts[1:], ys, strict=False):
        y1, error, _, _ = numpy_step(field, tableau, t, after - t, y)
        ratios.append(numpy_error_ratio(y, y1, error))
    sizes = abs(np.diff(ts))
    sample = report.sample
    index = np.searchsorted(np.cumsum(sizes) / abs(span[1] - span[0]), draws)
    np.testing.assert_allclose(sample.t, ts[index], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(sample.h, np.diff(ts)[index], rtol=1e-9)
    np.testing.assert_allclose(sample.weight, abs(span[1] - span[0]) / sizes[index], rtol=1e-9)
    np.testing.assert_allclose(sample.error_ratio, np.asarray(ratios)[index], rtol=1e-8, atol=1e-12)
    # The mean over the samples: exactly that of their steps, and up to a draw at the ends of each that over time.
    expected = np.mean(np.asarray(ratios)[index]) * abs(span[1] - span[0])
    np.testing.assert_allclose(report.penalty, expected, rtol=1e-7)
    slack = (np.asarray(ratios).max() * len(sizes) * 2) / num_draws
    assert abs(float(report.penalty) - np.sum(np.asarray(ratios) * sizes)) < slack


def test_stiffness_and_predicted_steps_of_one_step(term, y0, shift):
    solve = lrnde.regularize(
        diffrax.diffeqsolve, heuristic=lrnde.PredictedSteps() + 2.0 * lrnde.StiffnessEstimate(), sampler="uniform_step"
    )
    ts, ys, report = all_steps(solve, term, diffrax.Dopri5(), y0, shift, draw=[0.3])
    i = int(np.argmin(abs(ts - report.sample.t[0])))
    h = ts[i + 1] - ts[i]
    y1, error, stages, states = numpy_step(numpy_field(term, shift), DOPRI5, ts[i], h, ys[i])
    ratio = numpy_error_ratio(ys[i], y1, error)
    stiffness = np.linalg.norm(stages[-1] - stages[-2]) / np.linalg.norm(states[-1] - states[-2]) / 3.30656789
    np.testing.assert_allclose(report.sample.stiffness[0], stiffness, rtol=1e-6)
    num_accepted = len(ts) - 1
    np.testing.assert_allclose(report.penalty, num_accepted * (ratio**0.2 + 2 * h * stiffness), rtol=1e-6)
    assert report.num_accepted == num_accepted


def test_half_solver_is_taken_as_two_halves(term, y0, shift):
    ts, ys, report = all_steps(SOLVE, term, diffrax.HalfSolver(diffrax.Bosh3()), y0, shift, draw=[0.7])
    i = int(np.argmin(abs(ts - report.sample.t[0])))
    h, field = ts[i + 1] - ts[i], numpy_field(term, shift)
    whole, *_ = numpy_step(field, BOSH3, ts[i], h, ys[i])
    middle, *_ = numpy_step(field, BOSH3, ts[i], h / 2, ys[i])
    halves, *_ = numpy_step(field, BOSH3, ts[i] + h / 2, h / 2, middle)
    np.testing.assert_allclose(
        report.sample.error_ratio[0], numpy_error_ratio(ys[i], halves, halves - whole), rtol=1e-7
    )
    assert report.nfe_extra == 11


@pytest.mark.parametrize(
    ("solver", "heuristic", "rtol"),
    [
        (diffrax.Tsit5(), lrnde.PredictedSteps() + lrnde.StiffnessEstimate(), 1e-6),
        (diffrax.Kvaerno3(), ERROR, 1e-3),
    ],
    ids=["tsit5", "kvaerno3"],
)
def test_local_gradient_equals_finite_differences(term, y0, shift, solver, heuristic, rtol):
    # Over a single accepted step the recorded (t, h, y) are the same for all parameters.
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)
    t1 = jnp.asarray(0.01 if rtol > 1e-5 else 0.5)
    controller = diffrax.PIDController(rtol=1e-2, atol=1e-2)

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def penalty(problem):
        term, args = problem
        options = {"stepsize_controller": controller, "draw": jnp.asarray([0.4]), **DIRECT}
        _, report = solve(term, solver, 0.0, t1, t1, y0, args, **options)
        return report.penalty, report

    (value, report), gradient = penalty((term, shift))
    assert report.num_steps == 1
    assert value > 0
    # An implicit solver hides its evaluations.
    assert (report.nfe is None) == (report.nfe_extra is None) == isinstance(solver, diffrax.Kvaerno3)
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), gradient)
    analytic = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))

    def moved(size):
        problem = jax.tree.map(lambda leaf, step: leaf + size * step, (term, shift), direction)
        (value, report), _ = penalty(problem)
        assert report.num_steps == 1
        return value

    eps = 1e-3
    numeric = (8 * (moved(eps) - moved(-eps)) - (moved(2 * eps) - moved(-2 * eps))) / (12 * eps)
    np.testing.assert_allclose(analytic, numeric, rtol=rtol)


def test_local_gradient_is_the_same_under_every_adjoint(term, y0, shift):
    adjoints = [
        diffrax.RecursiveCheckpointAdjoint(),
        diffrax.DirectAdjoint(),
        diffrax.BacksolveAdjoint(),
        diffrax.ImplicitAdjoint(),
    ]

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient_under(problem, adjoint):
        term, y0, args = problem
        options = {"stepsize_controller": PID, "adjoint": adjoint, "max_steps": 64, "draw": jnp.asarray([0.4])}
        return SOLVE(term, diffrax.Bosh3(), 0.0, 1.0, None, y0, args, **options)[1].penalty

    # diffrax's `ImplicitAdjoint` itself promotes an integer.
    with jax.numpy_dtype_promotion("standard"):
        gradients: list[Any] = [gradient_under((term, y0, shift), adjoint) for adjoint in adjoints]
    for gradient in gradients:
        np.testing.assert_allclose(gradient[0].vector_field.weight, gradients[0][0].vector_field.weight, rtol=1e-12)
        np.testing.assert_allclose(gradient[2], gradients[0][2], rtol=1e-12)
        assert np.abs(gradient[2]).min() > 0
        assert np.abs(gradient[1]).max() == 0


def test_full_gradient_reaches_the_initial_state(term, y0, shift):
    # Fixed step sizes (both steps pinned by the controller) make the full gradient that of a two-step program.
    full = lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR, gradient="full")
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(rtol=1.0, atol=1e-2), step_ts=[0.1])

    def penalty(y0, adjoint):
        report = full(
            term,
            diffrax.Heun(),
            0.0,
            0.25,
            0.1,
            y0,
            shift,
            stepsize_controller=controller,
            adjoint=adjoint,
            max_steps=16,
            draw=jnp.asarray([0.9]),
        )[1]
        return report.penalty, report

    adjoints = [
        (jax.grad, diffrax.RecursiveCheckpointAdjoint()),
        (jax.grad, diffrax.DirectAdjoint()),
        (jax.jacfwd, diffrax.ForwardMode()),
    ]
    differentiated = [
        jax.jit(differentiate(lambda y0, adjoint=adjoint: penalty(y0, adjoint), has_aux=True))
        for differentiate, adjoint in adjoints
    ]
    gradients: list[Any] = []
    for gradient_of in differentiated:
        gradient, report = gradient_of(y0)
        assert report.num_accepted == 2
        assert report.sample.t[0] == 0.1
        gradients.append(gradient)
    eps = 1e-4

    def moved(step):
        return differentiated[0](y0 + step)[1].penalty

    numeric = [(moved(eps * unit) - moved(-eps * unit)) / (2 * eps) for unit in jnp.eye(3)]
    for gradient in gradients:
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5)


def _crosses(t: Any, y: Any, args: Any, **kwargs: Any) -> Any:
    return t - 0.4321


def test_event_clips_the_local_step(term, y0, shift):
    event = diffrax.Event(_crosses, optx.Newton(1e-10, 1e-10))
    num_draws = 400
    draws = (np.arange(num_draws) + 0.5) / num_draws
    solve = dataclasses.replace(SOLVE, num_samples=num_draws)
    options = {"stepsize_controller": PID, "event": event, "saveat": diffrax.SaveAt(ts=jnp.linspace(0, 1, 5))}
    solution, report = solve(term, diffrax.Bosh3(), 0.0, 5.0, None, y0, shift, draw=draws, **options)
    assert solution.result == diffrax.RESULTS.event_occurred
    ends = np.asarray(report.sample.t + report.sample.h)
    assert abs(ends.max() - 0.4321) < 1e-9
    # The sum over steps of the lengths by which they were drawn is what weight times that length says.
    steps = np.unique(np.stack([report.sample.t, report.sample.h, report.sample.weight], 1), axis=0)
    assert len(steps) == report.num_accepted
    durations = steps[:-1, 1] * steps[:-1, 2]
    np.testing.assert_allclose(durations, durations[0], rtol=1e-9)
    assert durations[0] > 0.4321


def _cde_field(t: Any, y: Any, args: Any) -> Any:
    return jnp.stack([jnp.tanh(y * args), y], axis=-1)


@pytest.mark.parametrize("solver", [diffrax.Bosh3(), diffrax.HalfSolver(diffrax.Heun())], ids=["bosh3", "half"])
def test_local_step_of_a_controlled_equation_is_the_step_of_its_solver(y0, shift, solver):
    ts = jnp.linspace(0.0, 1.0, 5)
    data = jnp.stack([ts, jnp.sin(3 * ts)], axis=-1)
    control = diffrax.CubicInterpolation(ts, diffrax.backward_hermite_coefficients(ts, data))
    term = diffrax.ControlTerm(_cde_field, control)
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"stepsize_controller": PID, "saveat": saveat, "max_steps": 64}
    solution, report = SOLVE(term, solver, 0.0, 1.0, None, y0, shift, draw=jnp.asarray([0.5]), **options)
    assert report.penalty > 0
    # One local step is what the solver itself does from the state there.
    t, h = report.sample.t[0], report.sample.h[0]
    y = solution.ys[jnp.argmin(abs(solution.ts - t))]

    @jax.jit
    def step():
        return solver.step(term, t, t + h, y, shift, solver.init(term, t, t + h, y, shift), made_jump=False)[:2]

    y1, error = step()
    np.testing.assert_allclose(report.sample.error_ratio[0], numpy_error_ratio(y, y1, error), rtol=1e-3)


class DampedHeun(diffrax.Heun):
    """Heun's method, then half of the state."""

    def step(self, *args: Any, **kwargs: Any) -> Any:
        y1, error, *others = super().step(*args, **kwargs)
        return 0.5 * y1, 10 * error, *others


class WatchedSEA(diffrax.SEA):
    def init(self, *args: Any, **kwargs: Any) -> Any:
        return super().init(*args, **kwargs)


class WatchedTsit5(diffrax.Tsit5):
    def func(self, *args: Any, **kwargs: Any) -> Any:
        return super().func(*args, **kwargs)


@pytest.mark.parametrize("sampler", [lrnde.UniformTime(), lrnde.AllSteps()])
@pytest.mark.parametrize("wrap", [lambda solver: solver, diffrax.HalfSolver], ids=["alone", "doubled"])
def test_a_solver_that_overrides_its_step_is_asked_for_it(term, y0, shift, sampler, wrap):
    solver, solve = wrap(DampedHeun()), lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR, sampler=sampler)
    # So large that the first step, and the only one, is accepted.
    controller = diffrax.PIDController(rtol=RTOL, atol=1e3)
    options = {"stepsize_controller": controller, "draw": jnp.asarray([0.4]), "max_steps": 16}
    _, report = solve(term, solver, 0.0, 1.0, 1.0, y0, shift, **options)
    assert report.num_accepted == 1
    assert report.nfe is None
    t, end = jnp.asarray(0.0), jnp.asarray(1.0)
    state = solver.init(term, t, end, y0, shift)
    y1, error, *_ = solver.step(term, t, end, y0, shift, state, made_jump=False)
    ratio = np.sqrt(np.mean((error / (1e3 + RTOL * np.maximum(abs(y0), abs(y1)))) ** 2))
    np.testing.assert_allclose(report.penalty, ratio, rtol=1e-9)


@pytest.mark.parametrize("solver", [DampedHeun(), WatchedTsit5(), WatchedSEA(), diffrax.HalfSolver(WatchedTsit5())])
def test_the_evaluations_of_overridden_code_are_unknown(solver):
    terms, count = diffrax.ODETerm(lambda t, y, args: y), TermCount(1, 1, 1)
    assert explicit_tableau(solver) is None
    assert step_cost(solver, terms, count, is_field_expensive=False) is None


def test_local_step_of_a_jump_stays_before_it(y0):
    # The step that ends at the jump must not see the field after it.
    controller = diffrax.ClipStepSizeController(PID, jump_ts=[0.3])
    term = diffrax.ODETerm(lambda t, y, args: jnp.where(t < 0.3, y, 1e3 * y))
    solve = dataclasses.replace(SOLVE, num_samples=64)
    draw = (np.arange(64) + 0.5) / 64
    _, report = solve(term, diffrax.Bosh3(), 0.0, 0.31, 0.1, y0, stepsize_controller=controller, draw=draw)
    assert report.sample.error_ratio.max() <= 1.0 + 1e-6
    assert report.penalty > 0
