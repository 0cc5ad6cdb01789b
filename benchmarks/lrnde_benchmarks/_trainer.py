"""What the comparison needs of a backend."""

import importlib
from collections.abc import Mapping
from typing import NamedTuple, Protocol, final

from lrnde_benchmarks._data import Digits, Split
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting

_TRAINERS: Mapping[str, str] = {
    "diffrax": "lrnde_benchmarks._jax:JaxTrainer",
    "torchdiffeq": "lrnde_benchmarks._torch:TorchTrainer",
}

TRAINABLE = tuple(_TRAINERS)
"""Adapters that a training loop was written for."""


@final
class Evaluation(NamedTuple):
    """How good and how costly predictions are.

    - `accuracy`: share of the held out images that are classified right.
    - `nfe`: evaluations of the prediction solve, mean over the batches of held out images.
    """

    accuracy: float
    nfe: float


class Trainer(Protocol):
    """One model in training. `tolerance` is that of the prediction solve; `None` stands for that of training."""

    def prepare(self) -> None:
        """Compile, and touch whatever is slow the first time. Trains nothing."""
        ...

    def train(self, num_steps: int) -> float:
        """Train for `num_steps` more iterations and return the seconds that took, by `_clock.now`."""
        ...

    def evaluate(self, tolerance: float | None = None) -> Evaluation:
        """Classify the held out images."""
        ...

    def predict_once(self, tolerance: float | None = None) -> float:
        """Classify one batch of held out images and return the seconds that took, compiled beforehand."""
        ...

    def step_times(self, tolerance: float | None = None) -> list[float]:
        """Times at which the steps of the prediction solve of the first batch end, within [0, 1]."""
        ...


def make_trainer(
    adapter: str, hyperparameters: Hyperparameters, setting: Setting, digits: Digits, split: Split, seed: int
) -> Trainer:
    """A trainer on the backend of an adapter, which it imports. `adapter` is one of `TRAINABLE`.

    `seed` decides initial weights, batches and the samples of the penalty; the first two are the same on every backend.
    """
    module, _, name = _TRAINERS[adapter].partition(":")
    return getattr(importlib.import_module(module), name)(hyperparameters, setting, digits, split, seed)
