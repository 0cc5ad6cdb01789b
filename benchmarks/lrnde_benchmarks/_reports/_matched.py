"""Models at matched quality: each predicts by the cheapest setting at which it is good enough.

Good enough is the score of the unpenalised model at the tolerance of training, less the task's margin. Both sides have
every lever: tolerance, first step, solver. The setting is chosen on validation data, by means over seeds.
"""

import functools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from lrnde_benchmarks._cells._ladder import Climbed, Ladder, Rung, time_both
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._statistics import difference_interval, ratio_interval
from lrnde_benchmarks._study import Job
from lrnde_benchmarks._tasks._task import BenchmarkTask
from lrnde_core import InputError

_MARGINS = Path(__file__).parents[1] / "margins.json"

BySeed = Mapping[int, Climbed]
"""A trained model of each seed at every setting."""


def margin_of(task: BenchmarkTask) -> float:
    """One standard deviation of the unpenalised model's score over seeds, as fixed beforehand in margins.json.

    Raises `InputError` where there is none.
    """
    margins = json.loads(_MARGINS.read_text(encoding="utf-8"))
    if task.name not in margins:
        raise InputError(
            f"`--matched`: {_MARGINS.name} has no margin for the task `{task.name}`. Train `--methods none "
            "--seeds 10`, and add one by `python benchmarks/fix_margin.py` with the report."
        )
    return float(margins[task.name]["margin"])


@final
class Choice(NamedTuple):
    """The cheapest setting that is good enough: its place on the ladder, and itself."""

    place: int
    rung: Rung


def match_all(store: Store, jobs: Sequence[Job]) -> dict[tuple[str, str], dict[str, Any]]:
    """The comparison of each trained model with the unpenalised one, by adapter and setting."""
    task, margin = store.study.task, margin_of(store.study.task)
    models: dict[tuple[str, str], dict[int, Climbed]] = {}
    ladders: dict[tuple[str, str, int], Ladder] = {}
    for job in jobs:
        ladder = Ladder(store, job)
        for name, climbed in ladder.climb().items():
            models.setdefault((job.adapter, name), {})[job.seed] = climbed
            ladders[job.adapter, name, job.seed] = ladder
    settings = {setting.name: setting for setting in store.study.settings}

    def speedup(adapter: str, name: str, seed: int, base_rung: Rung, rung: Rung) -> float:
        base, own = (
            ladders[adapter, each, seed].trainer(settings[each], at)
            for each, at in ((BASELINE, base_rung), (name, rung))
        )
        return time_both(base, own, store.study.hyperparameters.repetitions)

    return {
        (adapter, name): matched(
            model, models[adapter, BASELINE], task, margin, functools.partial(speedup, adapter, name)
        )
        for (adapter, name), model in models.items()
        if name != BASELINE
    }


def choose(model: BySeed, base: BySeed, task: BenchmarkTask, margin: float) -> Choice | None:
    """The setting of a model, by means over its seeds on validation data; `None` where none is good enough."""
    sign = 1.0 if task.metric.is_higher_better else -1.0
    target = statistics.fmean(sign * each.at_training.validation.score for each in base.values()) - margin
    exact = statistics.fmean(each.tried[0].validation.score for each in model.values())
    candidates: list[tuple[float, float, int]] = []
    climbed = list(model.values())
    for place in range(len(climbed[0].tried)):
        score = statistics.fmean(each.tried[place].validation.score for each in climbed)
        cost = statistics.fmean(each.tried[place].validation.nfe for each in climbed)
        is_valid = not task.metric.needs_exact_solution or abs(score - exact) <= margin
        # Also false for what is not a number.
        if sign * score >= target and is_valid:
            candidates.append((cost, -sign * score, place))
    if not candidates:
        return None
    place = min(candidates)[2]
    return Choice(place, climbed[0].tried[place].rung)


def matched(
    model: BySeed,
    base: BySeed,
    task: BenchmarkTask,
    margin: float,
    speedup: Callable[[int, Rung, Rung], float],
) -> dict[str, Any]:
    """The comparison of a model with the unpenalised one, each at its own setting, on test data, paired by seed.

    - `speedup(seed, base_rung, rung)`: the time of a prediction of the unpenalised model over that of the model.
    """
    base_choice, choice = (choose(each, base, task, margin) for each in (base, model))
    assert base_choice is not None  # at the tolerance of training it reaches its own score
    found: dict[str, Any] = {"margin": margin, "base_setting": base_choice.rung._asdict(), "setting_chosen": None}
    if choice is None:
        return found
    seeds = [seed for seed in model if seed in base]
    pairs = [(model[seed].tried[choice.place].test, base[seed].tried[base_choice.place].test) for seed in seeds]
    form = {"ratio": _ratio, "change": _change}[task.metric.comparison]
    return found | {
        "setting_chosen": choice.rung._asdict(),
        "nfe": statistics.fmean(own.nfe for own, _ in pairs),
        "base_nfe": statistics.fmean(bare.nfe for _, bare in pairs),
        "nfe_ratio": _ratio([(own.nfe, bare.nfe) for own, bare in pairs]),
        f"score_{task.metric.comparison}": form([(own.score, bare.score) for own, bare in pairs]),
        "predict_speedup": ratio_interval([speedup(seed, base_choice.rung, choice.rung) for seed in seeds])._asdict(),
        "is_smallest": [_is_smallest(model, choice), _is_smallest(base, base_choice)],
    }


def _is_smallest(model: BySeed, choice: Choice) -> bool:
    """Whether no setting of the ladder is cheaper."""
    return all(
        each.tried[choice.place].test.nfe == min(tried.test.nfe for tried in each.tried) for each in model.values()
    )


def _ratio(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return ratio_interval([own / bare for own, bare in pairs])._asdict()


def _change(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return difference_interval([own - bare for own, bare in pairs])._asdict()
