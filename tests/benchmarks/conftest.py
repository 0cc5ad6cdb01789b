"""A trainer that computes nothing, and the cells it would give."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import lrnde
import lrnde_core
from lrnde_benchmarks._backends._trainer import Evaluation, Spent
from lrnde_benchmarks._cells._cell import Cell, Figures
from lrnde_benchmarks._cells._frozen_solve import FrozenSolve

PLAN = lrnde.Plan(lrnde_core.FixedSteps.equal("euler", 2), ((2,),), is_batched=True, interpolates=False)


@pytest.fixture(autouse=True)
def _precision_of_jax() -> Iterator[None]:
    """Turned off again after a training in float64, which turns it on."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", False)


@dataclasses.dataclass
class StubTrainer:
    """Says what it is asked to do in `log`. Compiling takes 3 s, an iteration 1 s; a solve costs 40.

    At a loose tolerance it costs 20, by fixed steps 2. The latter are off by 0.5, 1.5, ..., 4.5%, in turn from
    sample to sample.
    """

    name: str
    log: list[tuple[str, Any]]
    steps_done: int = 0
    refusal: str | None = None
    freeze_refusal: str | None = None
    trained_on: lrnde.CheckedPlan | None = None

    def prepare(self) -> float:
        if self.refusal is not None:
            raise lrnde.CapabilityError(self.refusal)
        self.log.append((self.name, "prepare"))
        return 3.0

    def train(self, num_steps: int) -> Spent:
        self.log.append((self.name, num_steps))
        self.steps_done += num_steps
        return Spent(float(num_steps))

    def weights(self) -> dict[str, Any]:
        return {"w": np.asarray(self.steps_done)}

    def load(self, weights: Mapping[str, Any]) -> None:
        self.steps_done = int(weights["w"])

    state, restore = weights, load

    def evaluate(self, tolerance: float | None = None) -> Evaluation:
        if tolerance is PLAN:
            return Evaluation(0.8, 2.0, 2.0)
        return Evaluation(0.9, 40.0, 4.0) if tolerance is None else Evaluation(0.9, 20.0, 2.0)

    def freeze(self, error: float) -> lrnde.FreezeReport:
        if self.freeze_refusal is not None:
            raise lrnde.InputError(self.freeze_refusal)
        return lrnde.FreezeReport(PLAN, (), 2, 40.0, 0.03, (0.01, 0.03), 1 / 3, 0.001, 0.004)

    def checked(self) -> lrnde.CheckedPlan | None:
        return self.trained_on

    def plan(self, steps: lrnde.FixedSteps) -> lrnde.Plan:
        assert self.trained_on is not None
        assert steps == self.trained_on.steps
        return PLAN

    def states(self, prediction: Any = None) -> list[Any]:
        native = np.ones((1, 360, 2), np.float32)
        return [native if prediction is None else native * (1.005 + 0.01 * (np.arange(360) % 5))[None, :, None]]

    def predict_once(self, tolerance: float | None = None) -> float:
        self.log.append((self.name, ("predict", tolerance)))
        return 0.001 if tolerance is PLAN else 0.004 if tolerance is None else 0.002

    def predict_reference(self) -> float:
        self.log.append((self.name, "reference"))
        return 0.001

    def step_times(self, tolerance: float | None = None) -> list[float]:
        return [0.25, 0.5, 0.75, 1.0] if tolerance is None else [0.5, 1.0]


FROZEN = FrozenSolve("euler", 2, 0.01, 0.008, 70, 1 / 71, (0.002, 0.004, 0.006, 0.012), 0.02, 0.01, 1.5)


def _make_cell(adapter: str, seed: int, nfe: dict[str, float], skipped: dict[str, str] | None = None) -> Cell:
    """A cell in which a setting's cost is in proportion to its evaluations, and its score one point up per seed.

    What is called frozen is `FROZEN`.
    """
    measurements = {
        name: Figures(
            nfe=value,
            num_accepted=value / 10,
            score=0.9 + 0.01 * seed,
            train_seconds=value,
            compile_seconds=1.0,
            wall_seconds=value + 1.0,
            train_reference_ms=20.0,
            predict_ms=2 * value,
            reference_ms=10.0,
            curve_steps=() if name.endswith("frozen") else (0, 10),
            curve_nfe=() if name.endswith("frozen") else (13.0, value),
            step_times=(0.5, 1.0),
            untrained_step_times=(1.0,),
            frozen=FROZEN if name.endswith("frozen") else None,
        )
        for name, value in nfe.items()
    }
    return Cell(adapter, seed, measurements, skipped or {})


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """See `_make_cell`."""
    return _make_cell


@pytest.fixture
def stub_trainer() -> Callable[..., StubTrainer]:
    """See `StubTrainer`."""
    return StubTrainer
