"""Each check of the suite catches the mutant that is made for it, and passes on the reference adapter."""

import functools
from collections.abc import Callable

import pytest

import lrnde_core
from lrnde_conformance import CHECKS, CheckResult, Outcome, ReferenceDriver, Subject, run_check, run_checks
from lrnde_conformance._checks._kinds import KINDS
from lrnde_conformance._checks._refusal import ASKABLE
from lrnde_conformance._experiments._experiment import COSTS
from lrnde_core import Capability
from tests.conformance.mutant_adapter import Mutant, subject
from tests.conformance.mutants import HOLDER, METHOD, MUTANTS, OWN_STEPS, WITHOUT_MUTANT

pytestmark = pytest.mark.usefixtures("forget_registrations")

TRIED_BY_ALL = {
    Capability.CPU: "every check runs there, unless another device is asked for",
    Capability.CUDA: "every check runs there with `--device cuda`",
}
NOT_ASKABLE = {
    Capability.CPU: "where a solver runs is not an argument of its call",
    Capability.CUDA: "where a solver runs is not an argument of its call",
    Capability.JIT: "a library without a compiler has nothing to call",
    Capability.VMAP: "a library without vectorisation has nothing to call",
    Capability.EVENTS: "a solver without events takes none",
}

_BY_ID = {check.id: check for check in CHECKS}


@pytest.fixture(autouse=True)
def _shorter_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained task in a sixth of the time: the first iterations separate the reference from the mutants."""
    monkeypatch.setattr("lrnde_conformance._experiments._training._NUM_ITERATIONS", 60)


@pytest.fixture(scope="module")
def reference() -> Subject:
    if "reference" not in [spec.name for spec in lrnde_core.REGISTRY.specs()]:
        lrnde_core.register(ReferenceDriver.plugin)
    return Subject(ReferenceDriver())


@pytest.fixture(scope="module")
def unmutated(reference: Subject) -> Callable[[str, str], CheckResult]:
    """What a check finds of the reference adapter; once for all its mutants."""
    return functools.cache(lambda check, case: run_check(reference, _BY_ID[check], case))


def test_every_check_has_a_mutant_or_a_reason() -> None:
    with_mutant = {mutant.check for mutant in MUTANTS}
    assert with_mutant <= _BY_ID.keys()
    assert _BY_ID.keys() - with_mutant == WITHOUT_MUTANT.keys()
    assert all(reason.strip() for reason in WITHOUT_MUTANT.values())


def test_every_capability_is_tried_where_it_is_supported() -> None:
    by_checks = {need for check in CHECKS for need in check.needs}
    # Costs are cases of the checks of laws 3 and 4, fresh increments of those of noise; each kind of solve has methods.
    costs = {need for heuristic in COSTS.values() for need in heuristic.needs}
    by_cases = costs | lrnde_core.UniformTime(increment="fresh").needs | KINDS.keys()
    assert set(Capability) - by_checks - by_cases == TRIED_BY_ALL.keys()
    assert all(reason.strip() for reason in TRIED_BY_ALL.values())


def test_every_capability_is_refused_where_it_is_unsupported() -> None:
    assert set(Capability) - set(ASKABLE) - KINDS.keys() == NOT_ASKABLE.keys()
    assert all(reason.strip() for reason in NOT_ASKABLE.values())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_caught_where_the_reference_passes(
    mutant: Mutant, reference: Subject, unmutated: Callable[[str, str], CheckResult]
) -> None:
    check = _BY_ID[mutant.check]
    result = run_check(subject(mutant), check, mutant.case)
    assert result.outcome is Outcome.FAILED, result
    assert result.reason
    assert result.details["next step"]
    # Not by accident: the suite says what was found, or what was raised and where.
    assert {"got", "raised at"} & result.details.keys()
    if mutant.case in check.cases(reference):
        found = unmutated(mutant.check, mutant.case)
        # What only the mutant declares is skipped with the declared reason.
        declared = tuple(dict(reference.capabilities.unsupported).values())
        is_declared = found.outcome is Outcome.SKIPPED and found.reason.endswith(declared)
        assert found.outcome is Outcome.PASSED or is_declared, found


def _assert_passes(check: str, under_test: Subject) -> None:
    """In all its cases."""
    for case in _BY_ID[check].cases(under_test):
        result = run_check(under_test, _BY_ID[check], case)
        assert result.outcome is Outcome.PASSED, result


def test_states_that_take_steps_of_their_own_conform() -> None:
    _assert_passes("shape.own-steps", Subject(subject(OWN_STEPS).driver, is_fast=True))


@pytest.mark.parametrize("check", [each for each in _BY_ID if each.startswith("checked-steps.")])
def test_an_adapter_that_keeps_the_plan_of_a_training_conforms(check: str) -> None:
    _assert_passes(check, subject(HOLDER))


@pytest.mark.parametrize("check", ["interface.claim", "interface.value", "interface.report"])
def test_a_solver_that_is_a_method_of_an_object_conforms(check: str) -> None:
    _assert_passes(check, subject(METHOD))


def test_a_broken_contract_ends_the_run() -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.check == "interface.contract")
    under_test = subject(mutant)
    verdict = run_checks(type(under_test.driver))
    assert [result.outcome for result in verdict.results] == [Outcome.FAILED]
    assert not verdict.is_complete
    assert not verdict.conforms
