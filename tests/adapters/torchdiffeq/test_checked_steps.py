"""Training on checked steps: beside steps taken by hand, and what calls, checks and copies leave behind."""

import contextlib
import copy
import functools
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

import lrnde
from lrnde_torch import PlanHolder
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint
from tests.adapters.torchdiffeq.two_processes import SPEEDS, train

Tensor = torch.Tensor
# Of a few hundred sums and products, taken in another order.
_ROUNDING = 1e3 * torch.finfo(torch.float64).eps
_TWO = lrnde.FixedSteps.equal("rk4", 2)
_ON_TWO = lrnde.CheckedSteps(error=1e3, candidates=[lrnde.Candidate("rk4", 2)], period=(1000, 1000))
_close = functools.partial(torch.testing.assert_close, rtol=_ROUNDING, atol=_ROUNDING)


def _state() -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)


def _times(*times: float) -> Tensor:
    return torch.tensor(times, dtype=torch.float64)


def _by_hand(field: Any, y0: Tensor, t: Tensor) -> Any:
    """The function of time through two steps of the 3/8 rule, cubic within each."""
    h = (t[-1] - t[0]) / 2
    ends: list[tuple[Tensor, Tensor]] = []
    time, y = t[0], y0
    for _ in range(2):
        k1 = field(time, y)
        ends.append((y, h * k1))
        k2 = field(time + h / 3, y + h * k1 / 3)
        k3 = field(time + 2 * h / 3, y - h * k1 / 3 + h * k2)
        k4 = field(time + h, y + h * (k1 - k2 + k3))
        time, y = time + h, y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8
    ends.append((y, h * field(t[-1], y)))

    def at(time: Tensor) -> Tensor:
        place = int(((time - t[0]) / h).detach() > 1)
        x = (time - t[0]) / h - place
        (y0, d0), (y1, d1) = ends[place : place + 2]
        return (1 - x) ** 2 * (1 + 2 * x) * y0 + x**2 * (3 - 2 * x) * y1 + x * (1 - x) ** 2 * d0 - x**2 * (1 - x) * d1

    return at


def _gradients(field: torch.nn.Module, *inputs: Tensor) -> list[Any]:
    return [each.grad for each in (*inputs, *field.parameters())]


@pytest.mark.parametrize("is_tuple", [False, True])
@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.3, -0.2, -0.5)])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_a_training_takes_the_steps_and_their_gradient(solve: Any, times: tuple[float, ...], is_tuple: bool) -> None:
    wrapped = lrnde.regularize(solve, steps=_ON_TWO)
    reports, fields, inputs, losses = [], [], [], []
    for is_ours in (True, False):
        field, y0, t = Perceptron(), _state().requires_grad_(), _times(*times).requires_grad_()
        if is_ours:
            call = functools.partial(wrapped, field, (y0, 2 * y0) if is_tuple else y0, t, penalize=False)
            (_, _), (result, report) = call(), call()
            reports.append(report)
            parts = result if is_tuple else (result,)
        else:
            starts = (y0, 2 * y0) if is_tuple else (y0,)
            parts = [torch.stack([_by_hand(field, start, t)(time) for time in t]) for start in starts]
        losses.append(torch.stack([(part.sin() * t[:, None, None]).sum() for part in parts]))
        losses[-1].sum().backward()
        fields.append(field)
        inputs.append((y0, t))
    (report,) = reports
    assert report.plan.steps == _TWO
    assert (report.plan.num_checks, report.plan.num_iterations) == (1, 2)
    assert (report.num_steps, report.nfe) == (2, 8 + (len(times) > 2))
    _close(losses[0], losses[1])
    for ours, by_hand in zip(*(_gradients(f, *given) for f, given in zip(fields, inputs, strict=True)), strict=True):
        _close(ours, by_hand)


