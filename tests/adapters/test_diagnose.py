"""The changes that a diagnosis makes to native calls, against the same calls as a user would write them."""

import functools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest
import torch
import torchdiffeq
import torchsde

import lrnde
from lrnde_core import Diagnosis, Finding, FindingKind

_FREQUENCIES = [1.0, 1.0, 15.0, 1.0]
_RTOL, _ATOL = 1e-4, 1e-5


def _finding(diagnosis: Diagnosis, kind: FindingKind) -> Finding:
    (found,) = (finding for finding in diagnosis.findings if finding.kind is kind)
    return found


class _Field(torch.nn.Module):
    """Oscillations at the frequency that is the last entry of each sample; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))
        self.calls: list[float] = []

    def forward(self, t: torch.Tensor, y: Any) -> Any:
        self.calls.append(float(t))
        self.seen += 1
        (x, frequency) = y if isinstance(y, tuple) else (y[:, :2], y[:, 2:])
        slope = self.rate * frequency * torch.stack([-x[:, 1], x[:, 0]], 1)
        return (slope, 0 * frequency) if isinstance(y, tuple) else torch.cat([slope, 0 * frequency], 1)


def _counted(solve: Any, y0: Any, times: torch.Tensor) -> int:
    field = _Field()
    with torch.no_grad():
        solve(field, y0, times)
    return len(field.calls)


@pytest.mark.parametrize(
    ("native", "is_tuple", "times"),
    [(torchdiffeq.odeint, False, [0.0, 0.4, 1.5]), (torchdiffeq.odeint_adjoint, True, [1.5, 0.0])],
)
def test_changes_in_torchdiffeq(native: Any, is_tuple: bool, times: list[float]) -> None:
    frequencies = torch.tensor(_FREQUENCIES, dtype=torch.float64)[:, None]
    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64).expand(4, 2)
    y0: Any = (x, frequencies) if is_tuple else torch.cat([x, frequencies], 1)
    options = {"first_step": 1e-8}
    rtol: Any = (_RTOL, _RTOL) if is_tuple else _RTOL
    solve = functools.partial(native, rtol=rtol, atol=_ATOL, options=options)
    t = torch.tensor(times, dtype=torch.float64)
    field = _Field()
    diagnosis = lrnde.diagnose(solve, (field, y0, t))
    assert diagnosis.cost == _counted(solve, y0, t)
    assert (field.seen, options) == (0, {"first_step": 1e-8})

    numbers = _finding(diagnosis, FindingKind.COSTLY_SAMPLE).numbers
    rest = [0, 1, 3]
    easy = tuple(leaf[rest] for leaf in y0) if is_tuple else y0[rest]
    assert (numbers["sample"], numbers["without"]) == (2, _counted(solve, easy, t))
    numbers = _finding(diagnosis, FindingKind.TOLERANCE).numbers
    loose: Any = (10 * _RTOL, 10 * _RTOL) if is_tuple else 10 * _RTOL
    looser = functools.partial(native, rtol=loose, atol=10 * _ATOL, options=options)
    assert numbers["cost_10"] == _counted(looser, y0, t)
    # Few of many steps are early here, so it is no finding; for the easy samples it is.
    early = _finding(lrnde.diagnose(solve, (field, easy, t)), FindingKind.WARM_UP).numbers
    later = functools.partial(native, rtol=rtol, atol=_ATOL, options={"first_step": early["first_step"]})
    assert early["cost"] == _counted(later, easy, t)


def test_the_defaults_of_torchdiffeq_are_below_the_rounding_of_float32() -> None:
    field, y0, t = _Field(), torch.ones(2, 3), torch.tensor([0.0, 1.0])
    diagnosis = lrnde.diagnose(torchdiffeq.odeint, {"func": field, "y0": y0, "t": t})
    numbers = _finding(diagnosis, FindingKind.ROUNDING).numbers
    factor = numbers["least"] / numbers["tolerance"]
    looser = functools.partial(torchdiffeq.odeint, rtol=factor * 1e-7, atol=factor * 1e-9)
    assert numbers["cost"] == _counted(looser, y0, t)


def _slope(t: Any, y: Any, args: Any) -> Any:
    return args * y[:, 2:] * jnp.stack([-y[:, 1], y[:, 0], 0 * y[:, 0]], 1)


_TERM = diffrax.ODETerm(_slope)


def test_changes_in_diffrax() -> None:
    def settings(factor: float = 1.0, **changes: Any) -> dict[str, Any]:
        # Arrays, for which diffrax compiles one solve, not one for each number.
        pid = diffrax.PIDController(rtol=jnp.asarray(factor * _RTOL), atol=jnp.asarray(factor * _ATOL))
        controller = diffrax.ClipStepSizeController(pid, jump_ts=[0.7])
        numbers = {"t0": 1.5, "t1": 0.0, "dt0": -1e-6, "args": 1.0, **changes}
        given = {name: jnp.asarray(value) for name, value in {"y0": y0, **numbers}.items()}
        return {"terms": _TERM, "solver": diffrax.Tsit5(), "stepsize_controller": controller, **given}

    def cost(**given: Any) -> int:
        # Six evaluations an attempt, and a first stage at the start and after the jump.
        return 6 * int(diffrax.diffeqsolve(**given).stats["num_steps"]) + 2

    with jax.enable_x64(True):
        y0 = jnp.asarray([[1.0, 0.5, 8.0], [1.0, 0.5, 1.0]])
        diagnosis = lrnde.diagnose(diffrax.diffeqsolve, settings())
        assert diagnosis.cost == cost(**settings())
        numbers = _finding(diagnosis, FindingKind.COSTLY_SAMPLE).numbers
        assert (numbers["sample"], numbers["without"]) == (0, cost(**settings(y0=y0[1:])))
        numbers = _finding(diagnosis, FindingKind.TOLERANCE).numbers
        assert numbers["cost_10"] == cost(**settings(10.0))
        early = _finding(diagnosis, FindingKind.WARM_UP).numbers
        assert early["cost"] == cost(**settings(dt0=-early["first_step"]))


class _Noisy(torch.nn.Module):
    sde_type, noise_type = "ito", "diagonal"

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y

    g = f


def test_what_an_adapter_cannot_change_is_named() -> None:
    y0 = jnp.ones((2, 3))
    constant = {"terms": diffrax.ODETerm(_slope), "solver": diffrax.Tsit5(), "args": 1.0, "t0": 0.0, "t1": 1.0}
    diagnosis = lrnde.diagnose(diffrax.diffeqsolve, {**constant, "dt0": 0.01, "y0": y0})
    assert all("fixed steps" in reason for reason in diagnosis.not_measured)
    assert [finding.kind for finding in diagnosis.findings] == [FindingKind.FIXED_STEPS]
    with pytest.raises(lrnde.CapabilityError, match="stochastic"):
        lrnde.diagnose(torchsde.sdeint, (_Noisy(), torch.ones(2, 1), torch.tensor([0.0, 1.0])))
