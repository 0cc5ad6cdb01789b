"""What frozen solves in torch share: following a plan, and what a guard adds."""

from collections.abc import Callable
from typing import Any

import torch

from lrnde_core import GuardSignals, InputError, InputTypeError, Leaves, Plan, described, follow_plan, is_flagged
from lrnde_torch._frozen_stages import FrozenStages

Tensor = torch.Tensor


def check_state(plan: Plan, y0: Any) -> None:
    """Raise `InputTypeError` or `InputError` unless `y0` is a tensor, or a tuple of tensors, as the plan has it."""
    leaves: tuple[Any, ...] = y0 if isinstance(y0, tuple) else (y0,)
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            raise InputTypeError(
                f"`y0` must be a tensor of real floating-point numbers, or a tuple of such, and is or holds "
                f"{described(leaf)}."
            )
    plan.check_shapes([leaf.shape for leaf in leaves])


def solve_by_plan(
    plan: Plan,
    field: Callable[[Tensor, Any], Any],
    y0: Any,
    *,
    is_watched: bool,
    dim: int = 0,
    factor: Tensor | None = None,
) -> tuple[Any, GuardSignals | None]:
    """The states at the plan's outputs, stacked along `dim`, and the signals for a guard or `None`.

    - `y0`: a tensor or a tuple of tensors, as `field` takes it; the states are of the same form. It is not written to,
      even where `field` writes into its state.
    - `factor`: what states and signals are multiplied by, as `TimesCheck` returned it.
    """
    is_tuple = isinstance(y0, tuple)
    leaves: Leaves = y0 if is_tuple else (y0,)
    copies = tuple(leaf.clone() for leaf in leaves)
    solution = follow_plan(FrozenStages(field, is_tuple), plan, copies, is_watched=is_watched)
    # An output at the start is the initial state as it was given.
    outputs = zip(plan.outputs, solution.states, strict=True)
    states = [leaves if output == 0 else state for output, state in outputs]
    stacked = tuple(torch.stack(parts, dim) for parts in zip(*states, strict=True))
    signals = solution.signals
    if factor is not None:
        stacked = tuple(leaf * factor.to(leaf) for leaf in stacked)
        signals = None if signals is None else GuardSignals(*(signal * factor.to(signal) for signal in signals))
    return stacked if is_tuple else stacked[0], signals


def with_guard(
    plan: Plan,
    result: Any,
    signals: GuardSignals | None,
    fallback: Callable[[], Any] | None,
    merge: Callable[[Any, Any, Tensor], Any],
) -> Any:
    """What a frozen solve returns: `result`, or with a guard `(result, flagged)`.

    - `fallback`: the native solve of the same call, which is made where a sample is flagged.
    - `merge`: `merge(result, native, flagged)` takes the flagged samples from the native result.

    Raises `InputError` where a solve with a fallback is compiled or exported.
    """
    if signals is None:
        return result
    flagged = is_flagged(plan, signals)
    if fallback is None:
        return result, flagged
    if torch.compiler.is_compiling():
        raise InputError(
            "`fallback` depends on the data and cannot be compiled or exported; leave it out and solve the samples "
            "that the guard flags outside."
        )
    return (merge(result, fallback(), flagged) if flagged.any() else result), flagged
