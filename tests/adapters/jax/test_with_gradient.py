"""The gradient of outputs by a random cotangent: by closed forms, and in a training whose gradient has a bound."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrnde
from lrnde_jax import with_gradient

# Of a few products, one of them with a sine in single precision.
_ROUNDING = 16 * float(np.finfo(np.float32).eps)


class _Model(eqx.Module):
    weight: Any
    name: str = eqx.field(static=True)
    count: int = 3


def test_it_is_the_product_of_one_cotangent_with_the_jacobian() -> None:
    values = jnp.linspace(-1.0, 1.0, 6, dtype=jnp.float32).reshape(2, 3)
    _, _, (cotangent,) = with_gradient(lambda each: (each, "report"), values)
    assert 0.1 < float(jnp.std(cotangent)) < 3.0

    def solve(model: _Model, factor: Any) -> Any:
        return {"ys": factor * jnp.sin(model.weight)}, ["report"]

    outputs, reports, gradients = with_gradient(solve, _Model(values, "tanh"), 2.0)
    assert reports == ["report"]
    np.testing.assert_allclose(outputs["ys"], 2 * np.sin(values), rtol=_ROUNDING)
    (gradient,) = gradients
    np.testing.assert_allclose(gradient, 2 * np.cos(values) * cotangent, rtol=_ROUNDING)
    jitted = jax.jit(lambda values: with_gradient(lambda each: (jnp.sin(each), None), values)[2])
    np.testing.assert_allclose(jitted(values)[0], np.cos(values) * cotangent, rtol=_ROUNDING)


def test_a_training_takes_steps_whose_gradient_is_within_the_bound() -> None:
    """Of dy/dt = 5 (1 - y), where outputs by two steps are within 1 per cent, and gradients far off."""
    candidates = [lrnde.Candidate("rk4", each) for each in (2, 4, 8)]
    # The bound decides which plan the solve is given, not how it is solved.
    loose, tight = (lrnde.CheckedSteps(error=1e-2, gradient_error=bound, candidates=candidates) for bound in (1e3, 0.1))
    solve = lrnde.regularize(diffrax.diffeqsolve, steps=tight)

    def outputs(y0: Any, plan: Any) -> Any:
        sol, report = solve(
            diffrax.ODETerm(lambda t, y, args: 5.0 * (1.0 - y)),
            diffrax.Tsit5(),
            0.0,
            1.0,
            0.1,
            y0,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
            plan=plan,
            penalize=False,
        )
        return sol.ys[-1], report

    @eqx.filter_jit
    def check_step(y0: Any, plan: Any) -> Any:
        return with_gradient(lambda each: outputs(each, plan), y0)

    y0 = jnp.linspace(0.99, 1.01, 8)[:, None]
    # Of the adaptive solution, which is linear in the start: the same for all samples, and about exp(-5).
    native = jax.jit(jax.grad(lambda each: outputs(each, None)[0].sum()))(y0)[0, 0]
    assert native == pytest.approx(np.exp(-5), rel=1e-2)
    for steps, number in ((loose, 2), (tight, 8)):
        plan = steps.check(steps.init(), lambda each: check_step(y0, each))
        factor = sum((-5 / number) ** k / (1, 1, 2, 6, 24)[k] for k in range(5)) ** number
        assert plan.steps == lrnde.FixedSteps.equal("rk4", number)
        assert plan.gradient_error == pytest.approx(abs(factor / float(native) - 1), rel=1e-3, abs=1e-4)
