"""Law 14: what is declared unsupported is refused before the solve, with the reason and what would work."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import lrnde_core
from lrnde_conformance._backends._backend import Counter
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._probes import solve_with_probes
from lrnde_conformance._experiments._designs import main_problem, trajectory
from lrnde_conformance._experiments._experiment import COSTS, Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_conformance._problems import Formula
from lrnde_core import Capability, CapabilityError

_RESTARTED = {"sampler": lrnde_core.UniformTime(weighting="paper", local_start="sample"), "heuristic": COSTS["error"]}
_RUNNING = {"sampler": lrnde_core.Integral(), "gradient": "full", "heuristic": COSTS["taylor-at-step"]}

# Arguments of `regularize` that ask for a capability.
_SETTINGS: dict[Capability, dict[str, Any]] = {
    Capability.ERROR_ESTIMATE: {"heuristic": lrnde_core.ErrorEstimate(rtol=1e-3, atol=1e-3)},
    Capability.STIFFNESS_ESTIMATE: {"heuristic": lrnde_core.StiffnessEstimate()},
    Capability.POINT_HEURISTICS: {"heuristic": lrnde_core.TaylorDerivative(2, at="step")},
    Capability.POINT_INSIDE_STEP: {"heuristic": lrnde_core.TaylorDerivative(2)},
    Capability.REVERSE_PRODUCTS: {"heuristic": lrnde_core.JacobianNorm(at="step")},
    Capability.UNIFORM_TIME: {"sampler": lrnde_core.UniformTime()},
    Capability.UNIFORM_STEP: {"sampler": lrnde_core.UniformStep()},
    Capability.ALL_STEPS: {"sampler": lrnde_core.AllSteps(), "gradient": "full"},
    Capability.RUNNING_COST: _RUNNING,
    Capability.RESTARTED_STEP: _RESTARTED,
    Capability.LOCAL_GRADIENT: {"gradient": "local"},
    Capability.FULL_GRADIENT: {"gradient": "full"},
    Capability.BATCHED_SAMPLES: {"batched": True, "num_samples": 2},
    Capability.FRESH_INCREMENT: {"sampler": lrnde_core.UniformTime(increment="fresh")},
    Capability.CHECKED_STEPS: {"steps": lrnde_core.CheckedSteps()},
}
# Changes of an experiment that ask for one; `collect` and those that freeze ask for others.
_CALLS: dict[Capability, dict[str, Any]] = {
    Capability.TREE_STATE: {"is_split": True},
    Capability.REVERSE_TIME: {"ts": (1.0, 0.5, 0.0)},
    Capability.FLOAT32: {"dtype": "float32"},
    Capability.FLOAT64: {"dtype": "float64"},
}
ASKABLE = (*_SETTINGS, *_CALLS, Capability.PROBES, Capability.COLLECT, Capability.FREEZE, Capability.FREEZE_SDE)
"""What something in a call can ask for, so that there is something to refuse."""


def _unsupported(subject: Subject) -> list[str]:
    return [capability.name for capability, _ in subject.capabilities.unsupported if capability in ASKABLE]


@check(
    "refusal.capability",
    law=14,
    cases=lambda subject: _unsupported(subject) or [""],
    hint="declare it in `Capabilities`, and refuse in `bind` what only shows in the arguments of a call",
)
def refusal_capability(subject: Subject, case: str) -> None:
    """A capability that is declared unsupported is refused with `CapabilityError` and the declared reason."""
    if not case:
        msg = "nothing that a call can ask for is declared unsupported"
        raise CheckSkipped(msg)
    capability = Capability[case]
    reason = subject.capabilities.reason_against(capability)
    assert reason is not None
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    if capability in _SETTINGS:
        settings = {**experiment.regularization, **_SETTINGS[capability]}
        assert_refused(
            subject, experiment, lambda f: _solve(subject, experiment, settings, f), reason, capability.value
        )
    elif capability is Capability.PROBES:
        probes = np.ones(experiment.problem.y0.shape)
        assert_refused(
            subject,
            experiment,
            lambda f: solve_with_probes(subject, probes, formula=f),
            reason,
            capability.value,
        )
    elif capability is Capability.COLLECT:
        assert_refused(subject, experiment, lambda f: _collected(subject, experiment, f), reason, capability.value)
    elif capability in (Capability.FREEZE, Capability.FREEZE_SDE):
        assert_refused(
            subject, experiment, lambda f: _frozen(subject, experiment, f, capability), reason, capability.value
        )
    else:
        asking = experiment.but(**_CALLS[capability])
        assert_refused(
            subject,
            experiment,
            lambda f: subject.solve(asking, formula=f),
            reason,
            capability.value,
            bare=lambda: subject.solve_bare(asking),
        )


def _method_cases(subject: Subject) -> list[str]:
    return [f"{m.name}-{what}" for m in subject.methods for what in _asked_of(subject, m)] or [""]


@check(
    "refusal.method",
    law=14,
    cases=_method_cases,
    hint="put it into `MethodFacts.unsupported` with the reason and what would work instead",
)
def refusal_method(subject: Subject, case: str) -> None:
    """What a method cannot serve is refused before the solve: nothing is evaluated."""
    if not case:
        msg = "no method of the driver lacks anything that another of them has"
        raise CheckSkipped(msg)
    name, _, what = case.rpartition("-")
    method = next(each for each in subject.driver.methods if each.name == name)
    experiment = trajectory(subject, method, subject.main_cost)
    settings = {**experiment.regularization, **_METHOD_REQUESTS[what]}
    if what == "full":
        experiment = experiment.but(adjoint=subject.driver.adjoints[-1])
    assert_refused(
        subject, experiment, lambda f: _solve(subject, experiment, settings, f), None, f"{what} with `{name}`"
    )


@check(
    "refusal.unserved",
    law=14,
    cases=lambda subject: [method.name for method in subject.driver.refused],
    hint="put `LOCAL_GRADIENT`, or the heuristics that cannot be served, into `MethodFacts.unsupported`",
)
def refusal_unserved(subject: Subject, case: str) -> None:
    """A method of which no single step can be taken alone is refused before the solve: nothing is evaluated."""
    method = next(each for each in subject.driver.refused if each.name == case)
    problem, dtype = main_problem(subject, method), subject.main_dtype
    experiment = Experiment(method, problem, (0.0, 0.5, 1.0), 1e-3, 1e-3, 0.125, subject.main_cost, dtype=dtype)
    assert_refused(subject, experiment, lambda f: subject.solve(experiment, formula=f), None, f"the method `{case}`")


@check(
    "refusal.draw",
    law=14,
    needs=[Capability.UNIFORM_TIME],
    hint="check the shape in `check_draw`, and values where they are concrete",
)
def refusal_draw(subject: Subject, _: str) -> None:
    """Draws of a wrong shape or outside [0, 1) are refused, and a `penalize` that is no bool."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    wrong: list[dict[str, Any]] = [
        {"draw": subject.backend.array([0.1, 0.2], experiment.dtype)},
        {"draw": subject.backend.array([1.0], experiment.dtype)},
        {"draw": subject.backend.array([-0.1], experiment.dtype)},
        {"penalize": 0},
    ]
    for extra in wrong:
        try:
            subject.solve(experiment, extra=extra)
        except lrnde_core.LrndeError:
            continue
        raise ConformanceFailure(
            "A wrong argument of a regularized call is accepted.",
            got=f"a result for {extra}",
            expected="`InputError` or `InputTypeError` before the solve",
            cause="`check_draw` does not look at what it is given",
            hint="refuse shapes other than (num_samples,), and values outside [0, 1)",
        )


