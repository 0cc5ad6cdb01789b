"""Freezing in torch: reading and timing calibration calls, following a plan, its guard, and checks of times."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Generator, Iterable
from typing import final

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from lrnde_core import (
    AbstractCall,
    AbstractStages,
    Capability,
    CapabilityError,
    GuardSignals,
    InputError,
    InputTypeError,
    Leaves,
    NativeResult,
    NativeSolve,
    Plan,
    PlannedTimes,
    Span,
    State,
    Time,
    described,
    follow_plan,
    is_flagged,
)
from lrnde_torch._isolation import no_side_effects
from lrnde_torch._problem import add_increments

Tensor = torch.Tensor


def read_span(leaves: Leaves, times: object, *, is_batched: bool) -> Span:
    """The span of a call with this initial state, whose interval is from the first to the last output time.

    Raises `CapabilityError` for states that are not real, `InputError` for those that are not finite and for what has
    no span (`Span.of`), `InputTypeError` for times that are no row of numbers.
    """
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) == 0:
        raise InputTypeError(f"The output times must be a tensor of one dimension, not {described(times)}.")
    for leaf in leaves:
        if not leaf.dtype.is_floating_point:
            raise CapabilityError(f"The state has dtype {leaf.dtype}; it must be real floating point.")
        if leaf.is_meta:
            raise InputError("`y0` is on the device `meta`, so it has no values to solve from.")
        if not bool(leaf.isfinite().all()):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
    # On the host: not every device has float64.
    outputs: list[float] = times.detach().cpu().double().tolist()
    return Span.of(outputs[0], outputs[-1], outputs, [tuple(leaf.shape) for leaf in leaves], is_batched=is_batched)


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


def solve_natively(call: AbstractCall, device: torch.device) -> NativeSolve:
    """The user's own solve. Raises `CapabilityError` where the field draws from torch's random numbers."""
    before = _random_state(device)
    result, counts, _ = call.run(None)
    if not torch.equal(before, _random_state(device)):
        raise CapabilityError(
            "The field draws random numbers, so that no two solves agree and no error of fixed steps can be told "
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
    """Steps of dy/dt = `field(t, y)` at times that are Python numbers. Makes no data-dependent choice.

    - `field`: takes a scalar time tensor and a state as the user has it. `is_tuple`: whether that is a tuple.
    """

    field: Callable[[Tensor, State], State]
    is_tuple: bool

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        time = torch.full((), t + abscissa * h, dtype=y[0].dtype, device=y[0].device)
        derivative = self.field(time, y if self.is_tuple else y[0])
        leaves: Leaves = derivative if self.is_tuple else (derivative,)
        return tuple(leaf.to(like.dtype) * h for leaf, like in zip(leaves, y, strict=True))

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        by_leaf = zip(*increments, strict=True)
        return tuple(add_increments(leaf, weights, parts) for leaf, parts in zip(y, by_leaf, strict=True))


def check_state(plan: Plan, y0: State) -> None:
    """Raise `InputTypeError` or `InputError` unless `y0` is a tensor, or a tuple of tensors, as the plan has it."""
    leaves: Leaves = y0 if isinstance(y0, tuple) else (y0,)
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            raise InputTypeError(
                f"`y0` must be a tensor of real floating-point numbers, or a tuple of such, and is or holds "
                f"{described(leaf)}."
            )
    plan.check_shapes([leaf.shape for leaf in leaves])


def solve_by_plan(
    plan: Plan,
    field: Callable[[Tensor, State], State],
    y0: State,
    *,
    is_watched: bool,
    dim: int = 0,
    factor: Tensor | None = None,
) -> tuple[State, GuardSignals | None]:
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
    result: NativeResult,
    signals: GuardSignals | None,
    fallback: Callable[[], NativeResult] | None,
    merge: Callable[[NativeResult, NativeResult, Tensor], NativeResult],
) -> NativeResult | tuple[NativeResult, Tensor]:
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


# Devices on which torch has an assertion that does not wait.
_WITH_ASSERTION = ("cpu", "cuda")


@final
class TimesCheck:
    """Compares the output times of calls with a plan's, each tensor of times once.

    Comparing waits for the device; when it is done a CUDA graph can capture the solve. Code that is compiled, exported
    or traced compares when it runs: it raises a `RuntimeError` at other times, and where its format has no assertions
    (ONNX, `torch.jit`) its results are NaN there.

    - `times`: the plan's. `name`: of the argument, for messages. `ndims`: how many dimensions it may have.
    """

    def __init__(self, times: PlannedTimes, name: str, *, ndims: tuple[int, ...]) -> None:
        self._times = times
        # Made here: compiled code with dynamic numbers cannot format them.
        self._message = times.message
        self._name = name
        self._ndims = ndims
        self._known: tuple[Tensor, int] | None = None

    def __call__(self, times: object) -> Tensor | None:
        """What to multiply results by, a 1 that is NaN at other times than the plan's; `None` where that is settled.

        - `times`: of shape `(times,)` or `(batch, times)`, ends included.

        Raises `InputTypeError` where it is no such tensor; `InputError` where the times are not the plan's, where they
        need a gradient, which steps at fixed times have none of, and where they cannot be compared.
        """
        if not isinstance(times, Tensor) or times.ndim not in self._ndims:
            dimensions = " or ".join(map(str, self._ndims))
            raise InputTypeError(
                f"`{self._name}` must be a tensor of {dimensions} dimension{'s' * (self._ndims != (1,))}, not "
                f"{described(times)}."
            )
        self._times.check(None, None, [None] * times.shape[-1])
        if times.requires_grad and torch.is_grad_enabled():
            raise InputError(
                f"`{self._name}` requires a gradient, and the times of a plan do not move with it; give "
                f"`{self._name}.detach()`, or differentiate the native solve."
            )
        # Under a dispatch mode tensors may have no values, or ones that must not be baked into a graph.
        is_traced = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if torch.compiler.is_compiling() or is_traced or is_in_torch_dispatch_mode():
            return self._compared_when_run(times)
        if times.is_inference():
            self._compare(times)  # each time: such a tensor does not tell whether it has been written to
        elif self._known is None or self._known[0] is not times or self._known[1] != times._version:
            self._compare(times)
            self._known = (times, times._version)
        return None

    def _compare(self, times: Tensor) -> None:
        try:
            # On the host: not every device has float64.
            rows: list[list[float]] = torch.atleast_2d(times.detach().cpu().double()).unique(dim=0).tolist()
        except RuntimeError as exc:
            raise InputError(
                f"`{self._name}` has no values that can be compared with the plan's times, as under `torch.func.vmap`. "
                "One plan has one interval: give the same times to all samples, outside of it."
            ) from exc
        for outputs in rows:
            self._times.check(outputs[0], outputs[-1], outputs)

    def _compared_when_run(self, times: Tensor) -> Tensor:
        dtype = times.dtype if times.is_floating_point() else torch.get_default_dtype()
        planned = torch.tensor(self._times.outputs, dtype=dtype, device=times.device)
        are_close = ((times - planned).abs() <= self._times.slack).all()
        asserted = are_close if are_close.device.type in _WITH_ASSERTION else are_close.cpu()
        # What `torch.export` makes of its own assertions; `torch._check` would wait for the device.
        torch._assert_async(asserted, self._message)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        return torch.where(are_close, 1.0, math.nan)
