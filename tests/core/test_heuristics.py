"""Heuristics as values, and the points where a gradient could fail to be finite."""

import pickle
from typing import Any

import numpy as np
import pytest

from lrnde_core import (
    AbstractHeuristic,
    AbstractLocalProblem,
    Capability,
    ErrorEstimate,
    Evaluations,
    InputError,
    InputTypeError,
    JacobianNorm,
    KineticEnergy,
    LocalState,
    PluginError,
    PredictedSteps,
    StiffnessEstimate,
    TaylorDerivative,
    Tolerances,
    WeightedSum,
)
from lrnde_core._registry import REGISTRY
from tests.core.array_problem import ArrayProblem, local_state
from tests.core.libraries import AbstractDifferentiable, eagerly
from tests.core.tableaus import DOPRI5

_ALL = [
    *(ErrorEstimate(), PredictedSteps(), StiffnessEstimate(), TaylorDerivative(3)),
    *(KineticEnergy("taynode"), JacobianNorm("rademacher", "jvp", at="step")),
]


def _local(error_ratio: Any) -> LocalState:
    """A local state with an error ratio of the test's choosing."""
    local = local_state(ArrayProblem(lambda t, y: y, DOPRI5), 0.0, 0.1, error_ratio)
    local._error_ratios[None, None, False] = error_ratio
    return local


def test_predicted_steps_has_a_finite_gradient_everywhere_and_none_at_zero(
    differentiable: AbstractDifferentiable,
) -> None:
    for ratio, slope in ((0.0, 0.0), (1e-30, 0.2 * 1e-30**-0.8), (1.0, 0.2)):
        _, gradient = differentiable.derivatives(lambda ratio: PredictedSteps().cost(_local(ratio)), ratio)
        assert gradient == pytest.approx(slope)


@eagerly
def test_taylor_derivative_is_the_mean_square_times_the_step(differentiable: AbstractDifferentiable) -> None:
    problem, array = ArrayProblem(lambda t, y: -2.0 * y, DOPRI5), differentiable.array
    t, h, y = array(0.0), array(-0.1), array([1.0, 3.0])
    cost = TaylorDerivative(2, at="step").cost(local_state(problem, t, h, y))
    assert float(cost) == pytest.approx(0.1 * 16 * 5)
    cost = TaylorDerivative(3).cost(local_state(problem, t, h, y, fraction=0.5))
    assert float(cost) == pytest.approx(0.1 * 64 * 5 * np.exp(0.2), rel=1e-6)


def test_sums_share_one_step_and_add_up(xp: Any) -> None:
    total = 2 * ErrorEstimate() + 0.1 * (StiffnessEstimate() + 3 * PredictedSteps()) + PredictedSteps(1e-3, 1e-3)
    assert isinstance(total, WeightedSum)
    assert [weight for weight, _ in total.terms] == pytest.approx([2, 0.1, 0.3, 1])
    assert total.needs == {Capability.ERROR_ESTIMATE, Capability.STIFFNESS_ESTIMATE}
    assert total.tolerances == (Tolerances(), Tolerances(), Tolerances(1e-3, 1e-3))
    problem, y = ArrayProblem(lambda t, y: -3.0 * y * y, DOPRI5), xp.asarray([1.0, 0.5], dtype=xp.float64)
    cost = total.cost(local_state(problem, 0.0, 0.4, y))
    assert len(problem.calls) == DOPRI5.num_stages
    local = local_state(problem, 0.0, 0.4, y)
    assert float(cost) == pytest.approx(sum(weight * float(term.cost(local)) for weight, term in total.terms))


def test_evaluations_of_a_sum_count_shared_steps_once() -> None:
    total = ErrorEstimate() + StiffnessEstimate() + TaylorDerivative(2) + TaylorDerivative(3, at="step")
    assert total.evaluations == Evaluations(step=True, step_to_point=True, derivatives=(2, 3))
    total = KineticEnergy(at="step") + 0.1 * (JacobianNorm(at="step") + JacobianNorm(mode="jvp", at="step"))
    assert total.evaluations == Evaluations(at_point=3, probe=True)


