"""The words of a check about an exception: the line of the plugin's author, and what the suite had asked for."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrnde_conformance import CHECKS, CheckResult, run_check
from lrnde_conformance._origin import origin_of, packages_of
from tests.conformance.mutant_adapter import Faults, Mutant, subject

pytestmark = pytest.mark.usefixtures("forget_registrations")

_CHECK = next(check for check in CHECKS if check.id == "penalty.oracle")
_HERE = Path(__file__).name


def _found(name: str, faults: Faults) -> CheckResult:
    return run_check(subject(Mutant(name, "", faults)), _CHECK, "dopri5-error")


def test_the_next_step_is_the_line_of_the_driver_and_what_it_was_given() -> None:
    def call(solve: Callable[..., Any], task: Any, **extra: Any) -> Any:
        return np.linalg.inv(np.zeros((2, 2)))

    found = _found("driver-raises", Faults(call=call))
    assert found.reason.startswith("LinAlgError: ")
    assert "linalg" in found.details["raised at"]
    step = found.details["next step"]
    line = call.__code__.co_firstlineno + 1
    assert f"{_HERE}:{line}, in {call.__qualname__}; the suite asked for `dopri5`, float64, 3 times from 0 to 1" in step
    assert "first_step=" in step
    assert "traced" not in step


def test_an_error_of_the_penalty_is_traced_to_its_cause() -> None:
    def value(*_: Any) -> Any:
        return np.linalg.inv(np.zeros((2, 2)))

    found = _found("penalty-raises", Faults(value=value))
    assert found.reason.startswith("PenaltyError: ")
    assert "linalg" in found.details["raised at"]
    assert f"{_HERE}:{value.__code__.co_firstlineno + 1}, in " in found.details["next step"]


def test_what_the_core_raises_is_traced_to_the_call() -> None:
    found = _found("core-fails", Faults(facts=lambda _: None))
    assert "lrnde_core" in found.details["raised at"]
    assert "mutant_adapter.py" in found.details["next step"]


def test_what_is_raised_in_none_of_their_lines_gets_the_advice_of_the_check() -> None:
    broken = dataclasses.replace(_CHECK, run=np.linalg.inv)
    found = run_check(subject(Mutant("suite-broken", "", Faults())), broken, "")
    assert found.details == {"raised at": "the suite itself (TypeError)", "next step": _CHECK.hint}


def test_what_is_raised_before_the_suite_asks_for_anything_is_only_located() -> None:
    def run(*_: Any) -> None:
        raise KeyError

    found = run_check(subject(Mutant("early", "", Faults())), dataclasses.replace(_CHECK, run=run), "")
    assert found.details["next step"].startswith("look at ")
    assert found.details["next step"].endswith(run.__qualname__)


def test_the_packages_of_an_author_are_no_others() -> None:
    assert packages_of(["one._adapter", "two"]) == ("one", "two")
    assert packages_of(["lrnde_conformance._reference._adapter"]) == ("lrnde_conformance._reference",)
    with pytest.raises(np.linalg.LinAlgError, match="Singular") as raised:
        np.linalg.inv(np.zeros((2, 2)))
    assert origin_of(raised.value, ("numpy_like",)).theirs == ""
    assert _HERE in origin_of(raised.value, ("tests",)).theirs
