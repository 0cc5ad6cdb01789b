"""The suite's words on a JAX solver, or its driver, that needs numbers when it is compiled."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, final

import diffrax
import jax.numpy as jnp
import pytest

from lrnde_conformance import (
    CHECKS,
    AbstractBackend,
    AbstractDriver,
    CheckResult,
    Method,
    Outcome,
    Subject,
    Task,
    run_check,
)
from lrnde_diffrax._conformance import DiffraxDriver

_TRUE = DiffraxDriver()


class _Driver(AbstractDriver):
    """Calls diffrax by one method, with a task that `change` makes something else of."""

    adapter: ClassVar[str] = DiffraxDriver.adapter
    methods: ClassVar[tuple[Method, ...]] = DiffraxDriver.methods[:1]
    change: Callable[[Task], Task] = staticmethod(lambda task: task)

    @property
    def backend(self) -> AbstractBackend:
        return _TRUE.backend

    def native(self, task: Task) -> Callable[..., Any]:
        return _TRUE.native(task)

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        return _TRUE.call(solve, self.change(task), **extra)

    def states(self, result: Any) -> Any:
        return _TRUE.states(result)


@final
class _Static(AbstractDriver):
    """Calls diffrax as a solver that chooses its first step, and takes nothing but Python numbers."""

    adapter: ClassVar[str] = DiffraxDriver.adapter
    methods: ClassVar[tuple[Method, ...]] = DiffraxDriver.methods[:1]
    takes_first_step: ClassVar[bool] = False
    traces_tolerances: ClassVar[bool] = False
    traces_times: ClassVar[bool] = False

    @property
    def backend(self) -> AbstractBackend:
        return _TRUE.backend

    def native(self, task: Task) -> Callable[..., Any]:
        return _TRUE.native(task)

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        assert task.first_step is None
        hash((task.ts, task.rtol, task.atol))
        controller = diffrax.PIDController(rtol=task.rtol, atol=task.atol)
        terms, (t0, *_, t1), saveat = diffrax.ODETerm(task.field), task.ts, diffrax.SaveAt(ts=jnp.array(task.ts))
        given: Any = (terms, task.method.argument, t0, t1, None, task.y0, task.parameters)
        return solve(*given, saveat=saveat, stepsize_controller=controller, max_steps=256, **extra)

    def states(self, result: Any) -> Any:
        return _TRUE.states(result)


def _run(driver: AbstractDriver, check: str, case: str = "") -> CheckResult:
    return run_check(Subject(driver, is_fast=True), next(each for each in CHECKS if each.id == check), case)


def _changing(**change: Callable[[Task], Any]) -> AbstractDriver:
    driver = _Driver()
    driver.change = lambda task: dataclasses.replace(task, **{name: make(task) for name, make in change.items()})
    return driver


@pytest.mark.parametrize(
    ("driver", "words", "declaration"),
    [
        (_changing(rtol=lambda task: float(task.rtol)), "tolerances", "`traces_tolerances = False`"),
        (_changing(ts=lambda task: jnp.array([float(t) for t in task.ts])), "output times", "`traces_times = False`"),
        (_changing(first_step=lambda task: float(task.first_step)), "step sizes", "`traces_times = False`"),
        (_changing(y0=lambda task: task.y0 * float(task.y0[0, 0] != 9)), "parameters and initial state", "`jnp.where`"),
    ],
)
def test_the_contract_says_which_arguments_cannot_be_traced(
    driver: AbstractDriver, words: str, declaration: str
) -> None:
    found = _run(driver, "interface.contract")
    assert found.outcome is Outcome.FAILED
    assert found.reason == f"The call cannot be traced in its {words}."
    assert "test_tracing.py" in found.details["next step"]
    assert declaration in found.details["next step"]


@pytest.mark.parametrize("check", ["identity.solution", "penalty.oracle", "gradient.finite-differences"])
def test_a_solver_that_takes_numbers_alone_keeps_the_laws(check: str) -> None:
    subject = Subject(_Static(), is_fast=True)
    made = next(each for each in CHECKS if each.id == check)
    found = run_check(subject, made, made.cases(subject)[0])
    assert found.outcome is Outcome.PASSED, found


def test_times_that_are_known_when_compiled_are_no_input_of_compiled_code() -> None:
    assert _run(_Static(), "freeze.compiled-times").outcome is Outcome.NOT_APPLICABLE


def test_a_declaration_that_tracing_contradicts_is_red() -> None:
    class Declaring(_Driver):
        traces_tolerances: ClassVar[bool] = False

    found = _run(Declaring(), "interface.declarations", "traces_tolerances")
    assert found.outcome is Outcome.FAILED
    assert "traced `rtol` and `atol`" in found.details["got"]
