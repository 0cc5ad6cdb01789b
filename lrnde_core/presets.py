"""Published settings by name: `regularize(solve, **lrnde.presets.lrnde_unbiased())`.

They reproduce their authors' code, for comparison. The defaults of `regularize` are what measured best here
(docs/design.md). The global ones, `ernode` and `srnode`, and the running costs, `rnode` and `taynode`, differentiate
through the whole solve and need what `AllSteps` and `Integral` need. With any other adjoint, sample their heuristics:
`{**lrnde.presets.taynode(), "sampler": lrnde.UniformTime()}`.

A weight suits a loss and a model: `presets.ernode.weight("mnist", steps=8850)` is the published one, over training.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NoReturn, ParamSpec, TypeAlias, final

from lrnde_core._errors import InputError, UnknownNameError, UnknownPresetError
from lrnde_core._heuristics import AbstractHeuristic, ErrorEstimate, StiffnessEstimate
from lrnde_core._point_heuristics import JacobianNorm, KineticEnergy, TaylorDerivative
from lrnde_core._samplers import AllSteps, Integral, UniformStep, UniformTime
from lrnde_core._weights import AbstractWeight, Constant, ExponentialDecay

Settings: TypeAlias = dict[str, Any]
"""Keyword arguments of `regularize`; a plain dictionary, so that others can be put beside or in place of them."""
_Options = ParamSpec("_Options")
# Constant, or the first and last value of a decay.
_Weight: TypeAlias = float | tuple[float, float]
# For each heuristic, since a weight suits no other one, by task.
_Weights: TypeAlias = Mapping[AbstractHeuristic, Mapping[str, _Weight]]

_ERROR, _STIFFNESS = ErrorEstimate(), StiffnessEstimate(weighting="paper")
_LRNDE_WEIGHTS: _Weights = {
    _ERROR: {"mnist": (2.5, 1.0), "physionet": (100.0, 10.0), "mnist-sde": 1000.0, "cifar10": 2.5},
    _STIFFNESS: {"mnist": 0.1},
}


@final
class Preset(Generic[_Options]):
    """A published setting. Called, it gives the keyword arguments of `regularize`."""

    def __init__(self, settings: Callable[_Options, Settings], weights: _Weights) -> None:
        functools.update_wrapper(self, settings)
        self._settings = settings
        self._weights = weights

    def __call__(self, *args: _Options.args, **kwargs: _Options.kwargs) -> Settings:
        return self._settings(*args, **kwargs)

    def weight(
        self, task: str, steps: int | None = None, *args: _Options.args, **kwargs: _Options.kwargs
    ) -> AbstractWeight:
        """The weight in its authors' code for a task.

        - `task`: as `lrnde benchmark` calls it, such as `"mnist"`.
        - `steps`: iterations of the whole training, over which a decaying weight decays exponentially.
        - `args`, `kwargs`: those of the preset itself, as in `lrnde_unbiased.weight("mnist", stiffness=True)`.

        Raises `UnknownNameError` if none is known, and `InputError` if it decays and `steps` is missing.
        """
        name = getattr(self, "__name__", "preset")
        weights = self._weights.get(self(*args, **kwargs)["heuristic"], {})
        if task not in weights:
            known = f"known are those for {_listed(weights)}" if weights else "none is known here"
            raise UnknownNameError(f"No published weight of `{name}` for `{task}`: {known}. Choose one by a sweep.")
        published = weights[task]
        if not isinstance(published, tuple):
            return Constant(published)
        if steps is None:
            first, last = published
            raise InputError(
                f"The weight of `{name}` for `{task}` decays from {first:g} to {last:g} over the whole of training: "
                f"`{name}.weight({task!r}, steps=...)` needs its number of iterations."
            )
        return ExponentialDecay(*published, steps)


def _published(weights: _Weights) -> Callable[[Callable[_Options, Settings]], Preset[_Options]]:
    """Make a preset of a function and its weights."""
    return lambda settings: Preset(settings, weights)


@_published(_LRNDE_WEIGHTS)
def lrnde_unbiased(*, stiffness: bool = False) -> Settings:
    """LRNDE with the regularisation time drawn uniformly over the interval; `stiffness=True` for its second variant.

    The local problem starts at the drawn time with an automatic step, weight 1 and a constant first stage.

    Source: Pal, Edelman and Rackauckas, "Locally Regularized Neural Differential Equations", ICML 2023, section 3.2
    and its code.
    """
    heuristic = _STIFFNESS if stiffness else _ERROR
    return {"heuristic": heuristic, "sampler": UniformTime(weighting="paper", local_start="sample")}


@_published(_LRNDE_WEIGHTS)
def lrnde_biased(*, stiffness: bool = False) -> Settings:
    """LRNDE with the regularisation time drawn among the times of the solver's own steps.

    Source: as for `lrnde_unbiased`.
    """
    heuristic = _STIFFNESS if stiffness else _ERROR
    return {"heuristic": heuristic, "sampler": UniformStep(weighting="paper", local_start="sample")}


@_published(
    {
        _ERROR: {
            "mnist": (100.0, 10.0),
            "physionet": (1000.0, 100.0),
            "mnist-sde": 10.0,
            "spiral-sde": 0.2,
            "density-gaussians": (2000.0, 1000.0),
        }
    }
)
def ernode() -> Settings:
    """ERNODE: the error estimate, averaged over all steps.

    The mean is that of its code; the paper and the code of its spiral SDE have the sum: `AllSteps("sum")`.

    Source: Pal, Ma, Shah and Rackauckas, "Opening the Blackbox: Accelerating Neural Differential Equations by
    Regularizing Internal Solver Heuristics", ICML 2021. The weight for `spiral-sde` is that of the sum.
    """
    return {"heuristic": _ERROR, "sampler": AllSteps("mean")}


@_published({_STIFFNESS: {"mnist": 0.1, "physionet": 10.0, "mnist-sde": 0.1}})
def srnode() -> Settings:
    """SRNODE: the largest stiffness estimate of all steps, as in its code for MNIST and latent equations.

    Source: as for `ernode`.
    """
    return {"heuristic": _STIFFNESS, "sampler": AllSteps("max")}


@_published({})
def rnode(*, kinetic_energy: float = 1.0, jacobian_norm: float = 1.0) -> Settings:
    """RNODE: kinetic energy and Jacobian norm along the solution, in the conventions of its code.

    - `kinetic_energy`, `jacobian_norm`: the weights of the two, whose published values we do not know.

    The probe is Gaussian and stays the same during a solve.

    Source: Finlay, Jacobsen, Nurbekyan and Oberman, "How to Train Your Neural ODE: the World of Jacobian and Kinetic
    Regularization", ICML 2020.
    """
    return {"heuristic": kinetic_energy * KineticEnergy() + jacobian_norm * JacobianNorm(), "sampler": Integral()}


@_published({TaylorDerivative(3): {"mnist": 6e-5, "physionet": 1e-2}})
def taynode(order: int = 3) -> Settings:
    """TayNODE: the mean square of a derivative of the solution, along the solution.

    - `order`: of the derivative; the published ones are 3 for MNIST and the latent equation, 2 for densities.

    In its code for latent equations the cost affects step size control; here it never does.

    Source: Kelly, Bettencourt, Johnson and Duvenaud, "Learning Differential Equations that are Easy to Solve",
    NeurIPS 2020. The weights are those of order 3.
    """
    return {"heuristic": TaylorDerivative(order), "sampler": Integral()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def __getattr__(name: str) -> NoReturn:
    known = sorted(each for each, value in globals().items() if isinstance(value, Preset))
    msg = f"There is no preset `{name}`; known are {_listed(known)}."
    raise UnknownPresetError(msg)
