"""The gradients of the penalty of a stochastic equation: finite differences, adjoints, `vmap` over paths."""

import dataclasses
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import SCALE, SOLVE, Y0, solve

HALF = diffrax.HalfSolver

GRADIENTS: list[tuple[str, Any, str]] = [
    ("milstein", HALF(diffrax.StratonovichMilstein()), "diagonal"),
    ("spark", diffrax.SPaRK(), "general"),
]


@pytest.mark.parametrize(("solver", "kind"), [case[1:] for case in GRADIENTS], ids=[case[0] for case in GRADIENTS])
def test_local_gradient_equals_finite_differences_along_the_path(solver, kind):
    # Over a single accepted step the recorded (t, h, y) are the same for all parameters.
    controller = diffrax.PIDController(rtol=1.0, atol=1.0)

    @jax.jit
    def penalty(scale):
        options = {"stepsize_controller": controller, "draw": jnp.asarray([0.4]), "dt0": 0.05}
        _, report = solve(SOLVE, problems.terms(kind), solver, scale, (0.0, 0.05), **options)
        return report.penalty, report.num_steps

    value, gradient = jax.value_and_grad(lambda scale: penalty(scale)[0])(SCALE)
    eps = 1e-3
    at = {k: penalty(SCALE + k * eps) for k in (-2, -1, 1, 2)}
    assert all(num_steps == 1 for _, num_steps in at.values())
    numeric = (8 * (at[1][0] - at[-1][0]) - (at[2][0] - at[-2][0])) / (12 * eps)
    assert value > 0
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6)


def test_local_gradient_is_the_same_under_every_adjoint():
    adjoints = [diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint(), diffrax.BacksolveAdjoint()]

    def penalty(scale, adjoint):
        options = {"adjoint": adjoint, "max_steps": 64, "draw": jnp.asarray([0.4])}
        return solve(SOLVE, problems.terms("diagonal"), diffrax.Heun(), scale, **options)[1].penalty

    gradients = [jax.jit(jax.grad(lambda scale, a=adjoint: penalty(scale, a)))(SCALE) for adjoint in adjoints]
    gradients.append(jax.jit(jax.jacfwd(lambda scale: penalty(scale, diffrax.ForwardMode())))(SCALE))
    assert abs(gradients[0]) > 1e-3
    np.testing.assert_allclose(gradients, gradients[0], rtol=1e-11)


def test_full_gradient_reaches_the_initial_state():
    full = dataclasses.replace(SOLVE, gradient="full")
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(rtol=10.0, atol=10.0), step_ts=[0.05])

    @jax.jit
    def penalty(y0):
        equation, draw = problems.terms("general"), jnp.asarray([0.9])
        _, report = full(equation, diffrax.Heun(), 0.0, 0.1, 0.05, y0, SCALE, stepsize_controller=controller, draw=draw)
        return report.penalty, report

    y0 = jnp.asarray(Y0)
    gradient, report = jax.grad(penalty, has_aux=True)(y0)
    assert report.num_accepted == 2
    assert report.sample.t[0] == 0.05
    # Small, for the larger of the two states in the tolerance changes nearby.
    eps = 1e-5
    numeric = [(penalty(y0 + eps * e)[0] - penalty(y0 - eps * e)[0]) / (2 * eps) for e in jnp.eye(2)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5)


def test_vmapped_paths_have_penalties_of_their_own():
    keys, draws = jax.random.split(jax.random.key(1), 3), jnp.asarray([[0.1], [0.5], [0.9]])

    def run(scale, key, draw):
        equation = problems.terms("diagonal", problems.tree(2, key))
        solution, report = solve(SOLVE, equation, diffrax.Heun(), scale, draw=draw)
        return report.penalty, (solution.ys, report)

    gradient, (ys, report) = jax.jit(jax.vmap(jax.grad(run, has_aux=True), (None, 0, 0)))(SCALE, keys, draws)
    alone = jax.jit(jax.grad(run, has_aux=True))
    for i in range(3):
        own_gradient, (own_ys, own) = alone(SCALE, keys[i], draws[i])
        np.testing.assert_allclose(ys[i], own_ys, rtol=1e-9)
        np.testing.assert_allclose(report.penalty[i], own.penalty, rtol=1e-6)
        np.testing.assert_allclose(gradient[i], own_gradient, rtol=1e-6)
        assert report.nfe[i] == own.nfe
    assert len(set(report.num_steps.tolist())) > 1
