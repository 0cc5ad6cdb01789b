"""Solving the calls of a calibration natively, and seeing whether that went well."""

from typing import Any

import diffrax
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lrnde_core import AbstractCall, InputError, NativeSolve
from lrnde_diffrax._arguments import Arguments


def check_known(arguments: Arguments) -> None:
    """Raise `InputError` where a calibration call has no values yet."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(dict(arguments.given.arguments))):
        raise InputError(
            "The arguments of a calibration call are traced, and its error cannot be told before they have values; "
            "freeze outside of `jax.jit`, then jit the result."
        )


def solve_natively(call: AbstractCall) -> NativeSolve:
    """The user's own solve. With `throw=False` it may have failed, which its result code tells."""
    solution, counts, _ = call.run(None)
    return NativeSolve(solution, None if counts.nfe is None else int(counts.nfe), _failure(solution))


def _failure(solution: Any) -> str | None:
    are_okay = np.asarray(diffrax.is_okay(solution.result))
    if not are_okay.all():
        # Several where the user's solve is vectorised.
        first = np.unravel_index(np.argmin(are_okay), are_okay.shape)
        message = diffrax.RESULTS[jax.tree.map(lambda code: code[first], solution.result)]
        return " ".join(message.split()).rstrip(".")
    # Saved steps are padded by infinities.
    leaves = [leaf for leaf in jax.tree.leaves(solution.ys) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return "its solution is not a number" if any(bool(jnp.isnan(leaf).any()) for leaf in leaves) else None
