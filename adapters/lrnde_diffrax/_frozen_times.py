"""Comparing the times of a call with those of a frozen solve's plan, at once or, where traced, when it runs."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lrnde_core import CapabilityError, InputTypeError, PlannedTimes, described


def check_times(planned: PlannedTimes, t0: Any, t1: Any, outputs: Sequence[Any] = ()) -> Any:
    """1, of which a program can have nothing where one of its times is not the planned one.

    Raises `InputError` for times whose values are known. For traced ones the 1 is an array, and the program that uses
    it fails when it runs (`equinox.error_if`), or where it is differentiated with respect to them.
    """
    planned.check(_known(t0), _known(t1), [_known(time) for time in outputs])
    pairs = zip((t0, t1, *outputs), (planned.t0, planned.t1, *planned.outputs), strict=True)
    traced = [(time, known) for time, known in pairs if _known(time) is None]
    if not traced:
        return 1
    times = jnp.stack([_constant(jnp.asarray(time, float)) for time, _ in traced])
    known = np.asarray([known for _, known in traced], times.dtype)
    return eqx.error_if(jnp.ones(()), ~(jnp.abs(times - known) <= planned.slack), planned.message)


def scalar_time(time: Any) -> Any:
    """`time` as given. Raises `InputTypeError` for an array of several."""
    if np.shape(time) != ():
        raise InputTypeError(f"A time of this call must be one number, not {described(time)}.")
    return time


def _known(time: Any) -> float | None:
    """The value of a time; `None` where it is traced."""
    return None if isinstance(scalar_time(time), jax.core.Tracer) else float(time)


@jax.custom_jvp
def _constant(time: jax.Array) -> jax.Array:
    return time


@_constant.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    del primals, tangents
    raise CapabilityError(
        "A frozen solve is differentiated with respect to its times, and its plan's do not move with them. Use "
        "`jax.lax.stop_gradient` on these, or differentiate the native solve."
    )
