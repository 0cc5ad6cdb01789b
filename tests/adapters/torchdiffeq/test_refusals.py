"""Refusals and their words; those of the library itself come through unchanged."""

import functools
import re
from typing import Any

import numpy as np
import pytest
import torch

import lrnde
from tests.adapters.torch.once import Once
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint, odeint_event

_TIMES = torch.tensor([0.0, 1.0])
_Y0 = torch.tensor([0.4, -0.3, 0.8])
_SETTINGS = {"rtol": 1e-3, "atol": 1e-3}
_ERROR = lrnde.ErrorEstimate()


def _field() -> Perceptron:
    return Perceptron(dtype=torch.float32)


_REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "draw above": ({}, {"draw": [1.0]}, lrnde.InputError, r"`draw` holds 1\.0; .* at least 0 and below 1"),
    "draw below": ({}, {"draw": [-0.1]}, lrnde.InputError, r"`draw` holds -0\.1"),
    "draw not a number": ({}, {"draw": [float("nan")]}, lrnde.InputError, "`draw` holds nan"),
    "draw of wrong shape": ({"num_samples": 2}, {"draw": [0.1]}, lrnde.InputError, r"\(1,\); .* needs shape \(2,\)"),
    "draw of text": ({}, {"draw": "half"}, lrnde.InputTypeError, r"must be numbers of shape \(1,\), not 'half'"),
    "generator": ({}, {"generator": 3}, lrnde.InputTypeError, "must be a `torch.Generator`, not 3"),
    "penalize": ({}, {"penalize": 1}, lrnde.InputTypeError, "`penalize` must be a Python bool"),
    "adams": ({}, {"method": "implicit_adams"}, lrnde.CapabilityError, "history.*'dopri5'.*'rk4'"),
    "scipy": ({}, {"method": "scipy_solver"}, lrnde.CapabilityError, "outside of torch.*'bosh3'"),
    "no tolerance": (
        {"heuristic": _ERROR},
        {"method": "rk4"},
        lrnde.CapabilityError,
        r"`rk4` takes fixed steps.*rtol=",
    ),
    "stiffness": (
        {"heuristic": lrnde.StiffnessEstimate()},
        {"method": "bosh3"},
        lrnde.CapabilityError,
        "`bosh3` has no two stages.*`dopri5` or `dopri8`",
    ),
    "preset": (
        lrnde.presets.lrnde_unbiased(),
        {"method": "rk4"},
        lrnde.CapabilityError,
        'no tolerance to choose a step by. Use `local_start="step"`',
    ),
    "fixed-step event": (
        {},
        {"method": "euler", "event_fn": lambda t, y: t - 0.5, "options": {"step_size": 0.1}},
        lrnde.CapabilityError,
        "does not report the steps.*adaptive method",
    ),
}


@pytest.mark.parametrize("name", list(_REFUSED))
def test_refusal_says_what_is_wrong_and_what_works(name: str) -> None:
    how, settings, error, words = _REFUSED[name]
    field = _field()
    with pytest.raises(error, match=words):
        lrnde.regularize(odeint, **how)(field, _Y0, _TIMES, **settings)
    assert field.num_calls == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_states_that_are_not_real_floating_point_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(lrnde.CapabilityError, match=f"{dtype}; it must be real floating point"):
        lrnde.regularize(odeint)(lambda t, y: y, torch.ones(2).to(dtype), _TIMES)


def test_complex_states_solve_without_a_penalty() -> None:
    y0 = torch.ones(2, dtype=torch.complex128)
    solution, report = lrnde.regularize(odeint)(lambda t, y: 1j * y, y0, _TIMES.double(), penalize=False)
    assert torch.equal(solution, odeint(lambda t, y: 1j * y, y0, _TIMES.double()))
    assert report.penalty.dtype == torch.float64


@pytest.mark.parametrize(
    ("solve", "settings"),
    [
        (odeint_adjoint, {}),
        (odeint_event, {"odeint_interface": odeint_adjoint}),
        (odeint_event, {"odeint_interface": functools.partial(odeint_adjoint, method="bosh3")}),
    ],
)
def test_full_gradient_is_refused_under_the_adjoint(solve: Any, settings: dict[str, Any]) -> None:
    if solve is odeint_event:
        settings = {"event_fn": lambda t, y: t - 0.5, **settings}
    time = _TIMES[:1] if solve is odeint_event else _TIMES
    with pytest.raises(lrnde.CapabilityError, match=r'continuous adjoint.*`odeint`, or `gradient="local"`'):
        lrnde.regularize(solve, gradient="full")(_field(), _Y0, time, **settings)


