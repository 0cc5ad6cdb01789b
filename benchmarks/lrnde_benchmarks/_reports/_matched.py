"""Models at matched quality: each predicts by the cheapest setting at which it is good enough.

Good enough is the score of the unpenalised model at the tolerance of training, less the task's margin. Both sides have
every lever: tolerance, first step, solver; and apart from these fixed steps of every method. The setting is chosen on
validation data, by means over seeds.
"""

import functools
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, final

from lrnde_benchmarks._cells._ladder import Climbed, FixedRung, Ladder, Rung, Tried, time_both
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._reports._pareto import pareto_front
from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._statistics import difference_interval, ratio_interval
from lrnde_benchmarks._study import Job
from lrnde_benchmarks._tasks._task import BenchmarkTask
from lrnde_core import InputError

_MARGINS = Path(__file__).parents[1] / "margins.json"

BySeed = Mapping[int, Climbed]
"""A trained model of each seed at every setting."""

Part = Callable[[Climbed], tuple[Tried, ...]]
"""The settings to choose from."""

PARTS: Mapping[str, Part] = {"matched": attrgetter("adaptive"), "matched_frozen": attrgetter("frozen")}
"""The comparisons by their keys in the report: adaptive solves, and fixed steps."""


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
    rung: Rung | FixedRung


@final
class Matches(NamedTuple):
    """The comparisons of each trained model with the unpenalised one, by adapter and setting, and all models' fronts.

    - `compared`: by the keys of `PARTS`. `fronts`: the best settings of each model by these keys, for the report.
    """

    compared: dict[tuple[str, str], dict[str, dict[str, Any]]]
    fronts: list[dict[str, Any]]


def match_all(store: Store, jobs: Iterable[Job]) -> Matches:
    """Try all models of finished cells at every setting, and compare them."""
    task, margin = store.study.task, margin_of(store.study.task)
    models: dict[tuple[str, str], dict[int, Climbed]] = {}
    # Jobs rather than ladders, each of which would keep its data.
    places: dict[tuple[str, str, int], Job] = {}
    for job in jobs:
        for name, climbed in Ladder(store, job).climb().items():
            models.setdefault((job.adapter, name), {})[job.seed] = climbed
            places[job.adapter, name, job.seed] = job
    settings = {setting.name: setting for setting in store.study.settings}

    def speedup(adapter: str, name: str, seed: int, base_rung: Rung | FixedRung, rung: Rung | FixedRung) -> float:
        base, own = (
            Ladder(store, places[adapter, each, seed]).predictor(settings[each], at)
            for each, at in ((BASELINE, base_rung), (name, rung))
        )
        return time_both(base, own, store.study.hyperparameters.repetitions)

    compared = {
        (adapter, name): {
            key: matched(
                model, models[adapter, BASELINE], task, margin, functools.partial(speedup, adapter, name), part
            )
            for key, part in PARTS.items()
        }
        for (adapter, name), model in models.items()
        if name != BASELINE
    }
    is_higher_better = task.metric.is_higher_better
    fronts = [
        {
            "adapter": adapter,
            "setting": name,
            **{key: _front(model, part, is_higher_better=is_higher_better) for key, part in PARTS.items()},
        }
        for (adapter, name), model in models.items()
    ]
    return Matches(compared, fronts)


def _front(model: BySeed, part: Part, *, is_higher_better: bool) -> list[dict[str, Any]]:
    """The settings that no other one beats in cost and score on validation data, and both of each seed on test data."""
    columns = list(zip(*(part(climbed) for climbed in model.values()), strict=True))
    means = [
        (
            statistics.fmean(each.validation.nfe for each in column),
            statistics.fmean(each.validation.score for each in column),
        )
        for column in columns
    ]
    front = set(pareto_front([mean for mean in means if math.isfinite(mean[1])], is_higher_better=is_higher_better))
    kept = sorted((mean, place) for place, mean in enumerate(means) if mean in front)
    return [
        {
            "setting": columns[place][0].rung._asdict(),
            "nfe": [each.test.nfe for each in columns[place]],
            "score": [each.test.score for each in columns[place]],
        }
        for _, place in kept
    ]


def choose(
    model: BySeed, base: BySeed, task: BenchmarkTask, margin: float, part: Part = PARTS["matched"]
) -> Choice | None:
    """The setting of a model, by means over its seeds on validation data; `None` where none is good enough.

    - `part`: the settings to choose from.
    """
    sign = 1.0 if task.metric.is_higher_better else -1.0
    target = statistics.fmean(sign * each.at_training.validation.score for each in base.values()) - margin
    exact = statistics.fmean(each.adaptive[0].validation.score for each in model.values())
    candidates: list[tuple[float, float, int]] = []
    tries = [part(climbed) for climbed in model.values()]
    for place in range(len(tries[0])):
        score = statistics.fmean(each[place].validation.score for each in tries)
        cost = statistics.fmean(each[place].validation.nfe for each in tries)
        is_valid = not task.metric.needs_exact_solution or abs(score - exact) <= margin
        # Also false for what is not a number.
        if sign * score >= target and is_valid:
            candidates.append((cost, -sign * score, place))
    if not candidates:
        return None
    place = min(candidates)[2]
    return Choice(place, tries[0][place].rung)


def matched(
    model: BySeed,
    base: BySeed,
    task: BenchmarkTask,
    margin: float,
    speedup: Callable[[int, Any, Any], float],
    part: Part = PARTS["matched"],
) -> dict[str, Any]:
    """The comparison of a model with the unpenalised one, each at its own setting, on test data, paired by seed.

    - `speedup(seed, base_rung, rung)`: the time of a prediction of the unpenalised model over that of the model.
    - `part`: the settings to choose from.
    """
    choices = base_choice, choice = [choose(each, base, task, margin, part) for each in (base, model)]
    base_setting, setting = (None if each is None else each.rung._asdict() for each in choices)
    found: dict[str, Any] = {"margin": margin, "base_setting": base_setting, "setting_chosen": setting}
    if choice is None or base_choice is None:
        return found
    seeds = [seed for seed in model if seed in base]
    sign = 1.0 if task.metric.is_higher_better else -1.0
    target = statistics.fmean(sign * base[seed].at_training.test.score for seed in seeds) - margin
    pairs = [(part(model[seed])[choice.place].test, part(base[seed])[base_choice.place].test) for seed in seeds]
    form = {"ratio": _ratio, "change": _change}[task.metric.comparison]
    return found | {
        "nfe": statistics.fmean(own.nfe for own, _ in pairs),
        "base_nfe": statistics.fmean(bare.nfe for _, bare in pairs),
        "nfe_ratio": _ratio([(own.nfe, bare.nfe) for own, bare in pairs]),
        f"score_{task.metric.comparison}": form([(own.score, bare.score) for own, bare in pairs]),
        "predict_speedup": ratio_interval([speedup(seed, base_choice.rung, choice.rung) for seed in seeds])._asdict(),
        "is_held": [
            statistics.fmean(sign * each.score for each in evaluations) >= target
            for evaluations in zip(*pairs, strict=True)
        ],
        "is_smallest": [_is_smallest(model, choice, part), _is_smallest(base, base_choice, part)],
    }


def _is_smallest(model: BySeed, choice: Choice, part: Part) -> bool:
    """Whether no setting of the ladder is cheaper."""
    tries = [part(climbed) for climbed in model.values()]
    return all(each[choice.place].test.nfe == min(tried.test.nfe for tried in each) for each in tries)


def _ratio(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return ratio_interval([own / bare for own, bare in pairs])._asdict()


def _change(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return difference_interval([own - bare for own, bare in pairs])._asdict()
