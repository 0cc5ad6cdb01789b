"""Frozen solves of torchdiffeq against steps by hand, their promise on fresh inputs, and what is refused."""

import functools
import math
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchdiffeq import odeint, odeint_adjoint, odeint_event

import lrnde
import lrnde_core
from lrnde_core import Candidate, CapabilityError, InputError, InputTypeError, LrndeError, Plan
from tests.adapters.pendulum import rk4_by_hand

_T = torch.tensor([0.0, 1.0], dtype=torch.float64)
_SOLVE = functools.partial(odeint, rtol=1e-8, atol=1e-8)


class Pendulum(torch.nn.Module):
    """Larger swings are harder."""

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        angle, speed = y[..., 0], y[..., 1]
        return torch.stack([speed, -9.0 * torch.sin(angle) + 0.1 * torch.cos(t)], dim=-1)


FIELD = Pendulum()


def _inputs(seed: int, count: int = 20, scale: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * (torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5)


def _calls(num_calls: int = 4, t: torch.Tensor = _T, field: Any = FIELD, **kwargs: Any) -> list[Any]:
    return [(field, _inputs(seed, **kwargs), t) for seed in range(num_calls)]


def _errors(ys: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    difference, size = (x[1:].transpose(0, 1).flatten(1).norm(dim=1) for x in (ys - reference, reference))
    return difference / size


@pytest.fixture(scope="module")
def guarded() -> tuple[Any, lrnde.FreezeReport]:
    return lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-2, guard=True)


def test_the_cheapest_plan_within_the_bound_is_taken_and_keeps_it_on_fresh_inputs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "lrnde"):
        frozen, report = lrnde.freeze(_SOLVE, calibration=_calls(8, count=25), error=1e-2, over=0.9)
    assert len(caplog.messages) == len(report.trials)
    assert str(report.trials[-1].candidate) in caplog.messages[-1]
    assert all(
        trial.search_error > 1e-2 or (trial.held_back_error or 1) > 1e-2
        for trial in report.trials
        if trial.num_evaluations < report.num_evaluations
    )
    assert report.error <= 1e-2
    assert report.share_beyond == pytest.approx(0.1, abs=0.01)
    fresh = _inputs(99, count=400)
    share = (_errors(frozen(FIELD, fresh, _T), odeint(FIELD, fresh, _T)) > report.error).double().mean()
    # Three standard deviations of the calibration quantile and of this sample together.
    assert share == pytest.approx(0.1, abs=3 * math.sqrt(0.1 * 0.9 * (1 / 100 + 1 / 400)))
    assert report.native_evaluations is not None
    assert report.native_evaluations > report.num_evaluations


@pytest.mark.parametrize("follows_solver", [False, True])
def test_steps_are_those_taken_by_hand(follows_solver: bool) -> None:
    candidates = [Candidate("rk4", 3, follows_solver=follows_solver)]
    frozen, report = lrnde.freeze(_SOLVE, calibration=_calls(2), error=1.0, candidates=candidates)
    assert (report.plan.steps.ends == (1 / 3, 2 / 3, 1.0)) is not follows_solver
    y0 = _inputs(7)
    expected = rk4_by_hand(y0.numpy().T, report.plan.steps.ends).T
    np.testing.assert_allclose(frozen(FIELD, y0, _T)[-1].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("method", sorted(lrnde_core.FIXED_METHODS))
@pytest.mark.parametrize("guard", [False, True])
@pytest.mark.parametrize("times", [(0.0, 1.0), (0.0, 0.9, 1.0), (0.5, -0.5)])
def test_evaluations_are_those_that_the_plan_states(method: str, guard: bool, times: tuple[float, ...]) -> None:
    seen: list[float] = []

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(t.item())
        return -y

    t = torch.tensor(times, dtype=torch.float64)
    calls = _calls(2, t=t, field=field)
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=10.0, candidates=[Candidate(method, 2)], guard=guard)
    seen.clear()
    frozen(*calls[0])
    assert len(seen) == report.num_evaluations
    assert seen[0] == times[0]


