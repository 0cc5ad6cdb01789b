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
