"""Training diffrax on checked steps: beside steps taken by hand, under jit and vmap, and with every sampler."""

import dataclasses
from itertools import pairwise
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde

STEPS = lrnde.CheckedSteps(error=1e-3, period=(2, 2))
TWO = lrnde.FixedSteps.equal("rk4", 2)
# Of a few hundred sums and products, taken in another order.
_ROUNDING = 1e3 * float(np.finfo(np.float64).eps)


def _params() -> Any:
    return {"w": jnp.linspace(-1.0, 1.0, 9).reshape(3, 3), "b": jnp.linspace(0.1, 0.3, 3)}


def _y0() -> Any:
    return jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


def _field(t: Any, y: Any, params: Any) -> Any:
    return jnp.tanh(y @ params["w"] + jnp.broadcast_to(params["b"] * jnp.sin(3 * t), y.shape))


def _two(params: Any, y0: Any, t0: Any, t1: Any, field: Any = _field) -> Any:
    """The function of time through two steps of the 3/8 rule, cubic within each."""
    h, t, y, ends = (t1 - t0) / 2, t0, y0, []
    for _ in range(2):
        k1 = field(t, y, params)
        ends.append((y, h * k1))
        k2 = field(t + h / 3, y + h * k1 / 3, params)
        k3 = field(t + 2 * h / 3, y - h * k1 / 3 + h * k2, params)
        k4 = field(t + h, y + h * (k1 - k2 + k3), params)
        t, y = t + h, y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8
    ends.append((y, h * field(t1, y, params)))

    def at(time: Any) -> Any:
        place = jnp.where((time - t0) / h > 1, 1, 0)
        x = (time - t0) / h - place
        a, da, b, db = (jnp.stack(parts)[place] for parts in zip(*((*p, *q) for p, q in pairwise(ends)), strict=True))
        return (1 - x) ** 2 * (1 + 2 * x) * a + x**2 * (3 - 2 * x) * b + x * (1 - x) ** 2 * da - x**2 * (1 - x) * db

    return at


def _solve(wrapped: Any, params: Any, y0: Any, t0: Any = 0.0, t1: Any = 1.0, field: Any = _field, **own: Any) -> Any:
    controller = diffrax.PIDController(rtol=1e-7, atol=1e-7)
    return wrapped(
        diffrax.ODETerm(field),
        diffrax.Bosh3(),
        t0,
        t1,
        0.1 * jnp.sign(t1 - t0),
        y0,
        params,
        stepsize_controller=controller,
        **own,
    )


def _assert_close(ours: Any, expected: Any, tolerance: float = _ROUNDING) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (0.7, -0.5)])
def test_solution_and_gradient_are_those_of_the_steps(t0: float, t1: float) -> None:
    wrapped = lrnde.regularize(diffrax.diffeqsolve, steps=STEPS)

    def ours(params: Any, y0: Any, t0: Any, t1: Any, ts: Any) -> Any:
        saveat = diffrax.SaveAt(t0=True, ts=ts, t1=True)
        sol, report = _solve(wrapped, params, y0, t0, t1, saveat=saveat, plan=TWO, penalize=False)
        return jnp.sin(sol.ys).sum(), (sol.ys, report)

    def by_hand(params: Any, y0: Any, t0: Any, t1: Any, ts: Any) -> Any:
        at = _two(params, y0, t0, t1)
        ys = jnp.stack([at(time) for time in (t0, *ts, t1)])
        return jnp.sin(ys).sum(), (ys, None)

    ts = t0 + (t1 - t0) * jnp.asarray([0.2, 0.5, 0.9])
    arguments = _params(), _y0(), t0, t1, ts
    found, expected = (
        jax.jit(jax.value_and_grad(each, argnums=(0, 1, 2, 3, 4), has_aux=True))(*arguments) for each in (ours, by_hand)
    )
    ((_, (ys, report)), gradient), ((_, (exact, _)), exact_gradient) = found, expected
    _assert_close(ys, exact)
    _assert_close(gradient, exact_gradient)
    assert (int(report.nfe), int(report.num_steps), int(report.num_rejected)) == (9, 2, 0)


def _energy(at: Any, time: Any, params: Any, duration: float) -> Any:
    y = jax.lax.stop_gradient(at(time))
    return duration * jnp.mean(_field(time, y, params) ** 2) / 2


