"""Evaluating a field once more leaves no trace in what it is made of."""

import collections
import copy
import dataclasses
import functools
import random
import types
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch

import lrnde
from lrnde_core import random_fingerprint, random_states_kept
from lrnde_torch import no_side_effects, parameters_of
from lrnde_torch._isolation import reach_of
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


class _Slotted:
    __slots__ = ("last", "net")

    def __init__(self) -> None:
        self.net = torch.nn.BatchNorm1d(4)

    def __call__(self, y: torch.Tensor) -> torch.Tensor:
        self.last = self.net(y)
        return self.last


@dataclasses.dataclass
class _Record:
    hidden: Any = None
    history: Any = dataclasses.field(default_factory=list[Any])


class _Holding(torch.nn.Module):
    """A field whose state is held in containers, in objects of every kind, and in a hook."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(4, 4)
        self.norms: Any = [torch.nn.BatchNorm1d(4), {"inner": (torch.nn.BatchNorm1d(4),)}]
        self.nested: Any = [[], {"inner": []}, collections.OrderedDict(), collections.defaultdict(list)]
        self.objects: Any = _Record(), types.SimpleNamespace(hidden=None), {"slotted": _Slotted()}
        self.rngs: Any = (random.Random(1), [np.random.default_rng(1)])
        self.counts = collections.Counter(calls=0)
        self.net.register_forward_hook(_Remember())

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.counts["calls"] += 1
        record, namespace, others = self.objects
        value = self.norms[1]["inner"][0](self.norms[0](others["slotted"](self.net(y))))
        record.hidden = namespace.hidden = value
        record.history.append(value)
        for container in (self.nested[0], self.nested[1]["inner"], self.nested[3]["a"]):
            container.append(value)
        self.nested[2][t.item()] = value
        return value * (1 + 0.01 * (self.rngs[0].random() + self.rngs[1][0].normal()))

    def states(self) -> Any:
        record, namespace, others = self.objects
        slotted = others["slotted"]
        norms = [self.norms[0], self.norms[1]["inner"][0], slotted.net]
        (hook,) = cast("Any", self.net._forward_hooks).values()
        tensors = [record.hidden, namespace.hidden, slotted.last, *record.history, hook.last, *self.nested[2].values()]
        tensors += [*self.nested[0], *self.nested[1]["inner"], *self.nested[3]["a"]]
        tensors += [buffer for norm in norms for buffer in norm.buffers()]
        _, _, *generators = random_fingerprint([self.rngs[0], self.rngs[1][0]])
        return generators, [tensor.tolist() for tensor in tensors]


class _Remember:
    def __call__(self, module: Any, args: Any, result: torch.Tensor) -> None:
        self.last = result


def test_what_containers_objects_slots_and_hooks_hold_is_left_as_by_the_bare_call() -> None:
    bare, ours = _Holding(), _Holding()
    odeint(bare, _Y0, _TIMES, **_SETTINGS)
    _, report = lrnde.regularize(odeint)(ours, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    assert ours.states() == bare.states()
    assert ours.counts["calls"] == bare.counts["calls"] + report.nfe_extra


def test_variables_of_closures_and_attributes_of_functions_are_left_as_by_the_bare_call() -> None:
    def make() -> Any:
        hidden, num_calls, norm = torch.zeros(3, 4), 0, torch.nn.BatchNorm1d(4)
        norms, kept = [norm], cast("Any", lambda value: value)

        def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            nonlocal hidden, num_calls
            hidden, num_calls = 0.5 * hidden + y, num_calls + 1
            kept.last = kept(norms[0](hidden))
            return kept.last

        return field, lambda: (
            [hidden.tolist(), kept.last.tolist(), cast("Any", norm.running_mean).tolist()],
            num_calls,
        )

    (bare, of_bare), (ours, of_ours) = make(), make()
    odeint(bare, _Y0, _TIMES, **_SETTINGS)
    _, report = lrnde.regularize(odeint)(ours, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    assert of_ours()[0] == of_bare()[0]
    assert of_ours()[1] == of_bare()[1] + report.nfe_extra


def test_buffers_and_slots_that_were_empty_are_empty_again() -> None:
    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("hidden", None)
            self.slotted = _Slotted()

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.hidden = y
            return self.slotted(y)

    field = Field()
    with no_side_effects(field, _CPU):
        field(torch.ones(()), _Y0)
    assert field.hidden is None
    assert not hasattr(field.slotted, "last")


def test_what_torch_makes_of_a_compiled_field_is_left_alone() -> None:
    """The compiler's own objects and caches, which other threads fill."""
    net = torch.nn.BatchNorm1d(4)
    for field in (torch.compile(net, backend="eager"), torch.compile(lambda t, y: net(y), backend="eager")):
        reach = reach_of(field)
        others = [each for each in reach.owners if not isinstance(each, torch.nn.Module | types.FunctionType)]
        assert net in reach.modules
        assert not others
        # Lightning, if another test has imported it, keeps the arguments of `torch.compile` on what that returns, and
        # a compiled module hands what is set on it to the module inside.
        known = (net._buffers, *(getattr(each, "_compile_kwargs", None) for each in (field, net)))
        assert not [each for each in reach.containers if not any(each is one for one in known)]


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


