"""The rows of a comparison: what is penalised, how strongly, and the rivals that penalise nothing."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

import lrnde_core as lrnde
from lrnde_core import AbstractHeuristic, AbstractSampler, AbstractWeight, Constant, ExponentialDecay, UnknownNameError

BASELINE = "none"

_NO_WEIGHT = Constant(0.0)

_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(lrnde.regularize).parameters.items()}


@final
@dataclasses.dataclass(frozen=True)
class Penalty:
    """The arguments of `lrnde.regularize`; its own defaults where not given."""

    heuristic: AbstractHeuristic | None = _DEFAULTS["heuristic"]
    sampler: AbstractSampler = _DEFAULTS["sampler"]
    gradient: Literal["local", "full"] = "local"
    num_samples: int = 1

    def wrap(self, solve: Callable[..., Any]) -> lrnde.RegularizedSolve:
        return lrnde.regularize(
            solve,
            heuristic=self.heuristic,
            sampler=self.sampler,
            gradient=self.gradient,
            num_samples=self.num_samples,
        )


@final
@dataclasses.dataclass(frozen=True)
class Rivals:
    """What suits a task.

    - `weight`: of the penalty in the row `default`. `curvature_weight`: of `TaylorDerivative(2, at="step")` in
      the row `taylor_derivative`.
    - `weight_decay`: of the row that regularizes otherwise (AdamW, decoupled).
    - `looser_tolerance`: of the row that solves the unpenalised model less exactly.
    """

    weight: float
    curvature_weight: float
    weight_decay: float
    looser_tolerance: float


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """One row.

    - `penalty`: `None` trains with the bare solver call; nothing of lrnde is involved then.
    - `weight`: of the penalty, over training. `weight_decay`: of AdamW, decoupled, on all weights.
    - `predict_tolerance`: rtol and atol at prediction, where they differ from those in training.
    - `trained_as`: name of the setting whose trained model this row uses; `None` trains one of its own.
    """

    name: str
    penalty: Penalty | None = None
    weight: AbstractWeight = _NO_WEIGHT
    weight_decay: float = 0.0
    predict_tolerance: float | None = None
    trained_as: str | None = None

    @property
    def model(self) -> str:
        """Name of the setting that trains the model of this row."""
        return self.trained_as or self.name

    def describe(self) -> dict[str, Any]:
        """What was run, for the report."""
        penalty = self.penalty
        return {
            "name": self.name,
            "heuristic": None if penalty is None else repr(penalty.heuristic or "default"),
            "sampler": None if penalty is None else repr(penalty.sampler),
            "gradient": None if penalty is None else penalty.gradient,
            "num_samples": None if penalty is None else penalty.num_samples,
            "weight": None if penalty is None else repr(self.weight),
            "weight_decay": self.weight_decay,
            "predict_tolerance": self.predict_tolerance,
            "trained_as": self.trained_as,
        }


def _published(preset: Callable[[], Mapping[str, Any]], steps: int) -> Setting:
    # Published for MNIST: from 2.5 down to 1.0 over the whole of training.
    return Setting(preset.__name__, Penalty(**preset()), ExponentialDecay(2.5, 1.0, steps))


_MAKERS: Mapping[str, Callable[[int, Rivals], Setting]] = {
    "none": lambda _steps, _rivals: Setting(BASELINE),
    "default": lambda _steps, rivals: Setting("default", Penalty(), Constant(rivals.weight)),
    "taylor_derivative": lambda _steps, rivals: Setting(
        "taylor derivative", Penalty(lrnde.TaylorDerivative(2, at="step")), Constant(rivals.curvature_weight)
    ),
    "looser_tolerance": lambda _steps, rivals: Setting(
        "none, looser tolerance", predict_tolerance=rivals.looser_tolerance, trained_as=BASELINE
    ),
    "weight_decay": lambda _steps, rivals: Setting("weight decay", weight_decay=rivals.weight_decay),
    "lrnde_unbiased": lambda steps, _rivals: _published(lrnde.presets.lrnde_unbiased, steps),
    "lrnde_biased": lambda steps, _rivals: _published(lrnde.presets.lrnde_biased, steps),
}

SETTING_NAMES = tuple(_MAKERS)


def setting_by_name(name: str, *, steps: int, rivals: Rivals) -> Setting:
    """The setting that `--settings` knows by this name, for a training of `steps` iterations.

    Raises `UnknownNameError`.
    """
    if name not in _MAKERS:
        known = ", ".join(f"`{known}`" for known in SETTING_NAMES)
        raise UnknownNameError(f"There is no setting `{name}`; known are {known}.")
    return _MAKERS[name](steps, rivals)
