"""Law 16, continued: a training takes the cheapest steps that a check found within the bound, and leaves no trace."""

import dataclasses
from typing import Any

import numpy as np

from lrnde_conformance._backends._backend import Counter
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_equal, assert_rounded
from lrnde_conformance._checks._refusal import assert_refused
from lrnde_conformance._experiments._calibrated import (
    broken,
    by_hand,
    experiment,
    if_freezable,
    native_solution,
    overwriting,
    relative_errors,
    starts,
)
from lrnde_conformance._experiments._designs import main_problem
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._planned import CheckedTraining, has_holder, planned, uneven
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._oracles._oracle import complex_step_gradient
from lrnde_conformance._oracles._tolerances import rounding_of, rounding_of_gradient
from lrnde_conformance._problems import Problem
from lrnde_core import Candidate, Capability, CheckedSteps, FixedSteps, LrndeError

_NEEDS = (Capability.CHECKED_STEPS,)
_SEED = 41
LADDER = (FixedSteps.equal("midpoint", 1), FixedSteps.equal("rk4", 1), FixedSteps.equal("rk4", 2))
"""The plans that a training of the checks may take, from cheap to dear."""
CANDIDATES = tuple(Candidate(plan.method, plan.num_steps) for plan in LADDER)
GOOD = 1
"""The place in the ladder of the steps that an easy problem takes."""
# Of the parameters of the network: one step of the 3/8 rule solves the easy one, nothing in the ladder the hard one.
_EASY, _HARD = 0.6, 2.4
TOLERANCES = 100.0
"""The global error of a native solve, in its tolerances, as in the checks of law 15."""


def if_held(subject: Subject) -> tuple[str, ...]:
    """One case where the adapter keeps the plan of a training."""
    return if_freezable(subject) if subject.supports(_NEEDS[0]) and has_holder(subject) else ()


def _trained(subject: Subject) -> Experiment:
    """An easy problem, whose bound lies between the errors of the first two plans of the ladder."""
    easy = _scaled(experiment(subject), _EASY)
    cheap, good = (max(errors) for errors in _errors(subject, easy)[: GOOD + 1])
    steps = CheckedSteps(error=float(np.sqrt(cheap * good)), candidates=CANDIDATES, period=(50, 50))
    return easy.but(steps=steps)


def _scaled(described: Experiment, factor: float) -> Experiment:
    problem = described.problem
    changes = {name: factor * problem.parameters[name] for name in ("inner", "outer")}
    return described.but(problem=problem.moved(y0=starts(_SEED, 1)[0], **changes))


def _errors(subject: Subject, described: Experiment) -> list[np.ndarray]:
    """The error of each sample by each plan of the ladder."""
    native = native_solution(subject, described.but(steps=None))
    return [relative_errors(_by(plan, described.problem, described), native) for plan in LADDER]


def _by(plan: FixedSteps, problem: Problem, described: Experiment) -> Any:
    return by_hand(problem, plan.method, plan.ends, described.ts)


@check(
    "checked-steps.error",
    law=16,
    tier="optional",
    needs=_NEEDS,
    cases=unless_lean(if_freezable),
    hint="compare `states` of the freezer for a native result and for that of `by_steps`",
)
def checked_steps_error(subject: Subject, _: str) -> None:
    """A check measures the error, and a training takes no steps that it found beyond the bound, nor keeps failing ones.

    The first call chooses the cheapest steps within the bound. Then the problem gets harder: the next call sees its own
    estimate grow, so that the one after it is checked, and solved adaptively.
    """
    easy = _trained(subject)
    harder = _scaled(easy, _HARD / _EASY)
    counter = Counter()
    formula = subject.backend.counted(easy.problem.formula, counter)
    training = CheckedTraining(subject, easy)
    errors, chosen = _errors(subject, easy)[GOOD], LADDER[GOOD]
    cause, hint = "the outputs that are compared are not those of the two solves", "compare both by hand"
    atol = TOLERANCES * easy.rtol

    counter.reset()
    first = training.iterate(easy, formula=formula)
    subject.backend.wait()
    assert_equal("The plan that a check chooses", first.plan.steps, chosen, cause=cause, hint=hint)
    reported = training.plan if training.has_holder else None
    what, why = "`report.plan`", "it is another than the plan by which the call was solved"
    assert_equal(what, first.report.plan, reported, cause=why, hint="keep the plan in `plan_holder` alone")
    what, judged = "The error that a check measures, on the samples that did not choose,", max(errors[1::2])
    assert_close(what, first.plan.error, judged, rtol=0.0, atol=atol, cause=cause, hint=hint)
    what = "The number of evaluations of a check"
    nfe = int(np.max(subject.backend.to_numpy(first.report.nfe)))
    evaluations, told = counter.num_drift - nfe, first.plan.num_check_evaluations
    why = "`NativeSolve.num_evaluations` or `Counts.nfe` of the steps is not what was evaluated"
    if told is not None:
        assert_equal(what, told, evaluations, cause=why, hint="count the calls of the field in each solve")
    _assert_trained_on(easy, chosen, first.states)

    second = training.iterate(harder, formula=formula)
    cause = "a check is made though none is due"
    assert_equal("The number of checks after a second call", second.plan.num_checks, 1, cause=cause, hint=hint)
    _assert_trained_on(harder, chosen, second.states)

    third = training.iterate(harder, formula=formula)
    cause, hint = "`step_error` of the last call is not that of its steps", "check `checked-steps.counts` first"
    assert_equal("The number of checks after estimates have grown", third.plan.num_checks, 2, cause=cause, hint=hint)
    worst = [max(each) for each in _errors(subject, harder)]
    assert easy.steps is not None
    assert min(worst) > easy.steps.error
    cause, hint = "a plan is kept though its error is beyond the bound", "print the plan after each call"
    assert_equal("The plan where none is within the bound", third.plan.steps, None, cause=cause, hint=hint)
    what, atol = "The error of the best of them", (_HARD / _EASY) ** 2 * atol
    assert_close(what, third.plan.error, min(worst), rtol=0.0, atol=atol, cause=cause, hint=hint)
    native = native_solution(subject, harder.but(steps=None))
    what, cause = "The solution where no plan is within the bound", "it is not the adaptive one"
    assert_close(what, third.states, native, rtol=atol, atol=atol, cause=cause, hint=hint)


