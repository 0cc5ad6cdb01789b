"""The frozen solve of a trained model, measured on test samples that freezing never saw."""

import dataclasses
import time
from collections.abc import Sequence
from typing import final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._backends._trainer import Trainer
from lrnde_core import Plan

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@final
@dataclasses.dataclass(frozen=True)
class FrozenSolve:
    """A plan and how far it is off; errors are relative, of a sample's solution against the adaptive one.

    - `method`, `num_steps`: of the plan. `error_bound`: what was asked for.
    - `error`: the largest on the held back half of the calibration samples, `num_held_back` of them;
      `share_beyond`: how many of fresh samples are expected beyond it.
    - `test_errors`: `QUANTILES` of the errors of the test samples. `test_share_beyond`: the share of these beyond
      `error`. `test_share_beyond_bound`: beyond `error_bound`.
    - `freeze_seconds`: wall time that finding the plan took, compilation included.
    """

    method: str
    num_steps: int
    error_bound: float
    error: float
    num_held_back: int
    share_beyond: float
    test_errors: tuple[float, ...]
    test_share_beyond: float
    test_share_beyond_bound: float
    freeze_seconds: float


def freeze(trainer: Trainer, error_bound: float, num_tested: int) -> tuple[Plan, FrozenSolve]:
    """Freeze the solve of a trained model, and measure it on the first `num_tested` samples of the test batches.

    Raises what `Trainer.freeze` does.
    """
    start = time.perf_counter()
    report = trainer.freeze(error_bound)
    seconds = time.perf_counter() - start
    assert report.share_beyond is not None  # the largest error is promised
    errors = relative_errors(trainer.states(report.plan), trainer.states())[:num_tested]
    frozen = FrozenSolve(
        method=report.plan.steps.method,
        num_steps=report.plan.steps.num_steps,
        error_bound=error_bound,
        error=report.error,
        num_held_back=len(report.errors),
        share_beyond=report.share_beyond,
        test_errors=tuple(np.quantile(errors, QUANTILES, method="inverted_cdf").tolist()),
        test_share_beyond=float((errors > report.error).mean()),
        test_share_beyond_bound=float((errors > error_bound).mean()),
        freeze_seconds=seconds,
    )
    return report.plan, frozen


def relative_errors(found: Sequence[Floats], native: Sequence[Floats]) -> Floats:
    """Of each sample: the norm of the difference over that of the native solution, or over the median of the batch.

    - `found`, `native`: solutions of batches, each `(times, batch, channels)`. Norms are over all times and channels;
      the larger of the two divides, as in `lrnde.freeze`.
    """
    sizes = [_norms(each) for each in native]
    pairs = zip(found, native, sizes, strict=True)
    return np.concatenate([_norms(a - b) / np.maximum(size, np.median(size)) for a, b, size in pairs])


def _norms(states: Floats) -> Floats:
    return np.sqrt((states.astype(np.float64) ** 2).sum((0, 2)))
