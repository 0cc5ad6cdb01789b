"""The penalty against an independent step, its gradient against finite differences, and the sampler's law."""

import dataclasses
import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import lrnde
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_diffrax._solvers import explicit_tableau, step_cost
from lrnde_diffrax._terms import TermCount
from tests.adapters.diffrax.sde_problems import DIRECT, error_ratio
from tests.rounding import assert_gradient_within_rounding, assert_within_rounding, rounded

RTOL, ATOL = 1e-4, 1e-6
PID = diffrax.PIDController(rtol=RTOL, atol=ATOL)
ERROR = lrnde.ErrorEstimate()
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR)

HEUN, BOSH3, DOPRI5, TSIT5 = (SCHEMES[name] for name in ("heun-euler", "bosh3", "dopri5", "tsit5"))


def numpy_step(field, scheme, t, h, y):
    increments, states = scheme.increments(field, t, h, y)
    return scheme.solution_of(y, increments), scheme.error_of(increments), increments, states


def rms(x):
    return np.sqrt(np.mean(x**2))


def numpy_stiffness(scheme, increments, states):
    """Times the size of the step."""
    return rms(increments[-1] - increments[-2]) / rms(states[-1] - states[-2]) / scheme.stability_interval


def numpy_weights(term, shift):
    return rounded(term.vector_field.weight), rounded(shift)


def numpy_field(weight, shift):
    return lambda t, y: np.tanh(weight @ y + t) + shift


def step_between(t, t1, y):
    """Start, size and state of a step, each with its rounding: the size is the difference of two times."""
    return rounded(t), rounded(t1) - rounded(t), rounded(y)


def assert_local_gradient(by_weight, by_shift, penalty, weight, shift):
    """Of a function of weight and shift."""
    assert_gradient_within_rounding(by_weight, weight.value, lambda moved: penalty(moved, shift))
    assert_gradient_within_rounding(by_shift, shift.value, lambda moved: penalty(weight, moved))


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
    field = numpy_field(*numpy_weights(term, shift))
    num_draws = 2000
    draws = (np.arange(num_draws) + 0.5) / num_draws
    solve = dataclasses.replace(SOLVE, num_samples=num_draws)
    ts, ys, report = all_steps(solve, term, solver, y0, shift, *span, draw=draws)
    ratios: Any = []
    for each in zip(ts, ts[1:], ys, strict=False):
        t, h, y = step_between(*each)
        y1, error, _, _ = numpy_step(field, tableau, t, h, y)
        ratios.append(error_ratio(y, y1, error, RTOL, ATOL))
    ratios, length = np.stack(ratios), abs(span[1] - span[0])
    sizes: Any = rounded(ts[1:]) - rounded(ts[:-1])
    sample = report.sample
    index = np.searchsorted(np.cumsum(abs(sizes.value)) / length, draws)
    np.testing.assert_array_equal(sample.t, ts[index])
    assert_within_rounding(sample.h, sizes[index])
    assert_within_rounding(sample.weight, length / abs(sizes[index]))
    assert_within_rounding(sample.error_ratio, ratios[index])
    # The mean over the samples: exactly that of their steps, and up to a draw at the ends of each that over time.
    assert_within_rounding(report.penalty, np.mean(ratios[index]) * length)
    slack = (ratios.value.max() * len(ratios.value) * 2) / num_draws
    assert abs(float(report.penalty) - np.sum(ratios.value * abs(sizes.value))) < slack


def test_stiffness_and_predicted_steps_of_one_step(term, y0, shift):
    solve = lrnde.regularize(
        diffrax.diffeqsolve, heuristic=lrnde.PredictedSteps() + 2.0 * lrnde.StiffnessEstimate(), sampler="uniform_step"
    )
    ts, ys, report = all_steps(solve, term, diffrax.Dopri5(), y0, shift, draw=[0.3])
    i = int(np.argmin(abs(ts - report.sample.t[0])))
    t, h, y = step_between(ts[i], ts[i + 1], ys[i])
    y1, error, increments, states = numpy_step(numpy_field(*numpy_weights(term, shift)), DOPRI5, t, h, y)
    ratio = error_ratio(y, y1, error, RTOL, ATOL)
    stiffness = numpy_stiffness(DOPRI5, increments, states)
    assert_within_rounding(report.sample.stiffness[0], stiffness / h)
    num_accepted = len(ts) - 1
    assert_within_rounding(report.penalty, num_accepted * (ratio**0.2 + 2 * stiffness))
    assert report.num_accepted == num_accepted


