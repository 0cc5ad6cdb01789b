"""Calls of diffrax by a plan: what the conformance suite, which always asks for outputs inside, does not see."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde

_Y0 = jnp.array([[1.0, 0.5], [-0.3, 2.0]])


def _solve(plan: lrnde.FixedSteps | None, y0: Any = _Y0, t1: Any = 1.0, **settings: Any) -> Any:
    saveat = settings.pop("saveat", diffrax.SaveAt(t1=True))
    solve = lrnde.regularize(diffrax.diffeqsolve, **{"steps": lrnde.CheckedSteps(), **settings})
    term = diffrax.ODETerm(lambda t, y, args: -jnp.sin(y) * jnp.cos(t))
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)
    draw = jnp.array([0.7])
    tsit5 = diffrax.Tsit5()
    return solve(term, tsit5, 0.0, t1, 0.1, y0, stepsize_controller=controller, saveat=saveat, draw=draw, plan=plan)


@pytest.mark.parametrize("method", ["midpoint", "rk4", "dormand-prince"])
@pytest.mark.parametrize("heuristic", [lrnde.ErrorEstimate(), lrnde.TaylorDerivative(2)])
@pytest.mark.parametrize("sampler", [lrnde.UniformTime(), lrnde.AllSteps()])
def test_a_call_for_its_end_alone_has_the_penalty_of_one_for_outputs_inside(
    method: str, heuristic: Any, sampler: Any
) -> None:
    plan, settings = lrnde.FixedSteps.equal(method, 3), {"heuristic": heuristic, "sampler": sampler}
    _, alone = _solve(plan, **settings)
    _, beside = _solve(plan, saveat=diffrax.SaveAt(ts=jnp.array([0.4, 1.0])), **settings)
    np.testing.assert_allclose(alone.penalty, beside.penalty, rtol=1e-5)


@pytest.mark.parametrize(
    ("y0", "message"),
    [(jnp.ones(()), "has no axis of samples"), ((jnp.ones((3, 2)), jnp.ones(2)), "hold 3, 2 samples")],
)
def test_a_state_without_samples_is_refused(y0: Any, message: str) -> None:
    with pytest.raises(lrnde.InputError, match=message):
        _solve(lrnde.FixedSteps.equal("rk4", 2), y0)


@pytest.mark.parametrize(
    ("heuristic", "sampler", "expected"),
    [
        (lrnde.ErrorEstimate(), lrnde.UniformTime(), 0),
        (lrnde.KineticEnergy(), lrnde.UniformTime(), 2),
        (lrnde.KineticEnergy(), lrnde.AllSteps(), 4),
    ],
)
def test_steps_that_are_read_off_are_not_counted_again(heuristic: Any, sampler: Any, expected: int) -> None:
    # The end of the last step takes one evaluation, each point one more.
    plan = lrnde.FixedSteps.equal("rk4", 3)
    _, report = _solve(plan, heuristic=heuristic, sampler=sampler, gradient="full")
    assert report.nfe_extra == expected


def test_an_interval_without_length_leaves_the_state_where_it_is() -> None:
    def loss(y0: Any, t1: Any) -> Any:
        saveat = diffrax.SaveAt(ts=jnp.stack([0.5 * t1, t1]))
        solution, report = _solve(lrnde.FixedSteps.equal("rk4", 2), y0, t1, saveat=saveat)
        return jnp.sum(solution.ys) + report.penalty, solution.ys

    (_, ys), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(_Y0, 0.0)
    np.testing.assert_array_equal(ys, jnp.stack([_Y0, _Y0]))
    np.testing.assert_array_equal(gradient, 2 * jnp.ones_like(_Y0))


@pytest.mark.parametrize("sampler", [lrnde.UniformTime(), lrnde.AllSteps()])
def test_an_empty_batch_has_no_penalty(sampler: Any) -> None:
    solution, report = _solve(lrnde.FixedSteps.equal("rk4", 2), jnp.ones((0, 2)), sampler=sampler)
    assert solution.ys.shape == (1, 0, 2)
    assert (float(report.penalty), float(report.step_error)) == (0.0, 0.0)


def test_a_solution_has_the_statistics_of_the_native_one() -> None:
    by_plan, adaptive = (_solve(plan)[0].stats for plan in (lrnde.FixedSteps.equal("rk4", 2), None))
    assert by_plan.keys() == adaptive.keys()
    assert by_plan["max_steps"] == adaptive["max_steps"]


def test_steps_whose_estimates_are_rounding_are_counted() -> None:
    solve = lrnde.regularize(
        diffrax.diffeqsolve, heuristic="error_estimate", sampler="all_steps", steps=lrnde.CheckedSteps()
    )
    term, controller = diffrax.ODETerm(lambda t, y, args: jnp.ones_like(y)), diffrax.PIDController(1e-3, 1e-3)
    plan = lrnde.FixedSteps.equal("rk4", 3)
    with pytest.warns(lrnde.ResolutionWarning, match="rounding floor"):
        _, report = solve(term, diffrax.Tsit5(), 0.0, 1.0, 0.1, _Y0, stepsize_controller=controller, plan=plan)
    assert int(report.num_unresolved) == 3


def test_a_field_that_leaves_out_axes_is_that_of_the_state() -> None:
    solve = lrnde.regularize(diffrax.diffeqsolve, steps=lrnde.CheckedSteps())
    saveat, plan = diffrax.SaveAt(ts=jnp.linspace(0.0, 1.0, 5)), lrnde.FixedSteps.equal("rk4", 2)
    rates = jnp.array([[1.0, 2.0]])

    def solved(is_narrow: bool) -> Any:
        term = diffrax.ODETerm(
            lambda t, y, args: jnp.sin(6 * rates * t) if is_narrow else jnp.sin(6 * rates * t) * jnp.ones_like(y)
        )
        controller = diffrax.PIDController(1e-4, 1e-4)
        return solve(
            term,
            diffrax.Tsit5(),
            0.0,
            1.0,
            0.1,
            _Y0,
            saveat=saveat,
            stepsize_controller=controller,
            draw=jnp.array([0.7]),
            plan=plan,
        )

    (narrow, report), (full, expected) = solved(True), solved(False)
    np.testing.assert_array_equal(narrow.ys, full.ys)
    assert float(report.step_error) == float(expected.step_error)
