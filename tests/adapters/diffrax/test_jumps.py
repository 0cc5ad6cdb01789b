"""Where diffrax's controller steps around a jump of the field, so does everything that the penalty evaluates."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest

import lrnde_core as lrnde

_JUMP = 0.5


def _field(t: Any, y: Any, args: Any) -> Any:
    # Not a number at the one time that the controller avoids.
    return jnp.where(t == _JUMP, jnp.nan, jnp.where(t < _JUMP, -y, y))


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)], ids=["forward", "backward"])
def test_no_point_lies_on_the_jump(ends: Any) -> None:
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(1e-4, 1e-4), jump_ts=jnp.array([_JUMP]))
    heuristic = lrnde.KineticEnergy() + lrnde.TaylorDerivative(2, at="step") + lrnde.ErrorEstimate()
    # On both sides of it, and on it.
    draws = jnp.array([0.5 - 2**-25, 0.5, 0.5 + 2**-24, 0.0])

    @jax.jit
    def penalty() -> Any:
        _, report = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, num_samples=4)(
            diffrax.ODETerm(_field), diffrax.Tsit5(), *ends, 0.1 * (ends[1] - ends[0]), jnp.array([1.0, 2.0]),
            stepsize_controller=controller, draw=draws,
        )  # fmt: skip
        return report.penalty

    # 0 if a single evaluation were not a number.
    assert penalty() > 0