def test_outputs_inside_steps_are_interpolated_to_the_order_of_the_cubic() -> None:
    t = torch.linspace(0, 1, 8, dtype=torch.float64)
    y0 = _inputs(3)
    errors = []
    for num_steps in (4, 8):
        candidates = [Candidate("dormand-prince", num_steps)]
        frozen, _ = lrnde.freeze(_SOLVE, calibration=_calls(2, t=t), error=1.0, candidates=candidates)
        errors.append((frozen(FIELD, y0, t) - _SOLVE(FIELD, y0, t)).abs().max().item())
    assert 11 < errors[0] / errors[1] < 23


def test_a_plan_read_from_json_gives_the_same_numbers(guarded: tuple[Any, lrnde.FreezeReport]) -> None:
    frozen, report = guarded
    again = lrnde.apply_plan(odeint_adjoint, Plan.from_json(report.plan.to_json()))
    y0 = _inputs(5)
    for ours, theirs in zip(again(FIELD, y0, _T), frozen(FIELD, y0, _T), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_are_those_through_the_steps(guarded: tuple[Any, lrnde.FreezeReport]) -> None:
    y0 = _inputs(6, count=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: guarded[0](FIELD, y, _T)[0], (y0,))


def test_no_input_beyond_the_bound_passes_the_guard_silently(guarded: tuple[Any, lrnde.FreezeReport]) -> None:
    frozen, _ = guarded
    # Up to full turns of the pendulum.
    far = torch.cat([_inputs(11, scale=scale) for scale in (1.0, 5.0, 20.0, 80.0)] + [torch.full((1, 2), math.nan)])
    ys, flagged = frozen(FIELD, far, _T)
    beyond = ~(_errors(ys[:, :-1], odeint(FIELD, far[:-1], _T)) <= 1e-2)
    assert beyond.sum() > 10
    assert flagged[:-1][beyond].all()
    assert flagged[-1]
    # Of each signal one in n + 1 fresh samples is expected to be beyond the n of the calibration: 5 here.
    assert frozen(FIELD, _inputs(12, count=200), _T)[1].sum() < 15


def test_flagged_samples_are_solved_by_the_fallback() -> None:
    frozen, _ = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-2, fallback=_SOLVE)
    y0 = torch.cat([_inputs(13), _inputs(13, scale=20.0)])
    ys, flagged = frozen(FIELD, y0, _T)
    native = _SOLVE(FIELD, y0, _T)
    assert 0 < flagged.sum() < len(flagged)
    assert torch.equal(ys[:, flagged], native[:, flagged])
    assert not torch.equal(ys[:, ~flagged], native[:, ~flagged])


