"""Law 11: the counts of the report are those of counted calls."""

from typing import Any

from lrnde_conformance._check import ConformanceFailure, check
from lrnde_conformance._checks._cases import costs, few_method_cases, of_cost_case, of_method_case
from lrnde_conformance._designs import trajectory
from lrnde_conformance._experiment import Experiment
from lrnde_conformance._problems import oscillator
from lrnde_conformance._subject import Subject
from lrnde_conformance._trace import find_steps
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
    bare, _ = subject.count(experiment, is_bare=True)
    _, (result, report) = subject.count(experiment, is_bare=False)
    measured = subject.read(subject.driver.states(result), report, {})
    if measured.nfe is None:
        if method.is_implicit:
            return
        raise ConformanceFailure(
            f"`report.nfe` of `{case}` is None, and the method is explicit.",
            got="None",
            expected=bare.total,
            cause="the count is not filled in",
            hint="an explicit method's evaluations follow from its steps and stages, or can be counted in the field",
        )
    if measured.nfe != bare.total:
        raise ConformanceFailure(
            f"`report.nfe` of `{case}` is not the number of evaluations.",
            got=f"{measured.nfe}, with {measured.num_rejected} rejected steps",
            expected=f"{bare.total}, counted in the field during the bare call",
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
    bare, _ = subject.count(experiment, is_bare=True)
    counter, (result, report) = subject.count(experiment, is_bare=False)
    measured = subject.read(subject.driver.states(result), report, {})
    added = counter.total - bare.total
    if measured.nfe_extra != added:
        raise ConformanceFailure(
            f"`report.nfe_extra` ({cost}) of `{case}` is not what the penalty added.",
            got=measured.nfe_extra,
            expected=f"{added}: {counter.total} evaluations with the penalty, {bare.total} without",
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
    measured = _counted(subject, experiment)
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
    is_adaptive = of_method_case(subject, case).is_adaptive
    if (rejected > 0) != is_adaptive:
        raise ConformanceFailure(
            f"`{case}` is said to have rejected {rejected} steps of a solve that starts with much too large a step.",
            got=f"num_rejected={rejected}",
            expected="at least 1 of an adaptive solve, 0 with fixed steps",
            cause="rejected steps are not seen, or the first step asked for is not passed on by the driver",
            hint="see that the driver passes `task.first_step` on",
        )


def bumpy(subject: Subject, case: str) -> Experiment:
    """A solve whose first step is so large that an adaptive solver must reject it."""
    method = of_method_case(subject, case)
    experiment = trajectory(subject, method, subject.main_cost)
    if not method.is_adaptive:
        return experiment
    if method.is_stochastic or subject.backend.is_compiled:
        return experiment.but(first_step=0.9, rtol=0.3 * experiment.rtol, atol=0.3 * experiment.atol)
    problem = subject.remember("oscillator", lambda: oscillator(batch=subject.batch))
    return experiment.but(problem=problem, first_step=0.9, rtol=1e-3, atol=1e-3)


def _counted(subject: Subject, experiment: Experiment) -> Any:
    if subject.backend.is_compiled:
        # The same program as for the counts of evaluations.
        _, (result, report) = subject.count(experiment, is_bare=False)
        return subject.read(subject.driver.states(result), report, {})
    return subject.measure(experiment, with_gradient=False)
