"""Frozen solves of diffrax at any times: known, traced, of each member under `vmap`, and their gradient."""

import dataclasses
import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import lrnde
import lrnde_core
from lrnde_core import FixedSteps, Plan
from lrnde_diffrax._freeze import DiffraxFreezer
from tests.adapters.diffrax.sde_problems import Waves
from tests.compilations import num_compiled

_Y0 = jnp.array([[1.0, -0.5], [0.3, 2.0], [-1.0, 1.0]])


def _field(t: Any, y: Any, args: Any) -> Any:
    del args
    return jnp.cos(t) * y - 0.1 * y**3


_TERM = diffrax.ODETerm(_field)
_CALL = functools.partial(diffrax.diffeqsolve, _TERM, diffrax.Tsit5(), dt0=None)
_NATIVE = functools.partial(_CALL, stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9))
_STEPS = FixedSteps("rk4", (0.25, 0.5, 1.0))
_FROZEN: Any = lrnde.apply_plan(_CALL, Plan(_STEPS, ((2,),), is_batched=True, interpolates=True))
_FINE: Any = lrnde.apply_plan(_CALL, Plan(FixedSteps.equal("dormand-prince", 8), ((2,),), True, interpolates=True))
_TIMES = jnp.array([0.0, 0.5, 1.0])
_OTHERS = jnp.array([[0.0, 0.5, 3.0], [0.2, 0.5, 1.0], [0.0, 0.6, 1.0], [1.0, 0.3, -1.0]])


def _solve(times: Any, y0: Any = _Y0, solve: Any = _FROZEN) -> Any:
    saveat = diffrax.SaveAt(t0=True, ts=times[1:-1], t1=True)
    return solve(t0=times[0], t1=times[-1], y0=y0, saveat=saveat).ys


def _spans(seed: int) -> np.ndarray:
    """Four output times in an interval of length 0.5 to 1, forward or backward."""
    draws = np.random.default_rng(seed).random(5)
    inner = 0.05 + 0.9 * np.sort(draws[:2])
    duration = (0.5 + 0.5 * draws[2]) * (1 if draws[3] < 0.5 else -1)
    return draws[4] + duration * np.array([0.0, *inner, 1.0])


def test_fresh_times_are_solved_within_the_error_that_was_measured() -> None:
    with jax.enable_x64(True):
        y0 = jnp.tile(_Y0.astype(float), (7, 1)) * jnp.linspace(0.5, 1, 21)[:, None]

        def call(seed: int) -> dict[str, Any]:
            times = jnp.asarray(_spans(seed))
            return {"t0": times[0], "t1": times[-1], "y0": y0, "saveat": diffrax.SaveAt(ts=times[1:])}

        calibration = [call(seed) for seed in range(10)]
        candidates = [lrnde.Candidate("dormand-prince", number) for number in (2, 4)]
        frozen, report = lrnde.freeze(_NATIVE, calibration=calibration, error=1e-3, candidates=candidates)
        assert report.plan.interpolates
        for seed in range(50, 55):
            ys, native = (np.asarray(solve(**call(seed)).ys) for solve in (frozen, _NATIVE))
            difference, size = (np.sqrt((each**2).sum((0, 2))) for each in (ys - native, native))
            # Of fresh calls some lie beyond the largest error of five.
            assert (difference / np.maximum(size, np.median(size))).max() < 3 * report.error


def test_traced_times_give_what_known_ones_give() -> None:
    compiled, exported = jax.jit(_solve), jax.export.export(jax.jit(_solve))(_TIMES)
    batched = jax.vmap(_solve)(_OTHERS)
    for index, times in enumerate(_OTHERS):
        known = _solve(times)
        for ours in (compiled(times), exported.call(times), batched[index]):
            np.testing.assert_allclose(ours, known, rtol=1e-5, atol=1e-6)
    assert "callback" not in compiled.lower(_TIMES).as_text()


def test_longer_intervals_fail_whether_their_ends_are_known_or_traced() -> None:
    plan = dataclasses.replace(_FROZEN.plan, longest_interval=1.0)
    frozen: Any = lrnde.apply_plan(_CALL, plan)
    with pytest.raises(lrnde.InputError, match=r"from 0 to 2 is too long: the calibration's longest has length 1, "):
        frozen(t0=0.0, t1=2.0, y0=_Y0)
    frozen(t0=1.0, t1=0.0, y0=_Y0)

    @eqx.filter_jit
    def traced(t1: Any, throw: bool) -> Any:
        return frozen(t0=0.0, t1=t1, y0=_Y0, throw=throw)

    np.testing.assert_allclose(traced(jnp.array(1.0), True).ys, frozen(t0=0.0, t1=1.0, y0=_Y0).ys, rtol=1e-6)
    with pytest.raises(eqx.EquinoxRuntimeError, match="too long: the calibration's longest has length 1"):
        jax.block_until_ready(traced(jnp.array(-2.0), True).ys)
    ends = jnp.array([1.0, -2.0])
    found = jax.vmap(lambda t1: traced(t1, False))(ends)
    np.testing.assert_array_equal(np.isnan(found.ys).all((1, 2, 3)), [False, True])
    np.testing.assert_array_equal(diffrax.is_okay(found.result), [True, False])
    guarded: Any = lrnde.apply_plan(_CALL, dataclasses.replace(plan, bounds=(1e3, 1e3)))
    flags = jax.jit(jax.vmap(lambda t1: guarded(t0=0.0, t1=t1, y0=_Y0)[1]))(ends)
    np.testing.assert_array_equal(flags.all(1), [False, True])


