"""Whether adapter and method offer what a regularized solve asks for; refusals come before the solve."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lrnde_core._adapter import AbstractCall, Recording
from lrnde_core._capabilities import Capabilities, Capability
from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._heuristics import AbstractHeuristic
from lrnde_core._samplers import AbstractSampler

if TYPE_CHECKING:
    from lrnde_core._regularize import RegularizedSolve


def check_adapter(regularized: "RegularizedSolve", heuristic: AbstractHeuristic, capabilities: Capabilities) -> None:
    """Raise `CapabilityError` for what the adapter does not support, and for what does not go together."""
    sampler = regularized.sampler
    needs = _needs(regularized, heuristic)
    refuse(regularized.adapter_name, needs, dict(capabilities.unsupported), _alternative(sampler))
    if regularized.gradient == "full" and sampler.local_start == "sample":
        raise CapabilityError(
            '`gradient="full"` is not defined for a sampler with `local_start="sample"`, which restarts from a '
            'constant state; use `local_start="step"`.'
        )
    if sampler.is_quadrature and heuristic.evaluations.step:
        raise CapabilityError(
            f"`{sampler}` integrates heuristics of a point, and `{heuristic}` looks at a step; use `AllSteps()` for "
            "the sum over steps."
        )


def check_method(regularized: "RegularizedSolve", heuristic: AbstractHeuristic, call: AbstractCall) -> None:
    """Raise `CapabilityError` for what the method of a call does not support."""
    facts = call.facts
    where, needs = f"{regularized.adapter_name}, method {facts.name}", _needs(regularized, heuristic)
    refuse(where, needs, dict(facts.unsupported), _alternative(regularized.sampler))
    if facts.needs_tolerances and any(rtol is None for rtol, _ in heuristic.tolerances):
        raise CapabilityError(
            f"The method `{facts.name}` takes fixed steps and has no tolerance to compare its error with; give the "
            "heuristic tolerances of its own, for example `ErrorEstimate(rtol=1e-3, atol=1e-3)` or "
            "`PredictedSteps(rtol=1e-3, atol=1e-3)`."
        )
    for need, fact in ((Capability.STIFFNESS_ESTIMATE, "stability_interval"), (Capability.RUNNING_COST, "tableau")):
        if need in needs and getattr(facts, fact) is None:
            raise PluginError(
                f"The adapter `{regularized.adapter_name}` gives no `{fact}` for `{facts.name}` and does not declare "
                f"{need.value} unsupported. This is a fault of the adapter: its `MethodFacts` need one or the other."
            )


def check_recording(regularized: "RegularizedSolve", recording: Recording) -> None:
    """Raise `PluginError` where an adapter kept one step in place of all of them."""
    if regularized.sampler.keeps_every_step and recording.num_evaluated is None:
        raise PluginError(
            f"The adapter `{regularized.adapter_name}` recorded one step a draw where `{regularized.sampler}` keeps "
            "every accepted step, and does not declare `Capability.ALL_STEPS` unsupported. This is a fault of the "
            "adapter: it needs either, and says by `Recording.num_evaluated` that it keeps them all."
        )


def refuse(where: str, needs: Iterable[Capability], reasons: Mapping[Capability, str], alternative: str = "") -> None:
    """Raise `CapabilityError` with every reason against the `needs`, each once."""
    missing: dict[str, list[str]] = {}
    for need in sorted(needs, key=lambda need: need.name):
        if need in reasons:
            missing.setdefault(reasons[need], []).append(need.value)
    if missing:
        told = [f"`{where}` does not support {', or '.join(what)}: {reason}" for reason, what in missing.items()]
        raise CapabilityError(" ".join(told) + alternative)


def _needs(regularized: "RegularizedSolve", heuristic: AbstractHeuristic) -> set[Capability]:
    needs = {*heuristic.needs, *regularized.sampler.needs}
    needs.add(Capability.LOCAL_GRADIENT if regularized.gradient == "local" else Capability.FULL_GRADIENT)
    if regularized.batched:
        needs.add(Capability.BATCHED_SAMPLES)
    return needs


def _alternative(sampler: AbstractSampler) -> str:
    """What works in place of a sampler that looks at every step."""
    if not sampler.keeps_every_step:
        return ""
    return " `UniformStep()` and `UniformTime()` estimate the sum over steps, without bias and from one of them."
