"""Samples with their own steps, which the suite does not ask for, because other solvers have nothing like it."""

import math
from typing import Any

import lrnde
import numpy as np
import pytest
import torch
import torchode as typed_torchode
from lrnde_core import AbstractHeuristic, Capability, NativeArgument, NativeResult, get_adapter

from lrnde_torchode._types import Adjoint, Controller, Field

torchode: Any = typed_torchode  # its annotations use its own tensor types
_A = torch.tensor([[-0.3, 2.0], [-2.0, -0.3]], dtype=torch.float64)
_Y0 = torch.tensor([[0.1, 0.2], [1.0, -1.0], [3.0, 2.0]], dtype=torch.float64)
_TIMES = torch.tensor([[0.0, 2.0], [0.3, 1.0], [1.0, -1.0]], dtype=torch.float64)
_RTOL, _ATOL = 2.0**-13, 2.0**-17  # exact in the float32 that a torchode controller keeps them in


class _Field(torch.nn.Module):
    """dy/dt = sin(3 t) tanh(A y) + context, with a context of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(_A.clone())
        self.context = torch.nn.Parameter(torch.tensor([[0.1, 0.0], [0.0, 0.2], [-0.3, 0.1]], dtype=torch.float64))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * t)[:, None] * torch.tanh(y @ self.a) + self.context


def _controller(rtol: float = _RTOL, atol: float = _ATOL) -> Controller:
    return torchode.IntegralController(atol=atol, rtol=rtol)


def _solve(
    field: Field, heuristic: AbstractHeuristic, *, times: torch.Tensor = _TIMES, **settings: NativeArgument
) -> tuple[NativeResult, lrnde.Report]:
    regularized = {name: settings.pop(name) for name in ("sampler", "num_samples", "gradient") if name in settings}
    solve = lrnde.regularize(torchode.solve_ivp, heuristic=heuristic, **regularized)
    settings = {"method": "heun", "controller": _controller(), "draw": [0.4], **settings}
    return solve(field, settings.pop("y0", _Y0), times, **settings)


def _heun_error_ratio(field: _Field, sample: int, t: float, h: float, y: np.ndarray) -> float:
    a, context = field.a.detach().numpy(), field.context[sample].detach().numpy()
    first = math.sin(3 * t) * np.tanh(y @ a) + context
    second = math.sin(3 * (t + h)) * np.tanh((y + h * first) @ a) + context
    end, error = y + h * (first + second) / 2, h * (second - first) / 2
    return math.sqrt(np.mean((error / (_ATOL + _RTOL * np.maximum(abs(y), abs(end)))) ** 2))


def test_each_sample_has_its_own_step_weight_and_error_ratio() -> None:
    field = _Field()
    solution, report = _solve(field, lrnde.ErrorEstimate())
    assert report.sample is not None
    assert report.sample.t.shape == (1, 3)
    durations = (_TIMES[:, 1] - _TIMES[:, 0]).abs()
    expected: list[float] = []
    for sample in range(3):
        # One sample alone takes the same steps: that is what torchode is for. Its state at the step, by an output time.
        t, h = report.sample.t[0, sample].item(), report.sample.h[0, sample].item()
        start, end = _TIMES[sample].tolist()
        covered = start + 0.4 * (end - start)
        assert abs(t - start) <= abs(covered - start) <= abs(t + h - start)
        times = torch.tensor([[start, t, end]], dtype=torch.float64)
        alone = _Field()
        alone.context = torch.nn.Parameter(field.context[sample : sample + 1].detach().clone())
        bare = torchode.solve_ivp(alone, _Y0[sample : sample + 1], times, method="heun", controller=_controller())
        ratio = _heun_error_ratio(field, sample, t, h, bare.ys[0, 1].detach().numpy())
        assert report.sample.error_ratio[0, sample].item() == pytest.approx(ratio, rel=1e-8)
        assert report.sample.weight[0, sample].item() == pytest.approx(durations[sample].item() / abs(h), rel=1e-12)
        expected.append(ratio * durations[sample].item())
        assert report.num_accepted[sample] == bare.stats["n_accepted"][0]
    assert report.penalty.item() == pytest.approx(np.mean(expected), rel=1e-8)
    assert report.nfe == int(solution.stats["n_f_evals"][0])


@pytest.mark.parametrize("heuristic", [lrnde.StiffnessEstimate(), lrnde.TaylorDerivative(2), lrnde.PredictedSteps()])
def test_the_penalty_is_the_mean_of_those_of_the_samples_alone(heuristic: AbstractHeuristic) -> None:
    _, report = _solve(_Field(), heuristic, method="tsit5")
    alone: list[float] = []
    for sample in range(3):
        field = _Field()
        field.context = torch.nn.Parameter(field.context[sample : sample + 1].detach().clone())
        rows = {"y0": _Y0[sample : sample + 1], "times": _TIMES[sample : sample + 1]}
        alone.append(_solve(field, heuristic, method="tsit5", **rows)[1].penalty.item())
    assert report.penalty.item() == pytest.approx(np.mean(alone), rel=1e-8)


@pytest.mark.parametrize("adjoint_class", [torchode.BacksolveAdjoint, torchode.JointBacksolveAdjoint])
def test_backsolve_adjoints_give_the_same_local_gradient(adjoint_class: type[Adjoint]) -> None:
    field = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()).double()
    term = torchode.ODETerm(_TimeFree(field))
    times = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    y0 = _Y0[:1]  # of a batch of one, both adjoints solve the same problem
    gradients: list[list[float]] = []
    for each in (torchode.AutoDiffAdjoint, adjoint_class):
        parts = (torchode.Dopri5(term), _controller())
        adjoint = each(*parts) if each is torchode.AutoDiffAdjoint else each(term, *parts)
        solve = lrnde.regularize(adjoint.solve)
        bare = adjoint.solve(torchode.InitialValueProblem(y0, t_eval=times), term)
        solution, report = solve(torchode.InitialValueProblem(y0, t_eval=times), term, draw=[0.4])
        assert torch.equal(solution.ys, bare.ys)
        assert adjoint.solve(torchode.InitialValueProblem(y0, t_eval=times), term).stats.keys() == bare.stats.keys()
        gradient = torch.autograd.grad(report.penalty, list(field.parameters()))
        gradients.append([value for part in gradient for value in part.reshape(-1).tolist()])
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-12)


class _CountedAdjoint(typed_torchode.BacksolveAdjoint):
    """Somebody's own adjoint, which inherits `solve`."""


