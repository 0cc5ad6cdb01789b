"""A penalised solve leaves buffers, random states and checkpoints as the bare one does."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint

import lrnde
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

_TIMES = torch.tensor([0.0, 1.0])
_Y0 = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
_SETTINGS = {"rtol": 1e-2, "atol": 1e-2}
_HEURISTICS: list[Any] = [lrnde.TaylorDerivative(2), lrnde.ErrorEstimate(), lrnde.JacobianNorm()]


class _Stateful(torch.nn.Module):
    """BatchNorm, spectral norm, a buffer shared by two modules, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 3)),
            torch.nn.BatchNorm1d(3),
            torch.nn.Tanh(),
        )
        self.other = torch.nn.Module()
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.other.register_buffer("count", self.get_buffer("count"))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.get_buffer("count").add_(1)
        assert self.get_buffer("count") is self.other.get_buffer("count")
        return self.body(y) * torch.cos(t)

    def advance(self, scale: float, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return scale * self(t, y)


def _buffers(field: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in field.named_buffers(remove_duplicate=False)}


@pytest.mark.parametrize("heuristic", _HEURISTICS, ids=lambda heuristic: type(heuristic).__name__)
@pytest.mark.parametrize("form", ["module", "method", "partial", "wrapped"])
@pytest.mark.parametrize("training", [True, False])
def test_buffers_are_those_of_the_bare_call(heuristic: Any, form: str, training: bool) -> None:
    torch.manual_seed(0)
    original = _Stateful().train(training)

    def as_field(module: _Stateful) -> Any:
        if form == "wrapped":
            return torch.nn.ModuleList([module])[0]
        partial = functools.partial(module.advance, 1.0)
        return {"module": module, "method": module.forward, "partial": partial}[form]

    # Spectral norm changes from call to call, so no small step is ever accurate enough.
    settings = {**_SETTINGS, "options": {"min_step": 0.3}}
    bare, wrapped = copy.deepcopy(original), copy.deepcopy(original)
    identities = {name: id(buffer) for name, buffer in wrapped.named_buffers(remove_duplicate=False)}
    expected = odeint(as_field(bare), _Y0, _TIMES, **settings)
    solution, report = lrnde.regularize(odeint, heuristic=heuristic)(
        as_field(wrapped), _Y0, _TIMES, draw=[0.4], **settings
    )
    assert torch.equal(solution, expected)
    left, right = _buffers(bare), _buffers(wrapped)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert {name: id(buffer) for name, buffer in wrapped.named_buffers(remove_duplicate=False)} == identities
    assert list(wrapped.state_dict()) == list(original.state_dict())
    (solution.sum() + report.penalty).backward()
    assert all(parameter.grad is not None for parameter in wrapped.parameters())


def test_buffers_are_restored_after_an_error_in_the_local_step() -> None:
    class Failing(_Stateful):
        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if self.count >= num_native:
                raise KeyboardInterrupt
            return super().forward(t, y)

    num_native = 10**9
    field = Failing()
    settings = {**_SETTINGS, "options": {"min_step": 0.3}}
    odeint(field, _Y0, _TIMES, **settings)
    num_native = int(field.count)
    field.count.zero_()
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        lrnde.regularize(odeint)(field, _Y0, _TIMES, draw=[0.4], **settings)
    assert field.count is field.other.count
    assert field.count == num_native
    assert torch.equal(torch.get_rng_state(), state)


class _Noisy(torch.nn.Module):
    """Draws random numbers, in training mode by dropout and in any mode by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.dropout(y) + 0.01 * torch.randn(3)


@pytest.mark.parametrize("training", [True, False])
def test_random_numbers_are_those_of_the_bare_call(training: bool) -> None:
    settings = {"method": "rk4", "options": {"step_size": 0.25}}
    field = _Noisy().train(training)
    solve = lrnde.regularize(odeint, num_samples=3)

    def run(prepare: Callable[[], Any], call: Callable[..., Any]) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(11)
        prepare()
        result = call(field, _Y0, _TIMES, **settings)
        solution = result[0] if isinstance(result, tuple) else result
        return solution, torch.get_rng_state()

    def nothing() -> None: ...

    bare = run(nothing, odeint)
    generator = torch.Generator().manual_seed(5)
    for source in ({"draw": [0.1, 0.5, 0.9]}, {"generator": generator}, {"penalize": False}):
        assert all(map(torch.equal, run(nothing, functools.partial(solve, **source)), bare))
    # By default exactly one `torch.rand(num_samples)`, before the solve.
    after_draw = run(lambda: torch.rand(3), odeint)
    assert all(map(torch.equal, run(nothing, solve), after_draw))
    assert not torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())


def test_generator_decides_the_sample_whatever_the_global_seed() -> None:
    field = Perceptron(dtype=torch.float32)
    samples: list[float] = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        _, report = lrnde.regularize(odeint)(
            field, _Y0, _TIMES, generator=torch.Generator().manual_seed(9), **_SETTINGS
        )
        samples.append(report.penalty.item())
    assert samples[0] == samples[1]


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("heuristic", _HEURISTICS, ids=lambda heuristic: type(heuristic).__name__)
def test_recomputation_under_checkpoint_gives_the_same_gradients(
    use_reentrant: bool, solve: Any, heuristic: Any
) -> None:
    field = Perceptron(dtype=torch.float32)
    regularized = lrnde.regularize(solve, heuristic=heuristic)

    def loss(y0: torch.Tensor) -> torch.Tensor:
        solution, report = regularized(field, y0, _TIMES, **_SETTINGS)
        return solution[-1].square().sum() + report.penalty

    def gradients(call: Callable[[torch.Tensor], Any]) -> list[torch.Tensor]:
        torch.manual_seed(4)
        y0 = _Y0.clone().requires_grad_()
        field.zero_grad()
        call(y0).backward()
        return [tensor.grad.clone() for tensor in (y0, *field.parameters()) if tensor.grad is not None]

    plain = gradients(loss)
    checkpoint = functools.partial(torch.utils.checkpoint.checkpoint, loss, use_reentrant=use_reentrant)
    recomputed = gradients(checkpoint)
    assert len(plain) == len(recomputed) == 4
    assert all(map(torch.equal, plain, recomputed))


class _Energy(torch.nn.Module):
    """dy/dt = - grad E(y), by autograd inside of the field, as in normalizing flows and Hamiltonian networks."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = torch.nn.Linear(3, 1)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            y = y.requires_grad_()
            (gradient,) = torch.autograd.grad(torch.sin(9 * self.energy(y)).sum(), y, create_graph=True)
        return -gradient


@pytest.mark.parametrize("heuristic", _HEURISTICS, ids=lambda heuristic: type(heuristic).__name__)
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_field_that_calls_autograd_itself(heuristic: Any, solve: Any) -> None:
    torch.manual_seed(0)
    field = _Energy()
    _, report = lrnde.regularize(solve, heuristic=heuristic)(field, _Y0, _TIMES, draw=[0.5], rtol=1e-5, atol=1e-5)
    assert report.penalty > 0
    report.penalty.backward()
    assert field.energy.weight.grad is not None
    assert field.energy.weight.grad.abs().max() > 0


def test_buffers_of_modules_that_a_plain_object_has_are_what_the_bare_call_leaves() -> None:
    class Field:
        def __init__(self) -> None:
            self.body = torch.nn.BatchNorm1d(3)

        def __call__(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.body(y) * t

    bare, penalised = Field(), Field()
    odeint(bare, _Y0, _TIMES, **_SETTINGS)
    lrnde.regularize(odeint)(penalised, _Y0, _TIMES, draw=[0.3], **_SETTINGS)
    for name, buffer in bare.body.named_buffers():
        assert torch.equal(penalised.body.get_buffer(name), buffer), name


@pytest.mark.parametrize("native", [odeint, odeint_adjoint])
@pytest.mark.parametrize("steps", [None, lrnde.CheckedSteps(period=(1, 1))])
def test_cached_weights_keep_their_gradients(native: Any, steps: Any) -> None:
    linear = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 3))
    field = torch.nn.Sequential(linear, torch.nn.Tanh())
    solve, parameters = lrnde.regularize(native, steps=steps), list(field.parameters())

    class _Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = field

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.body(y)

    def loss() -> torch.Tensor:
        ys, report = solve(_Field(), _Y0, _TIMES, draw=[0.4], **_SETTINGS)
        return ys.square().mean() + report.penalty

    expected = torch.autograd.grad(loss(), parameters)
    with torch.nn.utils.parametrize.cached():
        cached = loss()
    torch.testing.assert_close(torch.autograd.grad(cached, parameters), expected)