@pytest.mark.parametrize("draw", [0.2, 0.37, 0.9])
def test_the_penalty_is_taken_at_the_drawn_time(draw: float) -> None:
    field, y0, t = Perceptron(), _state().requires_grad_(), _times(0.5, 2.0)
    drawn = t[0] + draw * 1.5
    with torch.no_grad():
        y = _by_hand(field, y0, t)(drawn)

    def curvature(t: Tensor, y: Tensor) -> Tensor:
        return torch.func.jvp(field, (t, y), (torch.ones_like(t), field(t, y)))[1]

    expected = {
        lrnde.KineticEnergy(): 1.5 * field(drawn, y).square().mean() / 2,
        None: 1.5 * curvature(drawn, y).square().mean(),
    }
    for heuristic, penalty in expected.items():
        wrapped = lrnde.regularize(odeint, heuristic=heuristic, steps=_ON_TWO)
        wrapped(field, y0, t)
        before = field.num_calls
        report = wrapped(field, y0, t, draw=[draw])[1]
        assert field.num_calls - before == report.nfe + report.nfe_extra
        _close(report.penalty, penalty)
        for ours, by_hand in zip(
            *(torch.autograd.grad(each, list(field.parameters())) for each in (report.penalty, penalty)), strict=True
        ):
            _close(ours, by_hand)
        assert torch.autograd.grad(report.penalty + 0 * y0.sum(), y0)[0].eq(0).all()


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_predictions_are_the_bare_call(solve: Any) -> None:
    field, t, wrapped = Perceptron(), _times(0.0, 0.4, 1.0), lrnde.regularize(solve, steps=_ON_TWO)
    plan = wrapped(field, _state(), t)[1].plan
    for block in (torch.no_grad, torch.inference_mode):
        with block():
            ys, report = wrapped(field, _state(), t)
            assert torch.equal(ys, solve(field, _state(), t))
            assert report.plan is report.step_error is None
    assert wrapped.plan_holder is not None
    assert wrapped.plan_holder.plan == plan
    gradients: list[Any] = []
    for call in (solve, lambda *args: wrapped(*args, plan=None, penalize=False)[0]):
        field, y0 = Perceptron(), _state().requires_grad_()
        call(field, y0, t).square().sum().backward()
        gradients.append(_gradients(field, y0))
    assert all(map(torch.equal, *gradients))
    assert wrapped.plan_holder.plan == plan


def test_a_plan_is_saved_with_its_model_and_goes_on_where_it_was() -> None:
    def made() -> tuple[Any, Any]:
        field, wrapped = Perceptron(), lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3))
        model = torch.nn.ModuleDict({"field": field, "plan": wrapped.plan_holder})
        return model, lambda: wrapped(field, _state(), _times(0.0, 1.0))[1].plan

    model, call = made()
    call()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other, other_call = made()
    other.load_state_dict(torch.load(file, weights_only=True))
    holders = [each["plan"] for each in (model, other)]
    for holder in holders:
        assert isinstance(holder, PlanHolder)
        assert "before iteration 0, 1 check" in repr(holder)
    assert holders[0].plan == holders[1].plan
    assert holders[0].remembered() == holders[1].remembered() > 0
    assert call() == other_call()
    with pytest.raises(lrnde.InputError, match="The saved plan has the entries"):
        holders[0].set_extra_state({"plan": {"steps": None}, "step_error": None})


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_trains_on_a_plan_of_its_own(copied: Any) -> None:
    model = torch.nn.Module()
    model.field, model.solve = Perceptron(), lrnde.regularize(odeint, steps=_ON_TWO)
    model.holder = model.solve.plan_holder
    first = model.solve(model.field, _state(), _times(0.0, 1.0))[1].plan
    twin = copied(model)
    assert twin.holder is twin.solve.plan_holder
    assert twin.holder.plan == first
    assert twin.holder.remembered() == model.holder.remembered()
    later = twin.solve(twin.field, _state(), _times(0.0, 1.0))[1].plan
    assert (later.num_iterations, model.holder.plan.num_iterations) == (2, 1)