def test_half_solver_is_taken_as_two_halves(term, y0, shift):
    ts, ys, report = all_steps(SOLVE, term, diffrax.HalfSolver(diffrax.Bosh3()), y0, shift, draw=[0.7])
    i = int(np.argmin(abs(ts - report.sample.t[0])))
    (t, h, y), field = step_between(ts[i], ts[i + 1], ys[i]), numpy_field(*numpy_weights(term, shift))
    whole = BOSH3.step(field, t, h, y)
    halves = BOSH3.step(field, t + h / 2, h / 2, BOSH3.step(field, t, h / 2, y))
    assert_within_rounding(report.sample.error_ratio[0], error_ratio(y, halves, halves - whole, RTOL, ATOL))
    assert report.nfe_extra == 11


def local_gradient(solver, heuristic, y0, t1):
    """The penalty of a single step, its report and gradient, as a compiled function of term and arguments."""
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)
    controller = diffrax.PIDController(rtol=1e-2, atol=1e-2)

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def penalty(problem):
        term, args = problem
        options = {"stepsize_controller": controller, "draw": jnp.asarray([0.4]), **DIRECT}
        _, report = solve(term, solver, 0.0, t1, t1, y0, args, **options)
        return report.penalty, report

    # The recorded (t, h, y) are the same for all parameters then.
    def checked(problem):
        (value, report), gradient = penalty(problem)
        assert report.num_steps == 1
        return value, report, gradient

    return checked


def test_local_gradient_is_that_of_the_numpy_step(term, y0, shift):
    heuristic = lrnde.PredictedSteps() + lrnde.StiffnessEstimate()
    t1 = jnp.asarray(0.5)
    value, report, gradient = local_gradient(diffrax.Tsit5(), heuristic, y0, t1)((term, shift))
    assert report.nfe is not None
    assert report.nfe_extra is not None
    t, h, y = step_between(0.0, t1, y0)

    def penalty(weight, shift):
        y1, error, increments, states = numpy_step(numpy_field(weight, shift), TSIT5, t, h, y)
        return error_ratio(y, y1, error, 1e-2, 1e-2) ** 0.2 + numpy_stiffness(TSIT5, increments, states)

    weights = numpy_weights(term, shift)
    assert_within_rounding(value, penalty(*weights))
    assert_local_gradient(gradient[0].vector_field.weight, gradient[1], penalty, *weights)


def test_local_gradient_of_an_implicit_solver_equals_finite_differences(term, y0, shift):
    penalty = local_gradient(diffrax.Kvaerno3(), ERROR, y0, jnp.asarray(0.01))
    value, report, gradient = penalty((term, shift))
    assert value > 0
    # An implicit solver hides its evaluations.
    assert report.nfe is report.nfe_extra is None
    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), gradient)
    analytic = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))

    def moved(size):
        return penalty(jax.tree.map(lambda leaf, step: leaf + size * step, (term, shift), direction))[0]

    eps = 1e-3
    numeric = (8 * (moved(eps) - moved(-eps)) - (moved(2 * eps) - moved(-2 * eps))) / (12 * eps)
    # For the root finder, which stops within the tolerances of the step: it is differentiated at the root itself.
    np.testing.assert_allclose(analytic, numeric, rtol=1e-3)


def two_steps():
    """A controller of steps of given sizes: errors are far within the tolerance, and it is clipped at 0.1."""
    return diffrax.ClipStepSizeController(diffrax.PIDController(rtol=1.0, atol=1e-2), step_ts=[0.1])


