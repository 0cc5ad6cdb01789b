"""The capabilities of adapters, as data that the run time, the command line and the conformance suite all read."""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import final

from lrnde_core._errors import CapabilityError, InputTypeError

ADAPTER_API = (2, 1)
"""Version (major, minor) of the contract. Each adapter states in its `AdapterSpec` the one it was written for."""


@final
class Capability(enum.Enum):
    """One thing an adapter may support. The value is the sentence that `lrnde adapters` prints."""

    ADAPTIVE_ODE = "ordinary differential equations with adaptive steps"
    FIXED_STEP_ODE = "ordinary differential equations with fixed steps"
    IMPLICIT_ODE = "implicit methods"
    CONTROLLED_ODE = "controlled differential equations with a smooth control"
    EVENTS = "solves that an event ends"
    ADAPTIVE_SDE = "stochastic differential equations with adaptive steps"
    FIXED_STEP_SDE = "stochastic differential equations with fixed steps"
    ITO_SDE = "Ito equations"
    STRATONOVICH_SDE = "Stratonovich equations"
    ADDITIVE_NOISE = "additive noise"
    DIAGONAL_NOISE = "diagonal noise"
    GENERAL_NOISE = "general noise"
    FRESH_INCREMENT = "a local step along a fresh Brownian increment"
    ERROR_ESTIMATE = "the error estimate of a step"
    STIFFNESS_ESTIMATE = "the stiffness estimate of a step"
    POINT_HEURISTICS = "heuristics of a point, such as derivatives along the trajectory"
    POINT_INSIDE_STEP = "heuristics of a point inside a step"
    REVERSE_PRODUCTS = "products with the transposed Jacobian (reverse mode)"
    PROBES = "random directions that the user gives (`probes=`)"
    UNIFORM_TIME = "sampling uniformly in time"
    UNIFORM_STEP = "sampling uniformly among accepted steps"
    ALL_STEPS = "all steps of a solve"
    RUNNING_COST = "heuristics of a point integrated along the solve"
    RESTARTED_STEP = "a local step restarted at the sampled time"
    LOCAL_GRADIENT = 'gradient="local"'
    FULL_GRADIENT = 'gradient="full"'
    BATCHED_SAMPLES = "all samples of a call in one batched step"
    FLOAT32 = "float32 states"
    FLOAT64 = "float64 states"
    CPU = "CPU"
    CUDA = "CUDA"
    JIT = "just-in-time compilation"
    VMAP = "vectorised solves, each with its own steps"
    REVERSE_TIME = "solves backward in time"
    TREE_STATE = "states of several arrays"
    COLLECT = "collecting reports of solves deep inside a model"
    FREEZE = "frozen solves of ordinary equations"
    FREEZE_SDE = "frozen solves of stochastic equations"
    CHECKED_STEPS = "training on fixed steps that the adaptive solver checks"

    @property
    def since(self) -> tuple[int, int]:
        """The version of the contract that introduced it."""
        return _SINCE.get(self.name, (1, 0))


_SINCE = {"PROBES": (2, 0), "REVERSE_PRODUCTS": (2, 0), "CHECKED_STEPS": (2, 1)}


@final
@dataclasses.dataclass(frozen=True)
class ExtraCapability:
    """A capability that your heuristic needs and `Capability` has no member for. Equal by name.

    An adapter supports it only by declaring it: `Capabilities.declare(..., extra=[...])`.

    - `name`: unique, such as `"mypackage.third_derivative"`. `value`: what it is, in a few words.
    """

    name: str
    value: str = dataclasses.field(compare=False)


AnyCapability = Capability | ExtraCapability

SDE_CAPABILITIES = (
    Capability.ADAPTIVE_SDE,
    Capability.FIXED_STEP_SDE,
    Capability.ITO_SDE,
    Capability.STRATONOVICH_SDE,
    Capability.ADDITIVE_NOISE,
    Capability.DIAGONAL_NOISE,
    Capability.GENERAL_NOISE,
    Capability.FRESH_INCREMENT,
    Capability.FREEZE_SDE,
)
"""The capabilities that concern only stochastic equations; an adapter of an ODE solver declares all unsupported."""


@final
@dataclasses.dataclass(frozen=True)
class Capabilities:
    """A complete declaration: each capability is supported, or unsupported with a reason.

    - `supported`: the supported members of `Capability`, and the extra ones that the adapter names.
    - `unsupported`: pairs of a capability and a reason, which also says what would work instead.
    """

    supported: frozenset[AnyCapability]
    unsupported: tuple[tuple[AnyCapability, str], ...]

    @classmethod
    def declare(cls, unsupported: Mapping[Capability, str], *, extra: Iterable[ExtraCapability] = ()) -> "Capabilities":
        """Declare all capabilities except those in `unsupported`, each with a reason, and the `extra` ones."""
        for capability, reason in unsupported.items():
            if not isinstance(capability, Capability):
                raise InputTypeError(f"{capability!r} is not a `Capability`; known are {[c.name for c in Capability]}.")
            if not reason.strip():
                raise InputTypeError(
                    f"`Capability.{capability.name}` is declared unsupported without a reason; give one."
                )
        return cls(frozenset(Capability) - frozenset(unsupported) | frozenset(extra), tuple(unsupported.items()))

    def known_to(self, api_version: tuple[int, int]) -> "Capabilities":
        """The same declaration, with every capability introduced after `api_version` unsupported.

        An adapter lists what it does not support, so about later capabilities it says nothing.
        """
        unsupported: dict[AnyCapability, str] = {
            capability: f"the adapter was written for version {api_version[0]}.{api_version[1]} of the contract, which "
            f"did not have it; it is there since {capability.since[0]}.{capability.since[1]}. Update the adapter."
            for capability in Capability
            if capability in self.supported and capability.since > api_version
        }
        return Capabilities(self.supported - unsupported.keys(), (*self.unsupported, *unsupported.items()))

    def reason_against(self, capability: AnyCapability) -> str | None:
        """Why `capability` is unsupported, or `None` if it is supported."""
        if capability in self.supported:
            return None
        return dict(self.unsupported).get(capability, "its adapter does not declare it.")


def refuse(
    where: str,
    needs: Iterable[AnyCapability],
    reason_against: Callable[[AnyCapability], str | None],
    alternative: str = "",
) -> None:
    """Raise `CapabilityError` with every reason why the `needs` are unsupported, each once."""
    unsupported = [need for need in needs if reason_against(need) is not None]
    if not unsupported:
        return
    missing: dict[str | None, list[str]] = {}
    for need in sorted(unsupported, key=lambda need: need.name):
        missing.setdefault(reason_against(need), []).append(need.value)
    told = [f"`{where}` does not support {', or '.join(what)}: {reason}" for reason, what in missing.items()]
    raise CapabilityError(" ".join(told) + alternative)
