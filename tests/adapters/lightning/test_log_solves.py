"""`LogSolves` in a training by Lightning's trainer, read back from what its loggers wrote."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchdiffeq
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

import lrnde
from lrnde_lightning import LogSolves

# Of torch's trees in Lightning, as in tests/adapters/torchdiffeq/test_freeze.py, and what it advises on loaders.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning", "ignore:.*does not have many workers"
)
_SOLVE: Any = lrnde.regularize(torchdiffeq.odeint_adjoint)
_LOG: Any = LogSolves()


class _Field(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layer(y).tanh()


class _Module(lightning.LightningModule):
    """Keeps its reports, and returns what `wrap` makes of them."""

    def __init__(self, wrap: Callable[[lrnde.Report], Any] = lambda report: report) -> None:
        super().__init__()
        self.field, self.wrap = _Field(), wrap
        self.reports: dict[str, list[lrnde.Report]] = {"train": [], "val": []}

    def _solve(self, stage: str, batch: Any, **settings: Any) -> Mapping[str, Any]:
        ys, report = _SOLVE(self.field, batch[0], torch.tensor([0.0, 1.0]), **settings)
        self.reports[stage].append(report)
        return {"loss": ys[-1].square().mean() + 0.1 * report.penalty, "report": self.wrap(report)}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self._solve("train", batch)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return self._solve("val", batch, penalize=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class _Bar(ProgressBar):
    """Keeps what a progress bar would show after each iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[dict[str, Any]] = []

    def disable(self) -> None: ...

    def enable(self) -> None: ...

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.shown.append(dict(self.get_metrics(trainer, pl_module)))


def _fit(module: _Module, *callbacks: Any, loggers: list[Any]) -> None:
    """Three iterations, and a validation in batches of 8 and 4 samples."""
    torch.manual_seed(0)
    data = TensorDataset(torch.linspace(-3, 3, 36).reshape(12, 3))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(each, ProgressBar) for each in callbacks),
        logger=loggers,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(data, batch_size=4), DataLoader(data, batch_size=8))


def _rows(logger: CSVLogger) -> list[dict[str, str]]:
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_entries_of_every_step_go_to_loggers_and_progress_bar(tmp_path: Path) -> None:
    module, bar = _Module(), _Bar()
    table, board = CSVLogger(tmp_path, "table"), TensorBoardLogger(tmp_path, "board")
    _fit(module, LogSolves(progress_bar=("nfe", "penalty")), bar, loggers=[table, board])

    train, val = ([report.as_dict() for report in module.reports[stage]] for stage in ("train", "val"))
    assert len(train) == 3
    assert all(entries["nfe_backward"] > 0 for entries in train)
    rows = _rows(table)
    logged = [{name: float(row[f"train/{name}"]) for name in train[0]} for row in rows if row["train/nfe"]]
    assert logged == [{name: pytest.approx(float(value)) for name, value in entries.items()} for entries in train]
    # A solve counts once, however large its batch is.
    (row,) = (row for row in rows if row["val/nfe"])
    assert float(row["val/nfe"]) == pytest.approx(sum(entries["nfe"] for entries in val) / 2)

    shown = [{name: value for name, value in each.items() if name.startswith("train/")} for each in bar.shown]
    expected = [{f"train/{name}": pytest.approx(float(each[name])) for name in ("nfe", "penalty")} for each in train]
    assert shown == expected
    (events,) = Path(board.log_dir).glob("events.*")
    assert b"train/nfe_backward" in events.read_bytes()


@pytest.mark.parametrize(
    ("wrap", "name"), [(lambda report: [report], "train/0/nfe"), (lambda report: {"ode": report}, "train/ode/nfe")]
)
def test_several_reports_are_told_apart(wrap: Callable[[lrnde.Report], Any], name: str, tmp_path: Path) -> None:
    module, table = _Module(wrap), CSVLogger(tmp_path)
    _fit(module, LogSolves(), loggers=[table])
    assert [float(row[name]) for row in _rows(table) if row[name]] == [each.nfe for each in module.reports["train"]]


def test_a_skipped_batch_and_a_validation_without_a_report_log_nothing() -> None:
    _LOG.on_train_batch_end(None, None, None, None, 0)
    _LOG.on_validation_batch_end(None, None, torch.tensor(1.0), None, 0)
    _LOG.on_test_batch_end(None, None, {"loss": torch.tensor(1.0)}, None, 0)


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ({"loss": torch.tensor(1.0)}, 'no `"report"`'),
        ({"loss": torch.tensor(1.0), "report": []}, r"\[\]"),
        ({"loss": torch.tensor(1.0), "report": torch.tensor(1.0)}, r"a `Tensor` of shape \(\)"),
    ],
)
def test_a_training_step_without_a_report_is_refused(outputs: object, found: str) -> None:
    with pytest.raises(lrnde.InputTypeError, match=f'`LogSolves` found {found}.*"report": report'):
        _LOG.on_train_batch_end(None, None, outputs, None, 0)


def test_one_name_for_the_progress_bar_is_refused() -> None:
    with pytest.raises(lrnde.InputTypeError, match=r"`progress_bar` .*, not 'nfe'.*`\['nfe'\]`"):
        LogSolves(progress_bar="nfe")
