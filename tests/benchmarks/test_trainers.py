"""Tests of the training loops that hold on every backend, and of what the backends share."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import pytest

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Trainer
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._by_name import TASKS
from lrnde_benchmarks._tasks._data import Fold
from lrnde_benchmarks._tasks._task import AbstractProblem, Data, Operations

# The same in all tests, so that what is compiled for one serves the others.
SMALL: Mapping[str, Hyperparameters] = {
    "digits": Hyperparameters(steps=8, chunk=4, learning_rate=1e-2, tolerance=1e-6),
    "digits-sde": dataclasses.replace(TASKS["digits-sde"].fast, steps=8, chunk=4, tolerance=1e-2, paths=2),
    "spiral-sde": dataclasses.replace(TASKS["spiral-sde"].fast, steps=8, chunk=4),
    "density-tabular": dataclasses.replace(TASKS["density-tabular"].fast, steps=8, chunk=4, hidden=16, tolerance=1e-6),
    "dynamics": dataclasses.replace(TASKS["dynamics"].fast, steps=8, chunk=4, hidden=16, learning_rate=2e-2),
    "latent-ode": dataclasses.replace(TASKS["latent-ode"].fast, steps=8, chunk=4, hidden=16),
}
# What 8 iterations improve the score by, at least.
GAINS: Mapping[str, float] = {
    "digits": 0.2,
    "digits-sde": 0.2,
    "spiral-sde": 0.5,
    "density-tabular": 0.1,
    "dynamics": 0.05,
    "latent-ode": 0.01,
}
TURNING = Hyperparameters(steps=20, batch=3, learning_rate=2e-2, final_learning_rate=1e-3, tolerance=1e-5)
NONE = Setting("none")
PENALISED = Setting("penalised", Penalty(lrnde.PredictedSteps()), lrnde.Constant(1e-4))
# Stochastic tasks take diffrax long to compile: `KnownMoments` is what it trains.
PAIRS = [
    ("digits", "torchdiffeq"),
    ("digits", "diffrax"),
    ("digits-sde", "torchsde"),
    ("spiral-sde", "torchsde"),
    ("density-tabular", "torchdiffeq"),
    ("dynamics", "torchdiffeq"),
    ("latent-ode", "torchdiffeq"),
]


def make(task: str, adapter: str, setting: Setting) -> Trainer:
    return make_on(TASKS[task].problem, adapter, setting, SMALL[task])


def make_on(problem: AbstractProblem, adapter: str, setting: Setting, hyperparameters: Hyperparameters) -> Trainer:
    usable = {info.name for info in lrnde.list_adapters() if info.failure is None}
    if adapter not in usable:
        pytest.skip(f"{adapter} is not installed")
    data = problem.load(hyperparameters, seed=0)
    return make_trainer(adapter, problem, hyperparameters, setting, data, seed=0)


def test_all_seeds_in_one_program_are_trained_as_each_of_them_is() -> None:
    pytest.importorskip("diffrax")
    from lrnde_benchmarks._backends._jax_seeds import JaxSeedsTrainer

    problem, hyperparameters = TASKS["digits"].problem, SMALL["digits"]
    together = JaxSeedsTrainer(problem, hyperparameters, PENALISED, seeds=(0, 1))
    together.train(2)
    together.train(3)
    first, second = together.evaluate()
    alone = make_trainer("diffrax", problem, hyperparameters, PENALISED, problem.load(hyperparameters, 1), 1)
    alone.train(5)
    for name, weights in together.weights(1).items():
        np.testing.assert_allclose(weights, alone.weights()[name], rtol=0, atol=2e-5)
    assert second == alone.evaluate()
    assert first.score != second.score


def test_seeds_that_differ_in_more_than_batches_are_not_trained_at_once() -> None:
    pytest.importorskip("diffrax")
    from lrnde_benchmarks._backends._jax_seeds import JaxSeedsTrainer

    for setting in (Setting("steer", end_spread=0.5), Setting("planned", steps=lrnde.CheckedSteps())):
        with pytest.raises(lrnde.InputError, match="train them one by one with `make_trainer`"):
            JaxSeedsTrainer(TASKS["digits"].problem, SMALL["digits"], setting, seeds=(0, 1))


@pytest.mark.parametrize(("task", "adapter"), PAIRS)
def test_training_improves_the_score_and_is_repeatable(task: str, adapter: str) -> None:
    results: list[Any] = []
    for _ in range(2):
        trainer = make(task, adapter, PENALISED)
        trainer.prepare()
        before = trainer.evaluate().score
        assert trainer.train(4).iterations > 0
        trainer.train(4)
        results.append(trainer.evaluate())
        gain = results[-1].score - before
        assert (gain if TASKS[task].metric.is_higher_better else -gain) > GAINS[task]
    assert results[0] == results[1]


@pytest.mark.parametrize(("task", "adapter"), PAIRS)
def test_a_weight_of_zero_trains_the_model_that_no_penalty_trains(task: str, adapter: str) -> None:
    unweighted = dataclasses.replace(PENALISED, weight=lrnde.Constant(0.0))
    trainers = [make(task, adapter, setting) for setting in (NONE, unweighted)]
    for trainer in trainers:
        trainer.train(8)
    bare, penalised = (trainer.evaluate() for trainer in trainers)
    assert penalised.nfe == bare.nfe
    # XLA fuses the two training loops differently.
    assert penalised.score == pytest.approx(bare.score, rel=1e-6)


def test_backends_start_from_the_same_digits_model_and_learn_from_the_same_batches() -> None:
    trainers = [make("digits", adapter, NONE) for adapter in TASKS["digits"].solvers]
    accuracies = [trainer.evaluate().score for trainer in trainers]
    assert accuracies[0] == accuracies[1]
    for trainer in trainers:
        trainer.train(8)
    accuracies = [trainer.evaluate().score for trainer in trainers]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1 / 360)


def test_weight_decay_shrinks_alike_on_both_backends() -> None:
    trainers = [make("digits", adapter, Setting("decay", weight_decay=100.0)) for adapter in TASKS["digits"].solvers]
    for trainer in trainers:
        trainer.train(8)
    accuracies = [trainer.evaluate().score for trainer in trainers]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=2 / 360)


@pytest.mark.parametrize("task", ["density-tabular", "dynamics", "latent-ode"])
def test_backends_solve_the_same_untrained_model(task: str) -> None:
    scores = [make(task, adapter, NONE).evaluate().score for adapter in TASKS[task].solvers]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


@pytest.mark.parametrize(("task", "adapter"), PAIRS[:2])
def test_the_reference_stays_the_untrained_model(task: str, adapter: str) -> None:
    trainer, fresh = make(task, adapter, NONE), make(task, adapter, NONE)
    before = fresh.evaluate()
    trainer.train(8)
    assert trainer.predict_reference() > 0
    assert trainer.evaluate() != before
    assert fresh.evaluate() == before


class AbstractSmallProblem(AbstractProblem):
    """Solved from its inputs over the time from 0 to 1; its output is the last state."""

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        return inputs

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        raise NotImplementedError

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        return ys[-1]

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        raise NotImplementedError

    def score(self, outputs: Sequence[Any], data: Data, hyperparameters: Hyperparameters) -> float:
        return 0.0


@final
@dataclasses.dataclass(frozen=True)
class Oscillator(AbstractSmallProblem):
    """Three revolutions of the point (1, 0), with noise or without: the steps it takes are not a matter of training."""

    is_noisy: bool

    @property
    def is_stochastic(self) -> bool:
        return self.is_noisy

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        batches = np.zeros((1, 1), np.intp)
        calibration = np.zeros((2, 10), np.intp)
        return Data(np.array([[1.0, 0.0]]), np.zeros(1), batches, batches, 1, calibration)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Any]:
        return {"turn": 6 * np.pi * np.array([[0.0, 1.0], [-1.0, 0.0]])}

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return y @ weights["turn"]

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return 0.1 * y


@pytest.mark.parametrize(
    ("adapter", "is_noisy"), [("torchdiffeq", False), ("diffrax", False), ("torchsde", True)], ids=str
)
def test_a_looser_tolerance_takes_fewer_evaluations(adapter: str, is_noisy: bool) -> None:
    # The error of a step goes with its fifth power, with noise with its third at most: 4 and 2.2 times the steps.
    tight, loose = (1e-2, 1e-1) if is_noisy else (1e-5, 1e-2)
    hyperparameters = Hyperparameters(batch=1, tolerance=tight)
    trainer = make_on(Oscillator(is_noisy), adapter, NONE, hyperparameters)
    usual, cheap = trainer.evaluate(), trainer.evaluate(loose)
    assert 1.5 * cheap.nfe < usual.nfe
    assert 1.5 * cheap.num_accepted < usual.num_accepted
    assert len(trainer.step_times()) == usual.num_accepted
    assert len(trainer.step_times(loose)) == cheap.num_accepted
    assert trainer.step_times()[-1] == pytest.approx(1.0)
    assert trainer.predict_once(loose) > 0


@pytest.mark.parametrize("adapter", list(TASKS["digits"].solvers))
def test_a_training_at_a_tolerance_of_its_own_is_one_at_that_tolerance(adapter: str) -> None:
    loose = dataclasses.replace(SMALL["digits"], tolerance=1e-2)
    trainers = [
        make("digits", adapter, Setting("looser", tolerance=1e-2)),
        make_on(TASKS["digits"].problem, adapter, NONE, loose),
        make("digits", adapter, NONE),
    ]
    for trainer in trainers:
        trainer.train(8)
    looser, same, usual = trainers
    for name, weights in same.weights().items():
        np.testing.assert_array_equal(looser.weights()[name], weights)
        assert (weights != usual.weights()[name]).any()
    assert looser.evaluate() == same.evaluate()
    assert looser.evaluate().nfe < usual.evaluate().nfe == looser.evaluate(SMALL["digits"].tolerance).nfe


def test_the_reference_is_solved_at_the_tolerance_that_all_rows_share(monkeypatch: pytest.MonkeyPatch) -> None:
    torch_trainer = make("digits", "torchdiffeq", Setting("looser", tolerance=1e-2))
    from lrnde_benchmarks._backends._torch import TorchTrainer

    tolerances: list[float] = []
    solve = TorchTrainer._solve

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        tolerances.append(args[5])
        return solve(self, *args, **kwargs)

    monkeypatch.setattr(TorchTrainer, "_solve", noting)
    torch_trainer.predict_reference()
    assert tolerances == [SMALL["digits"].tolerance]


@pytest.mark.parametrize("adapter", list(TASKS["digits"].solvers))
def test_a_frozen_solve_ends_where_its_steps_do_and_its_error_is_that_of_the_exact_solution(adapter: str) -> None:
    hyperparameters = Hyperparameters(batch=1, tolerance=1e-6)
    trainer = make_on(Oscillator(is_noisy=False), adapter, NONE, hyperparameters)
    report = trainer.freeze(0.3)
    plan = report.plan
    # The point has turned three times.
    (ys,) = trainer.states(plan)
    assert ys.shape == (1, 1, 2)
    assert np.linalg.norm(ys[0, 0] - [1.0, 0.0]) == pytest.approx(report.error, abs=1e-4)
    assert report.error < 0.3
    evaluation = trainer.evaluate(plan)
    assert (evaluation.nfe, evaluation.num_accepted) == (plan.num_evaluations, plan.steps.num_steps)
    assert evaluation.nfe < trainer.evaluate().nfe
    assert trainer.step_times(plan) == list(plan.steps.ends)
    assert trainer.predict_once(plan) > 0


@final
@dataclasses.dataclass(frozen=True)
class Turns(AbstractSmallProblem):
    """The point (1, 0), turning at the speed of each example, solved apart; the output is where it is in the end.

    The speeds are multiplied by w, which is to become 1.
    """

    speeds: tuple[float, ...]

    @property
    def solves_apart(self) -> bool:
        return True

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        speeds = np.array(self.speeds)
        batch = np.arange(len(speeds))[None]
        zeros, ones = np.zeros_like(speeds), np.ones_like(speeds)
        inputs = np.stack([zeros, speeds, -speeds, zeros, ones, zeros], axis=-1)
        targets = np.stack([np.cos(speeds), np.sin(speeds)], axis=-1)
        calibration = np.tile(batch, (2, 10))
        return Data(inputs, targets, np.tile(batch, (hyperparameters.steps, 1)), batch, len(speeds), calibration)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Any]:
        return {"w": np.full((1, 1), 0.9)}

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        return inputs[:, 4:]

    def path(self, inputs: Any) -> Mapping[str, Any]:
        return {"turn": inputs[:, :4].reshape(-1, 2, 2)}

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return weights["w"] * (y[:, None] @ weights["turn"])[:, 0]

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        return ((outputs - targets[batch]) ** 2).mean()

    def score(self, outputs: Sequence[Any], data: Data, hyperparameters: Hyperparameters) -> float:
        """The largest error of all."""
        return float(np.abs(outputs[0] - data.targets).max())


SPEEDS = (1.0, 2.0, 6.0)


@pytest.mark.parametrize("adapter", list(TASKS["digits"].solvers))
def test_each_example_is_solved_along_its_own_path(adapter: str) -> None:
    trainer = make_on(Turns(SPEEDS), adapter, PENALISED, TURNING)
    assert trainer.evaluate().score > 0.4
    trainer.train(20)
    assert trainer.evaluate().score < 0.1
    report = trainer.freeze(0.3)
    assert 0.01 < report.error < 0.3
    assert trainer.evaluate(report.plan).score == pytest.approx(report.error, abs=0.1)


def test_examples_that_are_solved_apart_take_the_steps_that_each_takes_alone() -> None:
    pytest.importorskip("diffrax")
    together = make_on(Turns(SPEEDS), "diffrax", PENALISED, TURNING).evaluate()
    alone = [make_on(Turns((speed,)), "diffrax", PENALISED, TURNING).evaluate() for speed in SPEEDS]
    assert together.nfe == pytest.approx(np.mean([each.nfe for each in alone]))
    assert together.num_accepted == pytest.approx(np.mean([each.num_accepted for each in alone]))
    assert max(each.nfe for each in alone) > 2 * min(each.nfe for each in alone)
    assert together.score == pytest.approx(max(each.score for each in alone), abs=1e-5)


@final
@dataclasses.dataclass(frozen=True)
class Clock(AbstractSmallProblem):
    """y' = 1 from 0, so the state is the time; the output is it times w, which is to become 2."""

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        batches = np.zeros((hyperparameters.steps, 1), np.intp)
        return Data(np.zeros((1, 1)), np.zeros(1), batches, batches[:1], 1)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Any]:
        return {"w": np.ones((1, 1))}

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return 0 * y + 1

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        return ys[-1] * weights["w"]

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        return ((outputs - 2) ** 2).mean()

    def score(self, outputs: Sequence[Any], data: Data, hyperparameters: Hyperparameters) -> float:
        return float(outputs[0][0, 0])


