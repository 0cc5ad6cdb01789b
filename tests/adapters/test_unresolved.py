"""Estimates that are mere rounding: counted in the report, and told once."""

import warnings
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest
import torch
import torchdiffeq
import torchsde

import lrnde

_TIMES = torch.tensor([0.0, 1.0])
_PRESETS = [lrnde.presets.lrnde_unbiased, lrnde.presets.lrnde_biased]


def _torch_solve(**settings: Any) -> Callable[..., Any]:
    solve = lrnde.regularize(torchdiffeq.odeint, **settings)

    def call(tolerance: float = 1e-5, field: Any = lambda t, y: torch.tanh(y), **options: Any) -> Any:
        torch.manual_seed(0)
        return solve(field, torch.ones(4, 3), _TIMES, rtol=tolerance, atol=tolerance, **options)[1]

    return call


def _jax_solve(**settings: Any) -> Callable[..., Any]:
    solve = lrnde.regularize(diffrax.diffeqsolve, **settings)
    term = diffrax.ODETerm(lambda t, y, args: jnp.tanh(y))

    def call(tolerance: float = 1e-5) -> Any:
        controller = diffrax.PIDController(tolerance, tolerance)
        with jax.enable_x64(False):
            y0 = jnp.ones((4, 3))
            return solve(
                term, diffrax.Tsit5(), 0.0, 1.0, None, y0, stepsize_controller=controller, key=jax.random.key(0)
            )[1]

    return call


@pytest.mark.parametrize("make", [_torch_solve, _jax_solve])
@pytest.mark.parametrize("preset", _PRESETS)
def test_the_papers_presets_say_that_they_train_nothing(make: Any, preset: Any) -> None:
    call = make(**preset())
    with pytest.warns(lrnde.ResolutionWarning, match=r"rounding floor.*float64.*TaylorDerivative\(2") as caught:
        report = call()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert float(report.penalty) == 0
    assert report.num_unresolved == 1
    # Once for each regularized call; any further warning would be an error here.
    assert call().num_unresolved == 1


def test_every_sample_is_counted_and_a_new_call_is_warned_anew() -> None:
    for num_samples in (3, 5):
        with pytest.warns(lrnde.ResolutionWarning, match="rounding floor"):
            report = _torch_solve(num_samples=num_samples, **lrnde.presets.lrnde_unbiased())()
        assert report.num_unresolved == num_samples
        assert type(report.num_unresolved) is int


def test_a_warning_that_the_user_made_an_error_stays_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(lrnde.ResolutionWarning, match="below what float32 resolves"):
            _torch_solve(heuristic="error_estimate")(1e-9)


@pytest.mark.parametrize("make", [_torch_solve, _jax_solve])
def test_what_is_resolved_is_not_warned_about(make: Any) -> None:
    report = make(heuristic="error_estimate")(1e-2)
    assert float(report.penalty) > 0
    assert report.num_unresolved == 0
    assert make()().num_unresolved is None


@pytest.mark.parametrize("heuristic", [lrnde.PredictedSteps(), lrnde.StiffnessEstimate(), lrnde.ErrorEstimate()])
@pytest.mark.parametrize("sampler", [lrnde.UniformTime(), lrnde.UniformStep(), lrnde.AllSteps()])
def test_a_field_that_the_method_solves_exactly_is_told_too(heuristic: Any, sampler: Any) -> None:
    call, is_every = _torch_solve(heuristic=heuristic, sampler=sampler), sampler.keeps_every_step
    for _ in range(0 if is_every else 2):
        # Of one step, which may be the last and cut short, nothing is said.
        assert call(field=lambda t, y: torch.ones_like(y)).num_unresolved == 1
    with pytest.warns(lrnde.ResolutionWarning, match="or the method is exact for this field"):
        report = call(field=lambda t, y: torch.ones_like(y))
    assert report.num_unresolved == (report.num_accepted if is_every else 1)


