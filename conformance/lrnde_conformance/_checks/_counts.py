"""Law 11: the counts of the report are those of counted calls."""

import warnings

from lrnde_conformance._checks._cases import costs, few_method_cases, of_cost_case, of_method_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._problems import OSCILLATOR, oscillator
from lrnde_core import Capability


def _cost_cases(subject: Subject) -> list[str]:
    methods = subject.main_methods if subject.backend.is_compiled else subject.methods
    if subject.backend.is_compiled and subject.is_fast:
        methods = methods[:1]
    cases = [f"{m.name}-{cost}" for m in methods if not m.is_implicit for cost in costs(subject, m)]
    ends = ("-error",) if subject.is_lean else ("-error", "-taylor")
    return [case for case in cases if not subject.backend.is_compiled or case.endswith(ends)]


@check(
    "counts.nfe", law=11, cases=few_method_cases, hint="count in a stand-in for the field, until the forward solve ends"
)
def counts_nfe(subject: Subject, case: str) -> None:
    """`nfe` is the number of evaluations that the bare call executes, those of rejected steps included."""
    method = of_method_case(subject, case)
    experiment = bumpy(subject, case)
    bare = subject.count(experiment, is_bare=True).counter
    measured = _penalised(subject, experiment)
    expected = bare.total if method.is_stochastic else bare.num_drift
    if measured.nfe is None:
        if method.is_implicit:
            return
        raise ConformanceFailure(
            f"`report.nfe` of `{case}` is None, and the method is explicit.",
            got="None",
            expected=expected,
            cause="the count is not filled in",
            hint="an explicit method's evaluations follow from its steps and stages, or can be counted in the field",
        )
    if measured.nfe != expected:
        raise ConformanceFailure(
            f"`report.nfe` of `{case}` is not the number of evaluations.",
            got=f"{measured.nfe}, with {measured.num_rejected} rejected steps",
            expected=f"{expected}, counted in the field during the bare call",
            tolerance="none",
            cause="evaluations that choose the first step, of rejected steps, or reused stages are miscounted; or "
            "those of the penalty are counted in `nfe` rather than in `nfe_extra`",
            hint="count in a stand-in for the field and stop when the native call returns",
        )
    if method.is_stochastic and measured.nfe_diffusion != bare.num_diffusion:
        raise ConformanceFailure(
            f"`report.nfe_diffusion` of `{case}` is not the number of evaluations of the diffusion.",
            got=measured.nfe_diffusion,
            expected=bare.num_diffusion,
            tolerance="none",
        )


@check("counts.extra", law=11, cases=_cost_cases, hint="state `evaluations_per_step` of a local step in `MethodFacts`")
def counts_extra(subject: Subject, case: str) -> None:
    """`nfe_extra` is the number of evaluations that the penalty adds to those of the bare call."""
    method, cost = of_cost_case(subject, case)
    experiment = trajectory(subject, method, cost)
    bare, (counter, _, measured) = subject.count(experiment, is_bare=True).counter, subject.count(experiment)
    assert measured is not None
    added, total = counter.total - bare.total, counter.total
    if not method.is_stochastic:
        # Of a controlled equation field and factor of the control are one evaluation.
        added, total = counter.num_drift - bare.num_drift, counter.num_drift
    if measured.nfe_extra != added:
        raise ConformanceFailure(
            f"`report.nfe_extra` ({cost}) of `{case}` is not what the penalty added.",
            got=measured.nfe_extra,
            expected=f"{added}: {total} evaluations with the penalty, {total - added} without",
            tolerance="none",
            cause="`evaluations_per_step` or `evaluations_per_advance` of the method's `MethodFacts` is wrong, or the "
            "adapter evaluates the field where nobody asked it to",
            hint="count one call of your local problem's `step`, and one of `advance`",
        )


@check(
    "counts.steps",
    law=11,
    needs=[Capability.UNIFORM_TIME],
    cases=few_method_cases,
    hint="count attempts and acceptances apart",
)
def counts_steps(subject: Subject, case: str) -> None:
    """`num_steps` is accepted plus rejected steps, and a solve that must reject some says so."""
    experiment = bumpy(subject, case)
    measured = _penalised(subject, experiment)
    accepted, rejected, steps = measured.num_accepted, measured.num_rejected, measured.num_steps
    points = find_steps(subject, experiment)
    if accepted != len(points) or rejected is None or steps != len(points) + rejected:
        raise ConformanceFailure(
            f"The counts of steps of `{case}` do not add up.",
            got=f"num_steps={steps}, num_accepted={accepted}, num_rejected={rejected}",
            expected=f"num_accepted={len(points)}, and num_steps the sum of the two",
            cause="rejected steps are counted as accepted, or the other way round",
            hint="count an attempt when it is made and an acceptance when it is known",
        )
    method = of_method_case(subject, case)
    is_adaptive = method.is_adaptive
    if not subject.takes_first_step(method) and experiment.problem.formula is not OSCILLATOR:
        return
    if (rejected > 0) != is_adaptive:
        raise ConformanceFailure(
            f"`{case}` is said to have rejected {rejected} steps of a solve that makes adaptive solvers reject some.",
            got=f"num_rejected={rejected}",
            expected="at least 1 of an adaptive solve, 0 with fixed steps",
            cause="rejected steps are not seen, or the first step asked for is not passed on by the driver",
            hint="see that the driver passes `task.first_step` on",
        )


