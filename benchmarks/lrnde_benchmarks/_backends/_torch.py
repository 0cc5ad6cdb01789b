"""The training loop in torch, whichever library solves."""

# Parts of torch come without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import functools
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

import lrnde
from lrnde_benchmarks._arrays import Arrays, Floats
from lrnde_benchmarks._backends._plan_state import plan_array, plan_of, plan_state, spelled
from lrnde_benchmarks._backends._step_times import StepTimes
from lrnde_benchmarks._backends._torch_solver import OPERATIONS, Network, TorchSolver
from lrnde_benchmarks._backends._torch_state import (
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
)
from lrnde_benchmarks._backends._trainer import Evaluation, Prediction, Spent
from lrnde_benchmarks._clock import now
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._solvers import path_seed
from lrnde_benchmarks._tasks._task import AbstractProblem, Data
from lrnde_core import CheckedPlan, FixedSteps, Plan
from lrnde_torch import WeightHolder


def _optimizer(network: Network, hyperparameters: Hyperparameters, weight_decay: float) -> torch.optim.Optimizer:
    rate = hyperparameters.learning_rate
    if hyperparameters.optimizer == "adam":
        return torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=weight_decay)
    optimizer = torch.optim.Adamax(network.parameters(), lr=rate)

    def decay(*_: Any) -> None:
        # Torch's Adamax knows a decay through the gradient alone.
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * weight_decay)

    optimizer.register_step_pre_hook(decay)
    return optimizer


def _tolerance(prediction: Prediction) -> float | None:
    return None if isinstance(prediction, Plan) else prediction