def test_a_resolved_sample_in_between_keeps_the_warning_away() -> None:
    call = _torch_solve(heuristic=lrnde.ErrorEstimate(1e-6, 1e-6))
    for field in [torch.ones_like, torch.ones_like, torch.tanh] * 3:
        call(field=lambda t, y, field=field: field(y), method="rk4", options={"step_size": 0.5})


def test_part_of_the_samples_is_counted_without_a_warning() -> None:
    """A field that rests in the first half of the interval and moves in the second."""
    call = _torch_solve(heuristic=lrnde.ErrorEstimate(1e-6, 1e-6), num_samples=2)
    options = {"method": "rk4", "options": {"step_size": 0.25}}
    report = call(field=lambda t, y: -10.0 * y * (t > 0.5), draw=[0.3, 0.9], **options)
    assert report.num_unresolved == 1


def test_samples_without_a_finite_cost_are_not_taken_for_rounding() -> None:
    call = _torch_solve(heuristic=lrnde.ErrorEstimate(1e-3, 1e-3))
    options = {"method": "euler", "options": {"step_size": 0.5}}
    report = call(field=lambda t, y: y * torch.where(t == 0.25, torch.nan, 1.0), draw=[0.3], **options)
    assert float(report.penalty) == 0
    assert (report.num_unresolved, report.sample.weight.tolist()) == (0, [0.0])


def test_steps_are_counted_where_diffrax_adds_costs_up() -> None:
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic="error_estimate", sampler="all_steps")
    controller = diffrax.PIDController(1e-3, 1e-3)
    term = diffrax.ODETerm(lambda t, y, args: jnp.ones_like(y))
    with pytest.warns(lrnde.ResolutionWarning, match="rounding floor"):
        _, report = solve(term, diffrax.Tsit5(), 0.0, 1.0, 0.1, jnp.ones(3), stepsize_controller=controller)
    num_unresolved: Any = report.num_unresolved
    assert num_unresolved == report.num_accepted > 0
    assert num_unresolved.dtype == jnp.int32


def test_compiled_calls_count_and_cannot_warn() -> None:
    solve = lrnde.regularize(diffrax.diffeqsolve, **lrnde.presets.lrnde_unbiased())
    term, controller = diffrax.ODETerm(lambda t, y, args: jnp.tanh(y)), diffrax.PIDController(1e-5, 1e-5)

    def number(y0: Any, key: Any) -> Any:
        call = solve(term, diffrax.Tsit5(), 0.0, 1.0, None, y0, stepsize_controller=controller, key=key)
        return call[1].num_unresolved

    with jax.enable_x64(False):
        keys = jax.random.split(jax.random.key(0), 3)
        numbers = jax.jit(jax.vmap(number))(jnp.ones((3, 4)), keys)
    assert numbers.tolist() == [1, 1, 1]


def test_stochastic_solves_without_noise_and_drift_are_told() -> None:
    class Still(torch.nn.Module):
        sde_type, noise_type = "stratonovich", "diagonal"

        def f(self, _t: Any, y: Any) -> Any:
            return torch.zeros_like(y)

        g = f

    solve = lrnde.regularize(torchsde.sdeint)
    settings = {"method": "heun", "adaptive": True, "rtol": 1e-2, "atol": 1e-2}
    for _ in range(2):
        solve(Still(), torch.ones(4, 3), _TIMES, **settings)
    with pytest.warns(lrnde.ResolutionWarning, match="rounding floor"):
        _, report = solve(Still(), torch.ones(4, 3), _TIMES, **settings)
    assert report.num_unresolved == 1


def test_tolerances_that_cannot_be_resolved_are_told_once_in_all() -> None:
    """What is wrong with the tolerances says it all."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _torch_solve(heuristic="error_estimate")(1e-8, options={"min_step": 0.2})
    assert [str(each.message)[:12] for each in caught] == ["`rtol=1e-08`"]
