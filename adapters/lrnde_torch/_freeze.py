"""Freezing in torch: reading and timing calibration calls, following a plan, and its guard."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Iterable
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractOfSteps,
    AbstractStages,
    CallForm,
    Capability,
    CapabilityError,
    FixedSteps,
    GuardSignals,
    InputError,
    InputTypeError,
    Leaves,
    NativeResult,
    NativeSolve,
    Plan,
    State,
    StepTaken,
    Time,
    check_not_longer,
    described,
    follow_steps,
    guard_signals,
    is_flagged,
    is_longer,
    outputs_inside,
)
from lrnde_torch._isolation import no_side_effects
from lrnde_torch._problem import add_increments, check_has_values, dtype_refusal

Tensor = torch.Tensor


def check_times(times: object, name: str, *, ndims: tuple[int, ...] = (1,)) -> Tensor:
    """Return `times` without looking at its values.

    Raises `InputTypeError` or `InputError` unless it is a floating-point tensor of at least two times.

    - `name`: of the argument, for messages. `ndims`: how many dimensions it may have, of which times are the last.
    """
    dimensions = " or ".join(map(str, ndims))
    if not isinstance(times, Tensor) or times.ndim not in ndims or not times.is_floating_point():
        raise InputTypeError(
            f"`{name}` must be a tensor of real floating-point numbers with {dimensions} "
            f"dimension{'s' * (ndims != (1,))}, not {described(times)}."
        )
    if times.shape[-1] < 2:
        raise InputError(f"`{name}` must hold at least two times, the start and the end, and holds {times.shape[-1]}.")
    return times


def read_form(leaves: Leaves, times: Tensor, *, is_batched: bool) -> CallForm:
    """The form of a call with this initial state, whose interval is from the first to the last output time.

    - `times`: of shape `(times,)`, or `(batch, times)` where each sample has its own.

    Raises `CapabilityError` for states that are not real, `InputError` for those that are not finite and for what has
    no form (`CallForm.of`).
    """
    for leaf in leaves:
        if reason := dtype_refusal(leaf.dtype):
            raise CapabilityError(f"This call cannot be frozen: {reason}")
        check_has_values("y0", leaf)
        # Autograd would keep the state for a gradient of this, and a checkpoint that solves again would miss it.
        if not bool(leaf.detach().isfinite().all()):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
    # On the host: not every device has float64.
    rows: list[list[float]] = torch.atleast_2d(times.detach().cpu().double()).tolist()
    shapes = [tuple(leaf.shape) for leaf in leaves]
    return CallForm.joint([CallForm.of(row[0], row[-1], row, shapes, is_batched=is_batched) for row in rows])


@contextlib.contextmanager
def isolated(fields: Iterable[tuple[object, torch.device]]) -> Generator[None]:
    """Within the block fields are evaluated without gradient, and what `no_side_effects` sees to is put back after it.

    - `fields`: each with the device that it is evaluated on. One that occurs often is seen to once.
    """
    with contextlib.ExitStack() as stack:
        for field, device in {(id(field), device): (field, device) for field, device in fields}.values():
            stack.enter_context(no_side_effects(field, device))
        stack.enter_context(torch.no_grad())
        yield


def solve_natively(call: AbstractCall, device: torch.device, *, may_draw: bool) -> NativeSolve:
    """The user's own solve. Raises `CapabilityError` where the field draws from torch's random numbers, and may not."""
    before = _random_state(device)
    result, counts, _ = call.run(None)
    if not may_draw and not torch.equal(before, _random_state(device)):
        raise CapabilityError(
            "The field draws random numbers, so no two solves agree, and the error of fixed steps cannot be measured "
            f"(`Capability.{Capability.FREEZE.name}`). Put dropout into evaluation mode: `func.eval()`."
        )
    return NativeSolve(result, counts.nfe)


def timed_runner(solve: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """`solve`, until the device is done with it."""

    def run() -> None:
        solve()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenStages(AbstractStages):
    """Steps of dy/dt = `field(t, y)` at times that are Python numbers or tensors, whose values it never looks at.

    - `field`: takes a time tensor (a scalar, or of shape `(batch,)` if the steps are those of each member of a batch)
      and a state as the user has it. `is_tuple`: whether that is a tuple.
    """

    field: Callable[[Tensor, State], State]
    is_tuple: bool

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        derivative = self.field(_time(t + abscissa * h, y[0]), y if self.is_tuple else y[0])
        leaves: Leaves = derivative if self.is_tuple else (derivative,)
        # A field may leave out axes over which the state broadcasts it.
        pairs = [(leaf.to(like.dtype).broadcast_to(like.shape), like) for leaf, like in zip(leaves, y, strict=True)]
        return tuple(leaf * _beside(h, like) for leaf, like in pairs)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        by_leaf = zip(*increments, strict=True)
        return tuple(add_increments(leaf, weights, parts) for leaf, parts in zip(y, by_leaf, strict=True))


def _time(time: Time, like: Tensor) -> Tensor:
    return time.to(like) if isinstance(time, Tensor) else torch.full((), time, dtype=like.dtype, device=like.device)


def _beside(size: Time, leaf: Tensor) -> Tensor | float:
    """A number, or one for each member of a batch, to multiply `leaf` by."""
    return size.to(leaf).reshape(size.shape + (1,) * (leaf.ndim - size.ndim)) if isinstance(size, Tensor) else size


def check_state(plan: Plan, y0: State) -> None:
    """Raise `InputTypeError` or `InputError` unless `y0` is a tensor, or a tuple of tensors, as the plan has it."""
    leaves: Leaves = y0 if isinstance(y0, tuple) else (y0,)
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            raise InputTypeError(
                f"`y0` must be a tensor of real floating-point numbers, or a tuple of them, not {described(leaf)}."
            )
    plan.check_shapes([leaf.shape for leaf in leaves])


def solve_by_steps(
    steps: FixedSteps,
    field: Callable[[Tensor, State], State],
    y0: State,
    t: Tensor,
    *,
    interval: tuple[float, float] | None = None,
    needs_last: bool = False,
) -> tuple[State, AbstractOfSteps[StepTaken]]:
    """The states at `t`, stacked along its axis of times, and the steps that were taken.

    - `y0`: a tensor or a tuple of tensors, as `field` takes it; the states are of the same form. It is not written to,
      even where `field` writes into its state.
    - `t`: the output times, monotonic from the start to the end of the interval, at least two: of shape `(times,)`, or
      `(batch, times)` where each member of a batch has its own. Their values are not looked at. Those between the first
      and the last are interpolated, which takes one evaluation at the end.
    - `interval`: the first and last of them, if they are known: faster than tensors.
    - `needs_last`: as in `follow_steps`.

    Differentiable with respect to `y0`, `t` (without `interval`) and what `field` holds.
    """
    is_tuple = isinstance(y0, tuple)
    leaves: Leaves = y0 if is_tuple else (y0,)
    copies = tuple(leaf.clone() for leaf in leaves)
    t = t.to(leaves[0].device)
    t0, t1 = (t[..., 0], t[..., -1]) if interval is None else interval
    has_inside = t.shape[-1] > 2
    stages = FrozenStages(field, is_tuple)
    taken = follow_steps(stages, steps, t0, t1, copies, needs_last=needs_last or has_inside)
    axis = t.ndim - 1
    # An output at the start is the initial state as it was given.
    parts = [tuple(leaf.unsqueeze(axis) for leaf in states) for states in (leaves, taken[-1].y1)]
    if has_inside:
        fractions = (t[..., 1:-1] - t[..., :1]) / (t[..., -1:] - t[..., :1])
        members = torch.arange(t.shape[0], device=t.device).unsqueeze(1) if axis else None
        parts.insert(1, outputs_inside(steps, taken, fractions, torch, members))
    states = tuple(torch.cat(leaf_parts, axis) for leaf_parts in zip(*parts, strict=True))
    return states if is_tuple else states[0], taken


def solve_by_plan(
    plan: Plan, field: Callable[[Tensor, State], State], y0: State, t: Tensor, *, is_watched: bool
) -> tuple[State, GuardSignals | None]:
    """The states as `solve_by_steps` returns them, and the signals for a guard or `None`.

    Over an interval longer than the plan's, unless its guard flags it, raises `InputError`; where no value of `t` can
    be looked at, because the call is compiled or vectorised, the states are NaN.
    """
    is_beyond = longer_intervals(plan, t)
    steps = plan.steps
    states, taken = solve_by_steps(steps, field, y0, t, needs_last=is_watched and steps.signals_need_last)
    if is_beyond is not None:
        leaves = tuple(nan_where(is_beyond, leaf) for leaf in (states if isinstance(states, tuple) else (states,)))
        states = leaves if isinstance(states, tuple) else leaves[0]
    return states, guard_signals(steps.tableau, taken, is_batched=plan.is_batched) if is_watched else None


def longer_intervals(plan: Plan, t: Tensor) -> Tensor | None:
    """Where the interval is longer than the plan's, of shape `t.shape[:-1]`; `None` if none is.

    Raises `InputError` if one is known to be. `None` also with a guard, which flags it.
    """
    if plan.is_guarded or plan.longest_interval is None:
        return None
    ends = torch.atleast_2d(t.detach())[:, [0, -1]]
    is_captured = t.is_cuda and torch.cuda.is_current_stream_capturing()
    is_traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if not (torch.compiler.is_compiling() or is_traced or is_captured):
        with contextlib.suppress(RuntimeError):  # vectorised by `torch.func`
            for t0, t1 in ends.tolist():
                check_not_longer(plan.longest_interval, t0, t1)
            return None
    is_beyond = is_longer(plan.longest_interval, ends[:, 0], ends[:, 1])
    assert isinstance(is_beyond, Tensor)  # of tensors
    return is_beyond.reshape(t.shape[:-1])


def nan_where(is_beyond: Tensor, leaf: Tensor) -> Tensor:
    """`leaf` with NaN where `is_beyond`, whose axes are the first ones of `leaf`."""
    mask = is_beyond.to(leaf.device).reshape(is_beyond.shape + (1,) * (leaf.ndim - is_beyond.ndim))
    return torch.where(mask, math.nan, leaf)


def with_guard(
    plan: Plan,
    result: NativeResult,
    signals: GuardSignals | None,
    t: Tensor,
    fallback: Callable[[], NativeResult] | None,
    merge: Callable[[NativeResult, NativeResult, Tensor], NativeResult],
) -> NativeResult | tuple[NativeResult, Tensor]:
    """What a frozen solve returns: `result`, or with a guard `(result, flagged)`.

    - `t`: the output times of the call.
    - `fallback`: the native solve of the same call, which is made where a sample is flagged.
    - `merge`: `merge(result, native, flagged)` takes the flagged samples from the native result.

    Raises `InputError` where a solve with a fallback is compiled or exported.
    """
    if signals is None:
        return result
    t = t.to(signals.size.device)
    flagged = is_flagged(plan, signals, t[..., 0], t[..., -1])
    if fallback is None:
        return result, flagged
    if torch.compiler.is_compiling():
        raise InputError(
            "`fallback` depends on the data and cannot be compiled or exported; leave it out and solve the samples "
            "that the guard flags outside."
        )
    return (merge(result, fallback(), flagged) if flagged.any() else result), flagged
