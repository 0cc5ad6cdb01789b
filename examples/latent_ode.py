"""Fill in irregular series by a latent ODE with torchdiffeq: each series is seen at times of its own.

python examples/latent_ode.py [--iterations N]
"""

import argparse

import torch
from torch import nn
from torchdiffeq import odeint

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=200)
iterations = parser.parse_args().iterations
torch.manual_seed(0)

# Damped oscillations of their own rate and phase, of which three in ten values are seen.
ts = torch.cat([torch.zeros(1), 2 * torch.rand(29).sort().values])
angles = 2 * torch.pi * torch.rand(400, 1) + (3 + 3 * torch.rand(400, 1)) * ts
values = torch.stack([angles.cos(), angles.sin()], dim=2) * torch.exp(-0.5 * ts)[:, None]
measured = values + 0.02 * torch.randn_like(values)
seen = (torch.rand(400, 30) < 0.3)[:, :, None].float()
train, test = slice(300), slice(300, None)


class Encoder(nn.Module):
    """The distribution of the state at time 0, from the seen values and their times, read backward."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 32, batch_first=True), nn.Linear(32, 12)

    def forward(self, measured: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read = torch.cat([measured * seen, seen, ts[:, None].expand_as(seen)], dim=2)
        mean, log_deviation = self.head(self.gru(read.flip(1))[0][:, -1]).chunk(2, dim=1)
        return mean, log_deviation - 2


class Field(nn.Module):
    """dz/dt of a batch of states, shape (batch, 6), and how often it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 50), nn.Tanh(), nn.Linear(50, 6))
        self.num_evaluations = 0

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        self.num_evaluations += 1
        return self.layers(z)


encoder, field, decoder = Encoder(), Field(), nn.Linear(6, 2)
optimizer = torch.optim.Adam([*encoder.parameters(), *field.parameters(), *decoder.parameters()], 1e-2)
solve = lrnde.regularize(odeint)


@torch.no_grad()
def predict(when: str) -> None:
    """Print the error at the values of the test series that were not seen, and what the solve cost."""
    field.num_evaluations = 0
    mean, _ = encoder(measured[test], seen[test])
    squares = (decoder(odeint(field, mean, ts, rtol=1e-4, atol=1e-4)).transpose(0, 1) - values[test]).square()
    error = (squares * (1 - seen[test])).sum() / (2 * (1 - seen[test]).sum())
    print(f"{when} training: {field.num_evaluations} evaluations, root mean squared error {error.sqrt():.3f}")


predict("before")
for _ in range(iterations):
    batch = torch.randint(300, (64,))
    mean, log_deviation = encoder(measured[batch], seen[batch])
    z0 = mean + log_deviation.exp() * torch.randn_like(mean)
    zs, report = solve(field, z0, ts, rtol=1e-4, atol=1e-4)
    squares = (decoder(zs).transpose(0, 1) - measured[batch]).square() * seen[batch]
    divergence = (0.5 * (mean.square() + (2 * log_deviation).exp() - 1) - log_deviation).sum(1)
    # The negative evidence lower bound, for noise of deviation 0.1.
    loss = (50 * squares.sum((1, 2)) + divergence).mean() + 0.1 * report.penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
predict("after")
