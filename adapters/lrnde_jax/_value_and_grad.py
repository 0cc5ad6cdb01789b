"""Loss, gradient and next weight of a training iteration."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp

from lrnde_core import (
    AbstractWeight,
    AnyWeightState,
    Array,
    GradientNorms,
    InputError,
    InputTypeError,
    Report,
    Scalar,
    check_is_weight,
    check_penalized,
    described,
    listed_reports,
    summed_penalty,
)
from lrnde_jax._evaluate import real_dtype

Parameters: TypeAlias = Any
"""A tree with the arrays to differentiate by; equinox modules are among them."""

Reports: TypeAlias = Report | Sequence[Report]
"""The report of a solve; for several solves, a list."""


def value_and_grad(
    loss: Callable[..., tuple[Scalar, Reports]],
    weight: AbstractWeight,
    *,
    axis_name: str | tuple[str, ...] | None = None,
) -> Callable[..., tuple[tuple[Scalar, Reports], Parameters, AnyWeightState]]:
    """Like `jax.value_and_grad` for a loss with a weighted penalty, with the weight of the next iteration.

        step = lrnde_jax.value_and_grad(loss, lrnde.GradientRatio())
        (value, report), gradient, state = step(parameters, state, *args)

    - `loss(parameters, *args, **kwargs)`: the loss without the penalty, and the report of its solve; for several
      solves, a list of reports, whose penalties are summed. The penalties of a vmapped report count by their mean, as
      its costs do.
    - `weight`: of the penalty; `state` is its state, at first `weight.init(like=...)`.
    - `axis_name`: of the axis of `jax.shard_map` or `jax.vmap` over which gradients are averaged, before they are
      measured too, so that all devices have the weight of the joint batch. The value and the reports are not averaged.

    `value` is the loss without the penalty, and `gradient` that of `loss + weight * penalty`, by the inexact arrays in
    `parameters`; elsewhere it is `None`. If the weight measures gradients, that iteration pulls back twice through one
    forward pass. The result can be transformed by `jax.jit` and `jax.vmap`.
    It raises `InputError` if `loss` returns an empty list, a value that is no scalar, or reports of `penalize=False`,
    and if `parameters` has nothing to differentiate by; `InputTypeError` for what is no report, no weight, or no state
    of that weight.
    """
    check_is_weight(weight)

    def step(
        parameters: Parameters, state: AnyWeightState, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Scalar, Reports], Parameters, AnyWeightState]:
        _check_state(weight, state)
        variables, rest = eqx.partition(parameters, eqx.is_inexact_array)
        if not jax.tree.leaves(variables):
            raise InputError(
                f"`parameters`, {described(parameters)}, holds no array of floating-point numbers, and so nothing to "
                "differentiate by."
            )

        def both(variables: Parameters) -> tuple[tuple[Scalar, Scalar], Reports]:
            value, reports = _value_and_reports(loss(eqx.combine(variables, rest), *args, **kwargs))
            listed = listed_reports("lrnde_jax.value_and_grad", reports)
            check_penalized(listed)
            return (value, summed_penalty(listed)), reports

        (value, penalty), pull_back_here, reports = jax.vjp(both, variables, has_aux=True)

        def pull_back(cotangents: tuple[Array, Array]) -> Parameters:
            (found,) = pull_back_here(cotangents)
            return found if axis_name is None else jax.lax.pmean(found, axis_name)

        factor = jnp.asarray(weight.value(state), penalty.dtype)
        one = jnp.ones_like(value)
        is_measured = weight.measures(state)
        if is_measured is False:
            gradient = pull_back((one, factor))
            return (value, reports), gradient, weight.update(state, reports)

        def pull(index: Array | int, carry: tuple[Parameters, Array]) -> tuple[Parameters, Array]:
            total, squares = carry
            is_joint = jnp.logical_not(is_measured)
            by_loss = jnp.where(is_joint | (index == 0), one, 0.0)
            by_penalty = jnp.where(is_joint, factor, jnp.where(index == 0, jnp.zeros_like(factor), 1.0))
            found = pull_back((by_loss.astype(value.dtype), by_penalty.astype(penalty.dtype)))
            share = jnp.where(is_joint | (index == 0), jnp.ones_like(factor), factor)
            total = jax.tree.map(lambda sum_, each: sum_ + share.astype(each.dtype) * each, total, found)
            return total, squares.at[index].set(_squares(found, squares.dtype))

        dtype = real_dtype([value, jax.ShapeDtypeStruct((), jnp.float32)])
        nothing = jnp.zeros((2, len(jax.tree.leaves(variables))), dtype)
        zeros = jax.tree.map(jnp.zeros_like, variables)
        count = jnp.where(is_measured, 2, 1)
        if isinstance(count, jax.core.Tracer):
            # One loop in place of two branches: the backward pass is compiled once.
            gradient, squares = jax.lax.fori_loop(0, count, pull, (zeros, nothing))
        else:
            # Outside of `jit` the loop would be compiled in each call.
            gradient, squares = zeros, nothing
            for index in range(int(count)):
                gradient, squares = pull(index, (gradient, squares))
        # What is not a number counts: such a measurement is left out as a whole.
        is_reached = (squares != 0).all(axis=0)
        norms = jnp.sqrt(jnp.sum(jnp.where(is_reached, squares, 0.0), axis=1))
        norms = jnp.where(is_measured, norms, 0.0)
        return (value, reports), gradient, weight.update(state, reports, GradientNorms(norms[0], norms[1]))

    return step


def _value_and_reports(returned: Any) -> tuple[Scalar, Reports]:
    # A report is a tuple, too.
    if not isinstance(returned, tuple) or isinstance(returned, Report) or len(returned) != 2:
        raise InputTypeError(
            f"`loss` returned {described(returned)}; it must return two things, its value without the penalty and the "
            "report of its solve: `return loss, report`."
        )
    value, reports = returned
    if jnp.shape(value):
        raise InputError(
            f"`loss` returned a value of shape {jnp.shape(value)}, and its gradient needs a scalar: take the mean over "
            "the batch."
        )
    return value, reports


def _check_state(weight: AbstractWeight, state: object) -> None:
    kind = type(weight.init(like=0.0))
    if not isinstance(state, kind):
        raise InputTypeError(
            f"`state`, the second argument, is {described(state)}; that of `{weight!r}` is a `{kind.__name__}`. Start "
            "with `weight.init(like=...)`, and pass on the one that the last iteration returned."
        )


def _squares(gradient: Parameters, dtype: Any) -> Array:
    """The squared norm of each array."""
    return jnp.stack([jnp.sum(jnp.square(jnp.abs(each).astype(dtype))) for each in jax.tree.leaves(gradient)])
