"""Law 3 where the noise of the local step is not that of the path: fresh increments, and bridges between known ends."""

import dataclasses

import numpy as np

from lrnde_conformance._checks._cases import has_oracle, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._designs import one_step
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import Oracle, StepPoint, oracle
from lrnde_conformance._oracles._sde_schemes import SDE_SCHEMES
from lrnde_conformance._paths import PathIncrement
from lrnde_conformance._problems import Problem, driven
from lrnde_core import Capability, UniformTime

_SEED = 23
_BATCH = 24
_NUM_DRAWS = 40
_NUM_SIMULATED = 1000
_QUIET = 0.02
_FRESH, _BRIDGE = "fresh", "bridge"


def _sources(subject: Subject, method: Method) -> list[str]:
    """Where noise other than the path's comes from."""
    sources = [_FRESH] if subject.supports(Capability.FRESH_INCREMENT) else []
    is_bridged = not method.is_adaptive and subject.driver.bridges_fixed_steps
    return [*sources, _BRIDGE] if is_bridged else sources


def _draw_cases(subject: Subject) -> list[str]:
    methods = subject.main_methods if subject.backend.is_compiled else subject.methods
    stochastic = [method for method in methods if method.is_stochastic]
    return [f"{method.name}-{source}" for method in stochastic for source in _sources(subject, method)]


def _law_cases(subject: Subject) -> list[str]:
    """Not where the suite cannot simulate the scheme, or a library approximates what the scheme sees of the path."""
    names = {
        m.name
        for m in subject.methods
        if m.is_stochastic and m.scheme is not None and SDE_SCHEMES[m.scheme].sees != "levy"
    }
    return [case for case in _draw_cases(subject) if case.rpartition("-")[0] in names]


def _of_case(subject: Subject, case: str) -> tuple[Method, str]:
    name, _, source = case.rpartition("-")
    return next(method for method in subject.driver.methods if method.name == name), source


@check(
    "noise.draw",
    law=3,
    needs=[Capability.UNIFORM_TIME, Capability.ERROR_ESTIMATE],
    cases=unless_lean(_draw_cases),
    hint="seed a generator of your own with `lrnde_core.noise_seed(draw.bits)`, and ask it for nothing else",
)
def noise_draw(subject: Subject, case: str) -> None:
    """Noise that is not the path's is a function of the draw, and fresh increments do not depend on the path at all."""
    method, source = _of_case(subject, case)
    experiment = _of_many_draws(subject, method, source)
    ratios = _ratios(subject, experiment)
    cause = "a random number comes from a global generator, or from one that is not seeded by the draw"
    hint = "seed a generator of your own with `lrnde_core.noise_seed(draw.bits)`"
    # Another object, so that it is solved again.
    again = _ratios(subject, experiment.but(problem=experiment.problem.moved()))
    what = f"The error ratio ({source}, `{method.name}`) of the same draw"
    assert_equal(f"{what}, asked for again,", again, ratios, cause=cause, hint=hint)
    if len(np.unique(ratios)) < 0.9 * len(ratios):
        raise ConformanceFailure(
            f"Other draws have the same noise ({source}, `{method.name}`).",
            got=f"{len(np.unique(ratios))} different error ratios of {len(ratios)} draws, all of the same step",
            expected="different ones: the noise is made from the draw",
            cause="the path's own increment is taken, or a constant seed",
            hint=hint,
        )
    if source == _FRESH:
        amplitude = experiment.problem.amplitude
        assert amplitude is not None
        other = dataclasses.replace(experiment.problem, amplitude=0.5 * amplitude)
        moved = _ratios(subject, experiment.but(problem=other))
        cause = "the local step sees the path of the solve, or `plan.sampler.increment` is not looked at"
        assert_equal(f"{what} along another path", moved, ratios, cause=cause, hint=hint)