class _Changing(torch.nn.Module):
    """Normalises over its batch, notes its state, and draws from numpy what it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = torch.nn.BatchNorm1d(3, dtype=torch.float64), Perceptron()
        self.last, self.states = None, []

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        np.random.random()
        self.last = y
        self.states.append(y)
        return self.inner(t, self.norm(y))


def test_a_check_leaves_what_the_same_call_without_it_leaves() -> None:
    left: list[Any] = []
    for plan in ("held", _TWO):
        field, y0 = _Changing(), _state()
        torch.manual_seed(1)
        np.random.seed(1)
        wrapped = lrnde.regularize(odeint, steps=_ON_TWO)
        ys, report = wrapped(field, y0, _times(0.0, 1.0), plan=plan)
        assert torch.equal(y0, _state())
        draws = torch.rand(1), torch.tensor(np.random.random())
        left.append([ys, report.penalty, *field.buffers(), *draws, field.last, *field.states])
        assert len(field.states) == 8
    assert all(map(torch.equal, *left))


def test_a_field_that_writes_into_its_state_does_not_write_into_the_initial_one() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        y[:, 0] = 0.0
        return torch.cos(t) * y

    y0 = _state()
    lrnde.regularize(odeint, steps=_ON_TWO)(field, y0, _times(0.0, 1.0), penalize=False)
    assert torch.equal(y0, _state())


class _Growth(torch.nn.Module):
    """dy/dt = rate y^2, which has no solution beyond 1 / (rate y0)."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        del t
        return self.rate * y * y


def test_a_native_solve_that_raises_at_a_check_does_so_in_its_own_words() -> None:
    field, wrapped = _Growth(), lrnde.regularize(odeint, steps=lrnde.CheckedSteps(period=(1, 1)))
    y0, t = torch.ones(2, 1, dtype=torch.float64), _times(0.0, 1.0)
    assert wrapped(field, y0, t)[1].plan.steps is not None
    with torch.no_grad():
        field.rate.fill_(2.0)
    with pytest.raises(AssertionError, match="underflow in dt"):
        wrapped(field, y0, t)
    assert wrapped.plan_holder is not None
    plan = wrapped.plan_holder.plan
    assert (plan.steps, plan.error, plan.num_checks) == (None, None, 2)


def test_an_error_that_a_check_alone_meets_is_raised() -> None:
    inner = Perceptron()

    def field(t: Tensor, y: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            raise RuntimeError("no memory left")
        return inner(t, y)

    wrapped = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())
    with pytest.raises(RuntimeError, match="no memory left"):
        wrapped(field, _state(), _times(0.0, 1.0), penalize=False)
    assert wrapped.plan_holder is not None
    plan = wrapped.plan_holder.plan
    assert (plan.steps, plan.num_checks, plan.num_iterations) == (None, 1, 1)


def test_a_native_solve_that_is_not_finite_leaves_the_training_adaptive() -> None:
    field, y0, t = _Growth(), torch.ones(2, 1, dtype=torch.float64), _times(0.0, 1.0)
    solve = functools.partial(odeint, method="rk4", options={"step_size": 0.05})
    wrapped = lrnde.regularize(solve, steps=lrnde.CheckedSteps(period=(1, 1)))
    with torch.no_grad():
        field.rate.fill_(1e3)
    ys, report = wrapped(field, y0, t, penalize=False)
    assert not ys.isfinite().all()
    torch.testing.assert_close(ys, solve(field, y0, t), rtol=0, atol=0, equal_nan=True)
    assert (report.plan.steps, report.plan.error, report.plan.num_checks) == (None, None, 1)
    with torch.no_grad():
        field.rate.fill_(0.1)
    assert wrapped(field, y0, t)[1].plan.steps is not None


def test_each_of_several_calls_in_an_iteration_counts() -> None:
    field, wrapped = Perceptron(), lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3, period=(4, 4)))
    numbers = [
        [wrapped(field, _state(), t)[1].plan.num_checks for t in (_times(0.0, 1.0), _times(0.0, 0.5))] for _ in range(5)
    ]
    assert numbers == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3]]


def test_a_solve_deep_inside_a_model_trains_on_its_plan_where_it_is_collected() -> None:
    field, t = Perceptron(), _times(0.0, 1.0)
    solve = lrnde.collected(odeint, steps=_ON_TWO)
    with lrnde.collect() as reports:
        inside = solve(field, _state(), t)
    assert reports[0].plan.steps == _TWO
    _close(inside[-1], _by_hand(field, _state(), t)(t[-1]))
    field.eval()
    assert torch.equal(solve(field, _state(), t), odeint(field, _state(), t))
    assert torch.equal(solve(field, _state(), t, plan=_TWO), odeint(field, _state(), t))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed training")