_hidden = torch.zeros(())


def test_what_a_field_keeps_out_of_reach_stays_changed() -> None:
    cell, log, records = {"calls": 0.0}, [0.0], _Record(_Record())

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = torch.zeros(())
            self.records = records

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            global _hidden  # noqa: PLW0603
            cell["calls"] += 1.0
            log.append(0.0)
            self.total += 1
            self.records.hidden.hidden = y
            _hidden = _hidden + 1
            return y

    field = Field()
    with no_side_effects(field, _CPU):
        field(torch.ones(()), _Y0)
    # Containers of a closure, a tensor that is no buffer and is written to in place, an object that only another one
    # holds, and a global variable.
    assert cell == {"calls": 1.0}
    assert len(log) == 2
    assert field.total == 1
    assert records.hidden.hidden is _Y0
    assert _hidden == 1


class _Normalised(torch.nn.Module):
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)
        return self.net(y) * torch.cos(t)


class _Sealed(_Normalised):
    """It forbids to set a buffer."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "count":
            raise AttributeError(name)
        super().__setattr__(name, value)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("steps", [None, lrnde.CheckedSteps()])
@pytest.mark.parametrize(
    "make", [_Sealed, lambda: torch.jit.trace(_Normalised(), (_TIMES[0], _Y0)), lambda: torch.jit.script(_Normalised())]
)
def test_buffers_of_special_modules_are_left_as_they_were(make: Callable[[], Any], steps: Any) -> None:
    field = make()
    before = [buffer.clone() for buffer in field.buffers()]
    with no_side_effects(field, _CPU):
        field(_TIMES[1], _Y0)
    assert all(torch.equal(*pair) for pair in zip(field.buffers(), before, strict=True))
    solve = lrnde.regularize(odeint, heuristic=lrnde.ErrorEstimate(1e-3, 1e-3), steps=steps)
    field(_TIMES[1], _Y0)
    num_before = field.count.item()
    _, report = solve(field, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    assert field.count.item() == num_before + report.nfe
    assert {id(each) for each in parameters_of(field)} == {id(each) for each in field.parameters()}


@pytest.mark.parametrize("steps", [None, lrnde.CheckedSteps()])
def test_a_lazy_module_becomes_what_its_first_evaluation_makes_of_it(steps: Any) -> None:
    net = torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.LazyBatchNorm1d())
    solve = lrnde.regularize(odeint, steps=steps)
    _, report = solve(lambda t, y: net(y), _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    report.penalty.backward()
    eager = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    for found, expected in zip(net, eager, strict=True):
        assert type(found) is type(expected)
        assert vars(found).keys() == vars(expected).keys()
        assert all(each.grad is not None for each in found.parameters())
