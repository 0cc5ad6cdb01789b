"""Where diffrax's controller steps around a jump of the field, so does everything that the penalty evaluates."""

from typing import Any

import diffrax
import jax.numpy as jnp

import lrnde_core as lrnde

_JUMP = 0.5


def _field(t: Any, y: Any, args: Any) -> Any:
    # Not a number at the one time that the controller avoids.
    return jnp.where(t == _JUMP, jnp.nan, jnp.where(t < _JUMP, -y, y))


def test_no_point_lies_on_the_jump() -> None:
    # The step from 0.11 ends a rounding before the jump, and the sum of its start and its size in float32 is the jump.
    times = {"step_ts": jnp.array([0.11]), "jump_ts": jnp.array([_JUMP])}
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(10.0, 10.0), **times)
    heuristic = lrnde.KineticEnergy() + lrnde.ErrorEstimate(1e-3, 1e-3)
    _, report = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic)(
        diffrax.ODETerm(_field), diffrax.Tsit5(), 0.0, 1.0, 1.0, jnp.array([1.0, 2.0]),
        stepsize_controller=controller, draw=jnp.array([_JUMP]),
    )  # fmt: skip
    # 0 if a single evaluation were not a number.
    assert report.penalty > 0