def adam(gradient_of: Any, steps: int, rate: float) -> float:
    """Adam from 1 with the usual constants, in numpy."""
    w, first, second = 1.0, 0.0, 0.0
    for index in range(steps):
        gradient = gradient_of(w, index)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        count = index + 1
        w -= rate * (first / (1 - 0.9**count)) / ((second / (1 - 0.999**count)) ** 0.5 + 1e-8)
    return w


@pytest.mark.parametrize("adapter", list(TASKS["digits"].solvers))
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_each_training_solve_ends_when_the_setting_says_and_prediction_at_1(adapter: str, spread: float) -> None:
    setting = Setting("steer", end_spread=spread)
    hyperparameters = Hyperparameters(steps=12, batch=1, learning_rate=0.05, tolerance=1e-6)
    drawn = setting.end_times(seed=0, steps=12)
    ends = np.ones(12) if drawn is None else drawn
    expected = adam(lambda w, index: 2 * ends[index] * (ends[index] * w - 2), steps=12, rate=0.05)
    trainer = make_on(Clock(), adapter, setting, hyperparameters)
    trainer.prepare()
    trainer.train(12)
    assert trainer.evaluate().score == pytest.approx(expected, rel=1e-5)
    assert trainer.step_times()[-1] == pytest.approx(1.0)


