"""A callback that logs the reports that the steps of a module return."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from lrnde_core import InputTypeError, Report, described

Outputs = Any
"""What `training_step`, `validation_step` or `test_step` returned, as Lightning passes it on."""


@final
class LogSolves(Callback):
    """Logs evaluations, steps and penalty of the solves of each step, from the reports that it returns.

        def training_step(self, batch, batch_idx):
            ys, report = odeint(self.field, ...)
            return {"loss": task_loss(ys) + 0.3 * report.penalty, "report": report}

        trainer = lightning.Trainer(callbacks=[LogSolves()])

    - `progress_bar`: the entries that the progress bar shows too, by their names in `Report.as_dict`.

    The entries are those of `Report.as_dict`, under `train/nfe`, `train/num_steps`, `train/penalty` and so on; what
    `validation_step` and `test_step` return is logged under `val/` and `test/`, as the mean over the batches. They go
    to every logger of the trainer. `"report"` may also be a list of reports, such as that of a `collect` block, or a
    dictionary of them: then the index or the key comes between, as in `train/0/nfe` and `train/encoder/nfe`.

    Training entries are read after the backward pass, so `train/nfe_backward` is complete; Lightning writes them every
    `log_every_n_steps`. In several processes those of training are the first process's, those of validation and test
    the mean over all.

    Raises `InputTypeError` for one name where several are expected, and in training if `training_step` returns no
    report. Added in 0.1.0.
    """

    def __init__(self, *, progress_bar: Sequence[str] = ("nfe",)) -> None:
        super().__init__()
        if isinstance(progress_bar, str):
            raise InputTypeError(
                f"`progress_bar` must be a list of names, not {progress_bar!r}: write `[{progress_bar!r}]`."
            )
        self._progress_bar = frozenset(progress_bar)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Outputs, batch: Any, batch_idx: int
    ) -> None:
        del trainer, batch, batch_idx
        # Empty if `training_step` returned `None`, by which it skips a batch.
        if outputs:
            self._log(pl_module, "train", outputs, "training_step", on_step=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Outputs, *args: Any, **kwargs: Any
    ) -> None:
        del trainer, args, kwargs
        if _has_report(outputs):
            self._log(pl_module, "val", outputs, "validation_step", on_step=False)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Outputs, *args: Any, **kwargs: Any
    ) -> None:
        del trainer, args, kwargs
        if _has_report(outputs):
            self._log(pl_module, "test", outputs, "test_step", on_step=False)

    def _log(self, module: LightningModule, stage: str, outputs: Outputs, step: str, *, on_step: bool) -> None:
        for prefix, report in _named_reports(outputs, step):
            for name, value in report.as_dict().items():
                module.log(
                    f"{stage}/{prefix}{name}",
                    value,
                    prog_bar=name in self._progress_bar,
                    on_step=on_step,
                    on_epoch=not on_step,
                    sync_dist=not on_step,
                    # A solve counts once, however large its batch is.
                    batch_size=1,
                )


def _has_report(outputs: Outputs) -> bool:
    return isinstance(outputs, Mapping) and "report" in outputs


def _named_reports(outputs: Outputs, step: str) -> list[tuple[str, Report]]:
    """Each report that `step` returned, after what comes in front of its entries."""
    given = outputs["report"] if _has_report(outputs) else None
    named: list[tuple[str, Report]]
    if isinstance(given, Report):
        named = [("", given)]
    elif isinstance(given, Mapping):
        named = [(f"{name}/", each) for name, each in given.items()]
    else:
        named = [(f"{index}/", each) for index, each in enumerate(given if isinstance(given, list | tuple) else ())]
    if not named or not all(isinstance(each, Report) for _, each in named):
        found = described(given) if _has_report(outputs) else 'no `"report"`'
        raise InputTypeError(
            f"`LogSolves` found {found} in what `{step}` returned. It needs what the regularized call returned beside "
            'the solution: `return {"loss": loss, "report": report}`; for several solves, a list or a dictionary of '
            "reports."
        )
    return named