# Warned of by torch's own exporter, of its own calls (torch 2.13); to be removed when it no longer does.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_onnx_runtime_gives_the_same_numbers_for_any_batch_and_times() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    times = torch.tensor([0.0, 0.5, 1.0])
    calls = [(_Weighted(net), _inputs(seed).float(), times) for seed in range(2)]
    found = lrnde.freeze(_SOLVE, calibration=calls, error=1e-3, guard=True)
    frozen: Any = found[0]
    model = frozen.with_field(_Weighted(net)).eval()
    shapes = ({0: torch.export.Dim("batch")}, None)
    program = torch.onnx.export(model, calls[0][1:], dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    # The last sample is far away, and flagged.
    y0 = torch.cat([_inputs(2, count=6), _inputs(3, count=1, scale=50.0)]).float()
    # Two layers of up to 4 products, tanh and the step's own sums: no more than 16 roundings an evaluation.
    rounding = 16 * found[1].plan.num_evaluations * float(np.finfo(np.float32).eps)
    for t in (torch.tensor([0.1, 0.3, 0.8]), torch.tensor([0.9, 0.4, 0.2])):
        results: Any = session.run(None, {"y0": y0.numpy(), "t": t.numpy()})
        ys, flagged = results
        expected, expected_flags = model(y0, t)
        np.testing.assert_allclose(ys, expected.detach().numpy(), rtol=rounding, atol=rounding)
        np.testing.assert_array_equal(flagged, expected_flags.numpy())
        assert flagged[-1]
        assert not flagged.all()


class _Weighted(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.net(y) * t


class _OnDevice(TorchDispatchMode):
    """Refuses operations that make tensors elsewhere."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        assert not isinstance(result, torch.Tensor) or result.is_meta, func
        return result


def test_nothing_is_read_from_the_device_or_made_on_the_host(guarded: tuple[Any, lrnde.FreezeReport]) -> None:
    y0, t = _inputs(0).to("meta"), torch.linspace(0, 1, 5, device="meta")
    with _OnDevice():
        # Values of these tensors cannot be read.
        ys, flagged = guarded[0](FIELD, y0, t)
    assert ys.shape == (5, 20, 2)
    assert flagged.shape == (20,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a CUDA device")
def test_a_cuda_graph_captures_it(guarded: tuple[Any, lrnde.FreezeReport]) -> None:
    y0, t = _inputs(1).cuda(), _T.cuda()
    guarded[0](FIELD, y0, t)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ys, flagged = guarded[0](FIELD, y0, t)
    y0.copy_(_inputs(2))
    t.mul_(2)
    graph.replay()
    expected = guarded[0](FIELD, _inputs(2).cuda(), t)
    assert torch.equal(ys, expected[0])
    assert torch.equal(flagged, expected[1])


def test_a_model_has_the_weights_of_its_field() -> None:
    frozen: Any = lrnde.freeze(_SOLVE, calibration=_calls(2), error=0.1, fallback=_SOLVE)[0]
    field = _Weighted(torch.nn.Linear(2, 2).double())
    model = frozen.with_field(field)
    assert dict(model.named_parameters()).keys() == {"func.net.weight", "func.net.bias"}
    # Far enough for the fallback.
    y0 = _inputs(1, scale=100.0)
    for ours, theirs in zip(model(y0, _T), frozen(field, y0, _T), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(InputError, match="`fallback` depends on the data and cannot be compiled or exported"):
        torch.export.export(model, (y0, _T))


def test_a_tuple_state_and_a_metric_of_the_user() -> None:
    def field(t: torch.Tensor, y: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        del t
        return -y[0], y[0].sum(-1)

    def state(seed: int) -> tuple[torch.Tensor, ...]:
        return _inputs(seed), torch.zeros(20, dtype=torch.float64)

    def metric(ys: Any, native: Any, index: int) -> torch.Tensor:
        assert ys[1].shape == native[1].shape == (2, 20)
        assert index in range(4)
        return (ys[1][-1] - native[1][-1]).abs()

    calls = [(field, state(seed), _T) for seed in range(4)]
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=1e-3, over="mean", metric=metric)
    ys = frozen(field, state(9), _T)
    assert (ys[1][-1] - _SOLVE(field, state(9), _T)[1][-1]).abs().mean() < 2e-3
    assert report.share_beyond is None


def _growth(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.exp(t) * torch.ones_like(y)


def _rising(*starts: float) -> torch.Tensor:
    return torch.tensor([*starts, *torch.linspace(1, 2, 20)], dtype=torch.float64)[:, None]


def test_a_solution_through_0_is_measured_by_the_size_of_the_others() -> None:
    through = 1 - math.e
    calls = [(_growth, _rising(through), _T)] * 2
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=1e-3)
    ys: Any = frozen(*calls[0])
    native: Any = _SOLVE(*calls[0])
    assert native[-1, 0].abs() < 1e-6
    difference = (ys - native)[-1].abs()
    assert difference.max() > 1e-6
    assert report.error == pytest.approx(float((difference / native[-1].abs().clamp(min=native[-1].median())).max()))


def test_a_log_density_is_measured_by_a_scale_of_its_own() -> None:
    def field(t: torch.Tensor, y: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return 0 * y[0], _growth(t, y[1])

    state = _rising(0.5), torch.full((21, 1), 1 - math.e, dtype=torch.float64)
    calls = [(field, state, _T)] * 2
    candidates = [Candidate("midpoint", 8)]
    with pytest.raises(InputError, match="No candidate stays within"):
        lrnde.freeze(_SOLVE, calibration=calls, error=1e-2, candidates=candidates)
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=1e-2, candidates=candidates, scales={1: 0.5})
    difference = (frozen(*calls[0])[1] - _SOLVE(*calls[0])[1])[-1].abs().max()
    assert report.error == pytest.approx(float(difference) / 0.5)


def test_calls_of_one_sample_each() -> None:
    calls = [(FIELD, y0, _T) for y0 in _inputs(4)]
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=1e-2, batched=False, guard=True)
    assert len(report.errors) == 10
    ys, flagged = frozen(*calls[0])
    assert ys.shape == (2, 2)
    assert not flagged


class _Dropout(torch.nn.Module):
    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -torch.nn.functional.dropout(y, 0.1) * torch.ones_like(t)


class _OwnNoise:
    """Draws from a generator that is not torch's global one."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def __call__(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -y * self.generator.uniform(0.9, 1.1)


_FIXED = functools.partial(odeint, method="rk4")


@pytest.mark.parametrize(
    ("solve", "calibration", "extra", "message"),
    [
        (_SOLVE, [], {}, "at least 2 are needed"),
        (_SOLVE, _calls(2, count=9), {}, "holds 9 samples .* needs at least 10"),
        (_SOLVE, _calls(2), {"over": 0.99}, "needs at least 99"),
        (_SOLVE, _calls(2), {"over": 1.5}, "or a quantile between 0 and 1"),
        (_SOLVE, _calls(2), {"error": -1.0}, "must be a positive number"),
        (_SOLVE, _calls(2), {"error": 1e-15}, r"No candidate stays within .* reaches \d"),
        (_SOLVE, _calls(2), {"candidates": []}, "`candidates` is empty"),
        (_SOLVE, _calls(2), {"candidates": [Candidate("rk5", 1)]}, "There is no method `rk5`"),
        (_SOLVE, _inputs(0), {}, "must be a list of calls, not Tensor"),
        (_SOLVE, [_inputs(0), _inputs(1)], {}, "is a `Tensor`; give a list of calls, each a tuple"),
        (_SOLVE, [*_calls(1), (FIELD, torch.ones(20, 3), _T)], {}, r"has a state of shape \(3,\) .* one \(2,\)"),
        (_SOLVE, _calls(2, t=_T[1:]), {}, "`t` must hold at least two times, .* holds 1"),
        (_SOLVE, _calls(2, t=_T * 0), {}, "from 0.0 to 0.0 has no length"),
        (_SOLVE, _calls(2, t=_T * math.nan), {}, "from nan to nan has no length"),
        (_SOLVE, [(FIELD, _inputs(0), [0.0, 1.0])] * 2, {}, r"with 1 dimension, not \[0.0, 1.0\]"),
        (_SOLVE, [(FIELD, _inputs(0), _T.expand(20, 2))] * 2, {}, r"not a `Tensor` of shape \(20, 2\)"),
        (_SOLVE, [(FIELD, [_inputs(0)], _T)] * 2, {}, "tensor or a tuple of tensors, not `list`"),
        (_SOLVE, [(FIELD, (_inputs(0), torch.ones(3)), _T)] * 2, {}, "hold 20, 3 samples"),
        (_SOLVE, [(FIELD, torch.ones(0, 2), _T)] * 2, {}, r"holds no numbers: its shape is \(0, 2\)"),
        (_SOLVE, [(FIELD, torch.ones(()), _T)] * 2, {}, "no axis of samples"),
        (_SOLVE, [(FIELD, torch.ones(20, 2, device="meta"), _T)] * 2, {}, "has no values to solve from"),
        (_SOLVE, [(FIELD, _inputs(0).long(), _T)] * 2, {}, "has dtype torch.int64"),
        (_SOLVE, [(FIELD, _inputs(0))] * 2, {}, r"`calibration\[0\]` is not a call of `solve`: missing .* 't'"),
        (_SOLVE, [{"func": FIELD, "y": _inputs(0), "t": _T}] * 2, {}, "is not a call of `solve`: "),
        (_SOLVE, (call for call in _calls(2)), {}, "must be a list of calls, not generator"),
        (_SOLVE, (FIELD, _inputs(0), _T), {}, r"`calibration\[0\]` is a `Pendulum`; give a list of calls"),
        (_SOLVE, _calls(2), {"candidates": [3]}, r"must be a list of `Candidate`s and `FixedSteps`, not \[3\]"),
        (_SOLVE, _calls(2), {"metric": lambda ys, *_: ys}, r"returned a `Tensor` of shape \(2, 20, 2\)"),
        (_inputs(0, count=999), _calls(2), {}, r"must be a solver call.* not a `Tensor` of shape \(999, 2\)"),
        (_SOLVE, _calls(2, scale=math.nan), {"error": 0.1}, "`y0` is not finite"),
        (_FIXED, _calls(2, field=lambda t, y: y / y[:, :1].relu()), {}, "is not finite for .* of its 20 samples"),
        (_FIXED, _calls(2, field=_Dropout()), {}, "draws random numbers"),
        (_FIXED, _calls(2, field=_OwnNoise()), {}, "Two solves of one call by the same steps differ"),
        (lrnde.regularize(odeint), _calls(2), {}, "freeze the native call"),
        (functools.partial(odeint, FIELD), [(_inputs(0), _T), (_inputs(1), _T)], {"error": 1.0}, "binds a positional"),
        (_SOLVE, _calls(2), {"metric": lambda *_: 0.0}, "one number for each of the 20 samples"),
        (_SOLVE, _calls(2), {"scales": [1.0]}, r"`scales` must be a mapping .* not \[1.0\]"),
        (_SOLVE, _calls(2), {"scales": {0: -1.0}}, r"`scales=\{0: -1.0\}`: needs the place"),
        (_SOLVE, _calls(2), {"scales": {1: 1.0}}, "names array 1 of a state of 1"),
        (_SOLVE, _calls(2), {"scales": {0: 1.0}, "metric": lambda *_: [0.0] * 20}, "`metric` replaces it"),
    ],
)
def test_what_can_not_be_frozen_is_refused(solve: Any, calibration: Any, extra: dict[str, Any], message: str) -> None:
    with pytest.raises(LrndeError, match=message) as caught:
        lrnde.freeze(solve, calibration=calibration, **extra)
    assert len(str(caught.value)) < 350


def test_an_error_of_the_native_solve_says_of_which_call() -> None:
    solve = functools.partial(odeint, rtol=1e-12, atol=1e-12, options={"max_num_steps": 12})
    calls = [*_calls(1, field=lambda t, y: 0 * y), *_calls(1)]
    with pytest.raises(AssertionError, match="max_num_steps exceeded") as caught:
        lrnde.freeze(solve, calibration=calls)
    assert caught.value.__notes__ == ["This is about `calibration[1]`."]


def test_an_event_is_refused() -> None:
    solve = functools.partial(odeint_event, event_fn=lambda t, y: y.sum() - t)
    with pytest.raises(CapabilityError, match="no fixed interval"):
        lrnde.freeze(solve, calibration=[(FIELD, _inputs(0), _T[0]), (FIELD, _inputs(1), _T[0])])


@pytest.mark.parametrize(
    ("y0", "t", "extra", "error", "message"),
    [
        (torch.zeros(5, 3), _T, {}, InputError, r"has shape \(5, 3\)"),
        ([_inputs(0)], _T, {}, InputTypeError, r"`y0` must be a tensor .* not \[tensor"),
        (_inputs(0).long(), _T, {}, InputTypeError, "dtype torch.int64"),
        (_inputs(0), 1.0, {}, InputTypeError, "with 1 dimension, not 1.0"),
        (_inputs(0), torch.tensor([0, 1]), {}, InputTypeError, "of real floating-point numbers with 1 dimension"),
        (_inputs(0), _T[:1], {}, InputError, "at least two times, the start and the end, and holds 1"),
        (_inputs(0), _T, {"event_fn": abs}, InputTypeError, "takes no"),
    ],
)
def test_a_changed_call_is_refused_at_prediction(
    y0: Any, t: Any, extra: Any, error: Any, message: str, guarded: tuple[Any, lrnde.FreezeReport]
) -> None:
    with pytest.raises(error, match=message):
        guarded[0](FIELD, y0, t, **extra)


def test_a_fallback_needs_a_guard() -> None:
    _, report = lrnde.freeze(_SOLVE, calibration=_calls(2), error=0.1)
    with pytest.raises(InputError, match="has none"):
        lrnde.apply_plan(odeint, report.plan, fallback=odeint)
