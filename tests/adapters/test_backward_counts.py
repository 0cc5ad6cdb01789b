"""Evaluations of the backward pass, where a continuous adjoint makes them."""

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
import torch
import torchdiffeq
import torchsde

import lrnde
import lrnde_core

_TIMES = torch.tensor([0.0, 0.5, 1.0])


class _Field(torch.nn.Module):
    """A field, and a stochastic equation, that count their calls."""

    sde_type, noise_type = "stratonovich", "diagonal"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(3, 3)
        self.num_calls = 0

    def forward(self, _t: Any, y: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        return torch.tanh(self.linear(y))

    f = forward

    def g(self, _t: Any, y: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        return 0.1 * torch.sin(y)


def _ode(native: Any, **settings: Any) -> Any:
    return native(_Field(), torch.ones(4, 3), _TIMES, rtol=1e-3, atol=1e-3, **settings)


def _sde(native: Any, **settings: Any) -> Any:
    field = _Field()
    motion = torchsde.BrownianInterval(0.0, 1.0, size=(4, 3), entropy=0, levy_area_approximation="space-time")
    return native(field, torch.ones(4, 3), _TIMES, bm=motion, dt=0.1, **settings)


def _counted_backward(call: Any, native: Any, **settings: Any) -> int:
    """Calls of the field during the backward pass of the bare solve."""
    fields: list[_Field] = []

    def noting(field: _Field, *args: Any, **kwargs: Any) -> Any:
        fields.append(field)
        return native(field, *args, **kwargs)

    ys = call(noting, **settings)
    before = fields[0].num_calls
    ys.square().sum().backward()
    return fields[0].num_calls - before


_CASES = [
    (_ode, torchdiffeq.odeint_adjoint, {}),
    (_ode, torchdiffeq.odeint_adjoint, {"method": "rk4", "adjoint_method": "euler"}),
    (_sde, torchsde.sdeint_adjoint, {"method": "midpoint"}),
    (_sde, torchsde.sdeint_adjoint, {"method": "heun", "adaptive": True}),
    (_sde, torchsde.sdeint_adjoint, {"method": "reversible_heun", "adjoint_method": "adjoint_reversible_heun"}),
]


@pytest.mark.parametrize(("call", "native", "settings"), _CASES)
@pytest.mark.parametrize("penalize", [True, False])
def test_adjoints_count_their_backward_pass(call: Any, native: Any, settings: Any, penalize: bool) -> None:
    expected = _counted_backward(call, native, **settings)
    ys, report = call(lrnde.regularize(native), penalize=penalize, **settings)
    assert report.nfe_backward == 0
    (ys.square().sum() + report.penalty).backward(retain_graph=True)
    assert int(report.nfe_backward) == expected > 0
    ys.square().sum().backward()
    assert int(report.nfe_backward) == 2 * expected


@pytest.mark.parametrize(
    ("call", "native", "settings"), [(_ode, torchdiffeq.odeint, {}), (_sde, torchsde.sdeint, {"method": "midpoint"})]
)
def test_a_solve_that_is_differentiated_through_evaluates_nothing_anew(call: Any, native: Any, settings: Any) -> None:
    assert _counted_backward(call, native, **settings) == 0
    assert call(lrnde.regularize(native), **settings)[1].nfe_backward is None


@pytest.mark.parametrize("heuristic", [lrnde.ErrorEstimate(1e-3, 1e-3), lrnde.TaylorDerivative(2, at="step")])
def test_the_local_step_is_no_part_of_the_backward_pass(heuristic: Any) -> None:
    for call, native, settings in _CASES[2:4]:
        _, report = call(lrnde.regularize(native, heuristic=heuristic), **settings)
        report.penalty.backward()
        assert report.nfe_backward == 0


def test_counts_are_integers_to_whoever_reads_them() -> None:
    ys, report = _ode(lrnde.regularize(torchdiffeq.odeint_adjoint))
    ys.sum().backward()
    count = report.nfe_backward
    number = int(count)
    assert (count + 1, 1 + count, sum([count, count])) == (number + 1, number + 1, 2 * number)
    assert number - 1 < count < number + 1
    assert count >= number
    assert (f"{count:d}", f"{count}", repr(count), float(count)) == (str(number), str(number), str(number), number)
    assert list(range(number))[: count + 0] == list(range(number))
    assert (count - 1, 1 - count, 2 * count, count / 2, 1 / count) == (
        number - 1,
        1 - number,
        2 * number,
        number / 2,
        1 / number,
    )
    assert count
    assert not lrnde_core.BackwardCount()
    for copied in (pickle.loads(pickle.dumps(count)), copy.deepcopy(count)):
        assert type(copied) is int
        assert copied == number
    assert pickle.loads(pickle.dumps(report._replace(penalty=None))).nfe_backward == number


def test_a_kept_count_keeps_no_graph() -> None:
    count_and_alive = []
    for call, native, settings in _CASES[::2]:
        ys, report = call(lrnde.regularize(native), **settings)
        count_and_alive.append((report.nfe_backward, weakref.ref(ys)))
        del ys, report
    gc.collect()
    assert [alive() for _, alive in count_and_alive] == [None] * len(count_and_alive)