def second_of_two_steps(scheme, weight, shift, y0):
    """Its error, times the length of the solve, which is what its sample counts for; and the state before it."""
    field = numpy_field(weight, shift)
    y = scheme.step(field, rounded(0.0), rounded(0.1), y0)
    t, h, _ = step_between(0.1, 0.25, 0.0)

    def penalty(y, weight, shift):
        y1, error, _, _ = numpy_step(numpy_field(weight, shift), scheme, t, h, y)
        return 0.25 * error_ratio(y, y1, error, 1.0, 1e-2)

    return penalty, y


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
        options = {"stepsize_controller": two_steps(), "adjoint": adjoint, "max_steps": 16, "draw": jnp.asarray([0.9])}
        return SOLVE(term, diffrax.Bosh3(), 0.0, 0.25, 0.1, y0, args, **options)[1].penalty

    # diffrax's `ImplicitAdjoint` itself promotes an integer.
    with jax.numpy_dtype_promotion("standard"):
        gradients: list[Any] = [gradient_under((term, y0, shift), adjoint) for adjoint in adjoints]
    weights = numpy_weights(term, shift)
    penalty, y = second_of_two_steps(BOSH3, *weights, rounded(y0))
    for gradient in gradients:
        by_weight, by_shift = gradient[0].vector_field.weight, gradient[2]
        assert_local_gradient(by_weight, by_shift, functools.partial(penalty, y), *weights)
        assert np.abs(gradient[2]).min() > 0
        assert np.abs(gradient[1]).max() == 0


def test_full_gradient_reaches_the_initial_state(term, y0, shift):
    # Fixed step sizes (both steps pinned by the controller) make the full gradient that of a two-step program.
    full = lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR, gradient="full")

    def penalty(y0, adjoint):
        report = full(
            term,
            diffrax.Heun(),
            0.0,
            0.25,
            0.1,
            y0,
            shift,
            stepsize_controller=two_steps(),
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
    weights = numpy_weights(term, shift)

    def expected(start):
        penalty_from, y = second_of_two_steps(HEUN, *weights, start)
        return penalty_from(y, *weights)

    for gradient_of in differentiated:
        gradient, report = gradient_of(y0)
        assert report.num_accepted == 2
        assert report.sample.t[0] == 0.1
        assert_gradient_within_rounding(gradient, y0, expected)


def _crosses(t: Any, y: Any, args: Any, **kwargs: Any) -> Any:
    return t - 0.4321


def test_event_clips_the_local_step(term, y0, shift):
    tolerance = 1e-10
    event = diffrax.Event(_crosses, optx.Newton(tolerance, tolerance))
    num_draws = 400
    draws = (np.arange(num_draws) + 0.5) / num_draws
    solve = dataclasses.replace(SOLVE, num_samples=num_draws)
    options = {"stepsize_controller": PID, "event": event, "saveat": diffrax.SaveAt(ts=jnp.linspace(0, 1, 5))}
    solution, report = solve(term, diffrax.Bosh3(), 0.0, 5.0, None, y0, shift, draw=draws, **options)
    assert solution.result == diffrax.RESULTS.event_occurred
    ends = np.asarray(report.sample.t + report.sample.h)
    assert abs(ends.max() - 0.4321) < tolerance * (1 + 0.4321)
    # The sum over steps of the lengths by which they were drawn is what weight times that length says.
    steps = np.unique(np.stack([report.sample.t, report.sample.h, report.sample.weight], 1), axis=0)
    assert len(steps) == report.num_accepted
    starts, sizes, weights = steps[:-1].T
    duration = sizes[0] * weights[0]
    assert_within_rounding(weights, rounded(duration) / (rounded(starts + sizes) - rounded(starts)))
    assert duration > 0.4321


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
    i = int(jnp.argmin(abs(solution.ts - report.sample.t[0])))
    t, t1, y = solution.ts[i], solution.ts[i + 1], solution.ys[i]

    @jax.jit
    def step():
        return solver.step(term, t, t1, y, shift, solver.init(term, t, t1, y, shift), made_jump=False)[:2]

    y1, error = step()
    # The estimate is a sum of at most 12 products of weights, fields and increments of the control, no larger together
    # than the state; each is rounded some 30 times, most in the polynomial of the control and its difference.
    terms = Rounded(error, 12 * 30 * np.finfo(float).eps * np.maximum(abs(y), abs(y1)), np.finfo(float).eps)
    assert_within_rounding(report.sample.error_ratio[0], error_ratio(rounded(y), rounded(y1), terms, RTOL, ATOL))


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