def test_processes_check_together_and_take_the_steps_that_all_of_them_need(tmp_path: Path) -> None:
    # Of dy/dt = -speed y, the gradient has the error of the outputs.
    trainings = [{"error": 1e-3}, {"error": 1.0, "gradient_error": 1e-3}]
    torch.multiprocessing.spawn(train, (str(tmp_path), trainings), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    assert len(found[0]) == len(trainings)
    for training in found[0]:
        # A single process, with the harder batch of each iteration alone, needs the same.
        alone = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3, period=(100, 100)))
        for speeds, (num_checks, steps, *_) in zip(zip(*SPEEDS, strict=True), training, strict=True):
            speed, y0 = max(speeds), torch.ones(2, 1, dtype=torch.float64)
            plan = alone(lambda t, y, speed=speed: -speed * y, y0.requires_grad_(), _times(0.0, 1.0))[1].plan
            assert (num_checks, steps) == (plan.num_checks, str(plan.steps))
        assert [num_checks for num_checks, *_ in training] == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("is_collected", [False, True])
def test_a_checkpoint_that_solves_again_takes_the_same_steps_and_counts_nothing(is_collected: bool) -> None:
    gradients: list[Any] = []
    for is_checkpointed in (False, True):
        field, y0 = Perceptron(), _state().requires_grad_()
        # Checked before every call: solving again would be checked as well.
        steps = lrnde.CheckedSteps(error=1e-3, period=(1, 1))
        wrapped: Any = lrnde.regularize(odeint, steps=steps)
        solve = lrnde.collected(wrapped) if is_collected else wrapped

        def block(y0: Tensor, solve: Any = solve, field: Any = field) -> Any:
            result = solve(field, y0, _times(0.0, 1.0), draw=[0.4])
            return result[-1] if is_collected else (result[0][-1], result[1].penalty)

        for _ in range(2):
            with lrnde.collect() if is_collected else contextlib.nullcontext([]) as reports:
                result: Any = checkpoint(block, y0, use_reentrant=False) if is_checkpointed else block(y0)
                y1, penalty = (result, reports[0].penalty) if is_collected else result
                (y1.square().sum() + penalty).backward()
        assert wrapped.plan_holder.plan.num_iterations == 2
        assert wrapped.plan_holder.plan.num_checks == 2
        gradients.append(_gradients(field, y0))
    assert all(map(torch.equal, *gradients))


def test_solves_that_are_all_repeated_in_one_backward_pass_take_the_same_steps() -> None:
    field, y0 = Perceptron(), _state().requires_grad_()
    wrapped = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3, period=(1, 1)))

    def block(y0: Tensor, t1: float) -> Tensor:
        return wrapped(field, y0, _times(0.0, t1), penalize=False)[0][-1]

    def iterate(*ends: float) -> list[int]:
        numbers, total = list[int](), torch.zeros((), dtype=torch.float64)
        for end in ends:
            y1: Any = checkpoint(block, y0, end, use_reentrant=False)
            total = total + y1.sum()
            assert wrapped.plan_holder is not None
            numbers.append(wrapped.plan_holder.plan.num_checks)
        total.backward()
        return numbers

    # The first call of an iteration is checked, and the others go by it.
    assert iterate(0.01, 4.0) == [1, 1]
    assert iterate(4.0, 0.01) == [2, 2]
    # A backward pass that never came changes nothing.
    block(y0, 0.01)
    assert iterate(0.01, 4.0) == [4, 4]


