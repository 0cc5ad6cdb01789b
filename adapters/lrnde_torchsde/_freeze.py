"""The freezer of torchsde for `lrnde.freeze_sde`."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractSDEFreezer,
    NativeArgument,
    NativeResult,
    NativeSolve,
    SDEPlan,
    check_not_longer,
    interval_length,
)
from lrnde_torch import isolated, timed_runner
from lrnde_torchsde._arguments import Arguments, read_arguments
from lrnde_torchsde._call import TorchsdeCall, read_call


@final
class TorchsdeFreezer(AbstractSDEFreezer):
    """Freezes `sdeint` and `sdeint_adjoint`."""

    def read(self, call: AbstractCall) -> float:
        arguments = _torchsde(call).arguments
        return interval_length(arguments.start, arguments.end)

    def path_counts(self, call: AbstractCall) -> frozenset[int]:
        return frozenset({len(_torchsde(call).arguments["y0"])})

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        found = (_torchsde(call).arguments for call in calls)
        return isolated((arguments["sde"], arguments["y0"].device) for arguments in found)

    def copied(self, call: AbstractCall) -> TorchsdeCall:
        return _torchsde(call).on_copy()

    def solve(self, call: AbstractCall) -> NativeSolve:
        result, counts, _ = call.run(None)
        ys: torch.Tensor = result[0] if isinstance(result, tuple) else result
        broken = int((~ys.isfinite()).flatten(2).any(2).any(0).sum())
        return NativeSolve(
            result, counts.nfe, f"{broken} of its {ys.shape[1]} paths are not finite" if broken else None
        )

    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> TorchsdeCall:
        return read_call(_fixed(_torchsde(call).arguments, plan))

    def runner(self, call: AbstractCall) -> Callable[[], None]:
        arguments = _torchsde(call).arguments
        return timed_runner(lambda: arguments.native(**arguments.given), arguments["y0"].device)

    def frozen(self, solve: functools.partial[NativeResult], plan: SDEPlan) -> "FrozenSdeint":
        return FrozenSdeint(solve, plan)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenSdeint:
    """`sdeint` or `sdeint_adjoint` in the equal steps of a plan; takes its arguments, and returns its result.

    The steps divide the interval of the call, and one that is too long for the plan is refused; `adaptive` and `dt` of
    the call are ignored.
    """

    solve: functools.partial[NativeResult]
    plan: SDEPlan

    def __call__(self, *args: NativeArgument, **kwargs: NativeArgument) -> NativeResult:
        solve, native = self.solve, self.solve.func
        name = f"torchsde:{native.__name__}"
        arguments = read_arguments(name, native, (*solve.args, *args), {**solve.keywords, **kwargs})
        check_not_longer(self.plan.longest_interval, arguments.start, arguments.end)
        return arguments.native(**_fixed(arguments, self.plan).given)


def _fixed(arguments: Arguments, plan: SDEPlan) -> Arguments:
    ts, y0 = arguments["ts"], arguments["y0"]
    dtype = ts.dtype if isinstance(ts, torch.Tensor) and ts.is_floating_point() else y0.dtype
    start, end = arguments.start, arguments.end
    # torchsde adds up its steps in this dtype, and goes on until it reaches the end. Steps a few roundings longer leave
    # no sliver for another step.
    rounding = torch.finfo(dtype).eps * max(abs(start), abs(end))
    return arguments.but(adaptive=False, dt=(end - start) / plan.num_steps + 4 * rounding)


def _torchsde(call: AbstractCall) -> TorchsdeCall:
    assert isinstance(call, TorchsdeCall)
    return call
