"""Steps without error: the penalty and all its gradients are exactly 0, never NaN."""

from typing import Any

import pytest
import torch
import torchdiffeq

import lrnde
import lrnde_core
from lrnde_core import AbstractHeuristic
from tests.adapters.torchdiffeq.problems import ADAPTIVE, FIXED, odeint

# The largest power of t that both solutions of the method, or its whole and halved steps, integrate exactly.
_EXACT_POWERS = {
    "dopri5": 3, "dopri8": 6, "bosh3": 1, "fehlberg2": 0, "adaptive_heun": 0,
    "euler": 0, "midpoint": 1, "heun2": 1, "heun3": 2, "rk4": 3,
}  # fmt: skip


class _Power(torch.nn.Module):
    """dy/dt = a (s + w t^q + 0 y), with the parameters a and w and the state in the graph."""

    def __init__(self, power: int, scale: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.power = power
        self.scale = torch.nn.Parameter(torch.tensor(scale, dtype=dtype))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.scale * t**self.power + 0.0 * y


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", [*ADAPTIVE, *FIXED])
@pytest.mark.parametrize("gradient", ["local", "full"])
def test_exactly_integrated_field_has_penalty_and_gradient_zero(method: str, dtype: torch.dtype, gradient: Any) -> None:
    heuristics: list[Any] = [lrnde.ErrorEstimate(1e-3, 1e-3), lrnde.PredictedSteps(1e-3, 1e-3)]
    if method in ADAPTIVE:
        heuristics.append(lrnde.PredictedSteps())
    if method in ("dopri5", "dopri8"):
        heuristics += [lrnde.StiffnessEstimate(), lrnde.StiffnessEstimate("paper") + lrnde.ErrorEstimate()]
    options = {} if method in ADAPTIVE else {"step_size": 0.17}
    for power in {0, _EXACT_POWERS[method]}:
        for scale in (0.0, 1.7):
            for heuristic in heuristics:
                is_stiffness = lrnde_core.Capability.STIFFNESS_ESTIMATE in heuristic.needs
                if is_stiffness and power > 0:
                    continue  # the last two stages differ, for a field of time alone
                field = _Power(power, scale, dtype)
                y0 = torch.tensor([[0.3, -1.1, 0.0]], dtype=dtype).requires_grad_()
                _, report = lrnde.regularize(odeint, heuristic=heuristic, gradient=gradient)(
                    field, y0, torch.tensor([0.0, 1.0], dtype=dtype), rtol=1e-4, atol=1e-4, method=method,
                    options=options, draw=[0.45],
                )  # fmt: skip
                assert report.penalty.item() == 0, (power, scale, heuristic)
                gradients = torch.autograd.grad(report.penalty, [field.scale, y0], allow_unused=True)
                assert all(part is None or not part.any() for part in gradients), (power, scale, heuristic)


# A method that integrates each of these exactly makes other roundings in each, and not all of them cancel.
_SCALES = torch.linspace(0.1, 3.0, 64)


@pytest.mark.filterwarnings("error")
def test_rounding_is_kept_where_it_is_asked_for() -> None:
    rate = torch.ones((), requires_grad=True)

    def penalty(power: int, rtol: float, rounding: Any) -> tuple[torch.Tensor, int | None]:
        def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return rate * _SCALES * t**power + 0.0 * y

        solve, options = lrnde.regularize(odeint, heuristic=lrnde.ErrorEstimate(rounding=rounding)), {"first_step": 0.5}
        _, report = solve(
            field, torch.ones(64), torch.tensor([0.0, 1.0]), rtol=rtol, atol=rtol, draw=[0.45], options=options
        )
        return report.penalty, report.num_unresolved

    kept, num_unresolved = penalty(3, 1e-6, "keep")
    assert kept > 0
    assert num_unresolved == 0
    (slope,) = torch.autograd.grad(kept, rate)
    assert slope != 0
    assert penalty(3, 1e-6, "zero")[0] == 0
    # Nor is anything said about tolerances below the dtype.
    assert penalty(3, 1.4e-8, "keep")[0] > 0
    # What is above its floor is the same either way.
    assert penalty(8, 1e-3, "keep")[0] == penalty(8, 1e-3, "zero")[0] > 0


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")
def test_rounding_is_kept_in_one_term_of_a_sum_alone() -> None:
    def penalty(heuristic: AbstractHeuristic) -> float:
        solve = lrnde.regularize(odeint, heuristic=heuristic)
        times = torch.tensor([0.0, 1.0])
        _, report = solve(lambda t, y: _SCALES + 0.0 * y, torch.ones(64), times, rtol=1e-6, atol=1e-6, draw=[0.45])
        return report.penalty.item()

    kept = lrnde.ErrorEstimate(rounding="keep")
    alone = penalty(kept)
    assert alone > 0
    assert penalty(lrnde.PredictedSteps() + kept) == alone
    assert penalty(kept + lrnde.PredictedSteps() + lrnde.StiffnessEstimate()) == alone


@pytest.mark.parametrize("rounding", ["off", None, False])
def test_another_rounding_is_refused(rounding: Any) -> None:
    with pytest.raises(lrnde.InputError, match=r'`rounding` must be "zero" or "keep"'):
        lrnde.ErrorEstimate(rounding=rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_taylor_derivative_of_straight_motion_is_zero(dtype: torch.dtype) -> None:
    field = _Power(0, 1.7, dtype)
    y0 = torch.ones(2, dtype=dtype)
    fields: list[Any] = [field, lambda t, y: torch.ones_like(y), lambda t, y: torch.sign(y)]
    for order, each in ((order, each) for order in (2, 3) for each in fields):
        for batched in (False, True):
            solve = lrnde.regularize(odeint, heuristic=lrnde.TaylorDerivative(order), num_samples=2, batched=batched)
            _, report = solve(each, y0, torch.tensor([0.0, 1.0]), rtol=1e-3, atol=1e-3, draw=[0.3, 0.6])
            assert report.penalty.item() == 0
            if report.penalty.requires_grad:
                (by_scale,) = torch.autograd.grad(report.penalty, [field.scale], allow_unused=True)
                assert by_scale is None or by_scale.item() == 0


def test_solve_without_a_step_has_penalty_zero() -> None:
    y0 = torch.ones(2).requires_grad_()
    solution, report = lrnde.regularize(odeint)(lambda t, y: -y, y0, torch.tensor([0.5]), rtol=1e-3, draw=[0.3])
    assert torch.equal(solution, y0[None])
    assert (report.nfe, report.nfe_extra, report.num_steps) == (2, 0, 0)
    assert report.penalty == 0
    assert report.sample is not None
    assert [report.sample.t.item(), report.sample.h.item(), report.sample.weight.item()] == [0.5, 0, 0]


def test_local_step_that_is_not_finite_has_penalty_zero_without_a_graph() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    num_calls = 0
    num_finite = 10**9

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal num_calls
        num_calls += 1
        return weight * y * (1.0 if num_calls <= num_finite else float("nan"))

    times, y0 = torch.tensor([0.0, 1.0]), torch.ones(2)
    expected = odeint(field, y0, times, rtol=1e-3, atol=1e-3)
    num_calls, num_finite = 0, num_calls
    solution, report = lrnde.regularize(odeint)(field, y0, times, rtol=1e-3, atol=1e-3, draw=[0.5])
    assert num_calls == num_finite + report.nfe_extra
    assert torch.equal(solution, expected)
    assert report.penalty.item() == 0
    assert not report.penalty.requires_grad


@pytest.mark.parametrize("heuristic", [lrnde.ErrorEstimate(1e-3, 1e-3), lrnde.PredictedSteps(1e-3, 1e-3)])
def test_a_fixed_step_that_is_not_finite_leaves_the_other_samples_alone(heuristic: AbstractHeuristic) -> None:
    rate = torch.ones((), requires_grad=True)

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return rate * torch.where(t > 0.5, torch.nan, 1.0) * y

    solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=heuristic, num_samples=2)

    def penalty(draw: list[float]) -> torch.Tensor:
        times = torch.tensor([0.0, 1.0])
        _, report = solve(field, torch.ones(3), times, method="rk4", options={"step_size": 0.25}, draw=draw)
        assert not report.sample.error_ratio.isnan().any()
        return report.penalty

    (alone,) = torch.autograd.grad(penalty([0.1, 0.1]), rate)
    (beside,) = torch.autograd.grad(penalty([0.1, 0.9]), rate)
    assert beside == pytest.approx(0.5 * alone.item(), rel=1e-3)
    assert beside != 0