def _assert_trained_on(described: Experiment, plan: FixedSteps, states: np.ndarray) -> None:
    assert_rounded(
        f"The solution of a call that is trained on {plan}",
        states,
        _by(plan, described.problem, described),
        rounding_of(lambda problem: _by(plan, problem, described), described.problem, dtype=described.dtype),
        cause="other steps are taken than those of the plan",
        hint="check `checked-steps.solution` first",
    )


@check(
    "checked-steps.failed",
    law=16,
    tier="optional",
    needs=_NEEDS,
    cases=if_held,
    hint="return from `solve` the `failure` that the library's result tells of",
)
def checked_steps_failed(subject: Subject, _: str) -> None:
    """A check whose adaptive solve fails, whether the library raises or not, leaves the training adaptive."""
    easy = _trained(subject)
    # Due before each call.
    assert easy.steps is not None
    steps = dataclasses.replace(easy.steps, period=(1, 1))
    training = CheckedTraining(subject, easy.but(steps=steps))
    training.iterate(easy)
    cause, hint = "the check is not made where it is due", "look at `plan_holder`"
    assert_equal("The plan of an easy problem", training.plan.steps, LADDER[GOOD], cause=cause, hint=hint)
    try:
        training.iterate(easy, formula=broken(easy.problem.formula))
    except LrndeError:
        raise
    except Exception:
        pass
    cause, hint = "the failed solve is compared with", "look at the status of the native result"
    for name, expected in (("steps", None), ("error", None), ("num_checks", 2)):
        what = f"`{name}` of the plan after a check whose adaptive solve failed"
        assert_equal(what, getattr(training.plan, name), expected, cause=cause, hint=hint)


def _trace_cases(subject: Subject) -> list[str]:
    is_apart = bool(if_freezable(subject)) and not subject.backend.is_compiled
    return [*(["penalty"] if is_apart else []), *(["state", "buffers"] if if_held(subject) else [])]


@check(
    "checked-steps.trace",
    law=16,
    tier="optional",
    needs=_NEEDS,
    cases=_trace_cases,
    hint="return from `copied` the call with a copy of its state, and put back in `isolated` what fields change",
)
def checked_steps_trace(subject: Subject, case: str) -> None:
    """After a call with a check, y0, the field's own and all random states are as after the same call without one.

    So they are after a call by a plan with a penalty, as after one without.
    """
    if case == "penalty":
        _assert_penalty_leaves_nothing(subject)
        return
    # Every plan is good enough.
    easy = _trained(subject).but(steps=CheckedSteps(error=1e3, candidates=CANDIDATES))
    if case == "buffers":
        # A tight tolerance would chase the noise of the field.
        easy = easy.but(rtol=1.0, atol=1.0)
    left: list[tuple[Any, ...]] = []
    plan: FixedSteps | None = None
    for is_checked in (True, False):
        formula, buffers = overwriting(easy.problem.formula), dict
        if case == "buffers":
            field = subject.backend.field_with_state(easy.problem.formula)
            if field is None:
                msg = f"fields of {subject.backend.name} are pure functions"
                raise CheckSkipped(msg)
            formula, buffers = field
        y0 = subject.backend.array(easy.problem.y0.copy(), easy.dtype)
        task = subject.task(easy, formula=formula, y0=y0)
        solve = subject.regularized(subject.driver.native(task), **easy.regularization)
        extra = {} if is_checked else {"plan": plan}
        subject.backend.seed_global(_SEED)
        draw = subject.backend.array(np.array([0.37]), easy.dtype)
        result, _ = subject.driver.call(solve, task, draw=draw, **extra)
        if is_checked:
            plan = solve.plan_holder.plan.steps
            cause, hint = "the check failed, or its errors are not numbers", "check `checked-steps.error` first"
            assert_equal(
                "Whether a check within any bound finds a plan", plan is not None, True, cause=cause, hint=hint
            )
        states = subject.backend.to_numpy(subject.driver.states(result))
        left.append((states, subject.backend.to_numpy(y0), buffers(), subject.backend.global_state()))
    _assert_same_left("a call with a check", *left)


