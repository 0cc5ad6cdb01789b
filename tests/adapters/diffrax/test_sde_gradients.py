"""The gradients of the penalty of a stochastic equation: finite differences, adjoints, `vmap` over paths."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import DIRECT, SCALE, SOLVE, Y0, solve


def test_local_gradient_equals_finite_differences_along_the_path():
    # Over a single accepted step the recorded (t, h, y) are the same for all parameters.
    controller = diffrax.PIDController(rtol=1.0, atol=1.0)

    def penalty(scale):
        options = {"stepsize_controller": controller, "draw": jnp.asarray([0.4]), "dt0": 0.05, **DIRECT}
        _, report = solve(SOLVE, problems.terms("general"), diffrax.SPaRK(), scale, (0.0, 0.05), **options)
        return report.penalty, report.num_steps

    differentiated = jax.jit(jax.value_and_grad(penalty, has_aux=True))
    eps = 1e-3
    at = {k: differentiated(SCALE + k * eps) for k in (-2, -1, 0, 1, 2)}
    assert all(num_steps == 1 for (_, num_steps), _ in at.values())
    values = {k: value for k, ((value, _), _) in at.items()}
    numeric = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * eps)
    gradient = at[0][1]
    assert values[0] > 0
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6)


def test_local_gradient_is_the_same_under_every_adjoint():
    adjoints = [diffrax.RecursiveCheckpointAdjoint(), diffrax.BacksolveAdjoint()]

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

    def penalty(y0):
        equation, draw = problems.terms("general"), jnp.asarray([0.9])
        options = {"stepsize_controller": controller, "draw": draw, **DIRECT}
        _, report = full(equation, diffrax.Heun(), 0.0, 0.1, 0.05, y0, SCALE, **options)
        return report.penalty, report

    y0, differentiated = jnp.asarray(Y0), jax.jit(jax.value_and_grad(penalty, has_aux=True))
    (_, report), gradient = differentiated(y0)
    assert report.num_accepted == 2
    assert report.sample.t[0] == 0.05
    # Small, for the larger of the two states in the tolerance changes nearby.
    eps = 1e-5

    def moved(step):
        (value, _), _ = differentiated(y0 + step)
        return value

    numeric = [(moved(eps * e) - moved(-eps * e)) / (2 * eps) for e in jnp.eye(2)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5)


def test_vmapped_paths_have_penalties_of_their_own():
    keys, draws = jax.random.split(jax.random.key(1), 3), jnp.asarray([[0.1], [0.5], [0.9]])

    def run(scale, key, draw):
        equation = problems.terms("diagonal", problems.tree(2, key))
        options = {**DIRECT, "max_steps": 64}
        solution, report = solve(SOLVE, equation, diffrax.Heun(), scale, draw=draw, **options)
        return report.penalty, (solution.ys, report)

    differentiated = jax.jit(jax.vmap(jax.grad(run, has_aux=True), (None, 0, 0)))
    gradient, (ys, report) = differentiated(SCALE, keys, draws)
    for i in range(3):
        # Three of one path, which all take the steps of that path alone, by the same program.
        own_gradient, (own_ys, own) = differentiated(SCALE, keys[jnp.full(3, i)], draws[jnp.full(3, i)])
        np.testing.assert_allclose(ys[i], own_ys[0], rtol=1e-9)
        np.testing.assert_allclose(report.penalty[i], own.penalty[0], rtol=1e-6)
        np.testing.assert_allclose(gradient[i], own_gradient[0], rtol=1e-6)
        assert report.nfe[i] == own.nfe[0]
    assert len(set(report.num_steps.tolist())) > 1
