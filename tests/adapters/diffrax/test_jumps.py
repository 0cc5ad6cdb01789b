"""Jumps of the field: everything that the penalty evaluates steps around them, as diffrax's controller does."""

import functools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

import lrnde

_JUMP = 0.5


def test_no_point_lies_on_the_jump() -> None:
    # The step from 0.11 ends a rounding before the jump, and the sum of its start and its size in float32 is the jump.
    single = functools.partial(jnp.asarray, dtype=jnp.float32)
    times = {"step_ts": single([0.11]), "jump_ts": single([_JUMP])}
    controller = diffrax.ClipStepSizeController(diffrax.PIDController(10.0, 10.0), **times)
    seen: list[float] = []

    def field(t: Any, y: Any, args: Any) -> Any:
        jax.debug.callback(lambda t: seen.append(float(t)), t)
        return jnp.where(t < _JUMP, -y, y)

    lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.KineticEnergy())(
        diffrax.ODETerm(field), diffrax.Tsit5(), *single([0.0, 1.0, 1.0]), single([1.0, 2.0]),
        stepsize_controller=controller, draw=single([_JUMP]),
    )  # fmt: skip
    jax.effects_barrier()
    assert float(jnp.nextafter(single(_JUMP), single(0.0))) in seen
    assert _JUMP not in seen
