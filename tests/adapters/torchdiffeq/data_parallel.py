"""Training steps in two processes under `DistributedDataParallel`, and the same steps in one with the joint batch."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch

import lrnde
import lrnde_torch
from lrnde_torch import WeightHolder
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

Tensor = torch.Tensor
Found = dict[str, Any]
PAGE = Path(__file__).parents[3] / "docs" / "devices.md"
DRAWS = (0.3, 0.8, 0.1, 0.6)


@final
class Model(torch.nn.Module):
    """The end of a solve, whose report a `collect` block receives."""

    def __init__(self, solve: Any, **options: Any) -> None:
        super().__init__()
        self.field = Perceptron()
        self.solve = lrnde.collected(solve)
        self.options = options

    def forward(self, x: Tensor, **asked: Any) -> Tensor:
        return self.solve(self.field, x, torch.tensor([0.0, 1.0]).to(x), **self.options, **asked)[-1]


def halves() -> Sequence[Tensor]:
    """Two batches that differ, of equal size."""
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(8, 3).sin()
    return x[:4], 2 * x[4:]


def by_fixed_steps() -> dict[str, Model]:
    """Models whose steps do not depend on the batch, by name of the solver call."""
    options: dict[str, Any] = {"method": "rk4", "options": {"step_size": 0.25}}
    return {"odeint": Model(odeint, **options), "odeint_adjoint": Model(odeint_adjoint, **options)}


def gradients(model: torch.nn.Module, called: torch.nn.Module, x: Tensor, **asked: Any) -> list[list[float]]:
    """The gradient of a loss with the penalty by the parameters of `model`, which `called` may wrap."""
    model.zero_grad()
    with lrnde.collect() as reports:
        y = called(x, **asked)
    (y.square().mean() + 0.5 * reports[0].penalty).backward()
    return [each.grad.flatten().tolist() for each in model.parameters() if each.grad is not None]


def weights(model: torch.nn.Module, called: torch.nn.Module, x: Tensor) -> list[float]:
    """The weights of `GradientRatio` by iteration."""
    weight = WeightHolder(lrnde.GradientRatio(0.3), model.parameters())
    found: list[float] = []
    for draw in DRAWS:
        model.zero_grad()
        with lrnde.collect() as reports:
            y = called(x, draw=[draw])
        weight.total(y.square().mean(), reports).backward()
        weight.update(reports)
        found.append(float(weight.value()))
    return found


def kinetic_gradients(field: torch.nn.Module, x: Tensor) -> None:
    """Leave the gradient of a loss with the kinetic energy at the parameters of a field, which may be sharded."""
    solve = lrnde.regularize(odeint, heuristic=lrnde.KineticEnergy())
    options: dict[str, Any] = {"method": "rk4", "options": {"step_size": 0.25}}
    ys, report = solve(field, x, torch.tensor([0.0, 1.0]).to(x), draw=[0.3], **options)
    (ys[-1].square().mean() + 0.5 * report.penalty).backward()


def refusals_when_sharded(mesh: Any, x: Tensor) -> list[str]:
    """What a weight that measures gradients says to a sharded field, and to one that is sharded later."""
    from torch.distributed.fsdp import fully_shard

    field: Any = Perceptron()
    before = WeightHolder(lrnde.GradientRatio(), field.parameters())
    fully_shard(field, mesh=mesh)
    said: list[str] = []
    try:
        WeightHolder(lrnde.GradientRatio(), field.parameters())
    except lrnde.InputError as error:
        said.append(str(error))
    solve = lrnde.regularize(odeint, heuristic=lrnde.KineticEnergy())
    ys, report = solve(field, x, torch.tensor([0.0, 1.0]).to(x), method="rk4", options={"step_size": 0.25})
    try:
        before.total(ys[-1].square().mean(), report)
    except lrnde.InputError as error:
        said.append(str(error))
    return said


def follow_the_page(rank: int) -> Found:
    """What the torch code of the page about several devices leaves behind."""
    first, second, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    model = Model(odeint, rtol=1e-7, atol=1e-7)
    x = halves()[rank]
    namespace: Found = {
        "torch": torch,
        "lrnde": lrnde,
        "lrnde_torch": lrnde_torch,
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters()),
        "batches": [(x, x.flip(0))] * 2,
        "task_loss": torch.nn.functional.mse_loss,
        "seed": 0,
    }
    exec(first, namespace)
    (report,) = namespace["reports"]
    ratio = namespace["weight"].state_dict()
    # The second weight of the page.
    namespace["weight"] = WeightHolder(lrnde.NFETarget(10))
    exec(second, namespace)
    return {
        "parameters": [each.detach() for each in model.parameters()],
        "time": float(report.sample.t[0]),
        "nfe": report.nfe,
        "ratio": ratio,
        "target": namespace["weight"].state_dict(),
    }


def find(rank: int, folder: str) -> None:
    """Take all steps in the process of this rank, and write what they found."""
    store = f"file://{folder}/store"
    # Not every build of torch has these.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    x = halves()[rank]
    found: Found = {"gradients": {}, "weights": {}, "page": follow_the_page(rank)}
    for name, model in by_fixed_steps().items():
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        found["gradients"][name] = gradients(model, parallel, x, draw=[0.3])
        found["weights"][name] = weights(model, parallel, x)
    mesh = init_device_mesh("cpu", (2,))
    field: Any = fully_shard(Perceptron(), mesh=mesh)
    kinetic_gradients(field, x)
    found["sharded"] = [each.grad.full_tensor() for each in field.parameters()]
    found["refusals"] = refusals_when_sharded(mesh, x)
    torch.save(found, Path(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()
