"""Numbers computed from a tableau, and the sources of the longer ones."""

from typing import Any

import numpy as np
import pytest

from lrnde_core import FIXED_METHODS, ExplicitTableau, FixedSteps, InputError, MethodFacts
from tests.core.array_problem import ArrayProblem
from tests.core.tableaus import BOSH3, DOPRI5, DOPRI8, EMBEDDED, HEUN, RK4, TSIT5

EULER = ExplicitTableau((), (1.0,), (0.0,), None)


@pytest.mark.parametrize(
    ("tableau", "interval"),
    [(EULER, 2.0), (HEUN, 2.0), (BOSH3, 2.5127), (RK4, 2.7853), (DOPRI5, 3.3066), (TSIT5, 3.5068), (DOPRI8, 5.1666)],
)
def test_real_stability_interval_is_the_published_one(tableau: ExplicitTableau, interval: float) -> None:
    assert tableau.real_stability_interval == pytest.approx(interval, abs=1e-4)


@pytest.mark.parametrize("tableau", [BOSH3, DOPRI5, DOPRI8, HEUN, RK4, TSIT5])
def test_a_step_on_a_linear_problem_grows_just_beyond_the_interval(tableau: ExplicitTableau) -> None:
    problem = ArrayProblem(lambda t, y: -y, tableau)
    inside, outside = (
        abs(problem.advance(0.0, tableau.real_stability_interval * factor, (np.ones(()),), carry=None)[0])
        for factor in (1 - 1e-6, 1 + 1e-6)
    )
    assert inside < 1 < outside


def test_tableaus_are_those_of_torchdiffeq() -> None:
    pytest.importorskip("torchdiffeq")
    from torchdiffeq._impl.dopri5 import Dopri5Solver
    from torchdiffeq._impl.dopri8 import Dopri8Solver

    for solver, expected in ((Dopri5Solver, DOPRI5), (Dopri8Solver, DOPRI8)):
        tableau = solver.tableau
        assert [row.tolist() for row in tableau.beta] == list(map(list, expected.a))
        assert (0.0, *tableau.alpha.tolist()) == expected.c
        assert tuple(tableau.c_sol.tolist()) == expected.b
        assert tuple(tableau.c_error.tolist()) == expected.error


def test_tableaus_are_those_of_diffrax() -> None:
    tableau: Any = pytest.importorskip("diffrax").Tsit5.tableau
    assert [row.tolist() for row in tableau.a_lower] == list(map(list, TSIT5.a))
    assert (0.0, *tableau.c.tolist()) == TSIT5.c
    assert tuple(tableau.b_sol.tolist()) == TSIT5.b
    assert tuple(tableau.b_error.tolist()) == TSIT5.error


def test_stiffness_pair_needs_two_different_stages_at_the_end() -> None:
    assert all(tableau.has_stiffness_pair for tableau in (DOPRI5, DOPRI8, TSIT5))
    assert not any(tableau.has_stiffness_pair for tableau in (EULER, HEUN, BOSH3, RK4))


def test_last_stage_is_the_solution_in_first_same_as_last_methods() -> None:
    assert all(tableau.is_last_stage_solution for tableau in (DOPRI5, DOPRI8, TSIT5, BOSH3))
    assert not any(tableau.is_last_stage_solution for tableau in (HEUN, RK4))
    # One stage has no rows, so there is no last stage beside the first.
    assert not EULER.is_last_stage_solution


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_error_weights_vanish_up_to_the_power_the_tests_assume(name: str) -> None:
    tableau, _, highest = EMBEDDED[name]
    assert tableau.error is not None
    moments = [abs(np.dot(tableau.error, np.power(tableau.c, power))) for power in range(highest + 2)]
    # Each term of a sum is rounded in the power and in the product, the sum as often as it has terms.
    rounding = 3 * len(tableau.c) * np.finfo(float).eps * np.abs(tableau.error).sum()
    assert max(moments[:-1]) < rounding
    assert moments[-1] > 1e-5


@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
def test_the_error_of_a_step_of_a_plan_falls_with_the_power_of_its_facts(method: str) -> None:
    steps = FixedSteps.equal(method, 1)
    native = MethodFacts.explicit("tsit5", 5, TSIT5)
    problem = ArrayProblem(lambda t, y: np.sin(y + t), steps.tableau)

    def size(h: float) -> float:
        estimate = problem.step(0.2, h, (np.array(0.7),), first_stage=None, carry=None)
        assert estimate.error is not None
        return float(abs(estimate.error[0]))

    measured = np.log2(size(0.02) / size(0.01))
    assert native.by_steps(method, steps.order, steps.tableau).error_order == pytest.approx(measured, abs=0.1)


def test_an_error_that_no_power_of_time_shows_is_refused() -> None:
    rk4 = ExplicitTableau(
        ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0), (0.0, -1.0, 1.0, 0.0)
    )
    with pytest.raises(InputError, match="integrate every function of time to 0"):
        _ = rk4.error_order
