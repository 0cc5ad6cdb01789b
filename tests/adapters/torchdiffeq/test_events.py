"""`odeint_event` around a wrapped solve, and wrapped around one."""

import functools
from typing import Any

import pytest
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint, odeint_event

_Y0, _START = torch.tensor([1.0, 0.3, -0.2]).double(), torch.tensor(0.0).double()
_SETTINGS: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def _solve(solve: Any, field: Any, **more: Any) -> Any:
    return solve(field, _Y0, _START, event_fn=lambda t, y: t + 0.1 * y[0] - 0.6, **_SETTINGS, **more)


def _partial(solve: Any) -> Any:
    return functools.partial(lrnde.regularize(solve), method="bosh3")


@pytest.mark.parametrize("wrap", [lrnde.regularize, lrnde.collected, _partial])
@pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
def test_a_wrapped_event_solve_takes_the_native_solve_behind_its_interface(wrap: Any, interface: Any) -> None:
    field = Perceptron()
    native = functools.partial(interface, method="bosh3") if wrap is _partial else interface
    expected, expected_report = _solve(lrnde.regularize(odeint_event), field, odeint_interface=native, draw=[0.3])
    found, report = _solve(lrnde.regularize(odeint_event), field, odeint_interface=wrap(interface), draw=[0.3])
    bound = lrnde.regularize(functools.partial(odeint_event, odeint_interface=wrap(interface)))
    assert torch.equal(_solve(bound, field, draw=[0.3])[1].penalty, report.penalty)
    assert all(map(torch.equal, found, expected))
    assert torch.equal(report.penalty, expected_report.penalty)
    assert report.nfe == expected_report.nfe


@pytest.mark.parametrize("wrap", [lrnde.regularize, _partial])
def test_a_bare_event_solve_says_which_of_the_two_to_wrap(wrap: Any) -> None:
    with pytest.raises(
        lrnde.InputError, match=r"Wrap it in place of its interface, `lrnde\.regularize\(torchdiffeq\.od"
    ):
        _solve(odeint_event, Perceptron(), odeint_interface=wrap(odeint))


@pytest.mark.parametrize("wrap", [lrnde.regularize, lrnde.collected])
def test_within_collect_a_bare_event_solve_takes_a_wrapped_interface(wrap: Any) -> None:
    field = Perceptron().eval()
    expected = _solve(odeint_event, field)
    with lrnde.collect() as reports:
        found = _solve(odeint_event, field, odeint_interface=wrap(odeint))
    assert all(map(torch.equal, found, expected))
    (found[1].sum() + reports[0].penalty).backward()
    assert field.inner.grad is not None


def test_outside_of_collect_a_collected_interface_is_the_bare_one() -> None:
    field = Perceptron().eval()
    assert all(
        map(
            torch.equal,
            _solve(odeint_event, field, odeint_interface=lrnde.collected(odeint)),
            _solve(odeint_event, field),
        )
    )


def test_a_solve_with_an_event_of_its_own_still_reports() -> None:
    found = lrnde.regularize(odeint)(
        Perceptron(), _Y0, torch.tensor([0.0, 1.0]).double(), event_fn=lambda t, y: t - 0.5, **_SETTINGS
    )
    assert isinstance(found[1], lrnde.Report)
