"""In models: collecting, copying, threads, plain equations, buffers, random numbers, and nothing kept alive."""

import concurrent.futures
import copy
import functools
import gc
import io
import itertools
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
import torchsde

import lrnde
import lrnde_torch
from tests.adapters.torchsde.problems import Y0, Equation, brownian, sdeint, sdeint_adjoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_TS = [0.0, 0.5]
_ERROR = lrnde.ErrorEstimate(1e-3, 1e-3)
_HEURISTICS = [_ERROR, lrnde.TaylorDerivative(2, at="step")]


class _Block(torch.nn.Module):
    """A module that solves an equation deep inside of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.equation = Equation("ito", "diagonal")
        self.solve = lrnde.regularize(functools.partial(sdeint, dt=0.1, method="euler"))

    def forward(self, y: torch.Tensor) -> Any:
        return self.solve(self.equation, y, _TS, bm=brownian("euler", "diagonal"))


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([_Block(), _Block()])

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            y = block(y)[-1]
        return y


def test_collect_gathers_reports_from_deep_inside() -> None:
    model = _Model()
    with lrnde_torch.collect() as reports:
        y = model(Y0)
    assert len(reports) == 2
    (y.sum() + sum(report.penalty for report in reports)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(model.blocks[0](Y0)) == 2


def test_regularized_solve_is_a_value() -> None:
    model = _Model()
    solve = model.blocks[0].solve
    clone = copy.deepcopy(model)
    assert clone.blocks[0].solve == solve
    assert pickle.loads(pickle.dumps(solve)) == solve
    adjoint = lrnde.regularize(sdeint_adjoint)
    assert copy.deepcopy(adjoint) == pickle.loads(pickle.dumps(adjoint)) == adjoint != lrnde.regularize(sdeint)
    buffer = io.BytesIO()
    torch.save(solve, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=False) == solve
    with lrnde_torch.collect():
        assert torch.equal(clone(Y0), model(Y0))


@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_threads_give_what_a_serial_run_gives(solve: Any) -> None:
    regularized = lrnde.regularize(solve, heuristic=_ERROR)

    def run(job: tuple[str, float]) -> list[torch.Tensor]:
        method, draw = job
        equation = Equation("stratonovich", "general")
        settings = {"method": method, "dt": 0.1, "bm": brownian(method, "general"), "draw": [draw]}
        solution, report = regularized(equation, draw * Y0, _TS, **settings)
        gradients = torch.autograd.grad(solution.sum() + report.penalty, list(equation.parameters()))
        return [solution, report.penalty, *gradients, torch.tensor(report.nfe)]

    jobs = list(itertools.product(["heun", "log_ode"], [0.1, 0.5, 0.9])) * 2
    serial = list(map(run, jobs))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(run, jobs))
    for left, right in zip(serial, parallel, strict=True):
        assert all(map(torch.equal, left, right))


class _Plain:
    """An equation that is no module, around parts that are."""

    sde_type, noise_type = "ito", "diagonal"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
        self.norm = torch.nn.BatchNorm1d(3, dtype=torch.float64)

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.sin(self.weight * y))

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.3 * torch.cos(self.weight * y)


@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
@pytest.mark.parametrize("heuristic", _HEURISTICS, ids=lambda heuristic: type(heuristic).__name__)
def test_equation_that_is_no_module(heuristic: Any, solve: Any) -> None:
    def run(call: Callable[..., Any]) -> tuple[list[torch.Tensor], Any]:
        equation = _Plain()
        parameters = [equation.weight, *equation.norm.parameters()]
        settings = {"adjoint_params": (part for part in parameters)} if solve is sdeint_adjoint else {}
        result = call(equation, Y0, _TS, dt=0.1, bm=brownian("srk", "diagonal"), **settings)
        solution, report = result if isinstance(result, tuple) else (result, None)
        buffers = [buffer.clone() for buffer in equation.norm.buffers()]
        gradients = torch.autograd.grad(solution.sum(), parameters, retain_graph=True)
        if report is not None:
            by_penalty = torch.autograd.grad(report.penalty, parameters)
            assert all(gradient.abs().max() > 0 for gradient in by_penalty)
        return [solution, *gradients, *buffers], report

    bare, _ = run(solve)
    wrapped, report = run(lrnde.regularize(solve, heuristic=heuristic))
    assert all(map(torch.equal, bare, wrapped))
    assert report.penalty > 0


def test_module_that_never_initialised_itself() -> None:
    # As in torchsde's own test of reversibility.
    inner = Equation("ito", "diagonal")

    class Negated(torch.nn.Module):
        def __init__(self) -> None:
            self.sde_type, self.noise_type = inner.sde_type, inner.noise_type
            self.f = lambda t, y: -inner._f(t, y)
            self.g = inner._g

    settings = {"dt": 0.1, "bm": brownian("euler", "diagonal"), "method": "euler"}
    solution, report = lrnde.regularize(sdeint, heuristic=_ERROR)(Negated(), Y0, _TS, **settings)
    assert torch.equal(solution, sdeint(Negated(), Y0, _TS, **settings))
    assert report.penalty > 0


class _Noisy(torch.nn.Module):
    """BatchNorm and dropout in the drift, and its own random number in any mode."""

    sde_type, noise_type = "stratonovich", "diagonal"

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.2)).double()

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.body(y) + 0.01 * torch.randn(3)

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 0.1 * y


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_buffers_and_random_numbers_are_those_of_the_bare_call(solve: Any, training: bool) -> None:
    original = _Noisy().train(training)

    def run(call: Callable[..., Any], num_drawn: int = 0, **given: Any) -> list[torch.Tensor]:
        torch.manual_seed(11)
        np.random.seed(11)
        torch.rand(num_drawn)
        equation = copy.deepcopy(original)
        identities = [id(buffer) for buffer in equation.buffers()]
        result = call(equation, Y0, _TS, dt=0.1, method="heun", **given)
        assert [id(buffer) for buffer in equation.buffers()] == identities
        solution = result[0] if isinstance(result, tuple) else result
        return [solution, torch.get_rng_state(), *equation.buffers()]

    for heuristic in _HEURISTICS:
        wrapped = lrnde.regularize(solve, heuristic=heuristic, num_samples=2)
        for source in ({"draw": [0.1, 0.9]}, {"generator": torch.Generator()}, {"penalize": False}):
            assert all(map(torch.equal, run(wrapped, **source), run(solve)))
        assert all(map(torch.equal, run(wrapped), run(solve, 2)))


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
def test_recomputation_under_checkpoint_gives_the_same_gradients(use_reentrant: bool, solve: Any) -> None:
    equation, motion = Equation("stratonovich", "diagonal"), brownian("midpoint", "diagonal")
    regularized = lrnde.regularize(solve, heuristic=_ERROR)

    def loss(y0: torch.Tensor) -> torch.Tensor:
        solution, report = regularized(equation, y0, _TS, bm=motion, dt=0.1)
        return solution[-1].square().sum() + report.penalty

    def gradients(call: Callable[[torch.Tensor], Any]) -> list[torch.Tensor]:
        torch.manual_seed(4)
        y0 = Y0.clone().requires_grad_()
        equation.zero_grad()
        call(y0).backward()
        return [tensor.grad.clone() for tensor in (y0, *equation.parameters()) if tensor.grad is not None]

    checkpoint = functools.partial(torch.utils.checkpoint.checkpoint, loss, use_reentrant=use_reentrant)
    plain, recomputed = gradients(loss), gradients(checkpoint)
    assert len(plain) == len(recomputed) == 3
    assert all(map(torch.equal, plain, recomputed))


@pytest.mark.parametrize("solve", [sdeint, sdeint_adjoint])
@pytest.mark.parametrize("method", ["srk", "euler"])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("is_failing", [False, True])
def test_states_of_a_solve_die_with_its_result(solve: Any, method: str, adaptive: bool, is_failing: bool) -> None:
    # Without the garbage collector: what only it would free holds the graph of every training step for a while.
    states: list[weakref.ref[torch.Tensor]] = []

    def call() -> None:
        equation = Equation("ito", "additive")

        def f(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            states.append(weakref.ref(y))
            if is_failing and t > 0.3:
                raise ZeroDivisionError
            return equation._f(t, y)

        equation.__dict__["f"] = f
        steps: dict[str, Any] = {"adaptive": True, "rtol": 1e-2, "atol": 1e-2} if adaptive else {}
        solution, report = lrnde.regularize(solve, heuristic=_ERROR)(
            equation, Y0.clone().requires_grad_(), _TS, dt=0.1, bm=brownian(method, "additive"), method=method, **steps
        )
        (solution.sum() + report.penalty).backward()

    gc.disable()
    try:
        if is_failing:
            with pytest.raises(ZeroDivisionError):
                call()
        else:
            call()
        assert len(states) > 4
        assert sum(state() is not None for state in states) <= is_failing  # the argument of the call that failed
    finally:
        gc.enable()


def test_calls_leave_nothing_behind() -> None:
    equation = Equation("ito", "diagonal")
    solve = lrnde.regularize(sdeint_adjoint, heuristic=_ERROR)

    def count() -> int:
        gc.collect()
        return sum(str(type(thing).__module__).startswith(("lrnde_", "torchsde")) for thing in gc.get_objects())

    def call() -> None:
        _, report = solve(equation, Y0, _TS, dt=0.1, method="milstein")
        report.penalty.backward()

    # What other tests left in this process is not looked at, which would take seconds.
    gc.freeze()
    try:
        call()
        before = count()
        for _ in range(20):
            call()
        assert count() == before
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("name", ["sdeint", "sdeint_adjoint"])
def test_wrapped_call_in_the_place_of_the_librarys_function(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = getattr(torchsde, name)
    monkeypatch.setattr(torchsde, name, lrnde.regularize(bare))
    equation = Equation("ito", "diagonal")
    call: Any = getattr(torchsde, name)
    settings = {"dt": 0.1, "bm": brownian("srk", "diagonal")}
    solution, report = call(equation, Y0, _TS, draw=[0.5], **settings)
    assert torch.equal(solution, bare(equation, Y0, _TS, **settings))
    (solution.sum() + report.penalty).backward()
    assert equation.drift.grad is not None


def test_motion_that_only_answers_and_knows_its_shape() -> None:
    class Duck:
        levy_area_approximation = "none"
        shape = (2, 3)

        def __call__(self, ta: torch.Tensor, tb: torch.Tensor) -> torch.Tensor:
            return (tb - ta) * torch.cos(ta + torch.arange(6.0, dtype=torch.float64).view(2, 3))

    for increment in ("path", "fresh"):
        solve = lrnde.regularize(sdeint, heuristic=_ERROR, sampler=lrnde.UniformTime(increment=increment))
        settings = {"bm": Duck(), "dt": 0.1, "method": "milstein"}
        solution, report = solve(Equation("ito", "diagonal"), Y0, _TS, draw=[0.5], **settings)
        assert torch.equal(solution, sdeint(Equation("ito", "diagonal"), Y0, _TS, **settings))
        assert report.penalty > 0


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_where_gradient_is_off_the_penalty_is_the_same_and_has_none(context: Any) -> None:
    third = lrnde.TaylorDerivative(3, at="step")
    for heuristic in (*_HEURISTICS, third):
        settings = {"dt": 0.1, "method": "euler", "draw": [0.5]}
        solve = lrnde.regularize(sdeint, heuristic=heuristic)
        _, expected = solve(Equation("ito", "diagonal"), Y0, _TS, bm=brownian("euler", "diagonal"), **settings)
        with context():
            _, report = solve(Equation("ito", "diagonal"), Y0, _TS, bm=brownian("euler", "diagonal"), **settings)
        torch.testing.assert_close(report.penalty, expected.penalty.detach(), rtol=1e-12, atol=0)
        assert not report.penalty.requires_grad


@pytest.mark.parametrize("heuristic", _HEURISTICS, ids=lambda heuristic: type(heuristic).__name__)
def test_parameters_that_the_adjoint_leaves_out_have_no_gradient(heuristic: Any) -> None:
    equation = Equation("stratonovich", "diagonal")
    _, report = lrnde.regularize(sdeint_adjoint, heuristic=heuristic)(
        equation, Y0, _TS, dt=0.1, method="midpoint", adjoint_params=(equation.drift,)
    )
    drift, diffusion = torch.autograd.grad(report.penalty, [equation.drift, equation.diffusion], allow_unused=True)
    assert drift.any()
    assert diffusion is None
    assert equation.diffusion.requires_grad
