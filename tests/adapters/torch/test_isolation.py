"""Evaluating a field once more leaves no trace in what it is made of."""

import collections
import copy
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import lrnde_core as lrnde
from lrnde_core import random_fingerprint, random_states_kept
from lrnde_torch import no_side_effects
from tests.adapters.torchdiffeq.problems import odeint

_CPU = torch.device("cpu")
_TIMES = torch.tensor([0.0, 1.0])
_Y0 = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
_SETTINGS: dict[str, Any] = {"method": "euler", "options": {"step_size": 0.25}}


class _Remembering(torch.nn.Module):
    """A field with a state of every kind: hidden, last, in containers, in generators, in a submodule's buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
        self.hidden = torch.zeros(3, 4)
        self.history: list[torch.Tensor] = []
        self.by_time: dict[str, torch.Tensor] = {}
        self.times = {0.5}
        self.window: collections.deque[float] = collections.deque(maxlen=2)
        self.scale = 1.0
        self.is_first = True
        self.num_calls = 0
        self.generator = torch.Generator().manual_seed(1)
        self.rng = np.random.default_rng(1)
        self.noise = random.Random(1)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.num_calls += 1
        self.hidden = 0.5 * self.hidden + torch.tanh(y)
        self.last = self.net(self.hidden)
        self.net[0].seen = self.last
        self.history.append(self.last)
        self.by_time[f"{t.item():.3f}"] = self.last
        self.times.add(t.item())
        self.window.append(t.item())
        self.scale *= 0.9
        self.is_first = False
        noise = torch.rand((), generator=self.generator) + self.rng.normal() + self.noise.random()
        return self.last * (1 + 0.01 * noise) * self.scale

    def states(self) -> Any:
        """All of them but the counter, to be compared."""
        # Not the global ones, which type checks in the tests may draw from.
        _, _, *generators = random_fingerprint([self.generator, self.rng, self.noise])
        tensors = [self.hidden, *self.history, *self.by_time.values(), *self.buffers()]
        numbers = [sorted(self.times), list(self.window), list(self.by_time), self.scale, self.is_first]
        names = [sorted(vars(module)) for module in self.modules()]
        return generators, [tensor.tolist() for tensor in tensors], numbers, names


def _partial(module: Any) -> Any:
    return functools.partial(lambda scale, method, t, y: scale * method(t, y), 1.0, module.forward)


def _closure(call: Any) -> Any:
    return lambda t, y: call(t, 1.0 * y)


class _Object:
    """A plain object that calls a module."""

    def __init__(self, module: Any) -> None:
        self.inner = {"module": None}
        self.module = module

    def __call__(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.result = self.module(t, y)
        return self.result


class _Equation:
    """An object that cannot be called itself."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def drift(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.module(t, y)


_FORMS: dict[str, Callable[[Any], Any]] = {
    "module": lambda module: module,
    "method": lambda module: module.forward,
    "partial": _partial,
    "closure": _closure,
    "closure-of-a-method": lambda module: _closure(module.forward),
    "default": lambda module: lambda t, y, net=module: net(t, y),
    "object": _Object,
    "method-of-an-object": lambda module: _Equation(module).drift,
    "inner-module": lambda module: torch.nn.ModuleList([module])[0],
}


@pytest.mark.parametrize("heuristic", [None, lrnde.TaylorDerivative(2), lrnde.ErrorEstimate(1e-3, 1e-3)], ids=str)
@pytest.mark.parametrize("form", list(_FORMS))
def test_a_module_is_left_as_by_the_bare_call(form: str, heuristic: Any) -> None:
    bare, ours = _Remembering(), _Remembering()
    odeint(_FORMS[form](bare), _Y0, _TIMES, **_SETTINGS)
    field = _FORMS[form](ours)
    _, report = lrnde.regularize(odeint, heuristic=heuristic)(field, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    assert ours.states() == bare.states()
    # A counter counts, as the report says.
    assert ours.num_calls == bare.num_calls + report.nfe_extra
    report.penalty.backward()
    assert ours.net[0].weight.grad.any()


def test_a_deep_copy_works_as_after_the_bare_call() -> None:
    fields = _Remembering(), _Object(_Remembering())
    with torch.no_grad():
        for field in fields:
            lrnde.regularize(odeint)(field, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
            copy.deepcopy(field)


_GLOBAL = torch.nn.BatchNorm1d(4)


def _through_a_global(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _helper(y) * t


def _helper(y: torch.Tensor) -> torch.Tensor:
    return _GLOBAL(y)


def test_a_module_among_the_globals_of_a_function_is_seen() -> None:
    _GLOBAL.reset_running_stats()
    with no_side_effects(_through_a_global, _CPU):
        _through_a_global(torch.ones(()), _Y0)
        assert _GLOBAL.running_mean is not None
        assert _GLOBAL.running_mean.any()
    assert not _GLOBAL.running_mean.any()


def test_global_random_states_are_put_back() -> None:
    with random_states_kept():
        _assert_global_states_are_those_of_the_bare_call()


def _assert_global_states_are_those_of_the_bare_call() -> None:
    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y * (1 + 0.1 * float(np.random.randn()) + 0.1 * random.gauss(0.0, 1.0))

    after: list[Any] = []
    for solve in (odeint, functools.partial(lrnde.regularize(odeint), draw=[0.3])):
        np.random.seed(0)
        random.seed(0)
        solve(field, _Y0, _TIMES, **_SETTINGS)
        after.append((np.random.uniform(), random.random()))
    assert after[0] == after[1]


def test_all_is_put_back_after_an_error() -> None:
    field = _Remembering()
    before = field.states()

    def interrupted() -> None:
        with no_side_effects(field, _CPU):
            field(torch.ones(()), _Y0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert field.states() == before


def test_freezing_leaves_a_field_as_it_was() -> None:
    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 4)
            self.history: list[torch.Tensor] = []

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.last = torch.tanh(self.net(y))
            self.history.append(self.last)
            return self.last

    field = Field()
    solve = functools.partial(odeint, rtol=1e-3, atol=1e-3)
    with no_side_effects(field, _CPU):
        lrnde.freeze(solve, calibration=[(field, torch.randn(10, 4), _TIMES) for _ in range(2)], error=0.5)
    assert not field.history
    assert not hasattr(field, "last")


# The known limits of docs/limits.md: when one of these fails, the page is out of date.


def test_what_a_field_keeps_out_of_reach_stays_changed() -> None:
    module, cell, log = torch.nn.BatchNorm1d(4), {"calls": 0.0}, [0.0]

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = [module]
            self.total = torch.zeros(())

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            cell["calls"] += 1.0
            log.append(0.0)
            self.total += 1
            return self.held[0](y)

    field = Field()
    with no_side_effects(field, _CPU):
        field(torch.ones(()), _Y0)
    # A container of a closure, a module in a list, and a tensor that is no buffer and is written to in place.
    assert cell == {"calls": 1.0}
    assert len(log) == 2
    assert module.running_mean is not None
    assert module.running_mean.any()
    assert field.total == 1
