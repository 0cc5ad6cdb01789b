"""Published settings by name: `regularize(solve, **lrnde.presets.lrnde_unbiased())`.

They reproduce what their authors' code does, for comparison. The defaults of `regularize` are what measured best here
(docs/design.md). The global ones, `ernode` and `srnode`, and the running costs, `rnode` and `taynode`, differentiate
through the whole solve and need what `AllSteps` and `Integral` need; under any other adjoint sample their heuristics:
`{**lrnde.presets.taynode(), "sampler": lrnde.UniformTime()}`.
"""

from typing import Any, NoReturn

from lrnde_core._errors import UnknownPresetError
from lrnde_core._every_step import AllSteps, Integral
from lrnde_core._heuristics import ErrorEstimate, StiffnessEstimate
from lrnde_core._point_heuristics import JacobianNorm, KineticEnergy, TaylorDerivative
from lrnde_core._samplers import UniformStep, UniformTime

_HEURISTICS = {"error": ErrorEstimate(), "stiffness": StiffnessEstimate(weighting="paper")}


def lrnde_unbiased(*, stiffness: bool = False) -> dict[str, Any]:
    """LRNDE with the regularisation time drawn uniformly over the interval; `stiffness=True` for its second variant.

    The local problem starts at the drawn time with an automatic step, weight 1 and a constant first stage.

    Source: Pal, Edelman and Rackauckas, "Locally Regularized Neural Differential Equations", ICML 2023, section 3.2
    and its code; published weight on MNIST: 2.5 decaying exponentially to 1.0 (stiffness: 0.1 throughout).
    """
    return {"heuristic": _heuristic(stiffness), "sampler": UniformTime(weighting="paper", local_start="sample")}


def lrnde_biased(*, stiffness: bool = False) -> dict[str, Any]:
    """LRNDE with the regularisation time drawn among the times of the solver's own steps.

    Source: as for `lrnde_unbiased`.
    """
    return {"heuristic": _heuristic(stiffness), "sampler": UniformStep(weighting="paper", local_start="sample")}


def ernode() -> dict[str, Any]:
    """ERNODE: the error estimate, averaged over all steps.

    The mean is that of its code; the paper writes the sum, and so has the code of its spiral SDE: `AllSteps("sum")`.

    Source: Pal, Ma, Shah and Rackauckas, "Opening the Blackbox: Accelerating Neural Differential Equations by
    Regularizing Internal Solver Heuristics", ICML 2021; published weight on MNIST: 100 decaying exponentially to 10.
    """
    return {"heuristic": _HEURISTICS["error"], "sampler": AllSteps("mean")}


def srnode() -> dict[str, Any]:
    """SRNODE: the largest stiffness estimate of all steps, as in its code for MNIST and latent equations.

    Source: as for `ernode`; published weight on MNIST: 0.1.
    """
    return {"heuristic": _HEURISTICS["stiffness"], "sampler": AllSteps("max")}


def rnode(*, kinetic_energy: float = 1.0, jacobian_norm: float = 1.0) -> dict[str, Any]:
    """RNODE: kinetic energy and Jacobian norm along the solution, in the conventions of its code.

    - `kinetic_energy`, `jacobian_norm`: the weights of the two, whose published values are not known here.

    The probe is Gaussian and stays the same during a solve.

    Source: Finlay, Jacobsen, Nurbekyan and Oberman, "How to Train Your Neural ODE: the World of Jacobian and Kinetic
    Regularization", ICML 2020.
    """
    return {"heuristic": kinetic_energy * KineticEnergy() + jacobian_norm * JacobianNorm(), "sampler": Integral()}


def taynode(order: int = 3) -> dict[str, Any]:
    """TayNODE: the mean square of a derivative of the solution, along the solution.

    - `order`: of the derivative: published are 3 for MNIST and the latent equation, 2 for densities.

    Its code for latent equations lets the cost take part in step size control; here it never does.

    Source: Kelly, Bettencourt, Johnson and Duvenaud, "Learning Differential Equations that are Easy to Solve",
    NeurIPS 2020; published weight on MNIST: 6e-5.
    """
    return {"heuristic": TaylorDerivative(order), "sampler": Integral()}


def _heuristic(stiffness: bool) -> Any:
    return _HEURISTICS["stiffness" if stiffness else "error"]


_NAMES = [make.__name__ for make in (ernode, lrnde_biased, lrnde_unbiased, rnode, srnode, taynode)]


def __getattr__(name: str) -> NoReturn:
    msg = f"There is no preset `{name}`; known are {', '.join(f'`{known}`' for known in _NAMES)}."
    raise UnknownPresetError(msg)