def _assert_same_left(what: str, now: tuple[Any, ...], before: tuple[Any, ...]) -> None:
    cause, hint = "further evaluations are given what is the user's", "make one such call by hand"
    names = ("The solution", "`y0`", "The buffers of the field", "The global random states")
    for name, left, expected in zip(names, now, before, strict=True):
        assert_equal(f"{name} after {what}", left, expected, seed=_SEED, cause=cause, hint=hint)


def _assert_penalty_leaves_nothing(subject: Subject) -> None:
    """A field that writes into its state, keeps another, and draws random numbers."""
    described = planned(subject, uneven("rk4")).but(draws=(0.77,))
    left: list[tuple[Any, ...]] = []
    for extra in (None, {"penalize": False}):
        field = subject.backend.field_with_state(overwriting(described.problem.formula))
        if field is None:
            msg = f"fields of {subject.backend.name} are pure functions"
            raise CheckSkipped(msg)
        y0 = subject.backend.array(described.problem.y0.copy(), described.dtype)
        subject.backend.seed_global(_SEED)
        result, _ = subject.solve(described, extra=extra, formula=field.formula, y0=y0)
        states = subject.backend.to_numpy(subject.driver.states(result))
        left.append((states, subject.backend.to_numpy(y0), field.buffers(), subject.backend.global_state()))
    _assert_same_left("a penalised call by a plan", *left)


@check(
    "checked-steps.modes",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.FLOAT64),
    cases=if_held,
    hint="solve without gradient within the check alone, and ask `is_training` before each call",
)
def checked_steps_modes(subject: Subject, _: str) -> None:
    """A call with a check has the gradient of its steps; one without gradients is adaptive, and no iteration."""
    easy = _trained(subject)
    training, problem, plan = CheckedTraining(subject, easy), easy.problem, LADDER[GOOD]

    def loss(variables: Any, _: Any) -> Any:
        result = training.call(easy, parameters=variables)[0]
        return subject.backend.sum_of_squares(subject.driver.states(result)), None

    found = subject.backend.differentiate(None, loss, problem.parameters, {}, easy.dtype)
    cause, hint = "gradients are still disabled after the check", "enable them again"
    by_steps = lambda problem: np.sum(_by(plan, problem, easy) ** 2)  # noqa: E731
    expected = complex_step_gradient(lambda moved: by_steps(problem.moved(**moved)), problem.parameters)
    limit = rounding_of_gradient(by_steps, problem)
    for name, gradient in expected.items():
        what = f"The gradient with respect to `{name}` of a call with a check"
        assert_rounded(what, found.gradient[name], gradient, limit, cause=cause, hint=hint)
    undifferentiated = subject.backend.without_gradients()
    if undifferentiated is None:
        return
    before = training.plan
    with undifferentiated:
        states = training.iterate(easy).states
    cause, hint = "a call without gradients is taken for one of the training", "ask `is_training`"
    assert_equal("The plan after a call without gradients", training.plan, before, cause=cause, hint=hint)
    native = native_solution(subject, easy.but(steps=None))
    assert_equal("The solution without gradients", states, native, cause=cause, hint=hint)


def _refusal_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject):
        return []
    cases = [method.name for method in subject.methods if method.is_driven]
    cases += ["event"] if subject.supports(Capability.EVENTS) else []
    return [*cases, "stiffness"] if subject.supports(Capability.STIFFNESS_ESTIMATE) else cases


@check(
    "checked-steps.refusal",
    law=16,
    tier="optional",
    needs=_NEEDS,
    cases=_refusal_cases,
    hint="raise `CapabilityError` in `by_steps`, with the reason and what would work",
)
def checked_steps_refusal(subject: Subject, case: str) -> None:
    """What fixed steps cannot replace is refused before the solve: events, noise, controls, stiffness estimates."""
    method = next((each for each in subject.driver.methods if each.name == case), None)
    described = planned(subject, uneven("rk4"))
    if method is not None:
        described = described.but(method=method, problem=main_problem(subject, method))
    elif case == "event":
        described = described.but(ts=(0.0, 1.0), event_at=0.6)
    else:
        described = described.but(cost=case)
    what = "a plan of a solve that an event ends" if case == "event" else f"a plan with {case}"
    assert_refused(subject, described, lambda formula: subject.solve(described, formula=formula), None, what)
