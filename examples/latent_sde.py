"""Fit a latent SDE to an irregular series with torchsde; `logqp=True` adds up its divergence from a prior process.

python examples/latent_sde.py [--iterations N]
"""

import argparse

import numpy as np
import torch
import torchsde
from torch import nn

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=100)
iterations = parser.parse_args().iterations
torch.manual_seed(0)
np.random.seed(0)  # torchsde seeds its Brownian paths by numpy

# A sine seen at 20 random times; at as many others it is asked for.
ts = torch.cat([torch.zeros(1), 2 * torch.rand(40).sort().values])
values = 0.8 * torch.sin(torch.pi * ts[1:])
seen = torch.arange(40) % 2 == 0
measured = values + 0.02 * torch.randn(40)


class Latent(nn.Module):
    """A process of one channel: drift `f` given the series, `h` before it; diffusion `g`, a constant, for both."""

    # With a constant diffusion, Ito's equation is the same one.
    noise_type, sde_type = "diagonal", "stratonovich"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
        # Mean and logarithm of the deviation at time 0.
        self.start = nn.Parameter(torch.tensor([0.0, -1.0]))
        self.num_evaluations = 0

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_evaluations += 1
        angle = torch.pi * t.expand_as(y)
        return self.layers(torch.cat([angle.sin(), angle.cos(), y], dim=1))

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.full_like(y, 0.5)

    def h(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y


sde = Latent()
optimizer = torch.optim.Adam(sde.parameters(), 1e-2)
prior = torch.distributions.Normal(0.0, 0.5)
settings = {"method": "heun", "adaptive": True, "rtol": 1e-2, "atol": 1e-2, "dt": 0.05}
sdeint = lrnde.regularize(torchsde.sdeint)


def initial(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States at time 0 as drawn, shape (size, 1), and the divergence of their distribution from the prior's."""
    given = torch.distributions.Normal(sde.start[0], sde.start[1].exp())
    return given.rsample((size, 1)), torch.distributions.kl_divergence(given, prior)


@torch.no_grad()
def predict(when: str) -> None:
    """Print the error of the mean of 256 paths at the times that were not seen, and what a solve of these cost."""
    sde.num_evaluations = 0
    ys = torchsde.sdeint(sde, initial(256)[0], ts, **settings)
    error = (ys[1:, :, 0].mean(1) - values)[~seen].square().mean().sqrt()
    print(f"{when} training: {sde.num_evaluations} evaluations of the drift, root mean squared error {error:.3f}")


predict("before")
for _ in range(iterations):
    y0, divergence = initial(32)
    solution, report = sdeint(sde, y0, ts, logqp=True, **settings)
    ys, log_ratios = solution
    likelihood = torch.distributions.Normal(ys[1:, :, 0], 0.1).log_prob(measured[:, None])[seen].sum(0)
    loss = divergence + (log_ratios.sum(0) - likelihood).mean() + 3.0 * report.penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
predict("after")
