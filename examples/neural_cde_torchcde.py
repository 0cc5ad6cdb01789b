"""Read handwritten digits row by row through a neural CDE with torchcde, whose solve is inside `cdeint`.

python examples/neural_cde_torchcde.py [--iterations N]
"""

import argparse

import torch
import torchcde
from sklearn.datasets import load_digits
from torch import nn

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=100)
iterations = parser.parse_args().iterations
torch.manual_seed(0)

# A series of 8 rows with 8 pixels each, and the time beside them.
pixels, digits = load_digits(return_X_y=True)
order = torch.randperm(len(pixels))
rows = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 8, 8)[order]
series = torch.cat([torch.linspace(0.0, 1.0, 8)[:, None].expand(len(rows), 8, 1), rows], dim=2)
coefficients = torchcde.natural_cubic_coeffs(series)
labels = torch.tensor(digits)[order]


class Field(nn.Module):
    """The matrices of shape (batch, 16, 9) that the path is multiplied by, and how often they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 16 * 9), nn.Tanh())
        self.num_evaluations = 0

    def forward(self, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        self.num_evaluations += 1
        return self.layers(z).reshape(-1, 16, 9)


initial, field, head = nn.Linear(9, 16), Field(), nn.Linear(16, 10)
optimizer = torch.optim.Adam([*initial.parameters(), *field.parameters(), *head.parameters()], 5e-3)
torchcde.solver.torchdiffeq.odeint = lrnde.collected(torchcde.solver.torchdiffeq.odeint)


def scores(coefficients: torch.Tensor) -> torch.Tensor:
    """Of each digit, shape (batch, 10)."""
    path = torchcde.CubicSpline(coefficients)
    z0 = initial(path.evaluate(path.interval[0]))
    zs = torchcde.cdeint(path, field, z0, path.interval, adjoint=False, rtol=1e-4, atol=1e-4)
    return head(zs[:, -1])


@torch.no_grad()
def predict(when: str) -> None:
    """Print the accuracy on the first 360 images, which are not trained on, and what the solve cost."""
    field.num_evaluations = 0
    accuracy = (scores(coefficients[:360]).argmax(1) == labels[:360]).float().mean()
    print(f"{when} training: {field.num_evaluations} evaluations, accuracy {accuracy:.3f}")


predict("before")
for _ in range(iterations):
    batch = torch.randint(360, len(labels), (64,))
    with lrnde.collect() as reports:
        predicted = scores(coefficients[batch])
    loss = nn.functional.cross_entropy(predicted, labels[batch]) + 1e-2 * reports[0].penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
predict("after")
