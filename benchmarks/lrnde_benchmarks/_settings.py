"""The rows of a comparison: what is penalised and how strongly, and the rows that penalise nothing."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, Literal, final

import numpy as np

import lrnde
from lrnde_benchmarks._arrays import Floats
from lrnde_core import AbstractHeuristic, AbstractSampler, AbstractWeight, Constant, InputError

BASELINE = "none"

_NO_WEIGHT = Constant(0.0)

_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(lrnde.regularize).parameters.items()}


@final
@dataclasses.dataclass(frozen=True)
class Penalty:
    """The arguments of `lrnde.regularize`; its own defaults where not given."""

    heuristic: AbstractHeuristic | None = _DEFAULTS["heuristic"]
    sampler: AbstractSampler = _DEFAULTS["sampler"]
    gradient: Literal["local", "full"] | None = _DEFAULTS["gradient"]
    num_samples: int = 1

    def wrap(self, solve: Callable[..., Any], steps: lrnde.CheckedSteps | None = None) -> lrnde.RegularizedSolve:
        return lrnde.regularize(
            solve,
            heuristic=self.heuristic,
            sampler=self.sampler,
            gradient=self.gradient,
            num_samples=self.num_samples,
            steps=steps,
        )


@final
@dataclasses.dataclass(frozen=True)
class ExpansionSettings:
    """How a row solves by Taylor expansion (TL-NODE), in training and at prediction.

    - `order`: of the expansion. `num_steps`: equal steps between two output times.
    - `hidden`: units of the network that corrects the midpoints. It takes one step of Adam with `learning_rate` after
      every `period` iterations, towards the adaptive solution of their batch.
    """

    order: int = 1
    num_steps: int = 2
    hidden: int = 32
    period: int = 20
    learning_rate: float = 1e-3

    @property
    def evaluations_per_step(self) -> int:
        """Derivatives that a step evaluates, each about as dear as one evaluation of the field."""
        return 2 * self.order + 1


@final
@dataclasses.dataclass(frozen=True)
class Setting:
    """One row.

    - `penalty`: `None` trains with the bare solver call; nothing of lrnde is involved then.
    - `weight`: of the penalty, over training. `weight_decay`: of AdamW, decoupled, on all weights.
    - `end_spread`: half the width b of the interval around the end time from which each training solve draws its own
      (STEER); 0 where all of them end alike. Prediction ends where the task says.
    - `expansion`: solves by Taylor expansion; `None` solves adaptively.
    - `steps`: trains on fixed steps that the adaptive solver checks; predicts adaptively.
    - `tolerance`: rtol and atol in training, and at prediction too; `None` for those that all rows share.
    - `predict_tolerance`: rtol and atol at prediction, where they differ from those in training.
    - `frozen_error`: predicts by fixed steps, within this relative error of the adaptive solution (`lrnde.freeze`).
    - `on_plan`: predicts by the steps that the training ended with.
    - `trained_as`: name of the setting whose trained model this row uses; `None` trains a model for this row.
    """

    name: str
    penalty: Penalty | None = None
    weight: AbstractWeight = _NO_WEIGHT
    weight_decay: float = 0.0
    end_spread: float = 0.0
    expansion: ExpansionSettings | None = None
    steps: lrnde.CheckedSteps | None = None
    tolerance: float | None = None
    predict_tolerance: float | None = None
    frozen_error: float | None = None
    on_plan: bool = False
    trained_as: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.end_spread < 1:
            raise InputError(f"`end_spread={self.end_spread}`: must be at least 0 and below 1, the length of a solve.")

    @property
    def model(self) -> str:
        """Name of the setting that trains the model of this row."""
        return self.trained_as or self.name

    def end_times(self, seed: int, steps: int) -> Floats | None:
        r"""The end of each training solve, shape `(steps,)`, independently from $U(1 - b, 1 + b)$; `None` if all are 1.

        Decided by the seed, alike on every backend; more `steps` begin with the same draws.

        Source: Ghosh, Behl, Dupont, Torr and Namboodiri, "STEER: Simple Temporal Regularization For Neural ODEs",
        NeurIPS 2020.
        """
        if self.end_spread == 0:
            return None
        generator = np.random.default_rng([seed, 5])
        return generator.uniform(1 - self.end_spread, 1 + self.end_spread, steps)

    def describe(self) -> dict[str, Any]:
        """What was run, for the report."""
        penalty = self.penalty
        return {
            "name": self.name,
            "heuristic": None if penalty is None else repr(penalty.heuristic or "default"),
            "sampler": None if penalty is None else repr(penalty.sampler),
            "gradient": None if penalty is None else penalty.gradient or "default",
            "num_samples": None if penalty is None else penalty.num_samples,
            "weight": None if penalty is None else repr(self.weight),
            "weight_decay": self.weight_decay,
            "end_spread": self.end_spread,
            "expansion": None if self.expansion is None else dataclasses.asdict(self.expansion),
            "steps": None if self.steps is None else repr(self.steps),
            "tolerance": self.tolerance,
            "predict_tolerance": self.predict_tolerance,
            "frozen_error": self.frozen_error,
            "on_plan": self.on_plan,
            "trained_as": self.trained_as,
        }
