"""What frozen solves in torch share: following a plan, comparing times with it, and what a guard adds."""

from collections.abc import Callable
from typing import Any, final

import torch

from lrnde_core import GuardSignals, InputError, Leaves, Plan, follow_plan, is_flagged
from lrnde_torch._frozen_stages import FrozenStages

Tensor = torch.Tensor


def solve_by_plan(
    plan: Plan, field: Callable[[Tensor, Any], Any], y0: Any, *, is_watched: bool, dim: int = 0
) -> tuple[Any, GuardSignals | None]:
    """The states at the plan's outputs, stacked along `dim`, and the signals for a guard or `None`.

    - `y0`: a tensor or a tuple of tensors, as `field` takes it; the states are likewise. It is not written to, even
      where `field` writes into its state.
    """
    is_tuple = isinstance(y0, tuple)
    leaves: Leaves = y0 if is_tuple else (y0,)
    copies = tuple(leaf.clone() for leaf in leaves)
    solution = follow_plan(FrozenStages(field, is_tuple), plan, copies, is_watched=is_watched)
    # An output at the start is the initial state as it was given.
    outputs = zip(plan.outputs, solution.states, strict=True)
    states = [leaves if output == 0 else state for output, state in outputs]
    stacked = tuple(torch.stack(parts, dim) for parts in zip(*states, strict=True))
    return stacked if is_tuple else stacked[0], solution.signals


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
            "`fallback` depends on the data and can not be compiled or exported; leave it out and solve the samples "
            "that the guard flags outside."
        )
    return (merge(result, fallback(), flagged) if flagged.any() else result), flagged


@final
class TimesCheck:
    """Compares the output times of calls with a plan's, each tensor of times once.

    Comparing waits for the device; when it is done a CUDA graph can capture the solve. Compiled code does not compare.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: tuple[Tensor, int] | None = None

    def __call__(self, times: Tensor) -> None:
        """Raise `InputError` unless `times`, of shape `(times,)` or `(batch, times)`, are the plan's, ends included."""
        self._plan.check_times(None, None, [None] * times.shape[-1])
        if torch.compiler.is_compiling():
            return
        if self._known is None or self._known[0] is not times or self._known[1] != times._version:
            rows: list[list[float]] = torch.atleast_2d(times.detach().cpu().double()).unique(dim=0).tolist()
            for outputs in rows:
                self._plan.check_times(outputs[0], outputs[-1], outputs)
            self._known = (times, times._version)
