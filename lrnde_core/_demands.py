"""What a regularized call asks of its adapter and of its method, and the refusals where they do not offer it."""

import dataclasses
from typing import Literal, TypeAlias, final

from lrnde_core._capabilities import AnyCapability, Capability, refuse
from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._heuristics import AbstractHeuristic
from lrnde_core._method import MethodFacts
from lrnde_core._recording import Recording
from lrnde_core._samplers import AbstractSampler
from lrnde_core._solver import Solver

Gradient: TypeAlias = Literal["local", "full"]


@final
@dataclasses.dataclass(frozen=True)
class Demands:
    """The settings of `regularize` that ask something of an adapter or a method."""

    heuristic: AbstractHeuristic
    sampler: AbstractSampler
    gradient: Gradient
    is_batched: bool

    @property
    def needs(self) -> frozenset[AnyCapability]:
        """The capabilities that both must have."""
        differentiation = Capability.LOCAL_GRADIENT if self.gradient == "local" else Capability.FULL_GRADIENT
        batches = (Capability.BATCHED_SAMPLES,) if self.is_batched else ()
        return frozenset({*self.heuristic.needs, *self.sampler.needs, differentiation, *batches})

    @property
    def alternative(self) -> str:
        """The advice on what to use instead of a sampler that looks at every step."""
        if not self.sampler.keeps_every_step:
            return ""
        return " `UniformStep()` and `UniformTime()` estimate the sum over steps, without bias and from one of them."


def check_adapter(solver: Solver, asked: Demands, *, has_steps: bool) -> None:
    """Raise `CapabilityError` for what the adapter does not support, and for settings that exclude each other.

    - `has_steps`: whether the call is trained on checked steps.
    """
    heuristic, sampler = asked.heuristic, asked.sampler
    refuse(solver.adapter_name, asked.needs, solver.capabilities.reason_against, asked.alternative)
    if has_steps and Capability.STIFFNESS_ESTIMATE in asked.needs:
        raise CapabilityError(
            "Fixed steps of low order have no pair of stages that estimates stiffness, so `steps` exclude "
            "`StiffnessEstimate`; use another heuristic."
        )
    if asked.gradient == "full" and sampler.local_start == "sample":
        raise CapabilityError(
            '`gradient="full"` is not defined for a sampler with `local_start="sample"`, which restarts from a '
            'constant state; use `local_start="step"`.'
        )
    if sampler.is_quadrature and heuristic.evaluations.step:
        raise CapabilityError(
            f"`{sampler}` integrates heuristics of a point, and `{heuristic}` looks at a step; use `AllSteps()` for "
            "the sum over steps."
        )


def check_method(solver: Solver, asked: Demands, facts: MethodFacts) -> None:
    """Raise `CapabilityError` for what the method of a call does not support."""
    adapter, needs = solver.adapter_name, asked.needs
    reason = facts.reason_against(Capability.LOCAL_GRADIENT)
    if reason is not None and reason == facts.reason_against(Capability.FULL_GRADIENT):
        raise CapabilityError(f"`{adapter}, method {facts.name}`: such a solve cannot be penalised: {reason}")
    refuse(f"{adapter}, method {facts.name}", needs, facts.reason_against, asked.alternative)
    if not facts.is_adaptive and any(each.rtol is None for each in asked.heuristic.tolerances):
        raise CapabilityError(
            f"The method `{facts.name}` takes fixed steps and has no tolerance to compare its error with; give the "
            "heuristic its own tolerances, for example `ErrorEstimate(rtol=1e-3, atol=1e-3)` or "
            "`PredictedSteps(rtol=1e-3, atol=1e-3)`."
        )
    for need, fact in ((Capability.STIFFNESS_ESTIMATE, "stability_interval"), (Capability.RUNNING_COST, "tableau")):
        if need in needs and getattr(facts, fact) is None:
            raise PluginError(
                f"The adapter `{adapter}` gives no `{fact}` for `{facts.name}` and does not declare "
                f"{need.value} unsupported. This is a fault of the adapter: its `MethodFacts` need one or the other."
            )


def check_recording(solver: Solver, sampler: AbstractSampler, recording: Recording) -> None:
    """Raise `PluginError` if an adapter kept one step instead of all steps."""
    if sampler.keeps_every_step and recording.num_evaluated is None:
        raise PluginError(
            f"The adapter `{solver.adapter_name}` recorded one step per draw where `{sampler}` keeps every accepted "
            "step, and does not declare `Capability.ALL_STEPS` unsupported. This is a fault of the adapter: it needs "
            "either, and says by `Recording.num_evaluated` that it keeps them all."
        )