def _implicit_cases(subject: Subject) -> list[str]:
    return [method.name for method in subject.methods if method.is_implicit]


@check(
    "counts.hidden",
    law=11,
    needs=[Capability.IMPLICIT_ODE],
    cases=_implicit_cases,
    hint="`evaluations_per_step=None` in `MethodFacts`, and `Counts(nfe=None, ...)`, where nobody can tell",
)
def counts_hidden(subject: Subject, case: str) -> None:
    """What a library hides of an implicit method is None with and without the penalty; all else is right."""
    experiment = bumpy(subject, case)
    penalised = subject.count(experiment)
    silent = subject.count(experiment, penalize=False).measured
    assert penalised.measured is not None
    assert silent is not None
    told, hint = penalised.measured, "fill in the same `Counts` whether or not there is a plan"
    for name in ("nfe", "num_steps", "num_accepted", "num_rejected"):
        with_penalty, without = getattr(told, name), getattr(silent, name)
        # The library may show its steps to a recorder alone, never its evaluations.
        if with_penalty != without and not (without is None and name != "nfe"):
            raise ConformanceFailure(
                f"`report.{name}` of `{case}` is another with `penalize=False`.",
                got=f"{without}, with the penalty {with_penalty}",
                expected="the same: both are of the forward solve alone",
                tolerance="none",
                cause="it is None in one place only, or counts what the penalty evaluates",
                hint=hint,
            )
    if told.nfe_extra is None:
        return
    bare = subject.count(experiment, is_bare=True).counter
    added = penalised.counter.num_drift - bare.num_drift
    if told.nfe_extra != added:
        raise ConformanceFailure(
            f"`report.nfe_extra` of `{case}` is reported, and is not what the penalty added.",
            got=told.nfe_extra,
            expected=f"{added}, or None",
            tolerance="none",
            cause="a step that solves an equation evaluates more than its stages",
            hint="`evaluations_per_step=None` in `MethodFacts`",
        )


def _forcing_cases(subject: Subject) -> list[str]:
    main = subject.main_method
    return [main.name] if subject.driver.has_smallest_step and main.is_adaptive else []


@check(
    "counts.forced",
    law=11,
    needs=[Capability.UNIFORM_TIME, Capability.ERROR_ESTIMATE],
    cases=_forcing_cases,
    hint="count accepted steps with an error ratio above 1, by the solver's own ratio",
)
def counts_forced(subject: Subject, case: str) -> None:
    """`num_forced` is the number of accepted steps with an error ratio above 1, which a smallest step size forces."""
    free = trajectory(subject, of_method_case(subject, case))
    # A quarter of the interval, for tolerances that ask for less than an eighth.
    forced = free.but(smallest_step=0.25, first_step=0.25, rtol=0.01 * free.rtol, atol=0.01 * free.atol)
    for experiment, is_forced in ((free, False), (forced, True)):
        with warnings.catch_warnings():
            # A library may well warn of it.
            warnings.simplefilter("ignore")
            expected = _num_above_tolerance(subject, experiment)
            got = subject.measure(experiment, with_gradient=False).num_forced
        if got == expected and is_forced == (expected > 0):
            continue
        raise ConformanceFailure(
            f"`report.num_forced` of `{case}` is not the number of steps that were forced.",
            got=got,
            expected=f"{expected}, by the error ratios of the samples"
            + (", and at least 1" if is_forced else ", and 0 without a smallest step"),
            tolerance="none",
            cause="forced steps are not counted, counted where they are rejected, or `task.smallest_step` is not "
            "passed on by the driver",
            hint="compare the solver's own error ratio with 1 where it accepts a step",
        )


def _num_above_tolerance(subject: Subject, experiment: Experiment) -> int:
    """How many accepted steps have an error ratio above 1, by the solver's own where it has one."""
    start, duration = experiment.ts[0], experiment.ts[-1] - experiment.ts[0]
    number = 0
    for t, h in find_steps(subject, experiment):
        measured = subject.measure(experiment.but(draws=((t + 0.5 * h - start) / duration,)), with_gradient=False)
        own = measured.error_ratio if measured.solver_error_ratio is None else measured.solver_error_ratio
        assert own is not None
        number += bool(own[0] > 1)
    return number


def bumpy(subject: Subject, case: str) -> Experiment:
    """A solve with a first step, or for ordinary equations a field, that make an adaptive solver reject steps."""
    method = of_method_case(subject, case)
    experiment = trajectory(subject, method, subject.main_cost)
    if not method.is_adaptive:
        return experiment
    is_hurried = subject.backend.is_compiled and subject.takes_first_step(method)
    if method.is_stochastic or method.is_implicit or is_hurried:
        return experiment.but(first_step=0.9, rtol=0.3 * experiment.rtol, atol=0.3 * experiment.atol)
    problem = subject.remember("oscillator", lambda: oscillator(batch=subject.batch))
    # The push alone, which steps are not to miss.
    tolerance = 1e-3 if subject.takes_first_step(method) else 1e-4
    return experiment.but(problem=problem, first_step=0.9, rtol=tolerance, atol=tolerance)


def _penalised(subject: Subject, experiment: Experiment) -> Measurement:
    if not subject.backend.is_compiled:
        # Counted in the bare call, if at all.
        return subject.measure(experiment, with_gradient=False)
    # The same program as for the evaluations that the penalty adds.
    measured = subject.count(experiment).measured
    assert measured is not None
    return measured
