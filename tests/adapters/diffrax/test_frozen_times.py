"""Frozen solves of diffrax at traced times: those of the plan, and others."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import lrnde
from lrnde_core import FIXED_METHODS, CapabilityError, Plan

_Y0 = jnp.ones((3, 2))
# Linear, so that its gradient with respect to the state has no state in it.
_TERM = diffrax.ODETerm(lambda t, y, args: -y)
_CALL = functools.partial(diffrax.diffeqsolve, _TERM, diffrax.Tsit5(), dt0=0.1)
_PLAN = Plan("rk4", FIXED_METHODS["rk4"].tableau, 0.0, 1.0, (1.0,), (0.5, 1.0), ((2,),), True)
_FROZEN: Any = lrnde.apply_plan(_CALL, _PLAN)
_TIMES = jnp.array([0.0, 0.5, 1.0])
_OTHERS = [jnp.array(times) for times in ([0.0, 0.5, 3.0], [0.2, 0.5, 1.0], [0.0, 0.6, 1.0], [0.0, jnp.nan, 1.0])]


def _solve(times: Any, y0: Any = _Y0) -> Any:
    return _FROZEN(t0=times[0], t1=times[2], y0=y0, saveat=diffrax.SaveAt(ts=times[1:])).ys


def _gradient(times: Any) -> Any:
    return jax.grad(lambda y0: _solve(times, y0).sum())(_Y0)


@pytest.mark.parametrize("solve", [_solve, _gradient])
def test_traced_times_are_the_plans_or_the_program_fails(solve: Callable[[Any], Any]) -> None:
    compiled = jax.jit(solve)
    np.testing.assert_allclose(compiled(_TIMES), solve(_TIMES), rtol=1e-6)
    for times in _OTHERS:
        with pytest.raises(Exception, match=r"not those that its plan was found for, 0.0 to 1.0 and 2 output times"):
            jax.block_until_ready(compiled(times))


def test_times_of_each_sample_are_compared() -> None:
    batched = jax.vmap(_solve)
    np.testing.assert_allclose(batched(jnp.stack([_TIMES, _TIMES]))[1], _solve(_TIMES), rtol=1e-6)
    with pytest.raises(Exception, match="not those that its plan was found for"):
        batched(jnp.stack([_TIMES, _OTHERS[0]]))


def test_known_times_compile_no_callback() -> None:
    def solve(y0: Any) -> Any:
        return _FROZEN(t0=0.0, t1=1.0, y0=y0, saveat=saveat).ys

    saveat = diffrax.SaveAt(ts=[0.5, 1.0])
    assert "callback" not in jax.jit(solve).lower(_Y0).as_text()
    assert "callback" in jax.jit(_solve).lower(_TIMES).as_text()


def test_a_gradient_with_respect_to_times_is_refused() -> None:
    with pytest.raises(CapabilityError, match="differentiated with respect to its times"):
        jax.grad(lambda times: _solve(times).sum())(_TIMES)
    moved = jax.grad(lambda y0: _solve(y0[0, 0] * _TIMES, y0).sum())
    with pytest.raises(CapabilityError, match="differentiated with respect to its times"):
        moved(_Y0)


def test_a_stochastic_solve_follows_its_traced_interval_or_fails() -> None:
    path = diffrax.VirtualBrownianTree(0.0, 5.0, 1e-3, (3, 2), jax.random.key(0))
    noise = diffrax.ControlTerm(lambda t, y, args: lx.DiagonalLinearOperator(0.1 * jnp.ones((3, 2))), path)
    terms = diffrax.MultiTerm(_TERM, noise)
    native = functools.partial(diffrax.diffeqsolve, solver=diffrax.Euler(), t0=0.0, dt0=0.1, y0=_Y0)
    frozen: Any = lrnde.apply_sde_plan(native, lrnde.SDEPlan(0.0, 1.0, 4))
    solve = jax.jit(lambda t1: frozen(terms, t1=t1).ys)
    np.testing.assert_allclose(solve(1.0), frozen(terms, t1=1.0).ys, rtol=1e-6)
    # As far off as float32 rounds; diffrax takes steps to the call's own end.
    np.testing.assert_allclose(solve(1.0 + 2e-7), solve(1.0), rtol=1e-5)
    with pytest.raises(Exception, match=r"not those that its plan was found for, 0.0 to 1.0\."):
        jax.block_until_ready(solve(3.0))


def test_states_and_times_in_float32_beside_float64_under_strict_promotion() -> None:
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        y0, times = jnp.ones((10, 2), jnp.float32), _TIMES.astype(jnp.float32)
        call = {"t0": times[0], "t1": times[2], "dt0": times[1], "y0": y0, "saveat": diffrax.SaveAt(ts=times[1:])}
        solve = functools.partial(diffrax.diffeqsolve, _TERM, diffrax.Tsit5(), stepsize_controller=controller)
        candidates = [lrnde.Candidate("rk4", 1)]
        frozen: Any = lrnde.freeze(solve, calibration=[call] * 2, error=0.1, candidates=candidates, guard=True)[0]
        known, traced = frozen(**call)[0], eqx.filter_jit(lambda call: frozen(**call)[0])(call)
        assert known.ys.dtype == traced.ys.dtype == traced.ts.dtype == jnp.float32
        np.testing.assert_allclose(traced.ys, known.ys, rtol=1e-6)
