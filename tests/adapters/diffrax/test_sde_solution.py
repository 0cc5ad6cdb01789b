"""Solutions and task gradients of stochastic equations are those of the bare call, to the last bit."""

import dataclasses
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest

import lrnde
from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import SCALE, SOLVE, solve

HALF = diffrax.HalfSolver
# In double precision like the states of the tests, since `SaveAt` makes arrays of times here.
with jax.enable_x64(True):
    TS = jnp.linspace(0.0, 1.0, 4)
    CASES: list[tuple[str, Any, str, dict[str, Any]]] = [
        ("milstein_ts", HALF(diffrax.ItoMilstein()), "diagonal", {"saveat": diffrax.SaveAt(ts=TS, solver_state=True)}),
        ("sra1_steps", diffrax.SRA1(), "additive", {"saveat": diffrax.SaveAt(steps=True), "max_steps": 64}),
        (
            "reversible_heun",
            diffrax.ReversibleHeun(),
            "general",
            {"saveat": diffrax.SaveAt(t1=True, solver_state=True)},
        ),
        ("backward", HALF(diffrax.EulerHeun()), "diagonal", {"span": (1.0, 0.0)}),
        ("fixed", diffrax.Euler(), "general", {"stepsize_controller": diffrax.ConstantStepSize()}),
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


def test_without_penalty_nothing_but_the_solve_runs(assert_same):
    equation = problems.terms("diagonal", problems.tree(2))
    options = {"stepsize_controller": problems.PID}
    expected = solve(diffrax.diffeqsolve, equation, diffrax.Heun(), **options)
    solution, report = solve(SOLVE, equation, diffrax.Heun(), penalize=False, **options)
    assert_same(solution, expected)
    assert report.penalty == report.nfe_extra == 0
    assert report.nfe == 2 * report.nfe_diffusion == 4 * report.num_steps
