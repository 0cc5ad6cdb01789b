"""Law 11, for the backward pass: where its evaluations are reported, they are those of counted calls."""

from collections.abc import Mapping
from typing import Any

from lrnde_conformance._backends._backend import Counter
from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure


def _cases(subject: Subject) -> list[str]:
    # A compiled program shows its evaluations to nobody.
    return [] if subject.backend.is_compiled else list(subject.driver.adjoints)


@check(
    "counts.backward",
    law=11,
    cases=_cases,
    hint="go on counting in the stand-in for the field once the forward solve has ended, in a `BackwardCount`",
)
def counts_backward(subject: Subject, case: str) -> None:
    """`nfe_backward` is the number of evaluations that the backward pass of the solution executes, or `None`."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost).but(adjoint=case)
    told, _ = _differentiated(subject, experiment, is_bare=False)
    if told is None:
        return
    _, total = _differentiated(subject, experiment, is_bare=True)
    expected = total - subject.count(experiment, is_bare=True).counter.total
    if int(told) == expected:
        return
    raise ConformanceFailure(
        f"`report.nfe_backward` under the adjoint `{case}` is not the number of evaluations.",
        got=int(told),
        expected=f"{expected}, counted in the field during the backward pass of the bare call",
        tolerance="none",
        cause="evaluations of the local step or of the forward solve are counted too, or the number is not a live "
        "count and was read before the backward pass",
        hint="count in the stand-in that the adjoint was given, but not what the penalty evaluates",
    )


def _differentiated(subject: Subject, experiment: Experiment, *, is_bare: bool) -> tuple[Any, int]:
    """What the report tells after a backward pass of the solution, and the evaluations of both passes."""
    counter = Counter()
    counted = subject.backend.counted(experiment.problem.formula, counter)
    reports: list[Any] = []

    def loss(variables: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[Any, Any]:
        parameters = {name: value for name, value in variables.items() if name != "y0"}
        given: dict[str, Any] = {"parameters": parameters, "y0": variables["y0"], "formula": counted}
        if is_bare:
            result = subject.solve_bare(experiment, **given)
        else:
            result, report = subject.solve(experiment, **given)
            reports.append(report)
        return subject.backend.sum_of_squares(subject.driver.states(result)), None

    problem = experiment.problem
    variables = {**problem.parameters, "y0": problem.y0}
    subject.backend.differentiate(("backward count", is_bare, experiment), loss, variables, {}, experiment.dtype)
    return (reports[-1].nfe_backward if reports else None), counter.total
