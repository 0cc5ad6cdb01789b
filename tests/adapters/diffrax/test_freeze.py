"""Frozen solves of diffrax against steps by hand, under JAX's transformations, and what is refused."""

import dataclasses
import functools
from typing import Any

import diffrax
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde
import lrnde_core
from lrnde_core import Candidate, CapabilityError, FixedSteps, InputError, Plan
from lrnde_diffrax._freeze import DiffraxFreezer
from tests.adapters.pendulum import rk4_by_hand

_CONTROLLER = diffrax.PIDController(rtol=1e-8, atol=1e-8)


def _field(t: Any, y: Any, args: Any) -> Any:
    angle, speed = y["angle"], y["speed"]
    return {"angle": speed, "speed": -args * jnp.sin(angle) + 0.1 * jnp.cos(t)}


_SOLVE = functools.partial(
    diffrax.diffeqsolve,
    diffrax.ODETerm(_field),
    diffrax.Tsit5(),
    0.0,
    1.0,
    0.1,
    args=9.0,
    stepsize_controller=_CONTROLLER,
)


def _inputs(seed: int, count: int = 20, scale: float = 0.5) -> dict[str, Any]:
    angle, speed = scale * (np.random.default_rng(seed).random((2, count)) - 0.5)
    return {"angle": jnp.asarray(angle), "speed": jnp.asarray(speed)}


def _calls(num_calls: int = 2, **extra: Any) -> list[dict[str, Any]]:
    return [{"y0": _inputs(seed), **extra} for seed in range(num_calls)]


_PLAN = Plan(FixedSteps.equal("rk4", 1), ((2,),), is_batched=True, interpolates=False)


@pytest.fixture(scope="module", autouse=True)
def _double() -> Any:
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def frozen(_double: Any) -> Any:
    candidates = [Candidate("rk4", 3, follows_solver=True)]
    return lrnde.freeze(_SOLVE, calibration=_calls(), error=0.5, candidates=candidates, guard=True)[0]


def _native(y0: Any) -> Any:
    return _SOLVE(y0=y0)


def test_steps_are_those_taken_by_hand(frozen: Any) -> None:
    assert frozen.plan.steps.ends != (1 / 3, 2 / 3, 1.0)
    ys = frozen(y0=_inputs(7))[0].ys
    angle_and_speed = np.stack([*_inputs(7).values()])
    expected = rk4_by_hand(angle_and_speed, frozen.plan.steps.ends)
    np.testing.assert_allclose(np.stack([ys["angle"][-1], ys["speed"][-1]]), expected, rtol=1e-12)


def test_it_is_the_same_under_transformations_and_export(frozen: Any) -> None:
    def solve(y0: Any, args: Any = 9.0) -> Any:
        solution, flagged = frozen(y0=y0, args=args)
        return solution.ys["angle"], flagged

    y0 = _inputs(5)
    expected = solve(y0)
    exported = jax.export.export(jax.jit(solve))(y0)
    vectorised = jax.vmap(solve)(jax.tree.map(lambda leaf: leaf[None], y0))
    for other in (jax.jit(solve)(y0), exported.call(y0), jax.tree.map(lambda leaf: leaf[0], vectorised)):
        np.testing.assert_allclose(other[0], expected[0], rtol=1e-12)
        np.testing.assert_array_equal(other[1], expected[1])
    gradient = jax.grad(lambda args: solve(y0, args)[0].sum())(9.0)
    low, high = (float(solve(y0, 9.0 + step)[0].sum()) for step in (-1e-5, 1e-5))
    assert float(gradient) == pytest.approx((high - low) / 2e-5, rel=1e-6)


def test_far_inputs_are_flagged_and_solved_by_the_fallback(frozen: Any) -> None:
    far = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), _inputs(0), _inputs(3, scale=40.0))
    assert frozen(y0=jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), far))[1][0]
    solve = lrnde.apply_plan(_SOLVE, Plan.from_json(frozen.plan.to_json()), fallback=_SOLVE)
    (ours, flagged), native = jax.jit(lambda y0: solve(y0=y0))(far), _native(far)
    error = jnp.abs(ours.ys["angle"] - native.ys["angle"])[-1]
    # The first half is of the calibration inputs.
    assert not flagged[:20].any()
    assert flagged[20:].sum() > 10
    np.testing.assert_allclose(jnp.where(flagged, error, 0.0), 0.0, atol=1e-12)
    assert (error[~flagged] > 0).all()


def test_a_fallback_that_fails_says_so(frozen: Any) -> None:
    failing = functools.partial(_SOLVE, max_steps=3, throw=False)
    solve = lrnde.apply_plan(_SOLVE, frozen.plan, fallback=failing)
    run = jax.jit(lambda y0: solve(y0=y0)[0].result)
    assert diffrax.is_okay(run(_inputs(0)))
    assert not diffrax.is_okay(run(_inputs(3, scale=40.0)))


