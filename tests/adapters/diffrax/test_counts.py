"""The counts equal the calls of the vector field that a host callback counts."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import lrnde

PID = diffrax.PIDController(rtol=1e-5, atol=1e-7)
CLIP = diffrax.ClipStepSizeController(PID, jump_ts=[0.3, 0.6])
SOLVE = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate())
CALLS: list[None] = []


def _count(_: Any) -> None:
    CALLS.append(None)


def _counted(t: Any, y: Any, args: Any) -> Any:
    jax.debug.callback(_count, t)
    return jnp.where(t > 0.6, 2.0, 1.0) * jnp.cos(20 * t) * y


def _counted_matrix(t: Any, y: Any, args: Any) -> Any:
    return _counted(t, y, args)[..., None]


def _calls(run: Any) -> tuple[int, Any]:
    CALLS.clear()
    result = jax.block_until_ready(run())
    jax.effects_barrier()
    return len(CALLS), result


CASES: list[tuple[Any, float | None, Any]] = [
    (diffrax.Heun(), 0.5, PID),
    (diffrax.Bosh3(), 0.9, CLIP),
    (diffrax.Dopri8(), None, PID),
    (diffrax.HalfSolver(diffrax.Euler()), 0.5, diffrax.PIDController(rtol=1e-2, atol=1e-2)),
    (diffrax.HalfSolver(diffrax.Bosh3()), 0.9, CLIP),
    (diffrax.ReversibleHeun(), 0.5, CLIP),
]


@pytest.mark.parametrize(
    ("solver", "dt0", "controller"), CASES, ids=[f"{type(c[0]).__name__}-{i}" for i, c in enumerate(CASES)]
)
def test_nfe_equals_counted_calls(solver, dt0, controller):
    y0 = jnp.asarray([0.5])
    arguments = (diffrax.ODETerm(_counted), solver, 0.0, 1.0, dt0, y0)
    calls, (_, report) = _calls(lambda: SOLVE(*arguments, stepsize_controller=controller, penalize=False))
    assert calls == report.nfe
    assert report.nfe_extra == 0
    if dt0 is not None:
        assert report.num_rejected > 0


# The exact numbers of others are held beside the values of their local steps, in the files about these.
@pytest.mark.parametrize("solver", [diffrax.Bosh3(), diffrax.HalfSolver(diffrax.Bosh3())], ids=["bosh3", "half"])
def test_the_local_step_takes_no_more_calls_than_are_counted_for_it(solver):
    arguments = (diffrax.ODETerm(_counted), solver, 0.0, 1.0, 0.9, jnp.asarray([0.5]))
    calls, (_, report) = _calls(lambda: SOLVE(*arguments, stepsize_controller=CLIP, draw=jnp.asarray([0.5])))
    # What the compiler finds unused it does not evaluate: the last stage of a step without a stiffness estimate.
    assert report.nfe < calls <= report.nfe + report.nfe_extra


def test_nfe_of_a_resumed_solve_reuses_the_last_stage():
    saveat = diffrax.SaveAt(t1=True, solver_state=True, controller_state=True, made_jump=True)
    term, y0 = diffrax.ODETerm(_counted), jnp.asarray([0.5])
    first, _ = SOLVE(term, diffrax.Bosh3(), 0.0, 0.3, None, y0, stepsize_controller=CLIP, saveat=saveat, penalize=False)
    state = {name: getattr(first, name) for name in ("solver_state", "controller_state", "made_jump")}
    calls, (_, report) = _calls(
        lambda: SOLVE(
            term,
            diffrax.Bosh3(),
            0.3,
            0.59,
            0.2,
            first.ys[0],
            stepsize_controller=CLIP,
            saveat=saveat,
            penalize=False,
            **state,
        )
    )
    assert calls == report.nfe


def test_nfe_of_a_controlled_equation_counts_its_field():
    term = diffrax.ControlTerm(_counted_matrix, lambda t0, t1: jnp.asarray([jnp.sin(t1) - jnp.sin(t0)]))
    calls, (_, report) = _calls(
        lambda: SOLVE(term, diffrax.Bosh3(), 0.0, 1.0, 0.5, jnp.asarray([0.5]), stepsize_controller=PID, penalize=False)
    )
    assert calls == report.nfe


def test_nothing_is_traced_again_between_iterations():
    num_traces = 0

    class Field(eqx.Module):
        weight: jax.Array

        def __call__(self, t, y, args):
            nonlocal num_traces
            num_traces += 1
            return self.weight * y

    def iterate(i):
        term = diffrax.ODETerm(Field(jnp.asarray(0.5 + i)))
        key, y0 = jax.random.key(i), jnp.ones(2)
        return SOLVE(term, diffrax.Heun(), 0.0, 1.0, None, y0, stepsize_controller=PID, key=key)[1].penalty

    iterate(0)
    before = num_traces
    assert before > 0
    penalties = [iterate(i) for i in (1, 2)]
    assert num_traces == before
    assert penalties[0] != penalties[1]
