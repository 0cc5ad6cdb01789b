"""The neural ODE in torch, solved by torchdiffeq's `dopri5` and trained by plain backpropagation."""

# Torchdiffeq and parts of torch come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, final

import torch
import torchdiffeq
from torch import Tensor, nn

from lrnde_benchmarks import _clock
from lrnde_benchmarks._data import Digits, Split, initial_weights, test_batches, training_batches
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._trainer import Evaluation


@final
class _Network(nn.Module):
    """Vector field and head. `forward` is the field: state `(batch, 64)` per time."""

    inner_weight: nn.Parameter
    inner_time: nn.Parameter
    inner_bias: nn.Parameter
    outer_weight: nn.Parameter
    outer_time: nn.Parameter
    outer_bias: nn.Parameter
    head_weight: nn.Parameter
    head_bias: nn.Parameter

    def __init__(self, hyperparameters: Hyperparameters, seed: int) -> None:
        super().__init__()
        dtype = getattr(torch, hyperparameters.dtype)
        for name, value in initial_weights(hyperparameters.hidden, seed).items():
            self.register_parameter(name, nn.Parameter(torch.as_tensor(value, dtype=dtype)))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        inner = torch.addmm(self.inner_bias + t * self.inner_time, y, self.inner_weight)
        return torch.addmm(self.outer_bias + t * self.outer_time, torch.tanh(inner), self.outer_weight)

    def logits(self, y: Tensor) -> Tensor:
        """Class scores of final states, shape `(batch, 10)`."""
        return torch.addmm(self.head_bias, y, self.head_weight)


@final
class _Watched(nn.Module):
    """Counts a field's evaluations and notes where the accepted steps end."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.num_calls = 0
        self.times: list[float] = []

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.num_calls += 1
        return self.field(t, y)

    def callback_accept_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
        del y0
        self.times.append(min(float(t0 + dt), 1.0))


@final
class TorchTrainer:
    """See `lrnde_benchmarks.Trainer`."""

    def __init__(
        self, hyperparameters: Hyperparameters, setting: Setting, digits: Digits, split: Split, seed: int
    ) -> None:
        self._hyperparameters = hyperparameters
        self._network = _Network(hyperparameters, seed)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=hyperparameters.learning_rate, weight_decay=setting.weight_decay
        )
        self._solve = None if setting.penalty is None else setting.penalty.wrap(torchdiffeq.odeint)
        self._weight = setting.weight
        self._weight_state = setting.weight.init()
        self._generator = torch.Generator().manual_seed(seed)
        dtype = getattr(torch, hyperparameters.dtype)
        self._images = torch.as_tensor(digits.images, dtype=dtype)
        self._labels = torch.as_tensor(digits.labels)
        self._interval = torch.tensor([0.0, 1.0], dtype=dtype)
        self._batches = torch.as_tensor(
            training_batches(split.train, hyperparameters.batch, hyperparameters.steps, seed)
        )
        self._test_batches = torch.as_tensor(test_batches(split.test, hyperparameters.batch))
        self._num_test = len(split.test)
        self._num_done = 0

    def prepare(self) -> None:
        self._loss(self._batches[0]).backward()
        self._optimizer.zero_grad()
        self._generator.manual_seed(self._generator.initial_seed())
        self._weight_state = self._weight.init()
        self.predict_once()

    def train(self, num_steps: int) -> float:
        start = _clock.now()
        for indices in self._batches[self._num_done : self._num_done + num_steps]:
            self._optimizer.zero_grad()
            self._loss(indices).backward()
            self._optimizer.step()
        self._num_done += num_steps
        return _clock.now() - start

    def evaluate(self, tolerance: float | None = None) -> Evaluation:
        watched = _Watched(self._network)
        with torch.inference_mode():
            guesses = torch.cat([self._predict(watched, batch, tolerance).argmax(-1) for batch in self._test_batches])
        is_right = guesses == self._labels[self._test_batches.flatten()]
        return Evaluation(
            int(is_right[: self._num_test].sum()) / self._num_test, watched.num_calls / len(self._test_batches)
        )

    def predict_once(self, tolerance: float | None = None) -> float:
        start = _clock.now()
        with torch.inference_mode():
            self._predict(self._network, self._test_batches[0], tolerance)
        return _clock.now() - start

    def step_times(self, tolerance: float | None = None) -> list[float]:
        watched = _Watched(self._network)
        with torch.inference_mode():
            self._predict(watched, self._test_batches[0], tolerance)
        return watched.times

    def _loss(self, indices: Tensor) -> Tensor:
        arguments = self._arguments(None)
        images, labels = self._images[indices], self._labels[indices]
        if self._solve is None:
            states: Any = torchdiffeq.odeint(self._network, images, self._interval, **arguments)
            return nn.functional.cross_entropy(self._network.logits(states[-1]), labels)
        states, report = self._solve(self._network, images, self._interval, generator=self._generator, **arguments)
        loss = nn.functional.cross_entropy(self._network.logits(states[-1]), labels)
        loss = loss + self._weight.value(self._weight_state) * report.penalty
        self._weight_state = self._weight.update(self._weight_state, report)
        return loss

    def _predict(self, field: nn.Module, indices: Tensor, tolerance: float | None) -> Tensor:
        states: Any = torchdiffeq.odeint(field, self._images[indices], self._interval, **self._arguments(tolerance))
        return self._network.logits(states[-1])

    def _arguments(self, tolerance: float | None) -> dict[str, Any]:
        tolerance = self._hyperparameters.tolerance if tolerance is None else tolerance
        return {
            "rtol": tolerance,
            "atol": tolerance,
            "method": "dopri5",
            "options": {"first_step": self._hyperparameters.first_step},
        }
