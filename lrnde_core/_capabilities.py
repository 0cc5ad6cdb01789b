"""What an adapter can do, as data that the run time, the command line and the conformance suite all read."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import final

from lrnde_core._errors import InputTypeError


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
    VMAP = "vectorised solves with steps of their own"
    REVERSE_TIME = "solves backward in time"
    TREE_STATE = "states of several arrays"
    COLLECT = "collecting reports of solves deep inside a model"
    FREEZE = "frozen solves of ordinary equations"
    FREEZE_SDE = "frozen solves of stochastic equations"


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
"""What concerns stochastic equations alone; an adapter of an ODE solver declares all of it unsupported."""


@final
@dataclasses.dataclass(frozen=True)
class Capabilities:
    """A complete declaration: each capability is supported, or unsupported with a reason.

    - `unsupported`: pairs of a capability and why it is missing, and what would work instead.
    """

    supported: frozenset[Capability]
    unsupported: tuple[tuple[Capability, str], ...]

    @classmethod
    def declare(cls, unsupported: Mapping[Capability, str]) -> "Capabilities":
        """All capabilities but those in `unsupported`, each of which needs a reason."""
        for capability, reason in unsupported.items():
            if not isinstance(capability, Capability):
                raise InputTypeError(f"{capability!r} is not a `Capability`; known are {[c.name for c in Capability]}.")
            if not reason.strip():
                raise InputTypeError(
                    f"`Capability.{capability.name}` is declared unsupported without a reason; give one."
                )
        return cls(frozenset(Capability) - frozenset(unsupported), tuple(unsupported.items()))

    def reason_against(self, capability: Capability) -> str | None:
        """Why `capability` is unsupported, or `None` where it is supported."""
        return dict(self.unsupported).get(capability)
