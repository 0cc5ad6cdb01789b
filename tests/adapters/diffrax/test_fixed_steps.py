"""Solves with fixed steps: their steps are recorded, and their errors estimated by step doubling where need be."""

import dataclasses
import functools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import lrnde
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._schemes import SCHEMES
from tests.adapters.diffrax import sde_problems as problems
from tests.rounding import assert_within_rounding, rounded

RTOL, ATOL = 1e-3, 1e-4
ERROR = lrnde.ErrorEstimate(rtol=RTOL, atol=ATOL)
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=ERROR, num_samples=20)
DRAWS = (np.arange(20) + 0.5) / 20
TIMES = [0.0, 0.05, 0.2, 0.3, 0.6, 1.0]


def _assert_ratio(got: Any, y: Any, y1: Any, error: Any) -> None:
    assert_within_rounding(got, problems.error_ratio(y, y1, error, RTOL, ATOL))


def _sampled(solution: Any, report: Any) -> list[Any]:
    """Of the step of each sample: start, end and state, rounded once, and the error ratio that was reported."""
    ts, ys = np.asarray(solution.ts), np.asarray(solution.ys)
    index = np.argmin(abs(np.asarray(report.sample.t)[:, None] - ts[:-1]), axis=1)
    assert_within_rounding(report.sample.h, rounded(ts[1:])[index] - rounded(ts[:-1])[index])
    assert len(set(index)) > 3
    steps = [(ts[i], ts[i + 1], ys[i]) for i in index]
    return [(*map(rounded, step), ratio) for step, ratio in zip(steps, report.sample.error_ratio, strict=True)]


def _drift_and_noise(t: Any, y: Any, h: Any, w: Any) -> tuple[Any, Any]:
    """What drift and diagonal noise add over a step, from their values at one point."""
    scale = rounded(problems.SCALE)
    return (np.sin(3 * t) - scale * y) * h, scale * np.cos(y + t) * w


@pytest.mark.parametrize(
    ("make_controller", "span", "dt0"),
    [
        (diffrax.ConstantStepSize, (1.0, 0.0), -0.2),
        (functools.partial(diffrax.StepTo, np.asarray(TIMES)), (0.0, 1.0), None),
    ],
    ids=["backward", "step_to"],
)
def test_euler_is_doubled(term, y0, shift, assert_same, make_controller, span, dt0):
    saveat = diffrax.SaveAt(t0=True, steps=True)
    options = {"stepsize_controller": make_controller(), "saveat": saveat, "max_steps": 5}
    arguments = (term, diffrax.Euler(), *span, dt0, y0, shift)
    solution, report = SOLVE(*arguments, draw=DRAWS, **options)
    assert_same(solution, diffrax.diffeqsolve(*arguments, **options))
    weight, shift = rounded(term.vector_field.weight), rounded(shift)

    def euler(t: Any, t1: Any, y: Any) -> Any:
        return y + (t1 - t) * (np.tanh(weight @ y + t) + shift)

    for t, t1, y, ratio in _sampled(solution, report):
        middle = t + 0.5 * (t1 - t)
        halves = euler(middle, t1, euler(t, middle, y))
        _assert_ratio(ratio, y, halves, halves - euler(t, t1, y))
    assert report.nfe == report.num_steps == 5
    assert report.nfe_extra == 20 * 2


def test_embedded_error_is_used_where_there_is_one(term, y0, shift):
    options = {"saveat": diffrax.SaveAt(t0=True, steps=True), "max_steps": 5}
    solution, report = SOLVE(term, diffrax.Bosh3(), 0.0, 1.0, 0.2, y0, shift, draw=DRAWS, **options)
    scheme, weight, shift = SCHEMES["bosh3"], rounded(term.vector_field.weight), rounded(shift)
    for t, t1, y, ratio in _sampled(solution, report):
        increments, _ = scheme.increments(lambda t, y: np.tanh(weight @ y + t) + shift, t, t1 - t, y)
        _assert_ratio(ratio, y, scheme.solution_of(y, increments), scheme.error_of(increments))
    assert report.nfe == 1 + 3 * report.num_steps


def test_implicit_solver_with_tolerances_of_its_own(y0):
    term = diffrax.ODETerm(lambda t, y, args: args * y)
    tolerance = 1e-12
    solver = diffrax.ImplicitEuler(root_finder=diffrax.VeryChord(tolerance, tolerance, optx.rms_norm))
    options = {"saveat": diffrax.SaveAt(t0=True, steps=True), **problems.DIRECT, "max_steps": 5}

    def run(rate):
        solution, report = SOLVE(term, solver, 0.0, 1.0, 0.2, y0, rate, draw=DRAWS, **options)
        return report.penalty, (solution, report)

    (_, (solution, report)), gradient = jax.value_and_grad(run, has_aux=True)(-1.5)
    for t, t1, y, ratio in _sampled(solution, report):
        h = t1 - t
        y1 = y / (1 + 1.5 * h)
        # The root finder stops where the mean square is within its tolerance, of which one element may have all.
        slack = tolerance * np.sqrt(y.value.size) * (1 + np.abs(y1.value))
        y1 = Rounded(y1.value, y1.bound + slack, y1.epsilon)
        _assert_ratio(ratio, y, y1, 0.75 * h * (y - y1))
    assert report.nfe is None
    assert gradient < 0  # stiffer is dearer