@check(
    "refusal.native",
    law=14,
    hint="where the user's arguments are replaced while the solve runs, use `lrnde_core.native_errors`",
)
def refusal_native(subject: Subject, _: str) -> None:
    """A state of integers ends as in the bare call: in the same error in the same words, or in none.

    With a penalty it may be refused before the solve.
    """
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    task = subject.task(experiment)
    task = dataclasses.replace(task, y0=subject.backend.array(np.ones(experiment.problem.y0.shape, int), "int32"))
    native = subject.driver.native(task)
    solve = subject.regularized(native, **experiment.regularization)
    expected = _ending(lambda: subject.driver.call(native, task))
    draws = subject.backend.array(np.array(experiment.draws), experiment.dtype)
    for what, extra in (("without a penalty", {"penalize": False}), ("with a penalty", {"draw": draws})):
        found = _ending(lambda extra=extra: subject.driver.call(solve, task, **extra))
        if found == expected or (found.is_ours and "draw" in extra):
            continue
        raise ConformanceFailure(
            f"A call from a state of integers {what} ends otherwise than the bare call.",
            got=found.text,
            expected=expected.text,
            cause="the library sees something else in place of the user's arguments, and names it",
        )


class _Ending(NamedTuple):
    """The end of a call: the error, without addresses, and whether it is one of lrnde."""

    text: str
    is_ours: bool


def _ending(call: Callable[[], Any]) -> _Ending:
    try:
        call()
    except Exception as error:  # to compare it
        text = re.sub(r"0x[0-9a-f]+", "0x...", f"{type(error).__name__}: {error}")
        return _Ending(text, isinstance(error, lrnde_core.LrndeError))
    return _Ending("no error", False)


