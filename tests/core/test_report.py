"""Reports as scalars to log, and as text."""

import copy
import math
import operator
import pickle
from typing import Any

import numpy as np
import pytest

from lrnde_core import BackwardCount, CheckedPlan, FixedSteps, FreezeReport, InputTypeError, Plan, Report, Sample


def _sample(xp: Any) -> Sample:
    numbers = xp.asarray([[0.5, 1.5], [2.0, 4.0]])
    return Sample(t=numbers, h=numbers, weight=numbers, error_ratio=numbers, stiffness=None)


def test_what_is_none_is_left_out_and_the_rest_keeps_its_name(xp: Any) -> None:
    penalty = xp.asarray(0.25)
    report = Report(penalty, 44, 1, None, None, None, None)
    assert report.as_dict() == {"penalty": penalty, "nfe": 44, "nfe_extra": 1}
    assert report.as_dict("train/").keys() == {"train/penalty", "train/nfe", "train/nfe_extra"}


def test_several_solves_are_logged_by_their_mean_and_their_largest_error(xp: Any) -> None:
    counts = xp.asarray([7, 8, 12])
    report = Report(
        *(xp.asarray(0.25), counts, 1, counts, counts, 0, _sample(xp)),
        step_error=xp.asarray([0.1, 0.4]),
    )
    entries: dict[str, Any] = report.as_dict()
    assert all(entries[name].shape == () for name in ("penalty", "nfe", "step_error", "sample_error_ratio"))
    assert float(entries["nfe"]) == 9.0
    assert math.isclose(float(entries["step_error"]), 0.4, rel_tol=1e-6)
    assert float(entries["sample_error_ratio"]) == 2.0
    assert "sample_stiffness" not in entries


def test_a_count_of_the_backward_pass_is_the_one_so_far() -> None:
    count = BackwardCount()
    report = Report(0.0, 9, 0, 1, 1, 0, None, nfe_backward=count)
    before = report.as_dict()
    count.add(5)
    assert (before["nfe_backward"], report.as_dict()["nfe_backward"]) == (0, 5)


def test_the_numbers_of_a_plan_are_logged_with_it() -> None:
    plan = CheckedPlan(FixedSteps.equal("rk4", 4), 0.003, num_iterations=7, checked_at=0, period=10, num_checks=1)
    report = Report(0.0, 16, 0, 4, 4, 0, None, plan=plan)
    entries = {name: value for name, value in report.as_dict("a/").items() if name.startswith("a/plan_")}
    assert entries == {
        "a/plan_num_fixed_steps": 4,
        "a/plan_error": 0.003,
        "a/plan_num_checks": 1,
        "a/plan_num_check_evaluations": 0,
    }
    assert CheckedPlan().as_dict() == {"num_fixed_steps": 0, "num_checks": 0, "num_check_evaluations": 0}


def test_the_text_of_a_report_is_one_short_line_without_what_is_none(xp: Any) -> None:
    sample = _sample(xp)._replace(t=xp.asarray([0.25]), h=xp.asarray([[0.1, 0.2, 0.3, 0.4, 0.5]]))
    report = Report(xp.asarray(1 / 3, dtype=xp.float64), 44, 1, 7, 7, 0, sample, plan=CheckedPlan())
    assert repr(report) == (
        "Report(penalty=0.3333, nfe=44, nfe_extra=1, num_steps=7, num_accepted=7, num_rejected=0, "
        "sample=Sample(t=[0.25], h=0.1..0.5 of shape (1,5), weight=[0.5, 1.5, 2, 4], "
        "error_ratio=[0.5, 1.5, 2, 4]), plan=<CheckedPlan: adaptive steps, not checked yet>)"
    )


def test_the_text_of_a_plan_and_of_a_freeze_report_names_no_coefficients() -> None:
    steps = FixedSteps.equal("rk4", 64)
    assert repr(steps) == "<FixedSteps: 64 steps of rk4>"
    plan = CheckedPlan(steps, 0.003, checked_at=0, num_checks=1, tried=(steps,))
    assert repr(plan) == "<CheckedPlan: 64 steps of rk4; error 0.003 before iteration 0, 1 check>"
    report = FreezeReport(Plan(steps, ((2,),), True, False), (), 256, 40.0, 0.03, (0.03,) * 500, None, 0.001, 0.004)
    assert repr(report) == f"<FreezeReport: {report}>"
    assert len(repr(report)) < 200


@pytest.mark.parametrize("operate", [operator.add, operator.sub, operator.mul, operator.truediv, operator.iadd])
def test_a_report_is_no_operand(operate: Any) -> None:
    report = Report(0.25, 44, 1, 7, 7, 0, None)
    for other in (0.3, 2, np.float64(0.3), report):
        for operands in ((report, other), (other, report)):
            with pytest.raises(
                InputTypeError, match=r"A `Report` is no operand of `.*`.*its penalty: `report.penalty`"
            ):
                operate(*operands)
    with pytest.raises(TypeError, match=r"`report.penalty`"):
        sum([report])


def test_a_report_is_still_a_tuple() -> None:
    report = Report(0.25, 44, 1, 7, 7, 0, None)
    assert report[:2] == (0.25, 44)
    for other in (report._replace(nfe=44), Report(*report), copy.deepcopy(report), pickle.loads(pickle.dumps(report))):
        assert other == report
        assert type(other) is Report