def test_state_of_another_type_is_refused() -> None:
    with pytest.raises(lrnde.InputTypeError, match="tensor or a tuple of tensors, not `list`"):
        lrnde.regularize(odeint)(_field(), [_Y0], _TIMES)


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ((_field(), _Y0), {}),
        ((_field(), _Y0, _TIMES, 1e-3), {}),
        ((_field(), _Y0, _TIMES), {"tolerance": 1e-3}),
        ((_field(), _Y0, _TIMES), {"method": "rk45"}),
        ((_field(), _Y0, _TIMES), {"method": ["dopri5"]}),
        ((_field(), _Y0, _TIMES.to(torch.complex64)), {}),
        ((_field(), _Y0, _TIMES), {"options": 3}),
    ],
)
@pytest.mark.parametrize("heuristic", [None, "stiffness_estimate"])
def test_arguments_that_cannot_be_read_are_left_to_the_library(args: Any, settings: Any, heuristic: Any) -> None:
    with pytest.raises(Exception) as bare:
        odeint(*args, **settings)
    with pytest.raises(type(bare.value), match=f"^{re.escape(str(bare.value))}$"):
        lrnde.regularize(odeint, heuristic=heuristic)(*args, **settings)


def test_derivatives_are_taken_as_the_methods_take_them() -> None:
    heuristic = lrnde.KineticEnergy()
    _, report = lrnde.regularize(odeint, heuristic=heuristic)(lambda t, y: 0.5, _Y0, _TIMES, method="euler")
    assert report.penalty == 0.5 * 0.5**2
    with pytest.raises(lrnde.InputError, match=r"dy/dt of shape \(1, 1, 3\) for a state of shape \(1, 3\)"):
        lrnde.regularize(odeint, heuristic=heuristic)(lambda t, y: y[None], _Y0, _TIMES)


@pytest.mark.parametrize("name", ["taylor_derivative", "jacobian_norm"])
def test_operation_without_a_second_derivative_is_named_with_what_works(name: str) -> None:
    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return Once.apply(y)  # type: ignore[return-value]

    with pytest.raises(
        lrnde.CapabilityError, match=r"cannot differentiate again.*`ErrorEstimate\(rtol=1e-3, atol=1e-3\)`"
    ):
        lrnde.regularize(odeint, heuristic=name)(field, _Y0, _TIMES, **_SETTINGS)
    _, report = lrnde.regularize(odeint, heuristic="error_estimate")(field, _Y0, _TIMES, **_SETTINGS)
    assert report.nfe_extra == 7


class _Fails(torch.nn.Module):
    """Behaves until it has been called so often."""

    def __init__(self, after: int, how: Any) -> None:
        super().__init__()
        self.after, self.how, self.num_calls = after, how, 0

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        if self.num_calls > self.after:
            if isinstance(self.how, float):
                return self.how * y
            raise self.how
        return -y


_FAILING: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "nan": (_Fails(5, float("nan")), _TIMES, {}),
    "inf": (_Fails(9, float("inf")), _TIMES, {}),
    "underflow": (lambda t, y: 100 * y**2, _TIMES, {}),
    "max_num_steps": (_field(), _TIMES, {"options": {"max_num_steps": 2}, "rtol": 1e-6, "atol": 1e-6}),
    "same times": (_field(), torch.tensor([0.5, 0.5]), {}),
    "times in disorder": (_field(), torch.tensor([0.0, 1.0, 0.5]), {}),
    "times of integers": (_field(), torch.tensor([0, 1]), {}),
    "no times": (_field(), [0.0, 1.0], {}),
    "unknown method": (_field(), _TIMES, {"method": "dopri6"}),
    "error in the field": (_Fails(7, ZeroDivisionError("in the field")), _TIMES, {}),
    "interrupt": (_Fails(7, KeyboardInterrupt("by hand")), _TIMES, {}),
    "gradient of a tolerance": (_field(), _TIMES, {"rtol": torch.tensor(1e-3, requires_grad=True)}),
}