@final
class TorchTrainer:
    """See `lrnde_benchmarks.Trainer`.

    - `adaptive`: the solver. `own_solver`: makes another in its place for this training, given states; `None` does not.
      The reference is always solved by the first.
    """

    def __init__(
        self,
        adaptive: TorchSolver,
        problem: AbstractProblem,
        hyperparameters: Hyperparameters,
        setting: Setting,
        data: Data,
        seed: int,
        own_solver: Callable[[Tensor], TorchSolver] | None = None,
    ) -> None:
        dtype = getattr(torch, hyperparameters.dtype)
        self._adaptive = adaptive
        self._problem = problem
        self._hyperparameters = hyperparameters
        self._tolerance = hyperparameters.tolerance if setting.tolerance is None else setting.tolerance
        self._data = data
        self._seed = seed
        self._network = Network(problem, hyperparameters, seed)
        self._untrained = Network(problem, hyperparameters, seed)
        self._optimizer = _optimizer(self._network, hyperparameters, setting.weight_decay)
        self._generator = torch.Generator().manual_seed(seed)
        targets = torch.as_tensor(data.targets)
        self._inputs = torch.as_tensor(data.inputs, dtype=dtype)
        self._targets = targets.to(dtype) if targets.is_floating_point() else targets
        self._batches = torch.as_tensor(data.train_batches)
        self._solver = (
            adaptive if own_solver is None else own_solver(self._initial_state(self._network, self._batches[0]))
        )
        # Names of the network's own weights stay as the problem has them.
        self._learned = nn.Module()
        for name, value in self._network.weights.items():
            self._learned.register_parameter(name, value)
        if self._solver.learner is not None:
            self._learned.add_module("midpoint", self._solver.learner.module)
        self._weight = WeightHolder(setting.weight, self._network.parameters())
        self._regularized = None
        if setting.penalty is not None or setting.steps is not None:
            self._regularized = (setting.penalty or Penalty()).wrap(self._solver.native, setting.steps)
        self._is_penalised = setting.penalty is not None
        self._counted = lrnde.regularize(self._solver.native)
        self._end_times = setting.end_times(seed, hyperparameters.steps)
        self._noise = None if data.noise is None else torch.as_tensor(data.noise)
        self._divergence_weights = data.divergence_weights
        self._test_batches = torch.as_tensor(data.test_batches)
        self._frozen: dict[Plan, Callable[..., Any]] = {}
        self._num_done = 0

    def prepare(self) -> float:
        untouched, holder = self._weight.state_dict(), self._plan_holder
        plan = None if holder is None else holder.get_extra_state()
        start = now()
        self._loss(0).backward()
        seconds = now() - start
        if holder is not None:
            holder.set_extra_state(plan)
        self._optimizer.zero_grad()
        self._generator.manual_seed(self._generator.initial_seed())
        self._weight.load_state_dict(untouched)
        return seconds

    def train(self, num_steps: int) -> Spent:
        start = now()
        for index in range(self._num_done, self._num_done + num_steps):
            self._set_learning_rate(index)
            self._optimizer.zero_grad()
            self._loss(index).backward()
            self._optimizer.step()
            if self._solver.learner is not None:
                network, y0 = self._field(self._network, self._batches[index])
                self._solver.learner.learn(index, network, y0, self._times(index), self._tolerance)
        self._num_done += num_steps
        return Spent(now() - start)

    def evaluate(self, prediction: Prediction = None) -> Evaluation:
        outputs: list[Any] = []
        counts: list[tuple[float, float]] = []
        with torch.inference_mode():
            for index in range(len(self._test_batches)):
                if isinstance(prediction, Plan):
                    ys = self._test_solve(self._solver, self._call(prediction), self._network, index, None)
                    counts.append((prediction.num_evaluations, prediction.steps.num_steps))
                else:
                    ys, report = self._test_solve(
                        self._solver, self._counted, self._network, index, prediction, penalize=False
                    )
                    per_step = self._solver.evaluations_per_step
                    counts.append((per_step * report.num_steps if per_step else report.nfe, report.num_accepted))
                outputs.append(self._problem.outputs(OPERATIONS, self._network.weights, ys).numpy())
        evaluations, steps = zip(*counts, strict=True)
        score = self._problem.score(outputs, self._data, self._hyperparameters)
        return Evaluation(score, sum(evaluations) / len(counts), sum(steps) / len(counts))

    def predict_once(self, prediction: Prediction = None) -> float:
        return self._predict(self._solver, self._network, prediction)

    def predict_reference(self) -> float:
        return self._predict(self._adaptive, self._untrained, self._hyperparameters.tolerance)

    def step_times(self, prediction: Prediction = None) -> list[float]:
        if isinstance(prediction, Plan):
            return list(prediction.steps.ends)
        noted = StepTimes()
        # What needs neither tolerances, which fixed steps have none of, nor an error that the dtype resolves.
        heuristic = lrnde.KineticEnergy(at="step")
        watched = lrnde.regularize(self._solver.native, heuristic=heuristic, sampler=noted)
        with torch.no_grad():
            self._test_solve(self._solver, watched, self._network, 0, prediction, draw=[0.0])
        return noted.ends

    def weights(self) -> Arrays:
        return module_arrays(self._learned)

    def load(self, weights: Arrays) -> None:
        load_module(self._learned, weights)

    def state(self) -> Arrays:
        parts: dict[str, Arrays] = {
            "weights": self.weights(),
            "optimizer": optimizer_arrays(self._optimizer),
            "penalty_weight": {name: np.asarray(each) for name, each in self._weight.state_dict().items()},
            "generator": {"": self._generator.get_state().numpy().copy()},
            "num_done": {"": np.asarray(self._num_done)},
        }
        if self._solver.learner is not None:
            parts["learner"] = optimizer_arrays(self._solver.learner.optimizer)
        if self._plan_holder is not None:
            parts["plan"] = {"": plan_array(self._plan_holder.get_extra_state())}
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}

    def restore(self, state: Arrays) -> None:
        parts: dict[str, dict[str, Any]] = {}
        for key, array in state.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = array
        self.load(parts["weights"])
        load_optimizer(self._optimizer, parts.get("optimizer", {}))
        self._weight.load_state_dict({name: each.item() for name, each in parts["penalty_weight"].items()})
        self._generator.set_state(torch.from_numpy(parts["generator"][""].copy()))
        self._num_done = int(parts["num_done"][""])
        if self._plan_holder is not None:
            self._plan_holder.set_extra_state(plan_state(parts["plan"][""]))
        if self._solver.learner is not None:
            load_optimizer(self._solver.learner.optimizer, parts.get("learner", {}))

    def freeze(self, error: float, over: float | str = "max") -> lrnde.FreezeReport:
        solver, calls, settings = self._solver, [], {}
        for batch in [] if self._data.calibration is None else torch.as_tensor(self._data.calibration):
            with torch.no_grad():
                network, y0 = self._field(self._network, batch)
            args, settings = self._solve(solver, spelled, network, y0, network.times, None, 0)
            calls.append(args)
        return lrnde.freeze(functools.partial(solver.native, **settings), calibration=calls, error=error, over=over)[1]

    def checked(self) -> CheckedPlan | None:
        return None if self._plan_holder is None else self._plan_holder.plan

    def plan(self, steps: FixedSteps) -> Plan:
        shape = self._initial_state(self._network, self._test_batches[0]).shape
        return plan_of(steps, shape, self._problem)

    @property
    def _plan_holder(self) -> Any:
        return None if self._regularized is None else self._regularized.plan_holder

    def states(self, prediction: Prediction = None) -> list[Floats]:
        with torch.inference_mode():
            return [
                self._test_solve(self._solver, self._call(prediction), self._network, index, _tolerance(prediction))[
                    1:
                ].numpy()
                for index in range(len(self._test_batches))
            ]

    def _set_learning_rate(self, index: int) -> None:
        hyperparameters = self._hyperparameters
        for group in self._optimizer.param_groups:
            group["lr"] = hyperparameters.learning_rate * hyperparameters.learning_rate_decay**index

    def _loss(self, index: int) -> Tensor:
        batch = self._batches[index]
        path = path_seed(self._seed, is_test=False, index=index)
        times = self._times(index)
        network = self._network.along(self._inputs[batch])
        y0, divergence = self._training_state(batch, index)
        if self._regularized is None:
            ys, report = self._solve(self._solver, self._solver.native, network, y0, times, None, path), None
        else:
            ys, report = self._solve(
                self._solver,
                self._regularized,
                network,
                y0,
                times,
                None,
                path,
                penalize=self._is_penalised,
                generator=self._generator,
            )
        outputs = self._problem.outputs(OPERATIONS, self._network.weights, ys)
        loss = self._problem.loss(OPERATIONS, outputs, self._targets, batch) + divergence
        if report is not None and self._is_penalised:
            loss = self._weight.total(loss, report)
            self._weight.update(report)
        return loss

    def _training_state(self, batch: Tensor, index: int) -> tuple[Tensor, Any]:
        """The state at time 0 of a training iteration, and the part of the loss that is due to drawing it."""
        if self._noise is None or self._divergence_weights is None:
            return self._initial_state(self._network, batch), 0.0
        inputs = self._inputs[batch]
        noise = self._noise[index].to(inputs.dtype)
        y0, divergence = self._problem.drawn_state(OPERATIONS, self._network.weights, inputs, noise)
        return y0, float(self._divergence_weights[index]) * divergence

    def _times(self, index: int) -> Tensor:
        """When the solution of a training iteration is wanted."""
        times = self._network.times
        return times if self._end_times is None else times * float(self._end_times[index])

    def _call(self, prediction: Prediction) -> Callable[..., Any]:
        if not isinstance(prediction, Plan):
            return self._solver.native
        if prediction not in self._frozen:
            self._frozen[prediction] = lrnde.apply_plan(self._solver.native, prediction)
        return self._frozen[prediction]

    def _predict(self, solver: TorchSolver, network: Network, prediction: Prediction) -> float:
        call = self._call(prediction) if isinstance(prediction, Plan) else solver.native
        start = now()
        with torch.inference_mode():
            ys = self._test_solve(solver, call, network, 0, _tolerance(prediction))
            self._problem.outputs(OPERATIONS, network.weights, ys)
        return now() - start

    def _test_solve(
        self,
        solver: TorchSolver,
        call: Callable[..., Any],
        network: Network,
        index: int,
        tolerance: float | None,
        **own: Any,
    ) -> Any:
        path = path_seed(self._seed, is_test=True, index=index)
        field, y0 = self._field(network, self._test_batches[index])
        return self._solve(solver, call, field, y0, network.times, tolerance, path, **own)

    def _solve(
        self,
        solver: TorchSolver,
        call: Callable[..., Any],
        network: Network,
        y0: Tensor,
        times: Tensor,
        tolerance: float | None,
        path: int,
        **own: Any,
    ) -> Any:
        tolerance = self._tolerance if tolerance is None else tolerance
        return solver.solve(call, network, y0, times, tolerance, path, **own)

    def _field(self, network: Network, batch: Tensor) -> tuple[Network, Tensor]:
        """The vector field of a batch, and its state at time 0."""
        return network.along(self._inputs[batch]), self._initial_state(network, batch)

    def _initial_state(self, network: Network, batch: Tensor) -> Tensor:
        return self._problem.initial_state(OPERATIONS, network.weights, self._inputs[batch])