def test_outputs_known_to_lie_at_the_ends_take_no_evaluation() -> None:
    seen: list[int] = []

    def counted(t: Any, y: Any, args: Any) -> Any:
        seen.append(1)
        return _field(t, y, args)

    plan = Plan(FixedSteps.equal("euler", 2), ((2,),), is_batched=True, interpolates=False)
    frozen: Any = lrnde.apply_plan(functools.partial(_CALL.func, diffrax.ODETerm(counted), *_CALL.args[1:]), plan)
    by_end = frozen(0.0, 1.0, None, _Y0)
    assert len(seen) == plan.num_evaluations == 2
    known = frozen(0.0, 1.0, None, _Y0, saveat=diffrax.SaveAt(ts=[0.0, 1.0]))
    assert len(seen) == 4
    np.testing.assert_array_equal(known.ys, np.stack([_Y0, by_end.ys[0]]))
    np.testing.assert_array_equal(known.ts, [0.0, 1.0])


@pytest.mark.parametrize("t1", [1.1, 0.7])  # in single precision a little more, and a little less
@pytest.mark.parametrize("linspace", [np.linspace, jnp.linspace])
def test_times_are_compared_as_they_are_rounded(t1: float, linspace: Any) -> None:
    plan, seen = lrnde.FixedSteps.equal("midpoint", 2), list[int]()

    def counted(t: Any, y: Any, args: Any) -> Any:
        seen.append(1)
        return _field(t, y, args)

    with jax.enable_x64(False):
        frozen: Any = lrnde.apply_plan(_CALL, Plan(plan, ((2,),), is_batched=True, interpolates=True))
        y0 = jnp.asarray(_Y0, jnp.float32)
        inside = frozen(t0=0.0, t1=t1, y0=y0, saveat=diffrax.SaveAt(ts=linspace(0.0, t1, 5)))
        assert inside.ts[-1] == inside.t1
        term = diffrax.ODETerm(counted)
        saveat = diffrax.SaveAt(ts=linspace(0.0, t1, 2))
        lrnde.apply_plan(diffrax.diffeqsolve, frozen.plan)(term, diffrax.Heun(), 0.0, t1, None, y0, saveat=saveat)
        # Both outputs lie at ends, so no evaluation of the last point is needed to interpolate.
        assert len(seen) == 4
        for saveat in (diffrax.SaveAt(ts=[2 * t1]), diffrax.SaveAt(ts=jnp.array([jnp.nan]))):
            with pytest.raises(lrnde.InputError, match=rf"lies outside of the interval from 0.0 to {t1}\."):
                frozen(t0=0.0, t1=t1, y0=y0, saveat=saveat)


def test_an_output_at_a_rounded_start_is_not_part_of_the_error() -> None:
    with jax.enable_x64(False):
        y0, saveat = jnp.asarray(_Y0, jnp.float32), diffrax.SaveAt(ts=jnp.array([0.1, 0.7]))
        keywords = {"t0": 0.1, "t1": 0.7, "dt0": 0.1, "y0": y0, "saveat": saveat}
        call = lrnde_core.get_adapter("diffrax").bind("", _CALL.func, _CALL.args, keywords)
        freezer = DiffraxFreezer()
        assert not freezer.read(call, is_batched=True).has_outputs_inside
        assert [leaf.shape for leaf in freezer.states(call, call.run(None).result)] == [(1, 3, 2)]
        assert freezer.step_ends(call)[-1] == 1


