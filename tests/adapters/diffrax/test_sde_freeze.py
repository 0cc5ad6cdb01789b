"""`freeze_sde` with diffrax: fixed steps of the solver inside of `HalfSolver`, along the same Brownian paths."""

import functools
import itertools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import lrnde
from tests.adapters.diffrax.sde_problems import Waves

NUM_PATHS = 40
CONTROLLER = diffrax.PIDController(rtol=1e-2, atol=1e-2, dtmin=2.0**-6)
SOLVE = functools.partial(
    diffrax.diffeqsolve,
    solver=diffrax.HalfSolver(diffrax.EulerHeun()),
    t0=0.0,
    t1=1.0,
    dt0=0.1,
    y0=jnp.full((NUM_PATHS,), 1.5),
    stepsize_controller=CONTROLLER,
)


def terms(seed: Any) -> diffrax.MultiTerm[Any]:
    path = Waves(jax.random.normal(jax.random.key(seed), (7, NUM_PATHS)))
    drift = diffrax.ODETerm(lambda t, y, args: -2 * y)
    return diffrax.MultiTerm(
        drift, diffrax.ControlTerm(lambda t, y, args: lx.DiagonalLinearOperator(0.3 + 0 * y), path)
    )


def test_fixed_steps_keep_the_statistics_and_run_under_jit() -> None:
    calibration = [{"terms": terms(seed)} for seed in range(2)]
    frozen, report = lrnde.freeze_sde(
        SOLVE, calibration=calibration, statistic=lambda sol: sol.ys[-1], error=0.3, candidates=[8]
    )
    assert report.plan.num_steps == 8
    assert report.error.bound <= 0.3
    # One of drift and two of the diffusion in each step of the Euler--Heun method, counted by hand.
    assert report.num_evaluations == 8 * 3
    assert report.native_evaluations is not None
    assert report.num_evaluations < 0.5 * report.native_evaluations
    path = terms(5).terms[1].control
    times = jnp.linspace(0, 1, 9)
    y = np.full(NUM_PATHS, 1.5)
    for start, end in itertools.pairwise(times):
        # With additive noise the Euler--Heun method is Euler's.
        y = y - 2 * y / 8 + 0.3 * np.asarray(path.evaluate(start, end))
    ys = jax.jit(lambda key: frozen(terms=terms(key)).ys)(5)
    np.testing.assert_allclose(ys[-1], y, rtol=1e-5)


def test_what_can_not_be_frozen_is_told() -> None:
    with pytest.raises(lrnde.CapabilityError, match="freeze_sde"):
        lrnde.freeze(SOLVE, calibration=[{"terms": terms(0)}] * 2)
    ordinary = {"terms": diffrax.ODETerm(lambda t, y, args: -y), "solver": diffrax.Tsit5()}
    with pytest.raises(lrnde.CapabilityError, match=r"use `lrnde.freeze`"):
        lrnde.freeze_sde(SOLVE, calibration=[ordinary] * 2, statistic=lambda sol: sol.ys[-1])
    failing = functools.partial(SOLVE, max_steps=3, throw=False)
    with pytest.raises(lrnde.InputError, match=r"native solve of `calibration\[0\]` failed: The maximum number"):
        lrnde.freeze_sde(failing, calibration=[{"terms": terms(0)}] * 2, statistic=lambda sol: jnp.ones(NUM_PATHS))
    calibration = [{"terms": terms(0), "t0": 1.0}] * 2
    with pytest.raises(lrnde.InputError, match=r"from 1.0 to 1.0 has no length"):
        lrnde.freeze_sde(SOLVE, calibration=calibration, statistic=lambda sol: sol.ys[-1])
