"""What `lrnde_core.freeze_sde` asks of torchsde."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, final

import torch

from lrnde_core import AbstractCall, AbstractSDEFreezer, NativeSolve, SDEPlan
from lrnde_torch import no_side_effects, timed_runner
from lrnde_torchsde._arguments import Arguments, read_arguments
from lrnde_torchsde._call import TorchsdeCall, read_call


@final
class TorchsdeFreezer(AbstractSDEFreezer):
    """Freezes `sdeint` and `sdeint_adjoint`."""

    def read(self, call: AbstractCall) -> tuple[float, float]:
        arguments = _torchsde(call).arguments
        return arguments.start, arguments.end

    def solve(self, call: AbstractCall) -> NativeSolve:
        call = _torchsde(call).on_copy()
        arguments = call.arguments
        with torch.no_grad(), no_side_effects(arguments["sde"], arguments["y0"].device):
            result, counts, _ = call.run(None)
        return NativeSolve(result, counts.nfe)

    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> TorchsdeCall:
        return read_call(_fixed(_torchsde(call).arguments, plan))

    def runner(self, call: AbstractCall) -> Callable[[], None]:
        arguments = _torchsde(call).on_copy().arguments
        return timed_runner(lambda: arguments.native(**arguments.given), arguments["y0"].device)

    def frozen(self, solve: functools.partial[Any], plan: SDEPlan) -> "FrozenSdeint":
        return FrozenSdeint(solve, plan)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenSdeint:
    """`sdeint` or `sdeint_adjoint` in the fixed steps of a plan; takes what it takes, and returns its result.

    `adaptive` and `dt` are the plan's. Raises `InputError` for another interval than the plan's.
    """

    solve: functools.partial[Any]
    plan: SDEPlan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plan = self.plan
        solve, native = self.solve, self.solve.func
        name = f"torchsde:{native.__name__}"
        arguments = read_arguments(name, native, (*solve.args, *args), {**solve.keywords, **kwargs})
        plan.times.check(arguments.start, arguments.end)
        return arguments.native(**_fixed(arguments, plan).given)


def _fixed(arguments: Arguments, plan: SDEPlan) -> Arguments:
    ts, y0 = arguments["ts"], arguments["y0"]
    dtype = ts.dtype if isinstance(ts, torch.Tensor) and ts.is_floating_point() else y0.dtype
    # torchsde adds up its steps in this dtype and goes as far as it must at the end. Steps longer by some roundings do
    # not leave a sliver for one more.
    stretch = 1 + 4 * plan.num_steps * torch.finfo(dtype).eps
    return arguments.but(adaptive=False, dt=stretch * (plan.t1 - plan.t0) / plan.num_steps)


def _torchsde(call: AbstractCall) -> TorchsdeCall:
    assert isinstance(call, TorchsdeCall)
    return call
