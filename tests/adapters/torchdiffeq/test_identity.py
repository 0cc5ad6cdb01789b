"""The wrapped call is the bare call: solution, gradients, callbacks and counts, to the last bit."""

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import (
    ADAPTIVE,
    CALLBACKS,
    FIXED,
    Perceptron,
    Watched,
    odeint,
    odeint_adjoint,
    odeint_event,
)

Settings = Callable[[torch.nn.Module], dict[str, Any]]


def _scaled_norm(tensor: Any) -> Any:
    """A norm of the user's, for a tensor or a tuple of them."""
    tensors = tensor if isinstance(tensor, tuple) else (tensor,)
    return 2 * torch.cat([part.reshape(-1) for part in tensors]).abs().amax()


def _fixed(**settings: Any) -> Settings:
    return lambda field: settings


class Case(NamedTuple):
    solve: Any
    settings: Settings
    is_tuple: bool = False
    times: tuple[float, ...] = (0.0, 1.0)
    dtype: torch.dtype = torch.float64


def _event(t: torch.Tensor, y: Any) -> torch.Tensor:
    state = y[0] if isinstance(y, tuple) else y
    return t.reshape(()) - 0.6 + 0 * state.sum()


_TOLERANCES = {"rtol": 1e-4, "atol": 1e-5}
_OPTIONS: dict[str, dict[str, Any]] = {
    "first_step": {"first_step": 0.05},
    "step_t": {"step_t": torch.tensor([0.31, 0.77])},
    "jump_t": {"jump_t": torch.tensor([0.5])},
    "clamped": {"min_step": 0.02, "max_step": 0.2},
    "float32": {"dtype": torch.float32},
    "norm": {"norm": _scaled_norm},
}

CASES: dict[str, Case] = {
    **{
        f"{solve.__name__}-{method}": Case(solve, _fixed(method=method, **_TOLERANCES))
        for solve, method in itertools.product((odeint, odeint_adjoint), ADAPTIVE)
    },
    **{f"fixed-{method}": Case(odeint, _fixed(method=method, options={"step_size": 0.13})) for method in FIXED},
    "fixed-grid": Case(odeint, _fixed(method="rk4"), times=(0.0, 0.2, 0.7, 1.0)),
    "fixed-cubic": Case(
        odeint, _fixed(method="midpoint", options={"step_size": 0.3, "interp": "cubic", "perturb": True}), is_tuple=True
    ),
    "fixed-adjoint": Case(odeint_adjoint, _fixed(method="rk4", options={"step_size": 0.2}), times=(1.0, 0.0)),
    **{f"options-{name}": Case(odeint, _fixed(options=options, **_TOLERANCES)) for name, options in _OPTIONS.items()},
    **{
        f"options-{name}-tuple-reversed": Case(
            odeint, _fixed(options=options, **_TOLERANCES), is_tuple=True, times=(1.0, 0.4, 0.0), dtype=torch.float32
        )
        for name, options in _OPTIONS.items()
    },
    "tuple-tolerances": Case(odeint, _fixed(rtol=(1e-3, 1e-4), atol=(torch.tensor(1e-4), 1e-5)), is_tuple=True),
    "tensor-tolerances": Case(odeint, _fixed(rtol=torch.tensor([1e-3, 1e-4, 1e-5]), atol=torch.tensor(1e-4))),
    "list-tolerances": Case(odeint, _fixed(rtol=[1e-3, 1e-4, 1e-5], atol=1e-4)),
    "adjoint-tuple-reversed": Case(
        odeint_adjoint, _fixed(**_TOLERANCES), is_tuple=True, times=(1.0, 0.4, 0.0), dtype=torch.float32
    ),
    "adjoint-params": Case(
        odeint_adjoint, lambda field: {"adjoint_params": (p for p in field.parameters()), **_TOLERANCES}
    ),
    "adjoint-settings": Case(
        odeint_adjoint,
        _fixed(
            adjoint_method="bosh3", adjoint_options={"norm": "seminorm"}, options={"norm": _scaled_norm}, **_TOLERANCES
        ),
    ),
    "event": Case(odeint, _fixed(event_fn=_event, **_TOLERANCES)),
    "event-adjoint-tuple": Case(odeint_adjoint, _fixed(event_fn=_event, **_TOLERANCES), is_tuple=True),
    "odeint_event": Case(odeint_event, _fixed(event_fn=_event, **_TOLERANCES)),
    "odeint_event-adjoint": Case(
        odeint_event, _fixed(event_fn=_event, odeint_interface=odeint_adjoint, method="bosh3", **_TOLERANCES)
    ),
    "odeint_event-partial": Case(
        odeint_event,
        _fixed(event_fn=_event, odeint_interface=functools.partial(odeint_adjoint, **_TOLERANCES)),
        is_tuple=True,
    ),
    "odeint_event-reversed": Case(
        odeint_event, _fixed(event_fn=lambda t, y: t.reshape(()) + 0.6, reverse_time=True, **_TOLERANCES)
    ),
}