@pytest.mark.parametrize("num_steps", [3, 6])  # unrolled, and in a loop
def test_outside_of_jit_nothing_is_compiled_again(num_steps: int) -> None:
    frozen: Any = lrnde.apply_plan(_CALL, Plan(FixedSteps.equal("midpoint", num_steps), ((2,),), True, True))

    def solve(factor: float) -> Any:
        return frozen(0.0, factor, y0=factor * _Y0, saveat=diffrax.SaveAt(ts=factor * jnp.array([0.0, 0.3, 1.0]))).ys

    def differentiate(factor: float) -> Any:
        return jax.grad(lambda y0: frozen(0.0, 1.0, y0=y0, saveat=diffrax.SaveAt(ts=[0.3, 1.0])).ys.sum())(factor * _Y0)

    for run in (solve, differentiate):
        for factor in (1.0, 1.5):
            run(factor)
        assert num_compiled(lambda run=run: run(2.0)) == 0


def test_the_derivative_with_respect_to_the_times_is_the_field() -> None:
    with jax.enable_x64(True):
        y0, times = _Y0.astype(float), _TIMES.astype(float)
        gradient = jax.grad(lambda times: _solve(times, y0, _FINE)[-1].sum())(times)
        native = _solve(times, y0, _NATIVE)
        assert float(gradient[-1]) == pytest.approx(float(_field(times[-1], native[-1], None).sum()), abs=1e-6)
        assert gradient[1] == 0
        inner = jax.jacobian(lambda times: _solve(times, y0, _FINE)[1].sum())(times)
        # The derivative of a cubic, whose error is of order 3.
        assert float(inner[1]) == pytest.approx(float(_field(times[1], native[1], None).sum()), abs=1e-3)


def test_a_stochastic_solve_divides_its_traced_interval() -> None:
    path = Waves(jnp.asarray(np.random.default_rng(3).standard_normal((7, 3, 2))))
    noise = diffrax.ControlTerm(lambda t, y, args: lx.DiagonalLinearOperator(0.1 * jnp.ones((3, 2))), path)
    terms = diffrax.MultiTerm(_TERM, noise)
    native = functools.partial(diffrax.diffeqsolve, solver=diffrax.Euler(), t0=0.0, dt0=0.1, y0=_Y0)
    frozen: Any = lrnde.apply_sde_plan(native, lrnde.SDEPlan(4))
    solve = jax.jit(lambda t1: frozen(terms, t1=t1))
    for t1 in (1.0, 3.0):
        np.testing.assert_allclose(solve(t1).ys, frozen(terms, t1=t1).ys, rtol=1e-6)
        expected = native(terms, t1=jnp.asarray(t1), dt0=jnp.asarray(t1 / 4))
        np.testing.assert_allclose(solve(t1).ys, expected.ys, rtol=1e-5)
        assert solve(t1).stats["num_steps"] == 4
    limited: Any = lrnde.apply_sde_plan(native, lrnde.SDEPlan(4, longest_interval=1.0))
    with pytest.raises(lrnde.InputError, match="from 0 to 3 is too long"):
        limited(terms, t1=3.0)
    with pytest.raises(eqx.EquinoxRuntimeError, match="too long"):
        jax.block_until_ready(eqx.filter_jit(lambda t1: limited(terms, t1=t1).ys)(jnp.array(3.0)))


def test_a_stochastic_solve_takes_times_of_different_precision() -> None:
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        shape = jax.ShapeDtypeStruct((3, 2), jnp.float32)
        path = diffrax.VirtualBrownianTree(jnp.float32(0.0), jnp.float32(2.0), 1e-2, shape, jax.random.key(0))
        noise = diffrax.ControlTerm(lambda t, y, args: lx.DiagonalLinearOperator(0.1 + 0 * y), path)
        frozen: Any = lrnde.apply_sde_plan(diffrax.diffeqsolve, lrnde.SDEPlan(4))
        y0 = jnp.asarray(_Y0, jnp.float32)
        solution = frozen(diffrax.MultiTerm(_TERM, noise), diffrax.Euler(), 0.1, jnp.float32(1.1), 0.1, y0)
        assert solution.ts[-1] == jnp.float32(1.1)


def test_states_and_times_in_float32_beside_float64_under_strict_promotion() -> None:
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        y0, times = jnp.ones((10, 2), jnp.float32), _TIMES.astype(jnp.float32)
        call = {"t0": times[0], "t1": times[2], "dt0": times[1], "y0": y0, "saveat": diffrax.SaveAt(ts=times[1:])}
        term = diffrax.ODETerm(lambda t, y, args: -y)
        solve = functools.partial(diffrax.diffeqsolve, term, diffrax.Tsit5(), stepsize_controller=controller)
        candidates = [lrnde.Candidate("rk4", 1)]
        frozen: Any = lrnde.freeze(solve, calibration=[call] * 2, error=0.1, candidates=candidates, guard=True)[0]
        known, traced = frozen(**call)[0], eqx.filter_jit(lambda call: frozen(**call)[0])(call)
        assert known.ys.dtype == traced.ys.dtype == traced.ts.dtype == jnp.float32
        np.testing.assert_allclose(traced.ys, known.ys, rtol=1e-6)
