"""Use inside models, threads and compiled modules; nothing grows with the number of calls."""

import concurrent.futures
import copy
import functools
import gc
import io
import itertools
import pickle
import weakref
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
import torchdiffeq

import lrnde
import lrnde_torch
from tests.adapters.torchdiffeq.problems import ADAPTIVE, FIXED, Perceptron, odeint, odeint_adjoint

_TIMES = torch.tensor([0.0, 1.0])
_Y0 = torch.tensor([[0.4, -0.3, 0.8]])
_SETTINGS = {"rtol": 1e-3, "atol": 1e-3}


class _Block(torch.nn.Module):
    """A module that solves an equation deep inside of itself."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.field = Perceptron(dtype=torch.float32, seed=seed)
        self.solve = lrnde.regularize(functools.partial(odeint, **_SETTINGS))

    def forward(self, y: torch.Tensor) -> Any:
        return self.solve(self.field, y, _TIMES)


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList([_Block(1), _Block(2)])

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            y = block(y)[-1]
        return y


def test_collect_gathers_reports_from_deep_inside() -> None:
    model = _Model()
    torch.manual_seed(0)
    with lrnde_torch.collect() as reports:
        y = model(_Y0)
        with lrnde_torch.collect() as inner:
            again = model(_Y0)
        assert isinstance(model.blocks[0](_Y0), torch.Tensor)
    assert torch.equal(y, again)
    assert (len(reports), len(inner)) == (3, 2)
    loss = y.sum() + sum(report.penalty for report in reports)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(model.blocks[0](_Y0)) == 2


def test_regularized_solve_is_a_value_and_no_part_of_the_state() -> None:
    model = _Model()
    assert all("solve" not in name for name in model.state_dict())
    solve = model.blocks[0].solve
    clone = copy.deepcopy(model)
    assert clone.blocks[0].solve == solve
    assert hash(clone.blocks[0].solve) == hash(solve)
    assert pickle.loads(pickle.dumps(solve)) == solve
    with lrnde_torch.collect():
        assert torch.equal(clone(_Y0), model(_Y0))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=False).blocks[1].solve == solve


@pytest.mark.parametrize("heuristic", ["taylor_derivative", "error_estimate"])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_threads_give_what_a_serial_run_gives(heuristic: str, solve: Any) -> None:
    fields = [Perceptron(dtype=torch.float32, seed=seed) for seed in (1, 2)]
    regularized = lrnde.regularize(solve, heuristic=heuristic)

    def run(job: tuple[Perceptron, float]) -> list[torch.Tensor]:
        field, draw = job
        solution, report = regularized(field, draw * _Y0, _TIMES, draw=[draw], **_SETTINGS)
        gradients = torch.autograd.grad(solution.sum() + report.penalty, list(field.parameters()))
        return [solution, report.penalty, *gradients, torch.tensor(report.nfe)]

    jobs = list(itertools.product(fields, [0.1, 0.3, 0.5, 0.7, 0.9])) * 2
    serial = list(map(run, jobs))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(run, jobs))
    for left, right in zip(serial, parallel, strict=True):
        assert all(map(torch.equal, left, right))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("heuristic", ["taylor_derivative", "error_estimate"])
def test_compiled_field(heuristic: str) -> None:
    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(3, 3)

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.linear(y) * t)

    torch.manual_seed(0)
    field = Field()
    compiled: Any = torch.compile(field, backend="eager")
    solve = lrnde.regularize(odeint, heuristic=heuristic)
    outcomes: list[Any] = []
    for each in (field, compiled):
        solution, report = solve(each, _Y0, _TIMES, draw=[0.5], rtol=1e-4, atol=1e-4)
        outcomes.append((solution, report.penalty, *torch.autograd.grad(report.penalty, list(field.parameters()))))
    for left, right in zip(*outcomes, strict=True):
        torch.testing.assert_close(left, right)


def test_calls_leave_nothing_behind() -> None:
    field = Perceptron(dtype=torch.float32)
    solve = lrnde.regularize(odeint)
    made_anew: list[weakref.ref[Any]] = []

    def count() -> int:
        gc.collect()
        return sum(str(type(thing).__module__).startswith("lrnde_") for thing in gc.get_objects())

    def call() -> None:
        _, report = solve(field, _Y0, _TIMES, **_SETTINGS)
        report.penalty.backward()

        # Callables made anew each time, as in a notebook, are not held either.
        def own(func: Any, y0: Any, t: Any) -> Any:
            return odeint(func, y0, t, **_SETTINGS)

        made_anew.append(weakref.ref(own))
        lrnde.regularize(own, adapter="torchdiffeq")(field, _Y0, _TIMES)

    # What other tests left in this process is not looked at, which would take seconds.
    gc.freeze()
    try:
        call()
        before = count()
        for _ in range(60):
            call()
        assert count() == before
    finally:
        gc.unfreeze()
    assert [reference() for reference in made_anew] == [None] * 61


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")
@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(data=st.data())
def test_any_call_is_bit_identical_and_has_a_finite_penalty(data: st.DataObject) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    shapes: list[tuple[int, ...]] = draw(
        st.lists(st.sampled_from([(), (1,), (2, 3), (1, 2, 2)]), min_size=1, max_size=3)
    )
    method = draw(st.sampled_from([*ADAPTIVE, *FIXED]))
    times = torch.tensor(sorted(draw(st.sets(st.integers(-8, 8), min_size=2, max_size=4)))).to(dtype) / 8
    if draw(st.booleans()):
        times = times.flip(0)
    is_tuple = draw(st.booleans()) or len(shapes) > 1
    y0: Any = tuple(torch.linspace(-1, 2, torch.Size(s).numel(), dtype=dtype).reshape(s) for s in shapes)
    y0 = y0 if is_tuple else y0[0]
    scale = torch.tensor(draw(st.sampled_from([0.0, 0.3, 4.0])), dtype=dtype).requires_grad_()
    rtol, atol = (draw(st.sampled_from([1e-5, 1e-4, 1e-2])) for _ in range(2))
    calls: list[int] = []

    def field(t: torch.Tensor, y: Any) -> Any:
        calls.append(1)

        def row(part: torch.Tensor) -> torch.Tensor:
            return torch.sin(scale * part + 2 * t) * part.cos()

        return tuple(map(row, y)) if isinstance(y, tuple) else row(y)

    settings: dict[str, Any] = {"method": method, "rtol": rtol, "atol": atol}
    if method in FIXED:
        settings["options"] = {"step_size": 0.19}
    heuristic = lrnde.PredictedSteps(rtol, atol) + lrnde.TaylorDerivative(2)
    solve = lrnde.regularize(
        odeint, heuristic=heuristic, sampler=draw(st.sampled_from(["uniform_time", "uniform_step"]))
    )
    expected = odeint(field, y0, times, **settings)
    num_bare = len(calls)
    uniform = draw(st.floats(0, 1, exclude_max=True))
    solution, report = solve(field, y0, times, draw=[uniform], **settings)
    for left, right in zip(solution if is_tuple else [solution], expected if is_tuple else [expected], strict=True):
        assert torch.equal(left, right)
    assert (report.nfe, report.nfe + report.nfe_extra) == (num_bare, len(calls) - num_bare)
    assert report.penalty.shape == ()
    assert report.penalty.dtype == dtype
    assert 0 <= report.penalty.item() < float("inf")
    (gradient,) = torch.autograd.grad(report.penalty, [scale])
    assert torch.isfinite(gradient)


def test_weight_holder_survives_saving() -> None:
    report = lrnde.Report(None, 44, 7, 7, 7, 0, None)
    for weight in (lrnde.NFETarget(26), lrnde.ExponentialDecay(2.5, 1.0, 10), lrnde.Constant(0.1)):
        holder, state = lrnde_torch.WeightHolder(weight), weight.init(like=0.0)
        for _ in range(3):
            assert holder.value() == weight.value(state)
            holder.update(report)
            state = weight.update(state, report)
        buffer = io.BytesIO()
        torch.save({"weight": holder.state_dict()}, buffer)
        buffer.seek(0)
        restored = lrnde_torch.WeightHolder(weight)
        restored.load_state_dict(torch.load(buffer)["weight"])
        assert restored.value() == holder.value()
        restored.update(report)
        holder.update(report)
        assert restored.state_dict() == holder.state_dict()
        assert "WeightHolder(" in repr(restored)


def test_weight_holder_warns_at_the_line_of_the_user() -> None:
    holder, report = lrnde_torch.WeightHolder(lrnde.NFETarget(20)), lrnde.Report(None, 44, 7, 7, 7, 0, None)

    def train() -> None:
        for _ in range(200):
            holder.update(report)

    with pytest.warns(lrnde.TargetWarning, match="costs 44 evaluations") as caught:
        train()
    assert caught[0].filename == __file__


def test_weight_holder_refuses_what_is_no_weight_and_no_state() -> None:
    with pytest.raises(lrnde.InputTypeError, match=r"must be an `AbstractWeight` such as `Constant\(0.1\)`, not 0.1"):
        lrnde_torch.WeightHolder(0.1)  # type: ignore[arg-type]
    holder = lrnde_torch.WeightHolder(lrnde.Constant(0.1))
    with pytest.raises(
        lrnde.InputError, match=r"has the keys \['weight'\]; the state of a weight has \['count', 'value'\]"
    ):
        holder.load_state_dict({"weight": 0.1})


def test_replacing_the_library_function_by_the_wrapped_one_keeps_the_adjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    field, y0 = torch.nn.Linear(2, 2), torch.ones(3, 2)

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = field

        def forward(self, _t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.linear(y)

    bare = torchdiffeq.odeint_adjoint
    monkeypatch.setattr(torchdiffeq, "odeint_adjoint", lrnde.regularize(bare))
    ys, report = torchdiffeq.odeint_adjoint(Field(), y0, torch.tensor([0.0, 1.0]), rtol=1e-3, atol=1e-3, draw=[0.5])
    assert torch.equal(ys, bare(Field(), y0, torch.tensor([0.0, 1.0]), rtol=1e-3, atol=1e-3))
    (ys.sum() + report.penalty).backward()
    assert field.weight.grad is not None
