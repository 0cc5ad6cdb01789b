"""Fit a density by a continuous normalizing flow (FFJORD) with torchdiffeq; the flow keeps its noise.

python examples/normalizing_flow.py [--iterations N]
"""

import argparse

import torch
from sklearn.datasets import make_moons
from torch import nn
from torchdiffeq import odeint_adjoint

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=150)
iterations = parser.parse_args().iterations
torch.manual_seed(0)

samples = torch.tensor(make_moons(4000, noise=0.1, random_state=0)[0], dtype=torch.float32)
samples = (samples - samples.mean(0)) / samples.std(0)
normal, times = torch.distributions.Normal(0.0, 1.0), torch.tensor([0.0, 1.0])


class Flow(nn.Module):
    """Samples, shape (batch, 2), and the change of their log-density: minus the trace, by Hutchinson's estimate.

    - `noise`: the estimate's probe, for one whole solve: drawn inside of the field, it would make the field rough.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
        self.noise = torch.ones(())
        self.num_evaluations = 0

    def forward(self, t: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        self.num_evaluations += 1
        with torch.enable_grad():
            y = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
            rate = self.layers(torch.cat([y, t.expand(len(y), 1)], dim=1))
            (product,) = torch.autograd.grad(rate, y, self.noise, create_graph=True)
        return rate, -(product * self.noise).sum(1)


flow = Flow()
optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
solve = lrnde.regularize(odeint_adjoint)


def signs(like: torch.Tensor) -> torch.Tensor:
    """Noise of the same shape: 1 or -1."""
    return 2.0 * torch.randint_like(like, 2) - 1.0


def predict(when: str) -> None:
    """Print the likelihood of 1000 samples that are not trained on, and what the solve cost."""
    x = samples[:1000]
    flow.num_evaluations, flow.noise = 0, signs(x)
    with torch.no_grad():
        ys, changes = odeint_adjoint(flow, (x, torch.zeros(1000)), times, rtol=1e-5, atol=1e-5)
    loss = (changes[-1] - normal.log_prob(ys[-1]).sum(1)).mean()
    print(f"{when} training: {flow.num_evaluations} evaluations, negative log-likelihood {loss:.3f} nats")


predict("before")
for _ in range(iterations):
    x = samples[torch.randint(1000, len(samples), (128,))]
    flow.noise = signs(x)
    states, report = solve(flow, (x, torch.zeros(128)), times, rtol=1e-5, atol=1e-5)
    ys, changes = states
    loss = (changes[-1] - normal.log_prob(ys[-1]).sum(1)).mean() + 0.03 * report.penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
predict("after")
