"""Classify handwritten digits by a neural ODE in a LightningModule, and watch what its solves cost.

python examples/lightning_classifier.py [--iterations N]

The curves are in `lightning_logs`: `tensorboard --logdir lightning_logs` shows them; without it, see the CSV file.
"""

import argparse

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchdiffeq import odeint

import lrnde
import lrnde_lightning

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--iterations", type=int, default=300)
iterations = parser.parse_args().iterations
torch.manual_seed(0)

pixels, digits = load_digits(return_X_y=True)
order = torch.randperm(len(pixels))
images, labels = torch.tensor(pixels / 16, dtype=torch.float32)[order], torch.tensor(digits)[order]
training = DataLoader(TensorDataset(images[360:], labels[360:]), batch_size=128, shuffle=True)
validation = DataLoader(TensorDataset(images[:360], labels[:360]), batch_size=360)
times = torch.tensor([0.0, 1.0])
solve = lrnde.regularize(odeint)


class Field(nn.Module):
    """dy/dt of a batch of images, shape (batch, 64), and how often it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 100), nn.Linear(100, 64)
        self.num_evaluations = 0

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_evaluations += 1
        return self.outer(torch.tanh(self.inner(y) + t))


class Classifier(lightning.LightningModule):
    """Logs its accuracy, and what a validation solve cost."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.head = Field(), nn.Linear(64, 10)

    def training_step(self, batch: list[torch.Tensor], index: int) -> dict[str, object]:
        x, labels = batch
        ys, report = solve(self.field, x, times, rtol=1e-5, atol=1e-5)
        loss = nn.functional.cross_entropy(self.head(ys[-1]), labels) + 0.3 * report.penalty
        return {"loss": loss, "report": report}

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        x, labels = batch
        self.field.num_evaluations = 0
        ys = odeint(self.field, x, times, rtol=1e-5, atol=1e-5)
        self.log("val/accuracy", (self.head(ys[-1]).argmax(1) == labels).float().mean())
        self.log("val/nfe", float(self.field.num_evaluations))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


model = Classifier()
trainer = lightning.Trainer(
    accelerator="cpu",
    max_steps=iterations,
    log_every_n_steps=5,
    check_val_every_n_epoch=5,
    callbacks=[
        lightning.pytorch.callbacks.TQDMProgressBar(refresh_rate=5),
        lrnde_lightning.LogSolves(progress_bar=("nfe", "penalty")),
    ],
)


def predict(when: str) -> None:
    """Print what a validation finds."""
    (found,) = trainer.validate(model, validation, verbose=False)
    print(f"{when} training: {found['val/nfe']:.0f} evaluations, accuracy {found['val/accuracy']:.3f}")


predict("before")
trainer.fit(model, training, validation)
predict("after")
