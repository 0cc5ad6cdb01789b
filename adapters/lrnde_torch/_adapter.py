"""The base class of torch adapters: their draws, and their evaluation of kept steps."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch

from lrnde_core import (
    AbstractAdapter,
    Array,
    CapabilityError,
    Draw,
    NativeArgument,
    RandomSource,
    Recording,
    RecordingPlan,
    Sample,
    Tolerance,
    warn_if_unresolved,
)
from lrnde_torch._collecting import is_collected, is_training, saved_apart
from lrnde_torch._compiling import uncompiled
from lrnde_torch._evaluate import evaluate_samples
from lrnde_torch._isolation import no_side_effects
from lrnde_torch._problem import AbstractTorchProblem
from lrnde_torch._random import check_uniforms, draw_uniforms


def warn_if_torch_unresolved(rtol: Tolerance | None, atol: Tolerance | None, dtype: torch.dtype) -> None:
    """`lrnde_core.warn_if_unresolved` for a state of `dtype`; silent if a tolerance is a tensor or missing."""
    if isinstance(rtol, int | float) and isinstance(atol, int | float):
        name = str(dtype).removeprefix("torch.")
        warn_if_unresolved(rtol, atol, torch.finfo(dtype).eps, name)


class AbstractTorchAdapter(AbstractAdapter):
    """An adapter whose recordings hold an `AbstractTorchProblem` and a list of records.

    Subclasses write `capabilities`, `bind` and `zero_penalty`. The random argument is `generator`; without it, draws
    come from the global generator of the CPU.
    """

    random_argument: ClassVar[str] = "generator"

    def draw(self, source: RandomSource, num_samples: int) -> list[float]:
        return draw_uniforms(source, num_samples)

    def check_draw(self, draw: Array | Sequence[float], num_samples: int) -> list[Draw]:
        return check_uniforms(draw, num_samples)

    def is_collected(self) -> bool:
        return is_collected()

    def is_training(self, values: Iterable[NativeArgument]) -> bool:
        return is_training(values)

    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[torch.Tensor, Sample]:
        problem = recording.problem
        assert isinstance(problem, AbstractTorchProblem)
        if plan.penalty.uses_solver_tolerances:
            warn_if_torch_unresolved(problem.rtol, problem.atol, problem.dtype)
        zero = torch.zeros((), dtype=problem.dtype, device=problem.device)
        # `torch.func` batches the samples, and it works with no hooks.
        apart = contextlib.nullcontext() if plan.is_batched else saved_apart()
        with no_side_effects(problem.user_field, problem.device), uncompiled(), apart:
            try:
                return self.evaluate_records(plan, recording, zero)
            except RuntimeError as error:
                if plan.is_batched and "saved tensor hooks" in str(error):
                    raise CapabilityError(
                        "`torch.func`, by which `batched=True` evaluates all samples at once, does not run where "
                        "saved tensors have hooks, as in a checkpoint with `use_reentrant=False`: leave `batched` out."
                    ) from error
                raise

    def evaluate_records(
        self, plan: RecordingPlan, recording: Recording, zero: torch.Tensor
    ) -> tuple[torch.Tensor, Sample]:
        """The penalty and the samples, within a block that undoes what the field changes; by `evaluate_samples`.

        Override it for records that are not one step of the whole batch each. `zero`: as there.
        """
        return evaluate_samples(plan, recording, zero)