class Outcome(NamedTuple):
    solution: list[torch.Tensor]
    gradients: list[torch.Tensor]
    log: list[Any]
    num_calls: int


def _run(case: Case, call: Callable[..., Any]) -> tuple[Outcome, Any]:
    """A solve and the gradient of a task loss: through `call`, which returns the native result and a report."""
    inner = Perceptron(dtype=case.dtype)
    is_fixed = case.settings(inner).get("method") in FIXED
    field = Watched(inner, CALLBACKS[: 1 if is_fixed else 3])
    start = torch.tensor([[0.4, -0.3, 0.8], [0.1, 0.9, -0.5]], dtype=case.dtype)
    y0: Any = (start[0], start[1:]) if case.is_tuple else start
    leaves = [leaf.clone().requires_grad_() for leaf in (y0 if case.is_tuple else (y0,))]
    y0 = tuple(leaves) if case.is_tuple else leaves[0]
    t = torch.tensor(case.times, dtype=case.dtype).requires_grad_()
    time = t[:1].detach().requires_grad_() if case.solve is odeint_event else t
    result, report = call(field, y0, time, **case.settings(field))
    num_calls = inner.num_calls
    is_event = case.solve is odeint_event or "event_fn" in case.settings(field)
    event_time, states = result if is_event else (torch.zeros(()), result)
    solution = [event_time, *(states if case.is_tuple else (states,))]
    loss = sum(
        (part * torch.linspace(-1, 1.5, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in solution
    )
    assert isinstance(loss, torch.Tensor)
    inputs = [*inner.parameters(), *leaves, time]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    return Outcome([part.detach() for part in solution], list(gradients), field.log, num_calls), report


def _assert_same(left: Outcome, right: Outcome) -> None:
    assert all(map(torch.equal, left.solution, right.solution))
    assert all(map(torch.equal, left.gradients, right.gradients))
    assert left.log == right.log


@pytest.mark.parametrize("name", list(CASES))
def test_wrapped_call_is_the_bare_call_with_exact_counts(name: str) -> None:
    case = CASES[name]
    bare, _ = _run(case, lambda *args, **kwargs: (case.solve(*args, **kwargs), None))
    regularized = lrnde.regularize(case.solve)
    if not (name.startswith("event-") and case.settings(torch.nn.Identity()).get("method") in FIXED):
        penalized, report = _run(case, functools.partial(regularized, draw=[0.37]))
        _assert_same(penalized, bare)
        assert report.nfe == bare.num_calls
        assert report.nfe + report.nfe_extra == penalized.num_calls
        assert torch.isfinite(report.penalty)
        assert report.penalty > 0
        forward = [entry[0] for entry in bare.log]
        assert report.num_steps == forward.count("callback_step")
        if "callback_accept_step" in forward:
            assert report.num_accepted == forward.count("callback_accept_step")
            assert report.num_rejected == forward.count("callback_reject_step")
    silent, report = _run(case, functools.partial(regularized, penalize=False))
    _assert_same(silent, bare)
    assert (report.nfe, report.nfe_extra, silent.num_calls) == (bare.num_calls, 0, bare.num_calls)
    assert report.penalty == 0
    assert report.sample is None


def test_rejected_first_steps_are_counted() -> None:
    field = Perceptron()
    times, y0 = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    settings = {"rtol": 1e-6, "atol": 1e-8, "options": {"first_step": 5.0}}
    odeint(field, y0, times, **settings)
    num_bare, field.num_calls = field.num_calls, 0
    _, report = lrnde.regularize(odeint)(field, y0, times, draw=[0.9], **settings)
    assert report.num_rejected > 0
    assert report.nfe == num_bare
    assert report.nfe + report.nfe_extra == field.num_calls


@pytest.mark.parametrize("method", [*ADAPTIVE, *FIXED])
@pytest.mark.parametrize("gradient", ["local", "full"])
def test_extra_evaluations_are_counted_exactly(method: str, gradient: Any) -> None:
    heuristics: list[Any] = [
        lrnde.TaylorDerivative(2),
        lrnde.TaylorDerivative(3, at="step"),
        lrnde.ErrorEstimate(1e-3, 1e-3) + 0.5 * lrnde.TaylorDerivative(2),
        lrnde.KineticEnergy() + lrnde.JacobianNorm(mode="jvp") + lrnde.JacobianNorm(at="step"),
    ]
    samplers: list[Any] = [lrnde.UniformTime(), lrnde.UniformStep()]
    if method in ADAPTIVE:
        heuristics += [lrnde.ErrorEstimate(), lrnde.PredictedSteps()]
    if method in ADAPTIVE and gradient == "local":
        samplers += [lrnde.UniformTime("paper", "sample"), lrnde.UniformStep("sum", "sample")]
    if method in ("dopri5", "dopri8"):
        heuristics.append(lrnde.StiffnessEstimate())
    options = {} if method in ADAPTIVE else {"step_size": 0.3}
    times, y0 = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for heuristic, sampler, num_samples in itertools.product(heuristics, samplers, (1, 3)):
        field = Perceptron()
        solve = lrnde.regularize(
            odeint, heuristic=heuristic, sampler=sampler, gradient=gradient, num_samples=num_samples
        )
        _, report = solve(
            field, y0, times, rtol=1e-3, atol=1e-3, method=method, options=options, draw=[0.05, 0.5, 0.95][:num_samples]
        )
        assert report.nfe + report.nfe_extra == field.num_calls, (heuristic, sampler, num_samples)


@pytest.mark.parametrize("method", ["rk4", "implicit_adams", "scipy_solver"])
def test_warnings_of_the_library_are_those_of_the_bare_call(method: str) -> None:
    times, y0 = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    options = {"solver": "RK45"} if method == "scipy_solver" else {"step_size": 0.2}

    def messages(call: Callable[..., Any], names: tuple[str, ...]) -> list[str]:
        with warnings.catch_warnings(record=True) as caught, torch.no_grad():
            warnings.simplefilter("always")
            call(Watched(Perceptron(), names), y0, times, method=method, options={**options, "unknown": 1})
        return [str(warning.message) for warning in caught]

    regularized = functools.partial(lrnde.regularize(odeint), penalize=False)
    for names in ((), ("callback_step",), ("callback_accept_step",)):
        assert messages(regularized, names) == messages(odeint, names)


def test_steps_that_the_library_does_not_report_are_none() -> None:
    field, y0 = Perceptron(), torch.ones(3, dtype=torch.float64)
    settings = {"event_fn": _event, "method": "rk4", "options": {"step_size": 0.2}}
    _, report = lrnde.regularize(odeint_event)(
        field, y0, torch.zeros(1, dtype=torch.float64), penalize=False, **settings
    )
    assert report.nfe == field.num_calls
    assert report.num_steps is None
    assert report.num_rejected is None


def test_attributes_of_the_field_stay_reachable() -> None:
    class Reporting(torch.nn.Module):
        scale = 2.0

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return -self.scale * y

    seen: list[Any] = []

    def solve(func: Any, y0: Any, t: Any, **settings: Any) -> Any:
        seen.append((func.scale, list(func.parameters())))
        return odeint(func, y0, t, **settings)

    lrnde.regularize(solve, adapter="torchdiffeq")(Reporting(), torch.ones(1), torch.tensor([0.0, 1.0]), draw=[0.5])
    assert seen == [(2.0, [])]


def test_plain_functions_under_no_grad() -> None:
    times, y0 = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y * torch.cos(t)

    for context in (torch.no_grad, torch.inference_mode):
        with context():
            expected = odeint(field, y0, times)
            solution, report = lrnde.regularize(odeint)(field, y0, times, draw=[0.3])
        assert torch.equal(solution, expected)
        assert report.penalty > 0
        assert not report.penalty.requires_grad


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")
def test_time_dtype_narrower_than_the_times() -> None:
    # 0.1 rounds up in float32, 0.7 down: without care the first step starts after the start, the last after the end.
    times, y0 = torch.tensor([0.1, 0.7], dtype=torch.float64), torch.ones(2)
    settings = {"rtol": 1e-3, "atol": 1e-3, "options": {"dtype": torch.float32}}
    solve = lrnde.regularize(odeint, heuristic="error_estimate")
    for draw in (0.0, 1e-12, 1 - 2.0**-53):
        _, report = solve(lambda t, y: torch.sin(5 * y), y0, times, draw=[draw], **settings)
        assert report.sample is not None
        assert report.sample.weight.item() >= 1
        assert torch.isfinite(report.penalty)


def test_fixed_grid_that_ends_in_a_step_of_length_zero() -> None:
    # ceil(2.1 / 0.15 + 1) is 16 in floating point: torchdiffeq takes a fifteenth step, from 2.1 to 2.1.
    times, y0 = torch.tensor([0.0, 2.1], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    settings = {"method": "rk4", "options": {"step_size": 0.15}}
    for sampler, draw in itertools.product(("uniform_time", "uniform_step"), (0.0, 0.4, 1 - 2.0**-53)):
        solution, report = lrnde.regularize(odeint, sampler=sampler)(
            lambda t, y: torch.sin(5 * y), y0, times, draw=[draw], **settings
        )
        assert report.num_steps == 15
        assert report.sample.h.item() == pytest.approx(0.15)
        assert report.sample.weight.item() == pytest.approx(14)
        assert torch.isfinite(solution).all()
