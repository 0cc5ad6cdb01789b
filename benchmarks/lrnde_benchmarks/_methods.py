"""The methods by name: a line here is a row that `lrnde compare` and `lrnde benchmark` know.

What suits a task (weights above all) is the task's own, see `Tuning`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import lrnde
from lrnde_benchmarks._settings import BASELINE, ExpansionSettings, Penalty, Setting
from lrnde_core import AbstractWeight, Constant, ExponentialDecay, GradientRatio, InputError, UnknownNameError

Schedule = float | tuple[float, float]
"""A weight over training: constant, or the first and the last value of an exponential decay."""


_CHECKED_STEPS = lrnde.CheckedSteps(error=1e-2)


@final
@dataclasses.dataclass(frozen=True)
class Tuning:
    """The parameters of the methods that suit a task.

    - `weights`: of the penalties, by method; where a method is missing, its usual weight stands.
    - `weight_decay`: of the row that regularizes otherwise (AdamW, decoupled).
    - `looser_tolerance`: of the rows that solve the unpenalised model less exactly, at prediction or from the first
      iteration on.
    - `steps`: of the rows that train on a plan. `end_spread`: of `steer`, see `Setting`.
    - `published_for`: the task whose published weights stand where `weights` has none; failing that, those for MNIST.
    """

    weights: Mapping[str, Schedule]
    weight_decay: float
    looser_tolerance: float
    end_spread: float = 0.5
    steps: lrnde.CheckedSteps = _CHECKED_STEPS
    published_for: str = "mnist"


@final
@dataclasses.dataclass(frozen=True)
class _Method:
    """A penalty, the name of its row, and its weight where a task does not have one that suits it better.

    - `found`: by trials on digits. `published`: in its place, the published one of a task, for a number of iterations.
    """

    penalty: Penalty
    row: str
    found: float | None = None
    published: Callable[[str, int], AbstractWeight] | None = None


def _with_rounding(preset: Mapping[str, Any]) -> Penalty:
    """The published penalty as its authors' code has it where a dtype does not resolve the tolerance."""
    settings: dict[str, Any] = {**preset, "heuristic": lrnde.ErrorEstimate(rounding="keep")}
    return Penalty(**settings)


def _sampled(running_cost: Mapping[str, Any]) -> Penalty:
    """The heuristic of a running cost at one sampled time instead."""
    return Penalty(running_cost["heuristic"], lrnde.UniformTime())


_BIASED, _UNBIASED = lrnde.presets.lrnde_biased, lrnde.presets.lrnde_unbiased
_ERNODE, _SRNODE = lrnde.presets.ernode, lrnde.presets.srnode

# Sampled at one time, the running costs of RNODE and TayNODE keep their expectation, and so their weight. It was found:
# TayNODE's own for MNIST, 6e-5, changes nothing on digits, and RNODE was not trained on MNIST.
_PENALTIES: Mapping[str, _Method] = {
    "default": _Method(Penalty(), "default"),
    "taylor_derivative": _Method(Penalty(lrnde.TaylorDerivative(2, at="step")), "taylor derivative"),
    "predicted_steps": _Method(Penalty(lrnde.PredictedSteps()), "predicted steps"),
    "lrnde_unbiased": _Method(Penalty(**_UNBIASED()), "lrnde_unbiased", published=_UNBIASED.weight),
    "lrnde_biased": _Method(Penalty(**_BIASED()), "lrnde_biased", published=_BIASED.weight),
    "lrnde_unbiased_rounding": _Method(
        _with_rounding(_UNBIASED()), "lrnde_unbiased, rounding kept", published=_UNBIASED.weight
    ),
    "lrnde_biased_rounding": _Method(
        _with_rounding(_BIASED()), "lrnde_biased, rounding kept", published=_BIASED.weight
    ),
    "lrnde_stiffness": _Method(
        Penalty(**_UNBIASED(stiffness=True)),
        "lrnde_stiffness",
        published=functools.partial(_UNBIASED.weight, stiffness=True),
    ),
    "ernode": _Method(Penalty(**_ERNODE()), "ernode", published=_ERNODE.weight),
    "srnode": _Method(Penalty(**_SRNODE()), "srnode", published=_SRNODE.weight),
    "rnode": _Method(Penalty(**lrnde.presets.rnode()), "rnode", 0.1),
    "rnode_sampled": _Method(_sampled(lrnde.presets.rnode()), "rnode, sampled", 0.1),
    "taynode": _Method(Penalty(**lrnde.presets.taynode()), "taynode", 0.01),
    "taynode_sampled": _Method(_sampled(lrnde.presets.taynode()), "taynode, sampled", 0.01),
}