@pytest.mark.parametrize("heuristic", [*_ALL, ErrorEstimate() + 0.5 * StiffnessEstimate()])
def test_heuristics_are_values(heuristic: AbstractHeuristic) -> None:
    copy = pickle.loads(pickle.dumps(heuristic))
    assert copy == heuristic
    assert hash(copy) == hash(heuristic)
    assert heuristic != 2 * heuristic


def test_scaling_refuses_what_is_no_weight() -> None:
    with pytest.raises(InputTypeError, match=r"scaled by a Python number.*multiplies `report.penalty`"):
        ErrorEstimate() * np.ones(3)
    with pytest.raises(InputTypeError, match="scaled by a Python number, not by True"):
        True * ErrorEstimate()
    for factor in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="finite number of at least 0"):
            factor * ErrorEstimate()
    with pytest.raises(TypeError, match="unsupported operand"):
        ErrorEstimate() * ErrorEstimate()
    with pytest.raises(TypeError, match="unsupported operand"):
        ErrorEstimate() + 1


@pytest.mark.parametrize("heuristic", [ErrorEstimate, PredictedSteps])
def test_bad_tolerances_are_refused(heuristic: Any) -> None:
    with pytest.raises(InputError, match="give both `rtol` and `atol`, or neither"):
        heuristic(rtol=1e-3)
    for rtol, atol in ((-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)):
        with pytest.raises(InputError, match="finite, at least 0, and not both 0"):
            heuristic(rtol=rtol, atol=atol)
    with pytest.raises(InputTypeError, match=r"`\w+\(rtol=...\)` was given a `ndarray`; .* one Python number"):
        heuristic(rtol=np.ones(2), atol=1.0)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match="`order` must be at least 2"):
        TaylorDerivative(1)
    with pytest.raises(InputTypeError, match="`order` must be an integer"):
        TaylorDerivative(2.0)
    for heuristic in (TaylorDerivative, KineticEnergy, JacobianNorm):
        with pytest.raises(InputError, match=rf"`{heuristic.__name__}\(at='end'\)`: `at` must be \"time\" or \"step\""):
            heuristic(at="end")
    with pytest.raises(InputError, match=r'`convention` must be "rnode" or "taynode"'):
        KineticEnergy("finlay")
    with pytest.raises(InputError, match=r'`probe` must be "gaussian" or "rademacher"'):
        JacobianNorm("uniform")
    with pytest.raises(InputError, match=r'`mode` must be "vjp" or "jvp"'):
        JacobianNorm(mode="forward")
    with pytest.raises(InputError, match=r'`weighting` must be "sum" or "paper"'):
        StiffnessEstimate(weighting="mean")


@eagerly
@pytest.mark.parametrize("name", ["taylor_derivative", "kinetic_energy", "jacobian_norm"])
def test_heuristics_of_a_point_are_found_by_name_and_scale_with_the_step(
    name: str, differentiable: AbstractDifferentiable
) -> None:
    heuristic, array = REGISTRY.heuristic(name), differentiable.array
    problem = ArrayProblem(lambda t, y: differentiable.sin(y) + t, DOPRI5)
    y, probes = array([1.0, 3.0]), (array([0.5, -2.0]),)

    def cost(h: float) -> float:
        local = local_state(problem, array(0.3), array(h), y, fraction=0.0, probes=probes)
        return float(heuristic.cost(local))

    # At the same point, the costs of two steps differ by their sizes.
    assert cost(-0.2) == pytest.approx(2 * cost(0.1))
    products = {Capability.REVERSE_PRODUCTS} if name == "jacobian_norm" else set[Capability]()
    assert heuristic.needs == {Capability.POINT_HEURISTICS, Capability.POINT_INSIDE_STEP} | products
    assert type(heuristic)(at="step").needs == {Capability.POINT_HEURISTICS} | products


def test_a_local_problem_without_a_derivative_in_reverse_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArrayProblem, "vjp", AbstractLocalProblem.vjp)
    problem = ArrayProblem(lambda t, y: y * y, DOPRI5)
    local = local_state(problem, 0.0, 0.1, np.ones(2))
    with pytest.raises(PluginError, match=r"`ArrayProblem` has no `vjp`.*declare `Capability.REVERSE_PRODUCTS`"):
        JacobianNorm(at="step").cost(local)
    assert JacobianNorm(mode="jvp", at="step").cost(local) > 0
