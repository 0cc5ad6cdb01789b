"""The counts of drift and diffusion equal the calls that a host callback counts."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx
import pytest

from tests.adapters.diffrax import sde_problems as problems
from tests.adapters.diffrax.sde_problems import SOLVE, Waves, solve

HALF = diffrax.HalfSolver
CALLS: list[str] = []


def _note_drift(_: Any) -> None:
    CALLS.append("drift")


def _note_diffusion(_: Any) -> None:
    CALLS.append("diffusion")


def _drift(t: Any, y: Any, args: Any) -> Any:
    jax.debug.callback(_note_drift, t)
    return problems.drift(t, y, args)


def _diagonal(t: Any, y: Any, args: Any) -> Any:
    jax.debug.callback(_note_diffusion, t)
    return lx.DiagonalLinearOperator(0.3 * jnp.cos(y))


def _additive(t: Any, y: Any, args: Any) -> Any:
    jax.debug.callback(_note_diffusion, t)
    return lx.DiagonalLinearOperator(jnp.stack([1 + t, 0.5 - t]))


CASES: list[tuple[Any, Any]] = [
    (diffrax.Heun(), _diagonal),
    (diffrax.SPaRK(), _diagonal),
    (diffrax.ShARK(), _additive),
    (diffrax.ReversibleHeun(), _diagonal),
    (HALF(diffrax.EulerHeun()), _diagonal),
    (HALF(diffrax.ItoMilstein()), _diagonal),
    (HALF(diffrax.StratonovichMilstein()), _diagonal),
    (HALF(diffrax.SRA1()), _additive),
    (HALF(diffrax.SlowRK()), _diagonal),
    (diffrax.Euler(), _diagonal),
]


@pytest.mark.parametrize(
    ("solver", "diffusion"), CASES, ids=[f"{type(c[0]).__name__}-{i}" for i, c in enumerate(CASES)]
)
def test_nfe_and_nfe_diffusion_equal_counted_calls(solver, diffusion):
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    equation = diffrax.MultiTerm(diffrax.ODETerm(_drift), diffrax.ControlTerm(diffusion, path))
    is_adaptive = not isinstance(solver, diffrax.Euler)
    controller = diffrax.ClipStepSizeController(problems.PID, jump_ts=[0.3])
    options = {"stepsize_controller": controller if is_adaptive else diffrax.ConstantStepSize(), "dt0": 0.25}
    CALLS.clear()
    _, report = jax.block_until_ready(solve(SOLVE, equation, solver, penalize=False, **options))
    jax.effects_barrier()
    assert CALLS.count("diffusion") == report.nfe_diffusion
    assert len(CALLS) == report.nfe
    assert report.num_steps > 2
    assert jnp.result_type(report.nfe) == jnp.result_type(report.nfe_diffusion) == jnp.int32


def test_stages_that_are_reused_are_counted_once():
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    equation = diffrax.MultiTerm(diffrax.ODETerm(_drift), diffrax.ControlTerm(_diagonal, path))
    with pytest.warns(UserWarning, match="not marked as converging"):
        _, report = solve(
            SOLVE,
            equation,
            diffrax.Bosh3(),
            penalize=False,
            stepsize_controller=diffrax.PIDController(rtol=5e-2, atol=2e-2, error_order=1.0),
        )
    rejected_first = (report.nfe_diffusion - 3 * report.num_steps) - 1
    assert report.nfe == 2 * report.nfe_diffusion
    assert 0 <= rejected_first <= report.num_rejected


def test_several_noise_terms_count_each():
    path = Waves(jnp.asarray(problems.amplitudes(2)))
    noise = diffrax.ControlTerm(problems.diagonal, path)
    equation = diffrax.MultiTerm(diffrax.ODETerm(problems.drift), noise, noise)
    _, report = solve(SOLVE, equation, diffrax.Heun(), penalize=False)
    assert report.nfe == 6 * report.num_steps
    assert report.nfe_diffusion == 4 * report.num_steps


def test_nothing_is_traced_again_between_iterations():
    num_traces = 0

    def diffusion(t, y, args):
        nonlocal num_traces
        num_traces += 1
        return lx.DiagonalLinearOperator(args * jnp.cos(y))

    def iterate(i):
        path = Waves(jnp.asarray((1.0 + i) * problems.amplitudes(2)))
        equation = diffrax.MultiTerm(diffrax.ODETerm(problems.drift), diffrax.ControlTerm(diffusion, path))
        return solve(SOLVE, equation, HALF(diffrax.EulerHeun()), jnp.asarray(0.5 + i), key=jax.random.key(int(10 * i)))[
            1
        ].penalty

    iterate(0)
    before = num_traces
    penalties = [iterate(i) for i in (0.1, 0.2)]
    assert num_traces == before > 0
    assert penalties[0] != penalties[1]
