"""A local step along new noise: a function of the draw alone, with the law of Brownian motion."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import lrnde
from lrnde_diffrax._terms import with_fresh_noise
from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import SOLVE, Waves, solve


def test_fresh_increment_is_a_function_of_the_draw_alone():
    fresh = dataclasses.replace(SOLVE, sampler=lrnde.UniformTime(increment="fresh"))
    controller = diffrax.PIDController(rtol=1e3, atol=1e3)

    @jax.jit
    def ratio(key, draw):
        equation = problems.terms("general", Waves(jax.random.normal(key, (6, 3))))
        options = {"stepsize_controller": controller, "draw": draw[None], "dt0": 0.05}
        return [solve(f, equation, diffrax.Heun(), span=(0.0, 0.05), **options)[1].penalty for f in (fresh, SOLVE)]

    keys = jax.random.split(jax.random.key(0), 2)
    draws = jnp.asarray([0.3, 0.6])
    (same, path), (again, other_path), (other, same_path) = (
        ratio(keys[0], draws[0]),
        ratio(keys[1], draws[0]),
        ratio(keys[0], draws[1]),
    )
    assert same == again != other
    assert path == same_path != other_path


def test_fresh_noise_has_the_law_of_brownian_motion():
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    equation = (diffrax.ControlTerm(problems.diagonal, path), diffrax.ControlTerm(problems.diagonal, path))
    t0, t1 = 0.9, 0.5

    @jax.jit
    @jax.vmap
    def increments(seed):
        first, second = with_fresh_noise(equation, (0, 0), seed, t0, t1)
        whole = first.contr(t1, t0, use_levy=True)
        halves = [first.contr(*interval) for interval in ((t1, 0.7), (0.7, t0))]
        return jnp.stack([whole.W, whole.H, *halves, second.contr(t1, t0)])

    samples = np.asarray(increments(jnp.arange(20000, dtype=jnp.uint32)))[:, :, 0]
    np.testing.assert_allclose(samples[:, 2] + samples[:, 3], samples[:, 0], atol=1e-12)
    np.testing.assert_array_equal(samples[:, 4], samples[:, 0])
    covariance = np.cov(samples[:, 1:4].T)
    np.testing.assert_allclose(np.diag(covariance), [0.4 / 12, 0.2, 0.2], rtol=0.05)
    assert abs(covariance[1, 2]) < 0.005
    assert np.abs(samples.mean(axis=0)).max() < 0.02
