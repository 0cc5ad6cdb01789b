"""The settings of a penalty, of right and wrong kinds."""

from typing import Any

from calls import Choices, Table, literal

import lrnde
from lrnde_core import AbstractHeuristic

HEURISTICS: Table = literal(
    lrnde.ErrorEstimate(),
    lrnde.ErrorEstimate(rtol=1e-3, atol=1e-3),
    lrnde.PredictedSteps(),
    lrnde.PredictedSteps(rtol=1e-3, atol=1e-3),
    lrnde.StiffnessEstimate(),
    lrnde.TaylorDerivative(2),
    lrnde.TaylorDerivative(3, at="step"),
    lrnde.KineticEnergy(),
    lrnde.KineticEnergy("taynode", at="step"),
    lrnde.JacobianNorm(),
    lrnde.JacobianNorm(probe="rademacher", mode="jvp"),
    lrnde.JacobianNorm(at="step"),
    lrnde.ErrorEstimate() + 0.1 * lrnde.StiffnessEstimate(),
    lrnde.KineticEnergy() + 0.5 * lrnde.JacobianNorm(),
    2 * lrnde.TaylorDerivative(2, at="step") + lrnde.PredictedSteps(rtol=1e-2, atol=1e-2),
    "error_estimate",
    None,
)
ODD_HEURISTICS: Table = literal("no such heuristic", lrnde.ErrorEstimate, 1.0, lrnde.UniformTime())
SAMPLERS: Table = literal(
    lrnde.UniformTime(),
    lrnde.UniformTime(weighting="paper"),
    lrnde.UniformTime(weighting="paper", local_start="sample"),
    lrnde.UniformTime(increment="fresh"),
    lrnde.UniformStep(),
    lrnde.UniformStep(weighting="paper", local_start="sample"),
    lrnde.AllSteps(),
    lrnde.AllSteps("mean"),
    lrnde.AllSteps("max"),
    lrnde.Integral(),
    "uniform_time",
)
ODD_SAMPLERS: Table = literal("no such sampler", lrnde.UniformStep, 3, lrnde.KineticEnergy())
ODD_DRAWS: Table = literal(
    [], [0.5, 0.5, 0.5, 0.5, 0.5], [1.0], [-0.1], [float("nan")], "x", 0.5, [[0.5]], None, [None]
)


OF_STOCHASTIC: Table = literal(
    lrnde.ErrorEstimate(rtol=1e-2, atol=1e-2),
    lrnde.ErrorEstimate(),
    lrnde.PredictedSteps(rtol=1e-2, atol=1e-2),
    lrnde.KineticEnergy(at="step"),
    lrnde.TaylorDerivative(2, at="step"),
    lrnde.JacobianNorm(mode="jvp", at="step"),
    lrnde.ErrorEstimate(rtol=1e-2, atol=1e-2) + lrnde.JacobianNorm(at="step"),
)


def choose_settings(choices: Choices, *, is_stochastic: bool = False) -> dict[str, Any]:
    """Keyword arguments of `regularize`; for a stochastic equation mostly such as it supports."""
    settings: dict[str, Any] = {}
    oddity, choices.oddity = choices.oddity, 0.15 * choices.oddity  # most of it is refused before anything is solved
    if choices.random.random() < 0.6:
        is_supported = is_stochastic and choices.random.random() < 0.8
        settings["heuristic"] = choices.pick("heuristic", OF_STOCHASTIC if is_supported else HEURISTICS, ODD_HEURISTICS)
    if choices.random.random() < 0.5:
        settings["sampler"] = choices.pick("sampler", SAMPLERS, ODD_SAMPLERS)
    settings |= choices.maybe("gradient", 0.2, literal("local", "full", None), literal("x", 1))
    settings |= choices.maybe("num_samples", 0.2, literal(1, 2, 3), literal(0, -1, 1.5, "x", True, None))
    settings |= choices.maybe("batched", 0.1, literal(True, False))
    choices.oddity = oddity
    return settings


def choose_draw(choices: Choices, settings: dict[str, Any]) -> dict[str, Any]:
    """The argument `draw`, or nothing."""
    if choices.random.random() < 0.3 * choices.oddity:
        return {"draw": choices.pick("draw", ODD_DRAWS)}
    if choices.random.random() < 0.4:
        num_samples = settings.get("num_samples", 1)
        number = num_samples if isinstance(num_samples, int) and num_samples > 0 else 1
        draw = [choices.random.choice((0.0, 0.25, 0.999999, choices.random.random())) for _ in range(number)]
        choices.made["draw"] = repr(draw)
        return {"draw": draw}
    return {}


def choose_mode(choices: Choices) -> Any:
    """How the penalty is asked for."""
    return choices.random.choices(("regularize", "collect", "outside"), (0.85, 0.1, 0.05))[0]


def draws_number(settings: dict[str, Any], extras: dict[str, Any], source: str) -> bool:
    """Whether the regularized call is to take a random number that it is not given (law 12)."""
    if extras.get("penalize", True) is not True or extras.get("draw") is not None or extras.get(source) is not None:
        return False
    sampler = settings.get("sampler")
    heuristic = settings.get("heuristic")
    needs_probe = isinstance(heuristic, AbstractHeuristic) and heuristic.evaluations.probe
    return not isinstance(sampler, lrnde.AllSteps | lrnde.Integral) or needs_probe
