"""The weight of the penalty over training, as an object to save with a model."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from lrnde_core import (
    AbstractWeight,
    Constant,
    GradientNorms,
    InputError,
    InputTypeError,
    Number,
    Real,
    Report,
    WeightWarning,
    check_is_weight,
    check_penalized,
    described,
    listed_reports,
    summed_penalty,
    warn_at_call,
)

# More than anybody accumulates into one gradient, or a line search tries.
_MOST_TOTALS = 200


@final
class WeightHolder:
    """Holds the state of a weight between iterations, in the style of a torch scheduler.

        weight = WeightHolder(GradientRatio(), model.parameters())
        weight.total(task_loss, report).backward()
        weight.update(report)

    - `weight`: any `AbstractWeight`, such as `GradientRatio`, `Constant`, `ExponentialDecay` or `NFETarget`.
    - `parameters`: those that training changes; only for a weight that measures gradients. None may be a `DTensor`: the
      gradients of sharded parameters come into being in FSDP's own backward pass alone.

    **Gradients.** If the weight measures them in this iteration, `total` differentiates the loss and the penalty apart,
    before `backward` differentiates their sum: neither scaled by AMP, nor clipped, nor decayed, nor accumulated. With
    several processes the gradients are averaged first, as `DistributedDataParallel` does: all have the weight of one
    process with the joint batch. With gradient accumulation, call `total` for each part and `update` once: the
    weight changes there alone.

    **`update`** ends an iteration: without it the weight stays as it is. A `WeightWarning` says so after 200 losses
    without one.

    With several processes, each has its own counts: give weights such as `NFETarget` a report with their
    mean.

    Raises `InputTypeError` for what is no weight or no tensors, and `InputError` for parameters that are missing or
    sharded.
    """

    def __init__(self, weight: AbstractWeight, parameters: Iterable[Tensor] = ()) -> None:
        check_is_weight(weight)
        self._weight = weight
        self._parameters = _as_tensors(parameters)
        self._state = weight.init(like=0.0)
        self._norms: list[GradientNorms] = []
        self._num_totals = 0
        if self._weight.measures(self._state):
            _check_parameters(weight, self._parameters)

    def __repr__(self) -> str:
        return f"WeightHolder({self._weight!r}, {self._state!r})"

    def value(self) -> Real:
        """The weight to use in this iteration."""
        return self._weight.value(self._state)

    def total(self, loss: Tensor, report: Report | Sequence[Report]) -> Tensor:
        """`loss` plus the weighted penalty: what to call `backward` on.

        - `loss`: without the penalty. `report`: of its solve; for several solves, a list, whose penalties are summed.

        Raises `InputError` for an empty list, and, where gradients are enabled, if the loss or the penalty has none, or
        the loss depends on none of the parameters whose gradients are measured; `InputTypeError` for anything that is
        no tensor or no report.
        """
        reports = listed_reports("WeightHolder.total", report)
        penalty = summed_penalty(reports)
        if not isinstance(loss, Tensor):
            raise InputTypeError(f"`loss` must be a tensor with a gradient, not {described(loss)}.")
        if torch.is_grad_enabled():
            _check_trainable(loss, penalty, reports)
            self._num_totals += 1
            self._warn_if_forgotten()
            if self._weight.measures(self._state):
                self._norms.append(_gradient_norms(loss, penalty, self._parameters))
        return loss + self.value() * penalty

    def update(self, report: Report | Sequence[Report]) -> None:
        """End an iteration whose solve returned `report`; for several solves, a list of their reports.

        Raises `InputError` if the weight measures gradients in this iteration, and `total` has not been called in it.
        """
        norms = None
        if self._norms:
            norms = GradientNorms(*(math.fsum(each) / len(each) for each in zip(*self._norms, strict=True)))
        self._forget()
        self._state = self._weight.update(self._state, report, norms)

    def state_dict(self) -> dict[str, Number]:
        """The state by name, without the weight itself: plain numbers, which `torch.load` takes back safely."""
        return self._state._asdict()

    def load_state_dict(self, state_dict: Mapping[str, Number]) -> None:
        """Restore a state from `state_dict`. Raises `InputError` if it is not one."""
        kind = type(self._state)
        if set(state_dict) != set(kind._fields):
            raise InputError(
                f"`state_dict` has the keys {sorted(state_dict)}; the state of a weight has "
                f"{sorted(kind._fields)}. Load what `state_dict()` of a `WeightHolder` of this weight returned."
            )
        self._state = kind(**state_dict)
        self._forget()

    def _forget(self) -> None:
        """Forget what belongs to an iteration that has ended."""
        self._norms.clear()
        self._num_totals = 0

    def _warn_if_forgotten(self) -> None:
        """Warn after so many losses that `update` must have been forgotten."""
        if self._num_totals == _MOST_TOTALS and not isinstance(self._weight, Constant):
            warn_at_call(
                f"`WeightHolder.total` has been called {_MOST_TOTALS} times since `{self._weight!r}` was last updated, "
                f"and the weight has stayed {self.value():.3g}. Call `WeightHolder.update(report)` at the end of each "
                "iteration.",
                WeightWarning,
            )


def _as_tensors(parameters: object) -> tuple[Tensor, ...]:
    """What was given as parameters, each once; raises `InputTypeError` unless it is several tensors."""
    if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
        raise InputTypeError(
            f"`parameters` must be the tensors that training changes, not {described(parameters)}. Pass "
            "`model.parameters()`, or a list of tensors."
        )
    listed: list[object] = list(parameters)
    for each in listed:
        if not isinstance(each, Tensor):
            raise InputTypeError(
                f"`parameters` holds {described(each)}; it must hold the tensors that training changes. Pass "
                "`model.parameters()`, or a list of tensors."
            )
    return tuple(dict.fromkeys(each for each in listed if isinstance(each, Tensor)))


def _check_trainable(loss: Tensor, penalty: Tensor, reports: Sequence[Report]) -> None:
    """Raise `InputError` if nothing can be trained by the loss or by the penalty."""
    if loss.shape.numel() != 1:
        raise InputError(
            f"`loss` has the shape {tuple(loss.shape)}, and its gradient needs a scalar: take the mean over the batch."
        )
    if not loss.requires_grad:
        raise InputError(
            "`loss` has no gradient, so nothing would be trained by it. `total` takes what `backward` would: a loss "
            "computed with gradients enabled, without `detach`, from parameters that require gradients."
        )
    if penalty.requires_grad:
        return
    check_penalized(reports)
    # One that is 0 has none where a local step failed, or was exact.
    if penalty != 0:
        raise InputError(
            "The penalty of `report` has no gradient, so nothing would be trained by it: the solve ran under "
            "`torch.no_grad()`, or neither its field nor its initial state depends on what requires a gradient. Solve "
            "with gradients enabled; to predict, `penalize=False` saves the penalty's evaluation."
        )


def _check_parameters(weight: AbstractWeight, parameters: Sequence[Tensor]) -> None:
    """Raise `InputError` unless gradients by these parameters can be measured."""
    if not parameters:
        raise InputError(
            f"`{weight!r}` measures gradients, and was given no parameters. Pass those that training changes: "
            "`WeightHolder(weight, model.parameters())`."
        )
    # Where it is not loaded, no tensor is of its class.
    module = sys.modules.get("torch.distributed.tensor")
    num_sharded = 0 if module is None else sum(isinstance(each, module.DTensor) for each in parameters)
    if num_sharded:
        raise InputError(
            f"`{weight!r}` measures gradients, and {num_sharded} of the {len(parameters)} parameters are sharded over "
            "processes (`DTensor`). It needs whole ones: `fully_shard` computes the gradients of shards in its own "
            "backward pass alone. Use `Constant`, `ExponentialDecay` or `NFETarget`, or `DistributedDataParallel`."
        )


def _gradient_norms(loss: Tensor, penalty: Tensor, parameters: Sequence[Tensor]) -> GradientNorms:
    """The norms over the parameters that both gradients reach, once averaged over processes."""
    variables = [each for each in parameters if each.requires_grad]
    by_loss, by_penalty = (_gradients(each, variables) for each in (loss, penalty))
    if loss.requires_grad and all(each is None for each in by_loss):
        raise InputError(
            f"The loss depends on none of the {len(parameters)} parameters whose gradients are measured. Give "
            "`WeightHolder` those that the model has now: `fully_shard`, for one, replaces them."
        )
    squares = torch.stack([_squares(loss, by_loss, variables), _squares(penalty, by_penalty, variables)])
    # What is not a number counts: such a measurement is left out as a whole.
    return GradientNorms(*squares.where((squares != 0).all(0), 0.0).sum(1).sqrt().tolist())


def _gradients(output: Tensor, variables: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient by each variable, of this process alone; `None` where it does not reach."""
    if not output.requires_grad or not variables:
        return [None] * len(variables)
    return torch.autograd.grad(output, variables, retain_graph=True, allow_unused=True)


def _squares(output: Tensor, found: Sequence[Tensor | None], variables: Sequence[Tensor]) -> Tensor:
    """The squared norm of the gradient by each variable, averaged over processes; 0 where it does not reach."""
    nothing = output.new_zeros((), dtype=torch.float64 if output.device.type == "cpu" else torch.float32)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # What one process does not reach, another may.
        found = [
            _average(torch.zeros_like(variable) if each is None else each)
            for variable, each in zip(variables, found, strict=True)
        ]
    return torch.stack([nothing if each is None else each.norm().square().to(nothing) for each in found])


def _average(gradient: Tensor) -> Tensor:
    """The mean over all processes, as `DistributedDataParallel` takes it."""
    average = gradient.contiguous() / torch.distributed.get_world_size()
    torch.distributed.all_reduce(average)
    return average