def test_a_stochastic_path_reaches_as_far_as_the_moved_end() -> None:
    trainer = make("digits-sde", "torchsde", Setting("steer", end_spread=0.5))
    before = trainer.evaluate().score
    trainer.train(8)
    assert trainer.evaluate().score > before + 0.2


@pytest.mark.parametrize(("task", "adapter"), [("spiral-sde", "torchsde"), ("dynamics", "torchdiffeq")])
def test_ends_are_not_moved_where_targets_belong_to_times(task: str, adapter: str) -> None:
    with pytest.raises(lrnde.CapabilityError, match=r"`steer` moves the end.*belong to 3[01] times.*Leave it out"):
        make(task, adapter, Setting("steer", end_spread=0.5))


@final
@dataclasses.dataclass(frozen=True)
class KnownMoments(AbstractSmallProblem):
    r"""$\mathrm{d}y = -w y\,\mathrm{d}t + y/2 \circ \mathrm{d}W$ from 1, twice; outputs its final states, to be small.

    Read after Stratonovich, log y is normal of mean -wt and variance t/4; read after Ito its mean were -wt - t/8.
    """

    @property
    def is_stochastic(self) -> bool:
        return True

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        batches = np.zeros((hyperparameters.steps, hyperparameters.batch), np.intp)
        return Data(np.ones((1, 2)), np.zeros(1), batches, batches[:1], hyperparameters.batch)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Any]:
        return {"w": np.ones((1, 1))}

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return -weights["w"] * y

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        return 0.5 * y

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        return outputs.mean()

    def score(self, outputs: Sequence[Any], data: Data, hyperparameters: Hyperparameters) -> float:
        """The mean of log y; not a number where its variance is more than 4 standard errors off."""
        logarithms = np.log(np.concatenate(outputs))
        is_right = abs(logarithms.var() - 0.25) < 4 * 0.25 * (2 / logarithms.size) ** 0.5
        return float(logarithms.mean()) if is_right else np.nan


@pytest.mark.parametrize("adapter", list(TASKS["spiral-sde"].solvers))
def test_both_backends_solve_the_equation_after_stratonovich_and_train_it(adapter: str) -> None:
    hyperparameters = dataclasses.replace(SMALL["spiral-sde"], batch=2000, steps=3, learning_rate=0.1)
    trainer = make_on(KnownMoments(), adapter, PENALISED, hyperparameters)
    four_errors = 4 * (0.25 / (2 * 2000)) ** 0.5
    evaluation = trainer.evaluate()
    assert evaluation.score == pytest.approx(-1.0, abs=four_errors)
    # Drift and diffusion are evaluated equally often, 6 times each an attempted step.
    assert evaluation.nfe >= 12 * evaluation.num_accepted > 12
    trainer.train(3)
    # Larger w, smaller states: Adam takes steps of the learning rate as long as the gradient keeps its sign and size.
    assert trainer.evaluate().score == pytest.approx(-1.3, abs=four_errors + 0.01)
