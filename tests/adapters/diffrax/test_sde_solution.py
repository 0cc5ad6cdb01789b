"""Solutions and task gradients of stochastic equations are those of the bare call, to the last bit."""

import dataclasses
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest

import lrnde
from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import DIRECT, SCALE, SOLVE, solve

HALF = diffrax.HalfSolver
# In double precision like the states of the tests, since `SaveAt` makes arrays of times here.
with jax.enable_x64(True):
    TS = jnp.linspace(1.0, 0.0, 4)
    CASES: list[tuple[str, Any, str, dict[str, Any]]] = [
        (
            "backward_ts",
            HALF(diffrax.EulerHeun()),
            "diagonal",
            {"span": (1.0, 0.0), "saveat": diffrax.SaveAt(ts=TS, solver_state=True)},
        ),
        (
            "reversible_heun_steps",
            diffrax.ReversibleHeun(),
            "general",
            {"saveat": diffrax.SaveAt(steps=True, solver_state=True), **DIRECT, "max_steps": 256},
        ),
        (
            "fixed",
            diffrax.Euler(),
            "general",
            {"stepsize_controller": diffrax.ConstantStepSize(), **DIRECT, "max_steps": 32},
        ),
    ]


@pytest.mark.parametrize(("solver", "kind", "options"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_solution_and_task_gradient_are_bit_identical(solver, kind, options, assert_same):
    regularized = dataclasses.replace(SOLVE, heuristic=lrnde.PredictedSteps(rtol=1e-3, atol=1e-3))

    def bare(scale):
        solution = solve(diffrax.diffeqsolve, problems.terms(kind), solver, scale, **options)
        return jnp.sum(jnp.where(jnp.isfinite(solution.ys), solution.ys, 0.0) ** 2), solution

    def recorded(scale):
        solution, _ = solve(regularized, problems.terms(kind), solver, scale, draw=jnp.asarray([0.5]), **options)
        return jnp.sum(jnp.where(jnp.isfinite(solution.ys), solution.ys, 0.0) ** 2), solution

    expected = jax.jit(jax.value_and_grad(bare, has_aux=True))(SCALE)
    assert_same(jax.jit(jax.value_and_grad(recorded, has_aux=True))(SCALE), expected)
