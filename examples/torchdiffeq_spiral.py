"""Fit a neural ODE to a spiral with torchdiffeq, and keep it cheap to solve.

python examples/torchdiffeq_spiral.py [--iterations N]
"""

import argparse

import torch
from torchdiffeq import odeint

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=300)
iterations = parser.parse_args().iterations

torch.set_num_threads(1)
y0 = torch.tensor([[2.0, 0.0]])
ts = torch.linspace(0.0, 3.0, 30)
matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
target = odeint(lambda _t, y: y**3 @ matrix, y0, ts, rtol=1e-7, atol=1e-7)


class Field(torch.nn.Module):
    """A small network on the cubed state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 50), torch.nn.Tanh(), torch.nn.Linear(50, 2))

    def forward(self, _t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """dy/dt, shape (batch, 2)."""
        return self.net(y**3)


# The one line that changes; the rest of the call stays the same.
solve = lrnde.regularize(odeint)

for weight in (0.0, 1e-5):
    torch.manual_seed(0)
    field = Field()
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    for _ in range(iterations):
        optimizer.zero_grad()
        prediction, report = solve(field, y0, ts, rtol=1e-6, atol=1e-6)
        error = (prediction - target).abs().mean()
        (error + weight * report.penalty).backward()
        optimizer.step()
    with torch.no_grad():
        prediction, report = solve(field, y0, ts, rtol=1e-6, atol=1e-6, penalize=False)
    error = (prediction - target).abs().mean().item()
    print(f"weight {weight:g}: error {error:.3f}, {report.nfe} evaluations in {report.num_steps} steps")
