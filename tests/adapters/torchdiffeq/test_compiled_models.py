"""Wrapped solves inside of models that `torch.compile` compiles."""

import threading
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

import lrnde
from lrnde_torch import uncompiled
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

Tensor = torch.Tensor
_TIMES = torch.tensor([0.0, 1.0])


class _Model(torch.nn.Module):
    def __init__(self, solve: Any) -> None:
        super().__init__()
        self.field, self.solve = Perceptron(dtype=torch.float32), solve
        self.encoder, self.decoder = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

    def forward(self, x: Tensor, draw: list[float]) -> tuple[Tensor, Tensor]:
        ys, report = self.solve(self.field, torch.relu(self.encoder(x)), _TIMES, draw=draw, rtol=1e-3, atol=1e-3)
        return self.decoder(ys[-1]), report.penalty


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_a_compiled_model_trains_as_written_and_is_compiled_once(solve: Any, backend: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    model = _Model(lrnde.regularize(solve))
    compiled: Any = torch.compile(model, backend=backend)
    num_compiled = [counters["frames"]["ok"]]
    for step in range(5):
        x, gradients = torch.randn(4, 3), []
        for each in (model, compiled):
            model.zero_grad()
            y, penalty = each(x, [step / 5])
            (y.square().mean() + penalty).backward()
            gradients.append([penalty.detach(), *(parameter.grad for parameter in model.parameters())])
        torch.testing.assert_close(*gradients)
        num_compiled.append(counters["frames"]["ok"])
    # The parts before and after the solve.
    assert [total - num_compiled[0] for total in num_compiled] == [0, 2, 2, 2, 2, 2]


def test_fullgraph_is_refused_with_what_works() -> None:
    torch.compiler.reset()
    compiled: Any = torch.compile(_Model(lrnde.regularize(odeint)), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="leave `fullgraph=True` out"):
        compiled(torch.randn(4, 3), [0.5])


def test_code_is_left_uncompiled_until_the_last_thread_is_done() -> None:
    torch.compiler.reset()
    compiled: Any = torch.compile(torch.sin, backend="eager")
    entered, left = threading.Event(), threading.Event()

    def hold() -> None:
        with uncompiled():
            entered.set()
            left.wait()

    def num_calls() -> int:
        before = counters["frames"]["total"]
        torch.compiler.reset()
        compiled(torch.ones(1))
        return counters["frames"]["total"] - before

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    with uncompiled():
        pass
    assert num_calls() == 0
    left.set()
    thread.join()
    assert num_calls() == 1