@pytest.mark.parametrize("heuristic", [None, lrnde.JacobianNorm()])
def test_checkpointed_solves_have_the_gradient_of_their_steps(heuristic: Any) -> None:
    # Of as many stages, so that a repetition by the other one would save the same tensors.
    candidates = [lrnde.Candidate("midpoint", 1), lrnde.Candidate("heun", 4)]
    steps = lrnde.CheckedSteps(error=1e-2, candidates=candidates, period=(1, 1))
    field, found = Perceptron(), list[Any]()
    for is_checkpointed in (False, True):
        wrapped = lrnde.regularize(odeint, heuristic=heuristic, steps=steps)
        y0, total, counts = _state().requires_grad_(), torch.zeros((), dtype=torch.float64), list[Any]()

        def block(y0: Tensor, t1: float, plan: Any, wrapped: Any = wrapped, counts: Any = counts) -> Any:
            ys, report = wrapped(field, y0, _times(0.0, t1), draw=[0.3], plan=plan)
            counts.append(report.nfe)
            return ys[-1].square().sum() + report.penalty

        for t1 in (0.01, 2.0):
            plan = "held" if is_checkpointed else lrnde.FixedSteps.equal("midpoint", 1)
            part: Any = checkpoint(block, y0, t1, plan, use_reentrant=False) if is_checkpointed else block(y0, t1, plan)
            total = total + part
        # Nothing is solved again for the penalty.
        assert len(counts) == 2
        found.append(torch.autograd.grad(total, [y0, *field.parameters()]))
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("is_checkpointed", [[True] + [False] * 11, [False] * 6 + [True] * 6])
def test_a_training_with_and_without_checkpoints_is_checked_all_the_same(is_checkpointed: list[bool]) -> None:
    field, y0 = Perceptron(), _state().requires_grad_()
    wrapped = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3, period=(1, 1)))
    holder = wrapped.plan_holder
    assert holder is not None

    def block(y0: Tensor, t1: float) -> Tensor:
        return wrapped(field, y0, _times(0.0, t1), penalize=False)[0][-1]

    for number, has_checkpoint in enumerate(is_checkpointed):
        t1 = 0.01 + 0.5 * number
        y1: Any = checkpoint(block, y0, t1, use_reentrant=False) if has_checkpoint else block(y0, t1)
        y1.sum().backward()
        assert holder.plan.num_checks == number + 1


def test_a_solve_within_a_backward_pass_is_adaptive_and_leaves_the_plan_alone() -> None:
    field = Perceptron()
    wrapped = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(error=1e-3, period=(1, 1)))
    inner: list[lrnde.Report] = []

    class Solves(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Tensor) -> Any:
            return args[0].clone()

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
            with torch.enable_grad():
                inner.append(wrapped(field, grad_outputs[0], _times(0.0, 1.0), penalize=False)[1])
            return grad_outputs[0]

    for number in range(3):
        y0: Any = Solves.apply(_state().requires_grad_())
        wrapped(field, y0, _times(0.0, 1.0), penalize=False)[0].sum().backward()
        assert wrapped.plan_holder is not None
        assert wrapped.plan_holder.plan.num_checks == number + 1
    assert [report.plan.steps for report in inner if report.plan is not None] == [None] * 3


@pytest.mark.parametrize("stop", range(1, 4))
def test_a_checkpointed_training_resumes_between_iterations(stop: int) -> None:
    steps, found = lrnde.CheckedSteps(error=1e-3, period=(1, 1)), list[Any]()
    for is_stopped in (False, True):
        field = Perceptron()
        wrapped = lrnde.regularize(odeint, steps=steps)
        gradients: list[Any] = []
        for number in range(4):
            if is_stopped and number == stop:
                assert isinstance(wrapped.plan_holder, PlanHolder)
                saved = wrapped.plan_holder.state_dict()
                wrapped = lrnde.regularize(odeint, steps=steps)
                assert isinstance(wrapped.plan_holder, PlanHolder)
                wrapped.plan_holder.load_state_dict(saved)

            def block(y0: Tensor, t1: float, wrapped: Any = wrapped, field: Any = field) -> Tensor:
                return wrapped(field, y0, _times(0.0, t1), draw=[0.4])[0][-1]

            y0, total = _state().requires_grad_(), torch.zeros((), dtype=torch.float64)
            for t1 in (0.01 + number, 0.5):
                y1: Any = checkpoint(block, y0, t1, use_reentrant=False)
                total = total + y1.square().sum()
            gradients.append(torch.autograd.grad(total, [y0, *field.parameters()]))
        found.append(gradients)
    for whole, resumed in zip(*found, strict=True):
        assert all(map(torch.equal, whole, resumed))


