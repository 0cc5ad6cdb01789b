"""A study: a task trained by several methods on backends and seeds, cut into cells."""

import re
from typing import NamedTuple, final

from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._tasks._data import Fold
from lrnde_benchmarks._tasks._task import BenchmarkTask


@final
class Job(NamedTuple):
    """One cell to be made: `settings` trained for one seed on one backend, side by side in one process."""

    adapter: str
    seed: int
    settings: tuple[Setting, ...]

    @property
    def label(self) -> str:
        """For people: where the job trains one model, that model is named."""
        models = [setting.name for setting in self.settings if setting.trained_as is None]
        return ", ".join([self.adapter, *(models if len(models) == 1 else []), f"seed {self.seed}"])

    @property
    def slug(self) -> str:
        """The label, fit for the name of a file."""
        return re.sub(r"[^\w.=+-]+", "-", self.label)


@final
class Study(NamedTuple):
    """All `settings` of a task, for each of `seeds` on every one of `adapters`, at most `jobs` processes at a time.

    - `is_side_by_side`: whether all settings of a seed make one cell, in which they take turns; otherwise each trained
      model is a cell by itself, with the rows that only solve it differently.
    - `num_folds`: seed s holds out fold s mod `num_folds` of repetition s div `num_folds` of a cross-validation; `None`
      holds out what the seed decides.
    """

    task: BenchmarkTask
    adapters: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: tuple[Setting, ...]
    hyperparameters: Hyperparameters
    jobs: int
    is_side_by_side: bool = True
    num_folds: int | None = None

    @property
    def cells(self) -> list[Job]:
        """All cells, seed by seed, so that whatever is finished early can be compared."""
        return [
            Job(adapter, seed, settings)
            for seed in self.seeds
            for adapter in self.adapters
            for settings in self._groups()
        ]

    def fold(self, seed: int) -> Fold | None:
        """What this seed holds out, in a cross-validation."""
        if self.num_folds is None:
            return None
        return Fold(seed // self.num_folds, seed % self.num_folds, self.num_folds)

    def _groups(self) -> list[tuple[Setting, ...]]:
        if self.is_side_by_side:
            return [self.settings]
        models = [setting for setting in self.settings if setting.trained_as is None]
        return [tuple(each for each in self.settings if each.model == model.name) for model in models]