@pytest.mark.parametrize("solver", [diffrax.Euler(), diffrax.EulerHeun()], ids=["euler", "euler_heun"])
def test_stochastic_steps_are_doubled_along_the_path(solver):
    equation = problems.terms("diagonal")
    options = {"saveat": diffrax.SaveAt(t0=True, steps=True), "max_steps": 5}
    arguments = (equation, solver, 0.0, 1.0, 0.2, jnp.asarray(problems.Y0), 0.8)
    solution, report = SOLVE(*arguments, draw=DRAWS, **options)

    def step(t: Any, t1: Any, y: Any) -> Any:
        w, _ = problems.increment(np, problems.amplitudes(2), t, t1)
        drift, noise = _drift_and_noise(t, y, t1 - t, w)
        if isinstance(solver, diffrax.EulerHeun):
            noise = (noise + _drift_and_noise(t, y + noise, t1 - t, w)[1]) / 2
        return y + drift + noise

    for t, t1, y, ratio in _sampled(solution, report):
        middle = t + 0.5 * (t1 - t)
        halves = step(middle, t1, step(t, middle, y))
        _assert_ratio(ratio, y, halves, halves - step(t, t1, y))
    assert report.nfe_diffusion < report.nfe
    assert report.num_rejected == 0


def test_error_order_of_doubling():
    # Predicted steps are the error ratio to the power 1 / p: p = 2 for Euler, and 1 with noise.
    cases = [
        (diffrax.ODETerm(problems.drift), diffrax.Euler(), 2.0),
        (problems.terms("diagonal"), diffrax.Euler(), 1.0),
    ]
    cases += [(problems.terms("diagonal"), diffrax.SlowRK(), 2.0)]
    predicted = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.PredictedSteps(rtol=RTOL, atol=ATOL))
    for equation, solver, order in cases:
        _, report = predicted(equation, solver, 0.0, 1.0, 0.2, jnp.asarray(problems.Y0), 0.8, draw=[0.3])
        expected = rounded(report.sample.weight[0]) * rounded(report.sample.error_ratio[0]) ** (1 / order)
        assert_within_rounding(report.penalty, expected)


def test_unsafe_path_serves_solvers_with_an_estimate_of_their_own():
    path = diffrax.UnsafeBrownianPath((2,), jax.random.key(0))
    equation = problems.terms("diagonal", path)
    options = {"saveat": diffrax.SaveAt(t0=True, steps=True), "max_steps": 5, "adjoint": diffrax.ForwardMode()}
    arguments = (equation, diffrax.Heun(), 0.0, 1.0, 0.2, jnp.asarray(problems.Y0), 0.8)
    solution, report = SOLVE(*arguments, draw=DRAWS, **options)

    for t, t1, y, ratio in _sampled(solution, report):
        w = rounded(path.evaluate(t.value, t1.value))
        first = sum(_drift_and_noise(t, y, t1 - t, w))
        second = sum(_drift_and_noise(t1, y + first, t1 - t, w))
        _assert_ratio(ratio, y, y + (first + second) / 2, (first - second) / 2)


@pytest.mark.parametrize("noise", [False, True], ids=["ode", "sde"])
def test_heuristics_of_a_point_need_no_tolerances(noise):
    equation = problems.terms("diagonal") if noise else diffrax.ODETerm(problems.drift)
    regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.TaylorDerivative(2, at="step"))
    arguments = (equation, diffrax.Euler(), 0.0, 1.0, 0.2, jnp.asarray(problems.Y0), 0.8)
    _, report = regularized(*arguments, draw=[0.0])
    # At t = 0 the second derivative of sin(3 t) - a y along the drift is 3 + a^2 y.
    assert_within_rounding(report.penalty, np.mean((3 + rounded(0.8) ** 2 * problems.Y0) ** 2))
    assert report.nfe_extra == 1


def test_restarts_and_missing_tolerances_are_refused(term, y0, shift):
    arguments = (term, diffrax.Tsit5(), 0.0, 1.0, 0.2, y0, shift)
    with pytest.raises(lrnde.CapabilityError, match=r"`Tsit5` takes fixed steps.*ErrorEstimate\(rtol=1e-3"):
        dataclasses.replace(SOLVE, heuristic=lrnde.ErrorEstimate())(*arguments, draw=DRAWS)
    with pytest.raises(lrnde.CapabilityError, match=r'no tolerance to choose a step by.*local_start="step"'):
        dataclasses.replace(SOLVE, sampler=lrnde.UniformTime(local_start="sample"))(*arguments, draw=DRAWS)


def test_leapfrog_serves_heuristics_of_the_start_of_a_step(y0):
    term = diffrax.ODETerm(lambda t, y, args: -y)
    arguments = (term, diffrax.LeapfrogMidpoint(), 0.0, 1.0, 0.1, y0)
    _, report = lrnde.regularize(diffrax.diffeqsolve)(*arguments, draw=[0.0])
    assert_within_rounding(report.penalty, np.mean(rounded(y0) ** 2))
    for heuristic in (ERROR, lrnde.TaylorDerivative(2)):
        with pytest.raises(lrnde.CapabilityError, match=r'carries more than the state.*at="step"'):
            lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)(*arguments, draw=[0.0])