def test_each_sample_is_taken_at_its_own_time() -> None:
    draws = (0.2, 0.37, 0.9)
    wrapped = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.KineticEnergy(), num_samples=3, steps=STEPS)

    def ours(params: Any) -> Any:
        return _solve(wrapped, params, _y0(), 0.5, 2.0, plan=TWO, draw=draws)[1].penalty

    def by_hand(params: Any) -> Any:
        at = _two(params, _y0(), 0.5, 2.0)
        return sum(_energy(at, 0.5 + 1.5 * draw, params, 1.5) for draw in draws) / 3

    _assert_close(*(jax.jit(jax.value_and_grad(each))(_params()) for each in (ours, by_hand)))


def test_samples_of_their_own_times_under_vmap() -> None:
    steps = dataclasses.replace(STEPS, batched=False)
    wrapped = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.KineticEnergy(), steps=steps)
    ends = jnp.asarray([0.5, 1.0, -2.0, 1.3])

    def one(y0: Any, t1: Any) -> Any:
        sol, report = _solve(wrapped, _params(), y0, 0.0, t1, plan=TWO, draw=[0.37])
        return sol.ys[0], report.penalty

    ys, penalties = jax.jit(jax.vmap(one))(_y0(), ends)
    for ours, penalty, y0, t1 in zip(ys, penalties, _y0(), ends, strict=True):
        at = _two(_params(), y0, 0.0, t1)
        _assert_close(ours, at(t1))
        _assert_close(penalty, _energy(at, 0.37 * t1, _params(), abs(t1)))


def test_entries_that_look_like_one_sample_are_pointed_out() -> None:
    wrapped = lrnde.regularize(diffrax.diffeqsolve, steps=STEPS)
    with pytest.warns(UserWarning, match=r"entries of `y0`, of shape \(3,\), are counted as samples.*batched=False"):
        _solve(wrapped, _params(), _y0()[0], 0.0, 1.0, plan=TWO, draw=[0.37])


def test_every_step_differentiates_through_the_solve() -> None:
    def curvature(t: Any, y: Any, params: Any) -> Any:
        return jax.jvp(lambda t, y: _field(t, y, params), (t, y), (1.0, _field(t, y, params)))[1]

    def in_the_middles(params: Any) -> Any:
        at = _two(params, _y0(), 0.0, 1.0)
        return sum(0.5 * jnp.mean(curvature(t, at(t), params) ** 2) for t in (0.25, 0.75))

    def by_quadrature(params: Any) -> Any:
        total, y = 0.0, _y0()
        for t in (0.0, 0.5):
            k1 = _field(t, y, params)
            k2 = _field(t + 0.5 / 3, y + 0.5 * k1 / 3, params)
            k3 = _field(t + 1 / 3, y - 0.5 * k1 / 3 + 0.5 * k2, params)
            k4 = _field(t + 0.5, y + 0.5 * (k1 - k2 + k3), params)
            means = [jnp.mean(k**2) / 2 for k in (k1, k2, k3, k4)]
            total += 0.5 * (means[0] + 3 * means[1] + 3 * means[2] + means[3]) / 8
            y = y + 0.5 * (k1 + 3 * k2 + 3 * k3 + k4) / 8
        return total

    cases = [
        (lrnde.TaylorDerivative(2, at="step"), lrnde.AllSteps(), in_the_middles),
        (lrnde.KineticEnergy(), lrnde.Integral(), by_quadrature),
    ]
    for heuristic, sampler, by_hand in cases:
        wrapped = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, sampler=sampler, steps=STEPS)

        def ours(params: Any, wrapped: Any = wrapped) -> Any:
            return _solve(wrapped, params, _y0(), plan=TWO, key=jax.random.key(0))[1].penalty

        _assert_close(*(jax.jit(jax.value_and_grad(each))(_params()) for each in (ours, by_hand)))