# The published penalty of the remainder, its mean over the steps; ours takes the root mean square of each.
_REMAINDER = Penalty(lrnde.ErrorEstimate(rtol=0.0, atol=1.0), lrnde.AllSteps(), gradient="full")
_REMAINDER_WEIGHT = 10.0

_FROZEN_ERROR = 1e-2


def setting_by_name(name: str, *, steps: int, tuning: Tuning) -> Setting:
    """The setting of the method of this name, for a training of `steps` iterations.

    Raises `UnknownNameError`, or `InputError` where no weight of the method is known.
    """
    if name not in _METHODS:
        known = ", ".join(f"`{known}`" for known in METHOD_NAMES)
        raise UnknownNameError(f"There is no setting `{name}`; known are {known}.")
    return _METHODS[name](steps, tuning)


def with_frozen(settings: Sequence[Setting]) -> tuple[Setting, ...]:
    """The settings, with rows behind each trained adaptive model that predict by fixed steps; see `Setting`."""
    found: list[Setting] = []
    for setting in settings:
        found.append(setting)
        if setting.trained_as is None and setting.expansion is None:
            found.append(Setting(f"{setting.name}, frozen", frozen_error=_FROZEN_ERROR, trained_as=setting.name))
        if setting.steps is not None:
            found.append(Setting(f"{setting.name}, on its steps", on_plan=True, trained_as=setting.name))
    return tuple(found)


def _penalised(name: str, steps: int, tuning: Tuning) -> Setting:
    method = _PENALTIES[name]
    found = tuning.weights.get(name, method.found)
    if found is not None:
        weight = _weight(found, steps)
    elif method.published is not None:
        weight = _published_weight(method.published, steps, tuning)
    else:
        raise InputError(f"No weight of `{name}` is known for this task; give it in the task's `Tuning.weights`.")
    return Setting(method.row, method.penalty, weight)


def _published_weight(published: Callable[[str, int], AbstractWeight], steps: int, tuning: Tuning) -> AbstractWeight:
    try:
        return published(tuning.published_for, steps)
    except UnknownNameError:
        return published("mnist", steps)


def _weight(schedule: Schedule, steps: int) -> AbstractWeight:
    return ExponentialDecay(*schedule, steps) if isinstance(schedule, tuple) else Constant(schedule)


def _expanded(steps: int, tuning: Tuning) -> Setting:
    weight = _weight(tuning.weights.get("tl_node", _REMAINDER_WEIGHT), steps)
    return Setting("tl_node", _REMAINDER, weight, expansion=ExpansionSettings())


_METHODS: Mapping[str, Callable[[int, Tuning], Setting]] = {
    BASELINE: lambda _steps, _rivals: Setting(BASELINE),
    **{name: functools.partial(_penalised, name) for name in _PENALTIES},
    "gradient_ratio": lambda _steps, _tuning: Setting("gradient ratio", Penalty(), GradientRatio()),
    "planned": lambda _steps, tuning: Setting("planned", steps=tuning.steps),
    "planned_default": lambda steps, tuning: dataclasses.replace(
        _penalised("default", steps, tuning), name="planned default", steps=tuning.steps
    ),
    "steer": lambda _steps, tuning: Setting("steer", end_spread=tuning.end_spread),
    "weight_decay": lambda _steps, tuning: Setting("weight decay", weight_decay=tuning.weight_decay),
    "looser_tolerance": lambda _steps, tuning: Setting(
        "none, looser tolerance", predict_tolerance=tuning.looser_tolerance, trained_as=BASELINE
    ),
    "looser_training": lambda _steps, tuning: Setting("looser training", tolerance=tuning.looser_tolerance),
    "tl_node": _expanded,
}
"""The setting of each method, for a number of training iterations and what suits the task."""

METHOD_NAMES = tuple(_METHODS)

_ONLY_NAMED = ("lrnde_unbiased_rounding", "lrnde_biased_rounding", "tl_node")

ODE_METHODS = tuple(name for name in METHOD_NAMES if name not in ("taylor_derivative", *_ONLY_NAMED))
"""Where there is no noise, `taylor_derivative` is the default. `tl_node` is tuned for few tasks, which name it; keeping
the rounding makes a difference only where a dtype does not resolve the tolerance."""

ODE_COMPARED = ("none", "default", "looser_tolerance", "looser_training", "planned", "planned_default", "weight_decay")
"""The rows of `lrnde compare` where there is no noise, unless methods are named."""

_ODES_ONLY = (
    "planned",
    "planned_default",
    "lrnde_stiffness",
    "srnode",
    "rnode",
    "rnode_sampled",
    "taynode",
    "taynode_sampled",
    *_ONLY_NAMED,
)

SDE_METHODS = tuple(name for name in METHOD_NAMES if name not in _ODES_ONLY)
"""Step doubling has no pair of stages that estimates stiffness, no state inside of a step; noise has no expansion."""