@check(
    "noise.law",
    law=3,
    needs=[Capability.UNIFORM_TIME, Capability.ERROR_ESTIMATE, Capability.FLOAT64],
    cases=unless_lean(_law_cases),
    hint="the increment over a half of the step has the variance of half its size",
)
def noise_law(subject: Subject, case: str) -> None:
    """Over many draws the error has the mean square and spread that the published scheme has along Brownian motion."""
    method, source = _of_case(subject, case)
    experiment = _of_many_draws(subject, method, source)
    ratios = _ratios(subject, experiment)
    reference = oracle(experiment.problem, method, experiment.rtol, experiment.atol)
    assert reference is not None
    found, simulated = np.log(ratios), np.log(_simulated(reference, source, experiment.ts[-1]))
    # Logarithms are nearly normal here, whatever the scheme; five standard deviations: less than one in a million.
    spread, slack = float(np.std(simulated)), 5 / np.sqrt(_NUM_DRAWS)
    is_mean_right = abs(np.mean(found) - np.mean(simulated)) <= slack * spread
    if is_mean_right and abs(np.std(found) / spread - 1) <= slack:
        return
    raise ConformanceFailure(
        f"The noise of the local step ({source}) with `{method.name}` has not the law of Brownian motion.",
        got=f"logarithm of E {np.mean(found):.3f} in the mean, with standard deviation {np.std(found):.3f}",
        expected=f"{np.mean(simulated):.3f} and {spread:.3f}, as simulated with the published scheme",
        tolerance=f"{slack * spread:.3f} and {slack * spread:.3f}: five standard deviations of {_NUM_DRAWS} draws",
        seed=_SEED,
        cause="a variance that is not the length of the interval, halves that do not add up to the step, equal halves, "
        "or for a bridge another variance than a quarter of the step",
        hint="a bridge between known ends: half the increment, plus half the root of h times a standard normal number",
    )


def _of_many_draws(subject: Subject, method: Method, source: str) -> Experiment:
    """A solve of a single step, whatever the noise, that many draws look at."""
    batch = _BATCH if subject.driver.shares_steps else 1
    problem = subject.remember(("noise", method.name), lambda: _mostly_noise(driven(method, batch=batch, seed=_SEED)))
    # Binary fractions, which no dtype of the draw rounds.
    draws = tuple(float(u) for u in np.random.default_rng(_SEED).choice(2**20, _NUM_DRAWS, replace=False) / 2**20)
    held_by = f"penalty.oracle-{method.name}-error" if has_oracle(subject, method) else ""
    single = one_step(subject, method, held_by=held_by)
    sampler = UniformTime(increment="fresh") if source == _FRESH else UniformTime()
    return single.but(problem=problem, rtol=100 * single.rtol, atol=100 * single.atol, sampler=sampler, draws=draws)


def _mostly_noise(problem: Problem) -> Problem:
    """The error of a step is then that of its noise."""
    return problem.moved(**{name: _QUIET * problem.parameters[name] for name in ("outer", "bias")})


def _ratios(subject: Subject, experiment: Experiment) -> np.ndarray:
    ratios = subject.measure(experiment, with_gradient=False).error_ratio
    assert ratios is not None
    return ratios


def _simulated(reference: Oracle, source: str, h: float) -> np.ndarray:
    """Error ratios of the published scheme along simulated halves of the step, from 0 to `h`."""
    rng, problem, half = np.random.default_rng(_SEED), reference.problem, 0.5 * h
    assert problem.amplitude is not None
    shape, whole = problem.amplitude.shape, problem.path.over(0.0, h).w
    point, ratios = StepPoint(0.0, h, problem.y0), np.zeros(_NUM_SIMULATED)
    for number in range(_NUM_SIMULATED):
        if source == _FRESH:
            first, second = np.sqrt(half) * rng.normal(size=(2, *shape))
        else:
            first = 0.5 * whole + 0.5 * np.sqrt(h) * rng.normal(size=shape)
            second = whole - first
        # Space-time area given the increment: its mean, and independent noise.
        areas = [0.5 * half * w + np.sqrt(half**3 / 12) * rng.normal(size=shape) for w in (first, second)]
        halves = (PathIncrement(first, areas[0]), PathIncrement(second, areas[1]))
        ratios[number] = reference.error_ratio(point, halves=halves)
    return ratios