@pytest.mark.parametrize("gradient", ["local", "full"])
def test_the_error_of_a_drawn_step(gradient: Any) -> None:
    heuristic = lrnde.ErrorEstimate(rtol=0.0, atol=1.0)
    wrapped = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, gradient=gradient, steps=STEPS)

    def ours(params: Any) -> Any:
        return _solve(wrapped, params, _y0(), plan=TWO, draw=[0.6])[1].sample.error_ratio[0]

    def by_hand(params: Any) -> Any:
        y = _two(params, _y0(), 0.0, 1.0)(0.5)
        y = jax.lax.stop_gradient(y) if gradient == "local" else y
        k1 = _field(0.5, y, params)
        k2 = _field(0.5 + 0.5 / 3, y + 0.5 * k1 / 3, params)
        k3 = _field(0.5 + 1 / 3, y - 0.5 * k1 / 3 + 0.5 * k2, params)
        k4 = _field(1.0, y + 0.5 * (k1 - k2 + k3), params)
        return jnp.sqrt(jnp.mean((0.5 * (k1 - k2 - k3 + k4) / 8) ** 2))

    # The error is a difference of increments 100 times as large.
    assert float(jax.jit(ours)(_params())) == pytest.approx(float(by_hand(_params())), rel=1e-10)


def test_a_state_of_several_arrays() -> None:
    def field(t: Any, y: Any, params: Any) -> Any:
        return {"x": _field(t, y["x"], params), "level": y["x"].sum(1) * jnp.cos(t)}

    wrapped = lrnde.regularize(diffrax.diffeqsolve, steps=lrnde.CheckedSteps(error=1e-3, scales={0: 1.0}))
    y0 = {"x": _y0(), "level": jnp.zeros(4)}
    sol, report = _solve(wrapped, _params(), y0, field=field, plan=TWO, draw=[0.3])
    _assert_close(sol.ys["x"][-1], _two(_params(), _y0(), 0.0, 1.0)(1.0))
    assert sol.ys["level"].shape == (1, 4)
    assert report.penalty > 0


def test_a_training_compiles_no_more_programs_than_it_may_take_plans() -> None:
    steps = lrnde.CheckedSteps(error=1e-4, period=(1, 1), max_plans=3)
    wrapped, traced = lrnde.regularize(diffrax.diffeqsolve, steps=steps), []

    def decay(t: Any, y: Any, speed: Any) -> Any:
        return -speed * y

    def step(speed: Any, key: Any, plan: Any) -> Any:
        traced.append(plan)

        def loss(speed: Any) -> Any:
            sol, report = _solve(wrapped, speed, jnp.ones((4, 1)), field=decay, plan=plan, key=key)
            return sol.ys.sum() + report.penalty, report

        return jax.grad(loss, has_aux=True)(speed)

    compiled = jax.jit(step, static_argnums=2)

    def batch(speed: Any) -> Any:
        def call(plan: Any) -> Any:
            sol, report = _solve(wrapped, speed, jnp.ones((4, 1)), field=decay, plan=plan, penalize=False)
            return sol.ys[-1], report

        return call

    plan, report = steps.init(), None
    # Arrays, for which diffrax compiles one native solve, not one for each number.
    for index, speed in enumerate(jnp.asarray((0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 4.0, 1.0, 0.1))):
        plan = steps.check(plan, batch(speed), report)
        _, report = compiled(speed, jax.random.key(index), plan.steps)
        assert plan.steps is None or plan.error is not None
    assert len(plan.tried) == 3
    assert len(traced) == len(set(traced)) <= 4
    assert plan.num_checks == 9


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({}, r"Give `plan=`: the `steps` of the plan that `CheckedSteps.check` returned"),
        ({"plan": "rk4"}, "`plan` must be the `steps` of a `CheckedPlan`"),
        ({"plan": STEPS.init()}, "`plan` must be the `steps` of a `CheckedPlan`"),
        ({"plan": TWO, "saveat": diffrax.SaveAt(steps=True)}, "saves steps"),
        ({"plan": TWO, "event": diffrax.Event(lambda t, y, args, **_: y[0, 0])}, "an event ends it"),
    ],
)
def test_what_has_no_plan_is_refused_in_words(own: Any, message: str) -> None:
    wrapped = lrnde.regularize(diffrax.diffeqsolve, steps=STEPS)
    with pytest.raises(lrnde.LrndeError, match=message):
        _solve(wrapped, _params(), _y0(), key=jax.random.key(0), **own)


def test_without_a_plan_it_is_the_bare_call() -> None:
    wrapped = lrnde.regularize(diffrax.diffeqsolve, steps=STEPS)
    sol, report = _solve(wrapped, _params(), _y0(), plan=None, penalize=False)
    np.testing.assert_array_equal(sol.ys, _solve(diffrax.diffeqsolve, _params(), _y0()).ys)
    assert report.step_error is None