def test_a_reentrant_checkpoint_solves_adaptively_both_times() -> None:
    gradients: list[Any] = []
    for plan in (lrnde.CheckedSteps().init(), lrnde.CheckedPlan(_TWO, 0.0, 0.0, 1, 0, 1000, 1)):
        field, y0 = Perceptron(), _state().requires_grad_()
        wrapped = lrnde.regularize(odeint, steps=_ON_TWO)
        assert wrapped.plan_holder is not None
        wrapped.plan_holder.plan = plan

        def block(y0: Tensor, wrapped: Any = wrapped, field: Any = field) -> Tensor:
            return wrapped(field, y0, _times(0.0, 1.0), penalize=False)[0][-1]

        y1: Any = checkpoint(block, y0, use_reentrant=True)
        y1.sum().backward()
        gradients.append(_gradients(field, y0))
    field, y0 = Perceptron(), _state().requires_grad_()
    odeint(field, y0, _times(0.0, 1.0))[-1].sum().backward()
    for found in gradients:
        assert all(map(torch.equal, found, _gradients(field, y0)))


def test_a_log_density_has_a_scale_of_its_own() -> None:
    field = Perceptron()

    def flow(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, _ = state
        return field(t, x), torch.cos(9 * t) * x.sum(1)

    # The density passes through 0, so that its own size says nothing of it.
    y0, t = (_state(), torch.zeros(4, dtype=torch.float64)), _times(0.0, 1.0)
    candidates = [lrnde.Candidate("rk4", number) for number in (1, 2, 3, 4, 6, 8)]
    with torch.no_grad():
        native = odeint(flow, y0, t)
        errors: dict[int, list[Tensor]] = {}
        for candidate in candidates:
            plan = lrnde.FixedSteps.equal("rk4", candidate.num_steps)
            ours = lrnde.regularize(odeint, steps=_ON_TWO)(flow, y0, t, plan=plan, penalize=False)[0]
            differences = [(own[1] - exact[1]).abs() for own, exact in zip(ours, native, strict=True)]
            sizes = native[0][1].norm(dim=1)
            of_state = (ours[0][1] - native[0][1]).norm(dim=1) / sizes.clamp(min=float(np.median(sizes)))
            errors[candidate.num_steps] = [of_state.max(), differences[1].max()]
    for scale in (0.1, 1.0, 30.0):
        steps = lrnde.CheckedSteps(error=1e-3, candidates=candidates, scales={1: scale})
        report = lrnde.regularize(odeint, steps=steps)(flow, y0, t)[1]
        within = [number for number, (x, density) in errors.items() if max(x, density / scale) <= 1e-3]
        assert report.plan.steps == lrnde.FixedSteps.equal("rk4", within[0]), scale


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda solve, t: solve(Perceptron(), t, plan="rk4"), lrnde.InputTypeError, "`plan` must be the `steps`"),
        (
            lambda solve, t: lrnde.regularize(odeint)(Perceptron(), _state(), t, plan=None),
            lrnde.InputError,
            r"`regularize\(solve, steps=CheckedSteps\(\)\)`",
        ),
        (
            lambda solve, t: solve(Perceptron(), t[:1], event_fn=lambda t, y: y[0, 0] + 0.5),
            lrnde.CapabilityError,
            "event ends",
        ),
    ],
)
def test_what_has_no_steps_is_refused(call: Any, error: type[Exception], message: str) -> None:
    wrapped = lrnde.regularize(odeint, steps=_ON_TWO)

    def solve(field: torch.nn.Module, t: Tensor, **settings: Any) -> Any:
        return wrapped(field, _state(), t, **settings)

    with pytest.raises(error, match=message):
        call(solve, _times(0.0, 1.0))
    with pytest.raises(lrnde.CapabilityError, match="exclude `StiffnessEstimate`"):
        lrnde.regularize(odeint, heuristic=lrnde.StiffnessEstimate(), steps=_ON_TWO)
