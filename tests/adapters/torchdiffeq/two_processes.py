"""A training of two processes whose batches differ in difficulty."""

import json
from pathlib import Path

import torch

import lrnde
from tests.adapters.torchdiffeq.problems import odeint

# Of each process, by iteration. A larger estimate of the error is seen in the iteration after it.
SPEEDS = ((0.5, 0.5, 0.5, 0.5, 0.5), (1.0, 1.0, 4.0, 4.0, 4.0))


def train(rank: int, folder: str, trainings: list[dict[str, float]]) -> None:
    """Train with each set of bounds in the process of this rank.

    Of each training it writes the number of checks, the steps and their errors by iteration.
    """
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    y0 = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
    found: list[list[tuple[int, str, float | None, float | None]]] = []
    for bounds in trainings:
        solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(**bounds, period=(100, 100)))
        found.append([])
        for speed in SPEEDS[rank]:
            plan = solve(lambda t, y, speed=speed: -speed * y, y0, torch.tensor([0.0, 1.0]).double())[1].plan
            found[-1].append((plan.num_checks, str(plan.steps), plan.error, plan.gradient_error))
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()
