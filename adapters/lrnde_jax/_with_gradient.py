"""A solve with the gradient of its outputs, for the checks of a training."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax

from lrnde_core import Array

Parameters: TypeAlias = Any
"""A tree with the arrays to differentiate by; equinox modules are among them."""

_Outputs = TypeVar("_Outputs")
_Reports = TypeVar("_Reports")


def with_gradient(
    solve: Callable[..., tuple[_Outputs, _Reports]], parameters: Parameters, *args: Any
) -> tuple[_Outputs, _Reports, list[Array]]:
    """`solve(parameters, *args)` and the gradient of its outputs, for `CheckedSteps(gradient_error=...)`.

        return lrnde_jax.with_gradient(lambda params: solve_batch(params, x, plan, penalize=False), params)

    - `solve`: returns outputs, a tree of arrays, and the report of its solve, or a list of reports.

    Returns both, and the vector-Jacobian product of the outputs with a random cotangent, which is standard normal and
    the same one in every call. It is by the inexact arrays in `parameters`, one array for each. The call can be
    transformed by `jax.jit` and `jax.vmap`.
    """
    variables, rest = eqx.partition(parameters, eqx.is_inexact_array)
    outputs, pull_back, reports = jax.vjp(
        lambda variables: solve(eqx.combine(variables, rest), *args), variables, has_aux=True
    )
    leaves, structure = jax.tree.flatten(outputs)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    cotangents = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    (gradient,) = pull_back(structure.unflatten(cotangents))
    return outputs, reports, jax.tree.leaves(gradient)
