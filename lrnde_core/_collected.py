"""A solve that always returns the native result, and is penalised only if somebody collects the penalty."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, final, overload

from lrnde_core._arrays import Array, State
from lrnde_core._capabilities import Capability
from lrnde_core._claims import NativeArgument, NativeArguments, NativeFunction, NativeKeywords, Parameters, Result
from lrnde_core._errors import InputError, InputTypeError, UncollectedWarning
from lrnde_core._regularize import RegularizedSolve, regularize
from lrnde_core._report import is_collecting
from lrnde_core._said_once import is_due
from lrnde_core._solver import Solver
from lrnde_core._wrapping import warn_at_call, wraps_solves


@final
@wraps_solves
@dataclasses.dataclass(frozen=True)
class CollectedSolve(Generic[Parameters, Result]):
    """A native solve that is penalised within `collect` blocks, and bare elsewhere. Made by `collected`.

    A frozen value: hashable, equal by value, picklable, deep-copyable.

    - `regularized`: the call made within a block.
    """

    regularized: RegularizedSolve[Parameters, Result]

    def __call__(
        self,
        *args: NativeArgument,
        penalize: bool = True,
        draw: Array | Sequence[float] | None = None,
        probes: State | None = None,
        **kwargs: NativeArgument,
    ) -> Result:
        """Solve as the native call does, and return its result; within a `collect` block add the report to its list.

        Takes the arguments of a `RegularizedSolve`. Outside a block it ignores the additional ones: nothing is drawn or
        evaluated. There it issues an `UncollectedWarning`, once, if it is called in training: in torch, with gradients
        and a module in training mode among its arguments.
        """
        wrapped = self.regularized
        if is_collecting():
            result: Any = wrapped(*args, penalize=penalize, draw=draw, probes=probes, **kwargs)
            return result
        solver = wrapped.solver
        args, kwargs = solver.arguments(args, kwargs)
        kwargs.pop(solver.adapter.random_argument, None)
        if wrapped.steps is not None:
            kwargs.pop("plan", None)
        self._warn_in_training(solver, args, kwargs)
        return solver.function(*args, **kwargs)

    def _warn_in_training(self, solver: Solver, args: NativeArguments, kwargs: NativeKeywords) -> None:
        if not solver.adapter.is_training((solver.function, *args, *kwargs.values())) or not is_due(self):
            return
        warn_at_call(
            f"`collected({solver.path})` was called in training, and nobody collects its penalty here: "
            "it ran as the bare call. Put the forward pass into `with lrnde.collect() as reports:`, in the thread that "
            "solves; to predict, put the module into evaluation mode.",
            UncollectedWarning,
        )

    @property
    def __signature__(self) -> inspect.Signature:
        return self.regularized.__signature__


@overload
def collected(solve: RegularizedSolve[Parameters, Result]) -> CollectedSolve[Parameters, Result]: ...
@overload
def collected(solve: Callable[Parameters, Result], **settings: Any) -> CollectedSolve[Parameters, Result]: ...
def collected(solve: NativeFunction, **settings: Any) -> CollectedSolve:
    """Wrap a solve deep inside somebody else's model, so that it always returns the native result.

        their_module.odeint = lrnde.collected(their_module.odeint)
        with lrnde.collect() as reports:
            prediction = model(x)
        loss = task_loss(prediction) + weight * sum(report.penalty for report in reports)

    Within a `collect` block it is penalised and adds its report. Outside it is the bare call to the last bit, without
    any further draw or evaluation, so prediction needs no change. It is also the bare call if a backward pass repeats a
    checkpointed solve, and in threads other than the block's.

    - `solve`: a native call that `regularize` takes, or the call that it returned.
    - `settings`: keyword arguments of `regularize`, for a native solve.

    Raises what `regularize` raises, and `CapabilityError` if reports cannot be collected (under `jit`).
    """
    if isinstance(solve, CollectedSolve):
        raise InputTypeError("`solve` is already collected; give the native call, or one that is regularized.")
    if isinstance(solve, RegularizedSolve):
        if settings:
            raise InputError(f"`solve` is regularized already; give {sorted(settings)} to `regularize`.")
        wrapped: RegularizedSolve = solve  # pyright: ignore[reportUnknownVariableType]
    else:
        wrapped = regularize(solve, **settings)
    wrapped.solver.require(Capability.COLLECT)
    return CollectedSolve(wrapped)
