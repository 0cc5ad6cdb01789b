"""Steps without error, or not finite: penalty and gradient are exactly 0, never NaN."""

from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torchsde
from torchsde import BrownianInterval

import lrnde
from tests.adapters.torchsde.problems import METHODS, SCHEMES, Y0, Equation, brownian, sdeint, sdeint_adjoint

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:torchsde"),
    pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning"),
]
_AREAS = {"srk": "space-time", "log_ode": "foster"}
_CHANNELS = {"additive": 2, "general": 2, "scalar": 1, "diagonal": 3}


class _Constant(torch.nn.Module):
    """dy = a dt + b dW with constant a and b, and the state in the graph."""

    def __init__(self, calculus: str, noise: str, a: float, b: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.sde_type, self.noise_type = calculus, noise
        self.a = torch.nn.Parameter(torch.tensor(a, dtype=dtype))
        self.b = torch.nn.Parameter(torch.tensor(b, dtype=dtype))

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.a + 0 * y

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        value = self.b + 0 * y
        return value if self.noise_type == "diagonal" else value[..., None].expand(-1, -1, _CHANNELS[self.noise_type])


def _magnitudes() -> st.SearchStrategy[float]:
    return st.one_of(st.just(0.0), st.floats(-5, 5).map(lambda power: 10.0**power))


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_constant_drift_and_diffusion_have_penalty_and_gradient_zero(data: st.DataObject) -> None:
    draw = data.draw
    method, calculus, noise = draw(st.sampled_from(SCHEMES))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    equation = _Constant(calculus, noise, draw(_magnitudes()), draw(_magnitudes()), dtype)
    y0 = (draw(_magnitudes()) * torch.tensor([[1.0, -0.3, 0.0]], dtype=dtype)).requires_grad_()
    start, duration = draw(_magnitudes()), 10.0 ** draw(st.floats(-3, 3))
    ts = torch.tensor([start, start + duration], dtype=torch.float64)
    adaptive = draw(st.booleans())
    steps = {"adaptive": True, "dt": duration / 2, "dt_min": duration / 4, "rtol": 1e-2, "atol": 1e-2}
    motion = BrownianInterval(
        start,
        ts[-1],
        size=(1, _CHANNELS[noise]),
        dtype=dtype,
        entropy=draw(st.integers(0, 2**31)),
        levy_area_approximation=_AREAS.get(method, "none"),
    )
    solve = lrnde.regularize(
        draw(st.sampled_from([sdeint, sdeint_adjoint])),
        heuristic=draw(st.sampled_from([lrnde.ErrorEstimate(1e-3, 1e-4), lrnde.PredictedSteps(0.0, 1e-3)])),
        sampler=lrnde.UniformTime(increment=draw(st.sampled_from(["path", "fresh"]))),
    )
    settings: dict[str, Any] = steps if adaptive else {"dt": duration / 3}
    _, report = solve(
        equation, y0, ts, bm=motion, method=method, draw=[draw(st.floats(0, 1, exclude_max=True))], **settings
    )
    assert report.penalty.item() == 0
    gradients = torch.autograd.grad(report.penalty, [equation.a, equation.b, y0], allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_taylor_derivative_of_constant_drift_is_zero(dtype: torch.dtype) -> None:
    equation = _Constant("ito", "diagonal", 1.7, 0.3, dtype)
    solve = lrnde.regularize(sdeint, heuristic=lrnde.TaylorDerivative(2, at="step"))
    _, report = solve(equation, Y0.to(dtype), [0.0, 1.0], dt=0.3, draw=[0.5])
    assert report.penalty.item() == 0
    gradients = torch.autograd.grad(report.penalty, list(equation.parameters()), allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


class _Failing(torch.nn.Module):
    """An equation whose drift or diffusion stops being finite after so many calls, in the middle of a solve."""

    def __init__(self, inner: Equation, broken: str, value: float, after: int) -> None:
        super().__init__()
        self.sde_type, self.noise_type = inner.sde_type, inner.noise_type
        self.inner, self.broken, self.value, self.after = inner, broken, value, after
        self.num_calls = 0

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._spoilt("f", self.inner.f(t, y))

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._spoilt("g", self.inner.g(t, y))

    def _spoilt(self, name: str, result: torch.Tensor) -> torch.Tensor:
        self.num_calls += name == self.broken
        return result * self.value if name == self.broken and self.num_calls > self.after else result


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("broken", ["f", "g"])
@pytest.mark.parametrize(("method", "calculus", "noises"), METHODS)
def test_steps_that_are_not_finite_have_penalty_zero_and_no_gradient(
    method: str, calculus: str, noises: tuple[str, ...], broken: str, value: float
) -> None:
    def equation() -> _Failing:
        return _Failing(Equation(calculus, noises[1]), broken, value, after=4)

    settings: dict[str, Any] = {"dt": 0.1, "method": method}
    expected = sdeint(equation(), Y0, [0.0, 0.5], bm=brownian(method, noises[1]), **settings)
    assert not expected.isfinite().all()
    for heuristic in (lrnde.ErrorEstimate(1e-3, 1e-3), lrnde.PredictedSteps(1e-3, 1e-3)):
        failing = equation()
        # One sample where the state is lost, and one where it is still finite but the local step is not.
        solve = lrnde.regularize(sdeint, heuristic=heuristic, num_samples=2)
        solution, report = solve(failing, Y0, [0.0, 0.5], bm=brownian(method, noises[1]), draw=[0.99, 0.0], **settings)
        assert torch.equal(solution.isnan(), expected.isnan())
        assert report.penalty.item() == 0
        if report.penalty.requires_grad:
            gradients = torch.autograd.grad(report.penalty, list(failing.parameters()), allow_unused=True)
            assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_a_sample_that_is_not_finite_does_not_spoil_the_others() -> None:
    def penalty(draws: list[float]) -> tuple[float, list[torch.Tensor]]:
        equation = Equation("ito", "diagonal")

        def f(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            result = equation._f(t, y)
            return torch.where(t > 0.35, float("nan"), 1.0) * result

        equation.__dict__["f"] = f
        solve = lrnde.regularize(sdeint, heuristic=lrnde.ErrorEstimate(1e-3, 1e-3), num_samples=len(draws))
        _, report = solve(
            equation, Y0, [0.0, 0.5], bm=brownian("euler", "diagonal"), dt=0.1, method="euler", draw=draws
        )
        return report.penalty.item(), list(torch.autograd.grad(report.penalty, list(equation.parameters())))

    alone, by_parameters = penalty([0.1])
    both, by_both = penalty([0.1, 0.9])
    assert alone > 0
    assert both == alone / 2
    assert all(torch.equal(half, whole / 2) for half, whole in zip(by_both, by_parameters, strict=True))


@pytest.mark.parametrize("broken", ["f", "g"])
def test_adaptive_solve_that_is_not_finite_ends_as_the_bare_one(broken: str) -> None:
    for solve in (sdeint, lrnde.regularize(sdeint, heuristic="error_estimate")):
        equation = _Failing(Equation("stratonovich", "diagonal"), broken, float("nan"), after=9)
        with pytest.raises(AssertionError, match="Found nans in the error estimate"):
            solve(equation, Y0, [0.0, 0.5], bm=brownian("heun", "diagonal"), dt=0.1, method="heun", adaptive=True)


def test_rounding_is_kept_where_it_is_asked_for() -> None:
    scales = torch.linspace(0.1, 3.0, 64)

    class Still(torch.nn.Module):
        sde_type, noise_type = "stratonovich", "diagonal"

        def f(self, _t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            # The method integrates each of these exactly, with other roundings in each, and not all of them cancel.
            return scales + 0 * y

        def g(self, _t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return 0 * y

    def penalty(rounding: Any) -> float:
        heuristic = lrnde.ErrorEstimate(rounding=rounding)
        solve = lrnde.regularize(torchsde.sdeint, heuristic=heuristic, num_samples=2)
        steps = {"method": "heun", "adaptive": True, "rtol": 1e-5, "atol": 1e-5, "dt": 0.1}
        return solve(Still(), torch.ones(4, 64), torch.tensor([0.0, 1.0]), draw=[0.3, 0.6], **steps)[1].penalty.item()

    assert penalty("keep") > 0
    assert penalty("zero") == 0
