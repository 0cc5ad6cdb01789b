"""Reversible Heun carries a second state: the local step takes it up where the solve left it."""

import dataclasses
import itertools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lrnde
from tests.adapters.diffrax.sde_problems import DIRECT

PID = diffrax.PIDController(rtol=1e-3, atol=1e-4)
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate())
JUMP = 0.4


def field(t, y, scale):
    return jnp.where(t < JUMP, 1.0, -2.0) * scale * jnp.stack([y[1], -jnp.sin(3 * y[0])])


def numpy_errors(ts, y0, scale):
    """All steps of the published method (Kidger et al., 2021, algorithm 1), with its error in diffrax."""

    def f(t, y):
        return (1.0 if t < JUMP else -2.0) * scale * np.asarray([y[1], -np.sin(3 * y[0])])

    y = hidden = np.asarray(y0)
    slope = f(ts[0], y)
    ratios = []
    for t, t1 in itertools.pairwise(ts):
        if abs(t - JUMP) < 1e-9:
            slope = f(JUMP, y)
        h = t1 - t
        hidden = 2 * y - hidden + h * slope
        later = f(min(t1, np.nextafter(JUMP, 0)) if t < JUMP - 1e-9 else t1, hidden)
        y1, error = y + h * (slope + later) / 2, h * (later - slope) / 2
        ratios.append(np.sqrt(np.mean((error / (1e-4 + 1e-3 * np.maximum(abs(y), abs(y1)))) ** 2)))
        y, slope = y1, later
    return np.asarray(ratios)


def test_error_ratios_are_those_of_the_solver_also_after_a_jump():
    y0, scale = jnp.asarray([0.5, 0.2]), 1.3
    controller = diffrax.ClipStepSizeController(PID, jump_ts=[JUMP])
    regularized = dataclasses.replace(SOLVE, num_samples=300)
    draws = (np.arange(300) + 0.5) / 300
    solution, report = regularized(
        diffrax.ODETerm(field),
        diffrax.ReversibleHeun(),
        0.0,
        1.0,
        0.1,
        y0,
        scale,
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(t0=True, steps=True),
        max_steps=128,
        draw=draws,
    )
    ts = np.asarray(solution.ts)[: int(report.num_accepted) + 1]
    ratios = numpy_errors(ts, y0, scale)
    index = np.argmin(abs(np.asarray(report.sample.t)[:, None] - ts[:-1]), axis=1)
    assert len(set(index)) > 10
    np.testing.assert_allclose(report.sample.error_ratio, ratios[index], rtol=1e-9)
    assert report.nfe_extra == 2 * 300


def test_resumed_solve_goes_on_with_the_second_state_it_is_given():
    y0, options = jnp.asarray([0.5, 0.2]), {"stepsize_controller": PID}
    saveat = diffrax.SaveAt(t1=True, solver_state=True, controller_state=True, made_jump=True)
    arguments = (diffrax.ODETerm(field), diffrax.ReversibleHeun())
    first = diffrax.diffeqsolve(*arguments, 0.0, 0.2, 0.02, y0, 1.0, saveat=saveat, **options)
    state = {name: getattr(first, name) for name in ("solver_state", "controller_state", "made_jump")}
    assert first.ys is not None
    y = first.ys[-1]
    _, report = SOLVE(*arguments, 0.2, 0.22, 0.02, y, 1.0, draw=[0.5], saveat=saveat, **options, **state)
    solver_state: Any = first.solver_state
    term = diffrax.ODETerm(field)
    y1, error, *_ = diffrax.ReversibleHeun().step(term, 0.2, 0.22, y, 1.0, solver_state, made_jump=False)
    expected = jnp.sqrt(jnp.mean((error / (1e-4 + 1e-3 * jnp.maximum(abs(y), abs(y1)))) ** 2))
    assert report.num_steps == 1
    np.testing.assert_allclose(report.sample.error_ratio[0], expected, rtol=1e-11)


def test_gradients_equal_finite_differences():
    # Of two pinned steps the second: locally at the recorded states, fully through both.
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(rtol=1.0, atol=1.0), step_ts=[0.1])

    def penalty(gradient, scale, y0):
        regularized = dataclasses.replace(SOLVE, gradient=gradient)
        _, report = regularized(
            diffrax.ODETerm(field),
            diffrax.ReversibleHeun(),
            0.0,
            0.25,
            0.1,
            y0,
            scale,
            stepsize_controller=controller,
            draw=jnp.asarray([0.9]),
            **DIRECT,
        )
        return report.penalty

    y0, eps = jnp.asarray([0.5, 0.2]), 1e-4
    full = jax.jit(jax.value_and_grad(lambda scale, y0: penalty("full", scale, y0), (0, 1)))
    _, (of_scale, of_state) = full(1.3, y0)
    numeric = (full(1.3 + eps, y0)[0] - full(1.3 - eps, y0)[0]) / (2 * eps)
    np.testing.assert_allclose(of_scale, numeric, rtol=1e-6)
    numeric = [(full(1.3, y0 + eps * e)[0] - full(1.3, y0 - eps * e)[0]) / (2 * eps) for e in jnp.eye(2)]
    np.testing.assert_allclose(of_state, numeric, rtol=1e-6)

    local = jax.jit(jax.grad(lambda scale, y0: penalty("local", scale, y0), (0, 1)))
    of_scale, of_state = local(1.3, y0)
    assert jnp.all(of_state == 0)
    y, hidden = _second_step(y0)
    numeric = (_error(y, hidden, 1.3 + eps) - _error(y, hidden, 1.3 - eps)) / (2 * eps)
    np.testing.assert_allclose(of_scale, numeric * 0.25, rtol=1e-6)


def _second_step(y0):
    solver, term = diffrax.ReversibleHeun(), diffrax.ODETerm(field)
    state = solver.init(term, 0.0, 0.1, y0, 1.3)
    y, _, _, (hidden, _), _ = solver.step(term, 0.0, 0.1, y0, 1.3, state, made_jump=False)
    return y, hidden


def _error(y, hidden, scale):
    slope = field(0.1, hidden, scale)
    later = field(0.25, 2 * y - hidden + 0.15 * slope, scale)
    y1, error = y + 0.15 * (slope + later) / 2, 0.15 * (later - slope) / 2
    return jnp.sqrt(jnp.mean((error / (1.0 + jnp.maximum(abs(y), abs(y1)))) ** 2))
