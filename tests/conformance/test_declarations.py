"""Drivers that declare what their solver does not have: each law is held by another route, or said not to be."""

from typing import Any

import pytest

from lrnde_conformance import AbstractDriver, Method, Outcome, Verdict, run_checks
from lrnde_conformance._checks._laws import UNDECLARABLE
from tests.conformance.declaring import self_starting, stubborn, without_first_step_argument
from tests.conformance.faults import declared, detached
from tests.conformance.mutant_adapter import Change, Faults, Mutant, subject

pytestmark = pytest.mark.usefixtures("forget_registrations")

_ROUTES = (
    "interface.declarations or interface.changes or interface.laws or gradient or noise or agreement or counts "
    "or shape or poison or penalty.oracle"
)
_IMPLICIT = "its own first step ends too early for the suite."


def _varied(methods: tuple[Method, ...]) -> tuple[Method, ...]:
    """Those that take other routes: not also along a control, nor by general noise."""
    return tuple(method for method in methods if method.control is None and method.noise != "general")


def _explicit(methods: tuple[Method, ...]) -> tuple[Method, ...]:
    return tuple(method for method in _varied(methods) if not method.is_implicit)


def _adaptive(methods: tuple[Method, ...]) -> tuple[Method, ...]:
    """One explicit, one implicit."""
    return tuple(method for method in methods if method.name in ("dopri5", "backward_euler"))


def _run(solver: Any, name: str, select: str = "", **faults: Any) -> Verdict:
    declares = {"takes_first_step": False}
    given = Faults(solver=solver, call=without_first_step_argument, declares=declares, **faults)
    return run_checks(type(subject(Mutant(name, "", given)).driver), select=select, is_fast=True)


def _ended(verdict: Verdict, *outcomes: Outcome) -> list[str]:
    return [result.id for result in verdict.results if result.outcome in outcomes]


def test_a_solver_that_chooses_its_first_step_conforms() -> None:
    verdict = _run(self_starting, "self-starting", _ROUTES, methods=_varied)
    assert _ended(verdict, Outcome.FAILED, Outcome.NOT_APPLICABLE) == []


def test_what_no_route_reaches_is_not_applicable_and_the_law_is_held_elsewhere() -> None:
    verdict = _run(stubborn, "stubborn", _ROUTES, methods=_explicit, capabilities=declared(IMPLICIT_ODE=_IMPLICIT))
    assert _ended(verdict, Outcome.FAILED) == []
    not_applicable = [each for each in verdict.results if each.outcome is Outcome.NOT_APPLICABLE]
    assert {each.check for each in not_applicable} == {
        *("gradient.finite-differences", "noise.draw", "noise.law", "shape.float32"),
    }
    passed = _ended(verdict, Outcome.PASSED)
    for each in not_applicable:
        assert "takes no first step" in each.reason
        assert each.law not in UNDECLARABLE or any(f"`{name}` holds this law" in each.reason for name in passed)


def test_a_law_that_nothing_else_holds_cannot_be_declared_away() -> None:
    select = "gradient.finite-differences or gradient.local-step or interface.laws"
    verdict = _run(stubborn, "stubborn-and-implicit", select, methods=_adaptive)
    (failed,) = [each for each in verdict.results if each.outcome is Outcome.FAILED]
    assert failed.id == "interface.laws"
    assert "backward_euler" in failed.reason
    assert "law 4" in failed.reason


def test_what_was_not_selected_is_not_missed() -> None:
    verdict = _run(stubborn, "stubborn-in-part", "gradient.finite-differences-dopri5 or interface.laws")
    (last,) = [each for each in verdict.results if each.check == "interface.laws"]
    assert last.outcome is Outcome.SKIPPED
    assert "gradient.local-step-dopri5" in last.reason


@pytest.mark.parametrize(
    ("name", "check", "faults"),
    [
        ("gradient-halved", "gradient.finite-differences", {"value": lambda v, *_: 0.5 * v + 0.5 * detached(v)}),
        ("penalty-off", "agreement.vectors", {"value": lambda v, *_: (1 + 1e-6) * v}),
        ("rejections-hidden", "counts.steps", {"counts": lambda counts: counts._replace(num_rejected=0)}),
    ],
)
def test_the_other_routes_catch_what_the_usual_ones_catch(name: str, check: str, faults: dict[str, Change]) -> None:
    verdict = _run(self_starting, f"self-starting-{name}", f"{check}-dopri5", **faults)
    assert _ended(verdict, Outcome.PASSED, Outcome.NOT_APPLICABLE) == []
    assert _ended(verdict, Outcome.FAILED)


def test_a_driver_declares_nothing_by_default() -> None:
    assert AbstractDriver.takes_first_step
    assert AbstractDriver.traces_tolerances
    assert AbstractDriver.traces_times
