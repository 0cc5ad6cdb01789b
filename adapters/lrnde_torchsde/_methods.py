"""What torchsde's methods are: their orders, and what one step of them evaluates."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, final

from lrnde_core import Capability, MethodFacts

Calculus = Literal["ito", "stratonovich"]
Noise = Literal["additive", "diagonal", "scalar", "general"]


@final
class Calls(NamedTuple):
    """Evaluations of drift and diffusion: `joint`, of both in one call, `drift` and `diffusion` alone."""

    joint: int
    drift: int
    diffusion: int

    def total(self, *, is_drift_joint: bool) -> int:
        """Drift plus diffusion evaluations; `is_drift_joint` where the drift is only to be had with the diffusion."""
        return 2 * self.joint + (1 + is_drift_joint) * self.drift + self.diffusion


def default_method(calculus: Calculus, noise: Noise) -> str:
    """The method that torchsde takes where none is given."""
    if calculus == "stratonovich":
        return "midpoint"
    return "euler" if noise == "general" else "srk"


def strong_order(method: str, noise: Noise) -> float:
    """The strong order that torchsde states for the method; the error of a local step goes with half an order more.

    Where the authors of reversible Heun know none, for diagonal and scalar noise, torchsde states 1/2. The error of its
    steps goes with an order more there, as that of all methods whose noise commutes.
    """
    match method:
        case "srk":
            return 1.5
        case "milstein":
            return 1.0
        case "euler":
            return 1.0 if noise == "additive" else 0.5
        case _:
            return 0.5 if noise == "general" else 1.0


def calls_per_step(method: str, noise: Noise, *, is_gradient_free: bool) -> Calls | None:
    """What one step evaluates; `None` for a method that torchsde does not know.

    - `is_gradient_free`: the option `grad_free` of Milstein's method.
    """
    match method:
        case "euler" | "reversible_heun":
            return Calls(1, 0, 0)
        case "euler_heun":
            return Calls(1, 0, 1)
        case "heun" | "midpoint":
            return Calls(2, 0, 0)
        case "log_ode":
            # The Levy area term, with the derivative of the diffusion.
            return Calls(2, 0, 1 if noise == "general" else 0)
        case "milstein":
            return Calls(1, 0, 1) if is_gradient_free and noise != "additive" else Calls(0, 1, 1)
        case "srk":
            return Calls(0, 3, 3) if noise == "additive" else Calls(0, 10, 10)
        case _:
            return None


def method_facts(
    method: str,
    noise: Noise,
    *,
    is_gradient_free: bool,
    is_adaptive: bool,
    is_drift_joint: bool,
    unsupported: Mapping[Capability, str],
) -> MethodFacts:
    """The facts of a method. A local step is one whole step and two halves, whether the solve is adaptive or not."""
    calls = calls_per_step(method, noise, is_gradient_free=is_gradient_free)
    count = None if calls is None else calls.total(is_drift_joint=is_drift_joint)
    # Reversible Heun carries drift and diffusion into a step; a local step evaluates them anew.
    at_start = 2 if method == "reversible_heun" else 0
    order = strong_order(method, noise)
    return MethodFacts(
        name=method,
        order=max(1, int(order)),
        error_order=order + 0.5,
        stability_interval=None,
        evaluations_per_step=None if count is None else 3 * count + at_start,
        evaluations_per_advance=None if count is None else 2 * count + at_start,
        evaluations_per_point=1 + is_drift_joint,
        needs_tolerances=not is_adaptive,
        unsupported=tuple(unsupported.items()),
        is_stochastic=True,
    )
