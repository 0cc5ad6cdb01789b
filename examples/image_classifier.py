"""Classify handwritten digits by a convolutional neural ODE with torchdiffeq's adjoint.

python examples/image_classifier.py [--iterations N]
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torchdiffeq import odeint_adjoint

import lrnde

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=80)
iterations = parser.parse_args().iterations
torch.manual_seed(0)

pixels, digits = load_digits(return_X_y=True)
order = torch.randperm(len(pixels))
images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)[order]
labels = torch.tensor(digits)[order]
times = torch.tensor([0.0, 1.0])


class Field(nn.Module):
    """dy/dt of a batch of images, shape (batch, 8, 8, 8), and how often it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Conv2d(9, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.num_evaluations = 0

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_evaluations += 1
        return self.outer(torch.tanh(self.inner(torch.cat([y, t.expand_as(y[:, :1])], dim=1))))


stem, field = nn.Conv2d(1, 8, 3, padding=1), Field()
head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 8, 10))
optimizer = torch.optim.Adam([*stem.parameters(), *field.parameters(), *head.parameters()], 3e-3)
solve = lrnde.regularize(odeint_adjoint)


@torch.no_grad()
def predict(when: str) -> None:
    """Print the accuracy on the first 360 images, which are not trained on, and what the solve cost."""
    field.num_evaluations = 0
    ys = odeint_adjoint(field, stem(images[:360]), times, rtol=1e-3, atol=1e-3)
    accuracy = (head(ys[-1]).argmax(1) == labels[:360]).float().mean()
    print(f"{when} training: {field.num_evaluations} evaluations, accuracy {accuracy:.3f}")


predict("before")
for _ in range(iterations):
    batch = torch.randint(360, len(images), (64,))
    ys, report = solve(field, stem(images[batch]), times, rtol=1e-3, atol=1e-3)
    loss = nn.functional.cross_entropy(head(ys[-1]), labels[batch]) + 0.3 * report.penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
predict("after")