@pytest.mark.parametrize(
    "adjoint_class",
    [torchode.AutoDiffAdjoint, torchode.BacksolveAdjoint, torchode.JointBacksolveAdjoint, _CountedAdjoint],
)
def test_adjoints_are_found_by_themselves_and_left_as_they_are(adjoint_class: type[Adjoint]) -> None:
    term = torchode.ODETerm(_TimeFree(torch.nn.Linear(2, 2).double()))
    parts = (torchode.Tsit5(term), _controller())
    adjoint = adjoint_class(*parts) if adjoint_class is torchode.AutoDiffAdjoint else adjoint_class(term, *parts)
    solve = lrnde.regularize(adjoint.solve)
    name = "BacksolveAdjoint" if adjoint_class is _CountedAdjoint else adjoint_class.__name__
    assert (solve.solver.adapter_name, solve.solver.path) == ("torchode", f"torchode:{name}.solve")
    before = list(adjoint.modules())
    _, report = solve(torchode.InitialValueProblem(_Y0[:1], t_eval=_TIMES[:1]), term, draw=[0.4])
    assert report.penalty > 0
    assert list(adjoint.modules()) == before


class _TimeFree(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        del t
        return self.inner(y)


def test_a_sample_without_time_to_solve_has_no_part_in_the_penalty() -> None:
    times = torch.tensor([[0.0, 2.0], [0.3, 0.3], [1.0, -1.0]], dtype=torch.float64)
    for heuristic in (lrnde.ErrorEstimate(), lrnde.StiffnessEstimate(), lrnde.TaylorDerivative(2)):
        field = _Field()
        _, report = _solve(field, heuristic, times=times, method="dopri5")
        assert report.sample is not None
        assert report.sample.weight[0, 1] == 0
        assert report.sample.h[0, 1] == 0
        report.penalty.backward()
        assert report.penalty > 0
        assert field.context.grad is not None
        assert field.context.grad.isfinite().all()
        assert (field.context.grad[1] == 0).all()


def test_a_failed_solve_has_penalty_0_and_torchodes_own_status() -> None:
    solution, report = _solve(_Field(), lrnde.ErrorEstimate(), max_steps=3)
    assert (solution.status == torchode.Status.REACHED_MAX_STEPS.value).any()
    assert not report.penalty.requires_grad
    assert report.penalty == 0
    assert report.nfe_extra == 0


def test_times_and_states_may_differ_in_dtype() -> None:
    field = torch.nn.Linear(2, 2)
    seen: set[torch.dtype] = set()

    def watched(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.add(t.dtype)
        return torch.tanh(field(y)) * t[:, None].float()

    for dtype in (torch.float32, torch.float64):
        seen.clear()
        _, report = _solve(watched, lrnde.TaylorDerivative(2), y0=_Y0.float(), times=_TIMES.to(dtype))
        assert seen == {dtype}
        assert report.penalty.dtype == torch.float32


def test_probes_are_those_of_the_whole_batch() -> None:
    heuristic = lrnde.JacobianNorm(at="step")
    penalties = [_solve(_Field(), heuristic, probes=probes)[1].penalty.item() for probes in (_Y0, 2 * _Y0)]
    assert penalties[1] == pytest.approx(4 * penalties[0], rel=1e-12)
    term = torchode.ODETerm(_TimeFree(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()).double()))
    solve = lrnde.regularize(
        torchode.JointBacksolveAdjoint(term, torchode.Tsit5(term), _controller()).solve, heuristic=heuristic
    )
    problem = torchode.InitialValueProblem(_Y0, t_eval=torch.tensor([[0.0, 1.0]]).double().expand(3, -1))
    assert solve(problem, term, draw=[0.4], probes=_Y0)[1].penalty > 0
    with pytest.raises(lrnde.InputError, match="like the state"):
        solve(problem, term, draw=[0.4], probes=_Y0[:1])


def test_the_full_gradient_reaches_the_initial_state() -> None:
    y0 = _Y0.clone().requires_grad_()
    _, report = _solve(_Field(), lrnde.ErrorEstimate(), gradient="full", y0=y0)
    (gradient,) = torch.autograd.grad(report.penalty, y0)
    assert (gradient != 0).all()


def test_what_torchode_can_not_do_is_refused_with_a_reason() -> None:
    method = torchode.Dopri5(torchode.ODETerm(_Field()))
    adjoint = torchode.AutoDiffAdjoint(method, torchode.FixedStepController())
    problem = torchode.InitialValueProblem(_Y0, t_eval=_TIMES)
    solve = lrnde.regularize(adjoint.solve, heuristic=lrnde.ErrorEstimate())
    with pytest.raises(lrnde.CapabilityError, match="takes fixed steps and has no tolerance"):
        solve(problem, draw=[0.5], dt0=0.1 * torch.ones(3, dtype=torch.float64))
    with pytest.raises(lrnde.CapabilityError, match="Concatenate along the features"):
        lrnde.regularize(torchode.solve_ivp)(_Field(), (_Y0, _Y0), _TIMES)
    with pytest.raises(lrnde.InputTypeError, match="must be a tensor of shape"):
        lrnde.regularize(torchode.solve_ivp)(_Field(), _Y0.numpy(), _TIMES)
    with pytest.raises(lrnde.CapabilityError, match="Leave `batched` out"):
        lrnde.regularize(torchode.solve_ivp, batched=True)
    capabilities = get_adapter("torchode").capabilities
    assert capabilities.reason_against(Capability.TREE_STATE)
