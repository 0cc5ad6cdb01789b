"""The rows of a comparison: what is penalised, how strongly, and the rivals that penalise nothing."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

import lrnde_core as lrnde
from lrnde_core import AbstractHeuristic, AbstractSampler, AbstractWeight, Constant, ExponentialDecay, UnknownNameError

DEFAULT_WEIGHT = 0.3
"""Weight of the default penalty, found by a sweep at tolerance 1e-5."""

WEIGHT_DECAY = 1.0
"""Weight decay of the rival row (AdamW, decoupled).

Cross-validated once over five folds on diffrax: 0.1 needs 1.00 of the evaluations at equal accuracy, 1 needs 0.96 at
-0.3 percentage points, 3 needs 0.76 at -1.1 points.
"""

LOOSER_TOLERANCE = 1e-3
"""Tolerance of the rival row that solves the unpenalised model less exactly."""

BASELINE = "none"

_NO_WEIGHT = Constant(0.0)

_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(lrnde.regularize).parameters.items()}


@final
@dataclasses.dataclass(frozen=True)
class Penalty:
    """The arguments of `lrnde.regularize`; its own defaults where not given."""

    heuristic: AbstractHeuristic = _DEFAULTS["heuristic"]
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
            "heuristic": None if penalty is None else repr(penalty.heuristic),
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


_MAKERS: Mapping[str, Callable[[int, float], Setting]] = {
    "none": lambda _steps, _weight: Setting(BASELINE),
    "default": lambda _steps, weight: Setting("default", Penalty(), Constant(weight)),
    "looser_tolerance": lambda _steps, _weight: Setting(
        "none, looser tolerance", predict_tolerance=LOOSER_TOLERANCE, trained_as=BASELINE
    ),
    "weight_decay": lambda _steps, _weight: Setting("weight decay", weight_decay=WEIGHT_DECAY),
    "lrnde_unbiased": lambda steps, _weight: _published(lrnde.presets.lrnde_unbiased, steps),
    "lrnde_biased": lambda steps, _weight: _published(lrnde.presets.lrnde_biased, steps),
}

SETTING_NAMES = tuple(_MAKERS)
DEFAULT_SETTINGS = ("none", "default", "looser_tolerance", "weight_decay")


def setting_by_name(name: str, *, steps: int, weight: float = DEFAULT_WEIGHT) -> Setting:
    """The setting that `--settings` knows by this name, for a training of `steps` iterations.

    `weight` is that of `default`. Raises `UnknownNameError`.
    """
    if name not in _MAKERS:
        known = ", ".join(f"`{known}`" for known in SETTING_NAMES)
        raise UnknownNameError(f"There is no setting `{name}`; known are {known}.")
    return _MAKERS[name](steps, weight)
