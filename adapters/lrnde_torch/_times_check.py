"""Comparing the output times that a frozen solve in torch is given with those of its plan."""

import math
from typing import Any, final

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from lrnde_core import InputError, InputTypeError, PlannedTimes, described

Tensor = torch.Tensor

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

    def __call__(self, times: Any) -> Tensor | None:
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
