"""The plan of a training on checked steps, as a module to save with a model."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

from lrnde_core import (
    AbstractPlanHolder,
    CheckedPlan,
    FixedSteps,
    NativeArguments,
    NativeKeywords,
    NativeResult,
    RegularizedSolve,
    Report,
    Scalar,
)
from lrnde_torch._collecting import is_in_backward, saves_by_hooks

TracedCall: TypeAlias = Callable[
    [RegularizedSolve, FixedSteps, NativeArguments, NativeKeywords], tuple[NativeResult, Report]
]


@final
class PlanHolder(torch.nn.Module, AbstractPlanHolder):
    """Keeps the plan of `lrnde.CheckedSteps` between the calls of one training.

        odeint = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps())
        model.plan_holder = odeint.plan_holder          # saved and loaded with the model

    - `plan`: the plan now (`lrnde.CheckedPlan`).
    - `traced`: `traced(solve, steps, args, kwargs)` makes a call by fixed steps in tensors alone; `None` if the adapter
      cannot.

    With several processes, all check before the same iteration and take the same steps, the cheapest ones that keep the
    bound on each.
    """

    plan: CheckedPlan

    def __init__(self, plan: CheckedPlan, traced: TracedCall | None = None) -> None:
        super().__init__()
        self.plan = plan
        self._traced = traced
        self._step_error: Tensor | float | None = None

    def extra_repr(self) -> str:
        return str(self.plan)

    def is_training(self) -> bool:
        return torch.is_grad_enabled()

    def may_be_repeated(self) -> bool:
        return saves_by_hooks()

    def is_in_backward(self) -> bool:
        return is_in_backward()

    def watch(self, *results: NativeResult) -> None:
        for tensor in _tensors(results):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(lambda _: self.end_iteration())

    def remember(self, step_error: Scalar | None) -> None:
        self._step_error = step_error

    def remembered(self) -> float | None:
        # All processes have the same plan, so either all of them have a number or none.
        value = self._step_error
        return None if value is None else self._largest(torch.as_tensor(value, dtype=torch.float64))

    def by_steps(self, solve: Any, steps: FixedSteps, args: NativeArguments, kwargs: NativeKeywords) -> Any:
        if self._traced is None:
            return super().by_steps(solve, steps, args, kwargs)
        return self._traced(solve, steps, args, kwargs)

    def agree(self, value: float) -> float:
        return self._largest(torch.tensor(value, dtype=torch.float64)) if _is_distributed() else value

    def get_extra_state(self) -> dict[str, Any]:
        return {"plan": dataclasses.asdict(self.plan), "step_error": self._number()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.plan = CheckedPlan.from_fields(state["plan"])
        self._step_error = state["step_error"]

    def __getstate__(self) -> dict[str, Any]:
        # Without a device, which the place where it is read may not have.
        return {**self.__dict__, "_step_error": self._number()}

    def _number(self) -> float | None:
        return None if self._step_error is None else float(self._step_error)

    def _largest(self, value: Tensor) -> float:
        if not _is_distributed():
            return value.item()
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        # The reduction may forget what is not a number.
        shared = torch.stack([value.isnan().double(), value.nan_to_num(-math.inf).double()]).to(device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        is_nan, largest = shared.tolist()
        return math.nan if is_nan else largest


def _tensors(value: object) -> Iterator[Tensor]:
    """The tensors of a result: one, a sequence of results, or an object that holds them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _tensors(each)  # pyright: ignore[reportUnknownArgumentType]
    elif hasattr(value, "__dict__"):
        yield from (each for each in vars(value).values() if isinstance(each, Tensor))


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