def test_single_samples_backward_with_outputs_inside_steps(frozen: Any) -> None:
    saveat = diffrax.SaveAt(t0=True, ts=jnp.linspace(-0.1, -0.9, 5))
    plan = dataclasses.replace(frozen.plan, steps=FixedSteps.equal("rk4", 16), is_batched=False, bounds=None)
    call = {"y0": jax.tree.map(lambda leaf: leaf[0], _inputs(1)), "saveat": saveat}
    solve = functools.partial(_SOLVE.func, *_SOLVE.args[:2], t0=0.0, t1=-1.0, dt0=-0.1, **_SOLVE.keywords)
    ours: Any = lrnde.apply_plan(solve, plan)(**call)
    native: Any = solve(**call)
    np.testing.assert_allclose(ours.ts, native.ts)
    np.testing.assert_allclose(ours.ys["speed"], native.ys["speed"], atol=1e-5)


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"saveat": diffrax.SaveAt(t1=True, dense=True)}, CapabilityError, "an interpolation"),
        ({"saveat": diffrax.SaveAt(steps=True)}, CapabilityError, "it saves steps"),
        ({"args": jnp.ones(2, jnp.complex64)}, CapabilityError, "its `args` holds complex numbers"),
        ({"event": diffrax.Event(lambda t, y, args, **_: t > 0.5)}, CapabilityError, "an event ends it"),
        ({"y0": jax.tree.map(lambda leaf: leaf * jnp.nan, _inputs(0))}, InputError, "`y0` is not finite"),
    ],
)
def test_what_can_not_be_frozen_is_refused(extra: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        lrnde.freeze(_SOLVE, calibration=[{**call, **extra} for call in _calls()])


def _noisy(t: Any, y: Any, args: Any) -> Any:
    return jax.tree.map(lambda leaf: -leaf * np.random.uniform(0.9, 1.1), y)


@pytest.mark.parametrize(
    ("solve", "calibration", "extra", "message"),
    [
        (_SOLVE, [], {}, "at least 2 are needed"),
        (_SOLVE, _calls(), {"over": 0.99}, "holds 20 samples .* needs at least 99"),
        (_SOLVE, _calls(), {"error": 1e-15}, r"No candidate stays within .* with 1 evaluations, reaches \d"),
        (_SOLVE, [*_calls(1), {"y0": jnp.ones((20, 3))}], {}, r"differs from the first call: it has a state of shape"),
        (_SOLVE, _calls(saveat=diffrax.SaveAt(t0=True)), {}, "asks for no output after its start at 0.0"),
        (_SOLVE, [{"y0": jnp.ones((0, 2))}] * 2, {}, "holds no numbers"),
        (_SOLVE, _calls(step=1.0), {}, r"`calibration\[0\]` is not a call of `solve`: .* 'step'"),
        (
            functools.partial(_SOLVE, max_steps=3, throw=False),
            _calls(),
            {},
            r"native solve of `calibration\[0\]` failed: The maximum number of solver steps was reached",
        ),
        (
            functools.partial(_SOLVE.func, diffrax.ODETerm(_noisy), *_SOLVE.args[1:], **_SOLVE.keywords),
            _calls(),
            {},
            "Two solves of one call by the same steps differ",
        ),
    ],
)
def test_bad_calibrations_are_refused(solve: Any, calibration: Any, extra: dict[str, Any], message: str) -> None:
    state = str(np.random.get_state())
    with pytest.raises(lrnde.LrndeError, match=message):
        lrnde.freeze(solve, calibration=calibration, candidates=[Candidate("euler", 1)], **extra)
    assert str(np.random.get_state()) == state


def test_the_solvers_own_steps_are_shown(frozen: Any) -> None:
    solutions: list[Any] = []

    @functools.wraps(diffrax.diffeqsolve)
    def watched(*args: Any, **kwargs: Any) -> Any:
        solutions.append(diffrax.diffeqsolve(*args, **kwargs))
        return solutions[-1]

    call = lrnde_core.get_adapter("diffrax").bind("", watched, _SOLVE.args, {**_SOLVE.keywords, "y0": _inputs(0)})
    ends = DiffraxFreezer().step_ends(call)
    # No state is kept, where there is room for each of `max_steps`.
    assert sum(leaf.size for leaf in jax.tree.leaves(solutions[-1].ys)) == 0
    assert len(ends) == call.run(None).counts.num_accepted
    assert np.all(np.diff([0.0, *ends]) > 0)
    assert ends[-1] == 1.0


def test_a_calibration_inside_of_a_compiled_function_is_refused() -> None:
    with pytest.raises(InputError, match="are traced"):
        jax.jit(lambda args: lrnde.freeze(_SOLVE, calibration=_calls(args=args)))(9.0)
    with pytest.raises(lrnde.InputTypeError, match=r"must be one number, not a `ArrayImpl` of shape \(2,\)"):
        lrnde.apply_plan(diffrax.diffeqsolve, _PLAN)(*_SOLVE.args[:2], 0.0, jnp.ones(2), 0.1, jnp.ones((2, 2)))


def test_a_stochastic_equation_is_refused() -> None:
    path = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-3, (), jax.random.key(0))
    noise = diffrax.ControlTerm(lambda t, y, args: jnp.ones(()), path)
    terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: -y), noise)
    solve = functools.partial(diffrax.diffeqsolve, terms, diffrax.Heun(), 0.0, 1.0, 0.1)
    with pytest.raises(CapabilityError, match="differs from path to path"):
        lrnde.freeze(solve, calibration=[(jnp.ones(()),), (jnp.ones(()),)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"y0": {"angle": jnp.ones((5, 2)), "speed": jnp.ones(5)}}, "the plan was found for"),
        ({"y0": _inputs(0), "saveat": diffrax.SaveAt(ts=[0.5, 1.5])}, "1.5 lies outside of the interval from 0.0 to 1"),
    ],
)
def test_a_changed_call_is_refused_at_prediction(call: dict[str, Any], message: str, frozen: Any) -> None:
    with pytest.raises(InputError, match=message):
        frozen(**call)
