"""Train a neural ODE by Taylor expansion in two steps, and the midpoints of its remainder in turns with it (TL-NODE).

python examples/taylor_digits.py [--iterations N] [--weight W]
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torchdiffeq import odeint

import lrnde
from lrnde_taylor.odeint import Midpoint, odeint_taylor

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=300)
parser.add_argument("--weight", type=float, default=1.0)
options = parser.parse_args()

pixels, digits = load_digits(return_X_y=True)
images, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
torch.manual_seed(0)


class Dynamics(nn.Module):
    """dy/dt of a batch of images, shape (batch, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 100), nn.Linear(100, 64)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(y) + t))


dynamics, head, midpoint = Dynamics(), nn.Linear(64, 10), Midpoint(64)
optimizer = torch.optim.Adam([*dynamics.parameters(), *head.parameters()], 1e-3)
midpoint_optimizer = torch.optim.Adam(midpoint.parameters(), 1e-3)
times = torch.tensor([0.0, 1.0])

# The penalty is the remainder of every step: what the expansion leaves out.
solve = lrnde.regularize(odeint_taylor, heuristic=lrnde.ErrorEstimate(rtol=0.0, atol=1.0), sampler=lrnde.AllSteps())

for iteration in range(1, options.iterations + 1):
    batch = torch.randint(len(images), (128,))
    # The dynamics, with the midpoints as they are.
    midpoint.requires_grad_(False)
    ys, report = solve(dynamics, images[batch], times, num_steps=2, midpoint=midpoint)
    loss = nn.functional.cross_entropy(head(ys[-1]), labels[batch]) + options.weight * report.penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if iteration % 10:
        continue
    # The midpoints, with the dynamics as they are, towards an adaptive solution.
    with torch.no_grad():
        wanted = odeint(dynamics, images[batch], times, rtol=1e-5, atol=1e-5)[-1]
    midpoint.requires_grad_(True)
    error = (odeint_taylor(dynamics, images[batch], times, num_steps=2, midpoint=midpoint)[-1] - wanted).abs().sum(-1)
    midpoint_optimizer.zero_grad()
    error.mean().backward(inputs=list(midpoint.parameters()))
    midpoint_optimizer.step()
    if iteration % 50 == 0:
        print(f"iteration {iteration}: loss {loss.item():.3f}, error of the solution {error.mean().item():.1e}")

with torch.no_grad():
    scores = head(odeint_taylor(dynamics, images, times, num_steps=2, midpoint=midpoint)[-1])
print(f"{(scores.argmax(-1) == labels).float().mean().item():.3f} of the images are classified correctly")
