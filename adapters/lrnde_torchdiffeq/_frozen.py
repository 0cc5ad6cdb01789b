"""The frozen form of `torchdiffeq.odeint`: plain code that torch compiles and exports."""

from collections.abc import Callable
from typing import Any, final

import torch

from lrnde_core import InputError, InputTypeError, Leaves, Plan, follow_plan, is_flagged
from lrnde_torch import FrozenStages

Tensor = torch.Tensor

# Of the interval: times in float32 are this close to what the plan has.
_CLOSE = 1e-6


@final
class FrozenOdeint(torch.nn.Module):
    """`odeint(func, y0, t)` by the fixed steps of a plan; takes what `odeint` and `odeint_adjoint` take.

    Without parameters and buffers. Differentiable through its steps. Tolerances, method and options of the native call
    are accepted and not used, so that it can take the place of one.

    With a guard the result is `(ys, flagged)`, `flagged` boolean of shape `(batch,)`; a sample that is not finite is
    flagged. With a `fallback` the flagged samples of `ys` are those of `fallback(func, y0, t)`, which then solves the
    whole call, so that a field which knows its batch keeps working. Whether it runs depends on data: eager mode only.

    In eager mode `t` is compared with the plan, once for each tensor; compiled or exported code takes the plan's times.

    Raises `InputError` for another interval, other output times or another shape than the plan's; `InputTypeError` for
    unknown arguments.
    """

    def __init__(self, plan: Plan, fallback: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.fallback = fallback
        self._checked_times: tuple[Tensor, int] | None = None

    def extra_repr(self) -> str:
        return self.plan.describe()

    def forward(self, func: Any, y0: Any, t: Tensor, **unused: Any) -> Any:
        _check_unused(unused)
        is_tuple = isinstance(y0, tuple)
        leaves: Leaves = y0 if is_tuple else (y0,)
        check_shapes(self.plan, leaves)
        self._check_times(t)
        ys, signals = solve_by_plan(self.plan, func, y0, is_watched=self.plan.is_guarded)
        if signals is None:
            return ys
        flagged = is_flagged(self.plan, signals)
        if self.fallback is None:
            return ys, flagged
        if torch.compiler.is_compiling():
            raise InputError(
                "`fallback` depends on the data and can not be compiled or exported; leave it out and solve the "
                "samples that the guard flags outside."
            )
        if not flagged.any():
            return ys, flagged
        return _replaced(ys, self.fallback(func, y0, t), flagged), flagged

    def _check_times(self, t: Any) -> None:
        if not isinstance(t, Tensor) or t.ndim != 1:
            raise InputTypeError(f"`t` must be a tensor of one dimension, not {t!r}.")
        if len(t) != len(self.plan.outputs):
            raise InputError(f"`t` has {len(t)} times, and the plan has {len(self.plan.outputs)}; freeze for each.")
        if torch.compiler.is_compiling():
            return
        known = self._checked_times
        # Comparing waits for the device, so each tensor is compared once; then a CUDA graph can capture the solve.
        if known is None or known[0] is not t or known[1] != t._version:
            check_times(self.plan, t)
            self._checked_times = (t, t._version)


def solve_by_plan(plan: Plan, field: Any, y0: Any, *, is_watched: bool) -> tuple[Any, Any]:
    """The solution at the plan's outputs as `odeint` stacks it, and the signals for a guard or `None`."""
    is_tuple = isinstance(y0, tuple)
    leaves: Leaves = y0 if is_tuple else (y0,)
    solution = follow_plan(FrozenStages(field, is_tuple), plan, leaves, is_watched=is_watched)
    stacked = tuple(torch.stack(states) for states in zip(*solution.states, strict=True))
    return stacked if is_tuple else stacked[0], solution.signals


def check_shapes(plan: Plan, leaves: Leaves) -> None:
    """Raise `InputError` unless the state has the plan's shapes."""
    if tuple(tuple(leaf.shape[plan.is_batched :]) for leaf in leaves) != plan.shapes:
        found = ", ".join(str(tuple(leaf.shape)) for leaf in leaves)
        needed = ", ".join(str(("batch", *shape) if plan.is_batched else shape) for shape in plan.shapes)
        raise InputError(f"`y0` has shape {found}; the plan was found for {needed}. Freeze anew for this state.")


def check_times(plan: Plan, t: Tensor) -> None:
    """Raise `InputError` unless the times are the plan's."""
    times, duration = t.detach().double().tolist(), plan.t1 - plan.t0
    planned = [plan.t0 + output * duration for output in plan.outputs]
    if not all(abs(a - b) <= _CLOSE * abs(duration) for a, b in zip(times, planned, strict=True)):
        raise InputError(f"`t` is {times}, and the plan was found for {planned}; freeze anew for these times.")


def _check_unused(unused: dict[str, Any]) -> None:
    solver_settings = {"rtol", "atol", "method", "options"}
    unknown = [name for name in unused if name not in solver_settings and not name.startswith("adjoint_")]
    if unknown:
        raise InputTypeError(f"A frozen `odeint` takes no {unknown}; it takes `func`, `y0` and `t`.")


def _replaced(ys: Any, native: Any, flagged: Tensor) -> Any:
    if isinstance(ys, tuple):
        return tuple(_replaced(*pair, flagged) for pair in zip(ys, native, strict=True))
    mask = flagged.reshape((1, *flagged.shape) + (1,) * (ys.ndim - 1 - flagged.ndim))
    return torch.where(mask, native, ys)
