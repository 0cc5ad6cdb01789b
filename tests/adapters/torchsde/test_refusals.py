"""Refusals and their words; those of the library itself come through unchanged."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torchsde
from torchsde import BrownianInterval, BrownianPath, BrownianTree

import lrnde
from tests.adapters.torchsde.problems import Y0, Equation, brownian, sdeint, sdeint_adjoint

_TS = [0.0, 0.5]
_ERROR = lrnde.ErrorEstimate(1e-3, 1e-3)


def _diagonal() -> Equation:
    return Equation("ito", "diagonal")


_REFUSED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "stiffness": (
        sdeint,
        {"heuristic": lrnde.StiffnessEstimate()},
        {},
        lrnde.CapabilityError,
        r"torchsde` does not support the stiffness estimate.*no two stages.*`ErrorEstimate\(\)`",
    ),
    "point inside": (
        sdeint,
        {"heuristic": lrnde.TaylorDerivative(2)},
        {},
        lrnde.CapabilityError,
        'point inside a step.*Brownian path.*is not known; use `at="step"`',
    ),
    "restarted": (
        sdeint,
        {"sampler": lrnde.UniformStep(local_start="sample")},
        {},
        lrnde.CapabilityError,
        'cannot be restarted.*`local_start="step"`, with `increment="fresh"`',
    ),
    "batched": (sdeint, {"batched": True}, {}, lrnde.CapabilityError, "own Brownian increments; leave `batched=False`"),
    "full gradient": (
        sdeint_adjoint,
        {"gradient": "full"},
        {},
        lrnde.CapabilityError,
        r'method srk` does not support gradient="full".*Use `sdeint`, or `gradient="local"`',
    ),
    "no tolerance": (
        sdeint,
        {"heuristic": "predicted_steps"},
        {},
        lrnde.CapabilityError,
        r"`srk` takes fixed steps and has no tolerance.*`PredictedSteps\(rtol=",
    ),
    "coverage": (
        sdeint,
        {},
        {"bm": BrownianInterval(0.1, 1.0, size=(2, 3))},
        lrnde.InputError,
        r"covers times 0\.1 to 1, and the solve runs from 0 to 0\.5.*`t0=0, t1=0\.5`",
    ),
    "coverage of a path": (
        sdeint,
        {},
        {"bm": BrownianPath(t0=-0.7, w0=torch.zeros(2, 3))},
        lrnde.InputError,
        r"covers times -0\.7 to 0\.3",
    ),
    "coverage of a tree": (
        sdeint_adjoint,
        {},
        {"bm": BrownianTree(t0=0.0, t1=0.4, w0=torch.zeros(2, 3))},
        lrnde.InputError,
        r"covers times 0 to 0\.4",
    ),
    "draw": (sdeint, {}, {"draw": [1.0]}, lrnde.InputError, r"`draw` holds 1\.0"),
    "generator": (sdeint, {}, {"generator": 3}, lrnde.InputTypeError, "must be a `torch.Generator`, not 3"),
}


@pytest.mark.parametrize("name", list(_REFUSED))
def test_refusal_says_what_is_wrong_and_what_works(name: str) -> None:
    solve, how, settings, error, words = _REFUSED[name]
    equation = _diagonal()
    with pytest.raises(error, match=words):
        lrnde.regularize(solve, **how)(equation, Y0, _TS, dt=0.1, **settings)
    assert equation.num_evaluations == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_states_that_are_not_real_floating_point_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(lrnde.CapabilityError, match=f"{dtype}; it must be real floating point"):
        lrnde.regularize(sdeint)(_diagonal(), Y0.to(dtype), _TS)


def test_times_that_differ_by_the_rounding_of_a_dtype_are_covered() -> None:
    equation = Equation("ito", "diagonal", dtype=torch.float32)
    motions: list[Any] = [
        BrownianInterval(0.0, 0.1, size=(2, 3), dtype=torch.float32, entropy=1),
        BrownianTree(t0=0.0, t1=0.1, w0=torch.zeros(2, 3), entropy=1),
    ]
    for motion in motions:
        settings = {"bm": motion, "dt": 0.03, "method": "euler"}
        # The same number in float32 lies 1.5e-9 beyond, of which torchsde warns.
        with pytest.warns(UserWarning, match="Should have tb<=t1"):
            _, report = lrnde.regularize(sdeint, heuristic=_ERROR)(
                equation, Y0.float(), torch.tensor([0.0, 0.1]), draw=[0.99], **settings
            )
        assert report.penalty > 0
    thirds = BrownianTree(t0=0.0, t1=1 / 3, w0=torch.zeros(2, 3, dtype=torch.float64), entropy=1)  # rounds it
    with pytest.warns(UserWarning, match="Should have tb<=t1"):
        lrnde.regularize(sdeint)(_diagonal(), Y0, [0.0, 1 / 3], bm=thirds, dt=0.1, method="euler")


class _Untyped(torch.nn.Module):
    noise_type = "diagonal"

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y

    g = f


class _Wrong(torch.nn.Module):
    """Its drift has a wrong shape."""

    sde_type, noise_type = "ito", "diagonal"

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y[:, :-1]

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y


class _Raising(torch.nn.Module):
    sde_type, noise_type = "ito", "diagonal"

    def __init__(self) -> None:
        super().__init__()
        self.num_calls = 0

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        if self.num_calls > 4:
            raise ZeroDivisionError("in the drift")
        return -y

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.1 * y


def _mistyped(**types: str) -> Equation:
    equation = _diagonal()
    for name, value in types.items():
        setattr(equation, name, value)
    return equation


# Equation, state, times, settings: each is refused by torchsde itself.
_FAILING: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "method for another noise": (Equation("ito", "general"), Y0, _TS, {"method": "milstein"}),
    "method for another calculus": (_diagonal(), Y0, _TS, {"method": "heun"}),
    "method without areas": (_diagonal(), Y0, _TS, {"method": "srk", "bm": brownian("euler", "diagonal")}),
    "unknown method": (_diagonal(), Y0, _TS, {"method": "dopri5"}),
    "method of adjoints": (Equation("stratonovich", "diagonal"), Y0, _TS, {"method": "adjoint_reversible_heun"}),
    "no type": (_Untyped(), Y0, _TS, {}),
    "wrong type": (_mistyped(sde_type="stochastic"), Y0, _TS, {}),
    "wrong noise": (_mistyped(noise_type="loud"), Y0, _TS, {}),
    "wrong drift": (_Wrong(), Y0, _TS, {}),
    "state of rank 1": (_diagonal(), Y0[0], _TS, {}),
    "state of rank 3": (_diagonal(), Y0[None], _TS, {}),
    "state of numpy": (_diagonal(), Y0.numpy(), _TS, {}),
    "no times": (_diagonal(), Y0, [], {}),
    "equal times": (_diagonal(), Y0, [0.5, 0.5], {}),
    "times in disorder": (_diagonal(), Y0, torch.tensor([0.0, 0.5, 0.4]), {}),
    "times reversed": (_diagonal(), Y0, [0.5, 0.0], {"bm": brownian("srk", "diagonal")}),
    "times of numpy": (_diagonal(), Y0, np.array([0.0, 0.5]), {}),
    "complex times": (_diagonal(), Y0, torch.tensor([0.0, 0.5 + 0j]), {}),
    "times of text": (_diagonal(), Y0, ["0", "1"], {}),
    "tolerance with gradient": (_diagonal(), Y0, _TS, {"rtol": torch.tensor(1e-3, requires_grad=True)}),
    "motion of another size": (_diagonal(), Y0, _TS, {"bm": brownian("srk", "general")}),
    "logqp without a prior": (_Raising(), Y0, _TS, {"logqp": True}),
    "smallest step of text": (_diagonal(), Y0, _TS, {"adaptive": True, "dt_min": "x", "dt": None}),
    "names of text": (_diagonal(), Y0, _TS, {"names": 3}),
    "names of nothing": (_diagonal(), Y0, _TS, {"names": {"drift": "mu"}}),
    "error in the drift": (_Raising(), Y0, _TS, {}),
}


@pytest.mark.parametrize("name", list(_FAILING))
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_errors_of_the_library_come_through_and_leave_nothing_behind(name: str, solve: Any) -> None:
    equation, y0, ts, settings = _FAILING[name]
    with pytest.raises(Exception) as bare:
        solve(equation, y0, ts, **{"dt": 0.1, **settings})
    if isinstance(equation, _Raising):
        equation.num_calls = 0
    state = torch.get_rng_state()
    with pytest.raises(type(bare.value), match=re.escape(str(bare.value))):
        lrnde.regularize(solve)(equation, y0, ts, draw=[0.5], **{"dt": 0.1, **settings})
    assert torch.equal(torch.get_rng_state(), state)


def test_missing_arguments_are_the_libraries_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'ts'"):
        lrnde.regularize(sdeint)(_diagonal(), Y0)


def test_times_that_only_the_library_can_read_are_refused() -> None:
    with pytest.raises(lrnde.InputTypeError, match=r"cannot read them: TypeError\('`ts` must be a real tensor"):
        lrnde.regularize(sdeint)(_diagonal(), Y0, torch.tensor([[0.0], [0.5]]), dt=0.5)


def test_adjoint_of_an_equation_without_parameters_is_the_libraries_error() -> None:
    class Plain:
        sde_type, noise_type = "ito", "diagonal"

    with pytest.raises(ValueError, match=r"must be an instance of nn\.Module"):
        lrnde.regularize(sdeint_adjoint)(Plain(), Y0, _TS)


def test_unexpected_arguments_warn_as_in_the_bare_call() -> None:
    for solve in (sdeint, lrnde.regularize(sdeint)):
        with pytest.warns(UserWarning, match=r"`sdeint`: Unexpected arguments \{'verbose': True\}"):
            solve(_diagonal(), Y0, _TS, dt=0.1, verbose=True)


def test_adaptive_euler_with_other_than_additive_noise_warns_and_has_a_penalty() -> None:
    settings = {"dt": 0.1, "method": "euler", "adaptive": True, "rtol": 0.1, "atol": 0.1}
    with pytest.warns(UserWarning, match="not guaranteed to converge") as caught:
        _, report = lrnde.regularize(sdeint, heuristic="error_estimate")(
            _diagonal(), Y0, _TS, bm=brownian("euler", "diagonal"), draw=[0.5], **settings
        )
    assert len(caught) == 1
    assert 0 < report.penalty < 1


@pytest.mark.parametrize("tol", [1e-2, 5e-3])  # both round to hundredths
def test_motion_that_rounds_times_too_coarsely_warns_at_the_users_line(tol: float) -> None:
    def motion(**how: Any) -> BrownianInterval:
        return BrownianInterval(0.0, 1.0, size=(2, 3), dtype=torch.float64, entropy=1, tol=tol, **how)

    solve = lrnde.regularize(sdeint, heuristic=_ERROR)
    with pytest.warns(
        lrnde.ResolutionWarning, match=r"multiples of 0\.01, .* interval of 0\.004.*dt_min=0\.02"
    ) as caught:
        solve(_diagonal(), Y0, [0.0, 0.03], bm=motion(), dt=0.004, method="euler", draw=[0.5])
    assert [warning.filename for warning in caught] == [__file__]
    # The last of twelve steps is cut to 1e-17, of which there is nothing to say.
    solve(_diagonal(), Y0, [0.0, 1.0], bm=motion(), dt=0.1, method="euler", draw=[0.5])
    # Nor without a penalty.
    solve(_diagonal(), Y0, [0.0, 0.03], bm=motion(), dt=0.004, method="euler", penalize=False)
    # A motion by halves cannot be asked at all.
    with pytest.raises(RecursionError, match="maximum recursion depth exceeded"):
        solve(_diagonal(), Y0, [0.0, 0.03], bm=motion(halfway_tree=True), dt=0.004, method="euler", draw=[0.5])


def test_tolerances_below_the_resolution_warn_at_the_users_line() -> None:
    equation = Equation("stratonovich", "diagonal", dtype=torch.float32)
    settings = {"dt": 0.25, "dt_min": 0.25, "method": "heun", "adaptive": True, "rtol": 1e-8, "atol": 1e-8}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lrnde.regularize(sdeint, heuristic="error_estimate")(
            equation, Y0.float(), _TS, bm=brownian("heun", "diagonal", dtype=torch.float32), draw=[0.5], **settings
        )
    ours = [warning for warning in caught if warning.category is lrnde.ResolutionWarning]
    assert [warning.filename for warning in ours] == [__file__]
    assert "below what float32 resolves" in str(ours[0].message)


def test_functions_around_the_library_are_refused_with_what_to_do() -> None:
    def solve(sde: Any, y0: Any, ts: Any, **settings: Any) -> Any:
        return sdeint(sde, y0, ts, **settings)

    with pytest.raises(lrnde.AdapterNotFoundError, match="regularize the inner call"):
        lrnde.regularize(solve)
    asserted = lrnde.regularize(solve, adapter="torchsde")
    with pytest.raises(lrnde.CapabilityError, match=r"recorded inside its.*regularize the inner call of your function"):
        asserted(_diagonal(), Y0, _TS)


def test_another_version_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torchsde.sdeint.__globals__, "methods", None)
    with pytest.raises(lrnde.PluginError, match=r"does not select its methods.*Install torchsde==0\.2\.6"):
        lrnde.regularize(sdeint)(_diagonal(), Y0, _TS)