@pytest.mark.parametrize("name", list(_FAILING))
@pytest.mark.parametrize("gradient", ["local", "full"])
def test_errors_of_the_library_come_through_and_leave_nothing_behind(name: str, gradient: Any) -> None:
    field, times, settings = _FAILING[name]
    settings = {**_SETTINGS, **settings}

    def restarted() -> Any:
        return _Fails(field.after, field.how) if isinstance(field, _Fails) else field

    with pytest.raises(BaseException) as bare:
        odeint(restarted(), _Y0, times, **settings)
    solve = lrnde.regularize(odeint, gradient=gradient)
    healthy = _field()
    expected = odeint(healthy, _Y0, _TIMES, **_SETTINGS)
    state = torch.get_rng_state()
    with lrnde.collect() as reports:
        with pytest.raises(type(bare.value), match=re.escape(str(bare.value))):
            solve(restarted(), _Y0, times, draw=[0.3], **settings)
        assert torch.equal(solve(healthy, _Y0, _TIMES, draw=[0.3], **_SETTINGS), expected)
    assert len(reports) == 1
    assert torch.equal(torch.get_rng_state(), state)
    solution, report = solve(healthy, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    assert torch.equal(solution, expected)
    assert report.penalty == reports[0].penalty > 0


def test_adjoint_of_a_function_without_parameters_is_the_libraries_error() -> None:
    with pytest.raises(ValueError, match=r"func must be an instance of nn\.Module"):
        lrnde.regularize(odeint_adjoint)(lambda t, y: -y, _Y0, _TIMES)


@pytest.mark.parametrize("tolerance", [1e-8, 1e-10])
def test_tolerances_below_the_resolution_warn_at_the_users_line(tolerance: float) -> None:
    settings = {"rtol": tolerance, "atol": tolerance, "options": {"min_step": 0.2}}
    with pytest.warns(lrnde.ResolutionWarning, match="below what float32 resolves") as caught:
        lrnde.regularize(odeint, heuristic=_ERROR)(_field(), _Y0, _TIMES, **settings)
    assert [warning.filename for warning in caught] == [__file__]
    # Nothing to warn about where no error is estimated with these tolerances.
    for heuristic in (lrnde.TaylorDerivative(2), lrnde.ErrorEstimate(1e-3, 1e-3)):
        lrnde.regularize(odeint, heuristic=heuristic)(_field(), _Y0, _TIMES, **settings)


def test_wrapped_callables_are_refused_unless_asserted() -> None:
    def solve(func: Any, y0: Any, t: Any, *, method: str = "bosh3", verbose: bool = False, **rest: Any) -> Any:
        return odeint(func, y0, t, method=method, **rest)

    def forward_all(*args: Any, **kwargs: Any) -> Any:
        return odeint(*args, **kwargs)

    def forward_to_adjoint(*args: Any, **kwargs: Any) -> Any:
        return odeint_adjoint(*args, **kwargs)

    with pytest.raises(lrnde.AdapterNotFoundError, match="regularize the inner call"):
        lrnde.regularize(solve)
    field = _field()
    bare = odeint(field, _Y0, _TIMES, method="bosh3", **_SETTINGS)
    _, expected = lrnde.regularize(odeint)(field, _Y0, _TIMES, draw=[0.6], method="bosh3", **_SETTINGS)
    asserted = lrnde.regularize(solve, adapter="torchdiffeq")
    for result in (
        asserted(field, _Y0, _TIMES, verbose=True, draw=[0.6], **_SETTINGS),
        asserted(func=field, y0=_Y0, t=_TIMES, draw=[0.6], **_SETTINGS),
        lrnde.regularize(forward_all, adapter="torchdiffeq")(
            field, _Y0, t=_TIMES, method="bosh3", draw=[0.6], **_SETTINGS
        ),
        lrnde.regularize(functools.partial(odeint, field, **_SETTINGS))(_Y0, _TIMES, method="bosh3", draw=[0.6]),
    ):
        assert torch.equal(result[0], bare)
        assert result[1].penalty == expected.penalty
        assert result[1].nfe == expected.nfe
    adjoint = lrnde.regularize(forward_to_adjoint, adapter="torchdiffeq:odeint_adjoint")
    solution, _ = adjoint(field, _Y0, _TIMES, draw=[0.6], method="bosh3", **_SETTINGS)
    assert torch.equal(solution, bare)


def test_tolerances_of_other_number_types() -> None:
    field = _field()
    expected = lrnde.regularize(odeint, heuristic=_ERROR)(field, _Y0, _TIMES, draw=[0.5], **_SETTINGS)
    for rtol, atol in ((np.float32(1e-3), np.float64(1e-3)), (torch.tensor(1e-3), np.array(1e-3))):
        solution, report = lrnde.regularize(odeint, heuristic=_ERROR)(
            field, _Y0, _TIMES, draw=[0.5], rtol=rtol, atol=atol
        )
        assert torch.allclose(solution, expected[0])
        assert report.penalty.item() == pytest.approx(expected[1].penalty.item(), rel=1e-3)


@pytest.mark.parametrize("native", [odeint, odeint_adjoint])
@pytest.mark.parametrize(("given", "meant"), [("penalise", "penalize"), ("probe", "probes"), ("key", "generator")])
def test_a_refusal_of_the_library_has_a_hint_where_an_argument_of_the_penalty_was_meant(
    native: Any, given: str, meant: str
) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{given}'") as caught:
        lrnde.regularize(native)(lambda t, y: -y, torch.ones(2), torch.tensor([0.0, 1.0]), **{given: 1})
    assert caught.value.__notes__ == [f"A regularized call has no argument `{given}`; did you mean `{meant}=`?"]


@pytest.mark.parametrize("steps", [None, lrnde.CheckedSteps()])
@pytest.mark.parametrize("name", ["y0", "t"])
def test_a_device_without_values_is_refused_in_words(name: str, steps: Any) -> None:
    given: dict[str, Any] = {"y0": torch.ones(2, 3), "t": torch.tensor([0.0, 1.0])}
    given[name] = given[name].to("meta")
    with pytest.raises(lrnde.InputError, match=f"`{name}` is on the device `meta`"):
        lrnde.regularize(odeint, steps=steps)(lambda t, y: -y, **given)
