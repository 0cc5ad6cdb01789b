"""A solver that compares its largest error with its tolerances is judged by that norm."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, final

import numpy as np
import pytest
import torchdiffeq

from lrnde_conformance import AbstractDriver, Method, Outcome, Subject, Task, TorchBackend, run_checks
from lrnde_conformance._experiments._designs import main_problem
from lrnde_conformance._oracles._oracle import StepPoint, oracle

_CHECKS = "penalty.oracle or penalty.restarted or gradient.local-step or agreement.vectors or zero-error"


class _AbstractMaxNormDriver(AbstractDriver):
    """`odeint` with the largest error in place of the root mean square."""

    norm: ClassVar[Literal["rms", "max"]]
    adapter: ClassVar[str] = "torchdiffeq"

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> Callable[..., Any]:
        del task
        return torchdiffeq.odeint

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        options = {"first_step": task.first_step, "norm": lambda y: y.abs().max()}
        settings = {"rtol": task.rtol, "atol": task.atol, "method": task.method.name, "options": options}
        return solve(task.field, task.y0, task.ts, **settings, **extra)

    def states(self, result: Any) -> Any:
        return result


@final
class MaxNormDriver(_AbstractMaxNormDriver):
    """Says so."""

    methods: ClassVar[tuple[Method, ...]] = (Method("dopri5", "dopri5", norm="max"),)


@final
class MaxNormHeunDriver(_AbstractMaxNormDriver):
    """A method of low order, which the largest error makes take the most steps."""

    methods: ClassVar[tuple[Method, ...]] = (Method("adaptive_heun", "heun-euler", norm="max"),)


@final
class SilentDriver(_AbstractMaxNormDriver):
    """Does not."""

    methods: ClassVar[tuple[Method, ...]] = (Method("dopri5", "dopri5"),)


def test_a_solver_with_the_largest_norm_conforms() -> None:
    verdict = run_checks(MaxNormDriver, select=_CHECKS)
    assert [each.id for each in verdict.results if each.outcome is not Outcome.PASSED] == []
    assert {each.check for each in verdict.results} >= {"penalty.oracle", "gradient.local-step", "agreement.vectors"}


@pytest.mark.parametrize("driver", [MaxNormDriver, MaxNormHeunDriver])
def test_the_penalty_of_the_largest_norm_reduces_the_cost_of_a_trained_task(driver: type[AbstractDriver]) -> None:
    verdict = run_checks(driver, select="reduction.adaptive")
    (found,) = [each for each in verdict.results if each.check == "reduction.adaptive"]
    assert found.outcome is Outcome.PASSED


def test_a_norm_that_the_driver_does_not_name_is_caught() -> None:
    verdict = run_checks(SilentDriver, select="penalty.oracle")
    (found,) = [each for each in verdict.results if each.case == "dopri5-error"]
    assert found.outcome is Outcome.FAILED
    assert "another norm than `Method.norm` says" in found.details["likely cause"]


@pytest.mark.parametrize(("norm", "reduce"), [("rms", lambda x: np.sqrt(np.mean(x**2))), ("max", np.max)])
def test_the_oracle_has_both(norm: Any, reduce: Callable[[Any], Any]) -> None:
    method = Method("dopri5", "dopri5", norm=norm)
    problem = main_problem(Subject(MaxNormDriver()), method)
    reference, point = oracle(problem, method, 1e-3, 1e-3), StepPoint(0.1, 0.2, problem.y0)
    assert reference is not None
    y1, error = reference._estimate(point, None)
    scale = 1e-3 + 1e-3 * np.maximum(np.abs(problem.y0), np.abs(y1))
    assert reference.error_ratio(point) == pytest.approx(reduce(np.abs(error / scale)), rel=1e-14)