def _asked_of(subject: Subject, method: Method) -> list[str]:
    """What a method of this kind must refuse."""
    asked: list[str] = []
    supports = subject.supports
    scheme = SCHEMES.get(method.scheme or "")
    if supports(Capability.STIFFNESS_ESTIMATE) and (method.is_stochastic or (scheme and not scheme.has_pair)):
        asked.append("stiffness")
    if supports(Capability.POINT_INSIDE_STEP) and method.is_stochastic:
        asked.append("inside")
    if supports(Capability.RESTARTED_STEP) and (method.is_stochastic or not method.is_adaptive):
        asked.append("restarted")
    if supports(Capability.RUNNING_COST) and (method.is_stochastic or method.is_implicit):
        asked.append("running")
    if not method.is_adaptive and supports(Capability.ERROR_ESTIMATE):
        asked.append("tolerances")
    has_continuous_adjoint = subject.driver.refuses_full_gradient
    if supports(Capability.FULL_GRADIENT) and has_continuous_adjoint and method is subject.main_method:
        asked.append("full")
    return asked


_METHOD_REQUESTS: dict[str, dict[str, Any]] = {
    "stiffness": {"heuristic": lrnde_core.StiffnessEstimate()},
    "inside": {"heuristic": lrnde_core.TaylorDerivative(2)},
    "restarted": _RESTARTED,
    "tolerances": {"heuristic": lrnde_core.ErrorEstimate()},
    "running": _RUNNING,
    "full": {"gradient": "full"},
}


def _solve(subject: Subject, experiment: Experiment, settings: dict[str, Any], formula: Formula) -> Any:
    task = subject.task(experiment, formula=formula)
    draws = subject.backend.array([0.37] * settings.get("num_samples", 1), experiment.dtype)
    return subject.driver.call(subject.regularized(subject.driver.native(task), **settings), task, draw=draws)


def _collected(subject: Subject, experiment: Experiment, formula: Formula) -> Any:
    with lrnde_core.collect():
        return subject.solve(experiment, formula=formula)


def _frozen(subject: Subject, experiment: Experiment, formula: Formula, capability: Capability) -> Any:
    # What is refused needs no calibration.
    native = subject.driver.native(subject.task(experiment, formula=formula))
    if capability is Capability.FREEZE_SDE:
        return lrnde_core.freeze_sde(native, calibration=[], statistic=lambda result: result, adapter=subject.name)
    return lrnde_core.freeze(native, calibration=[], adapter=subject.name)


def assert_refused(
    subject: Subject,
    experiment: Experiment,
    ask: Callable[[Formula], Any],
    reason: str | None,
    what: str,
    *,
    bare: Callable[[], Any] | None = None,
) -> None:
    """`ask(formula)` asks for `what`, with the experiment's formula, counted; `reason`: the declared one."""
    hint = "raise `CapabilityError` in `bind`, or declare it in `Capabilities` or `MethodFacts.unsupported`"
    counter = Counter()
    try:
        ask(subject.backend.counted(experiment.problem.formula, counter))
    except CapabilityError as error:
        if counter.total:
            raise ConformanceFailure(
                f"{what[0].upper()}{what[1:]} is refused after something was evaluated.",
                got=f"{counter.total} evaluations",
                expected="none: refusals come before the solve",
                tolerance="none",
                hint=hint,
            ) from error
        if reason is None or reason in str(error):
            if len(str(error)) >= 40:
                return
            reason = "a sentence with the reason and what would work instead"
        raise ConformanceFailure(
            f"The refusal of {what} does not say why.", got=str(error), expected=f"with the reason: {reason}", hint=hint
        ) from error
    except Exception as error:  # what the library itself refuses is refused by it
        if bare is not None and _raises_same(bare, error):
            return
        raise ConformanceFailure(
            f"{what[0].upper()}{what[1:]} is declared unsupported, and asking for it ends in another error.",
            got=f"{type(error).__name__}: {error}",
            expected="CapabilityError with the reason and what would work",
            cause="it is refused nowhere, and fails somewhere inside",
            hint=hint,
        ) from error
    raise ConformanceFailure(
        f"{what[0].upper()}{what[1:]} cannot be served, and is not refused.",
        got="a result",
        expected="CapabilityError with the reason and what would work",
        cause="the declaration is not checked, or it works and should be declared supported",
        hint=hint,
    )


def _raises_same(bare: Callable[[], Any], error: Exception) -> bool:
    try:
        bare()
    except Exception as own:  # of the library
        return type(own) is type(error)
    return False
