"""Solves deep inside of a model: penalised where somebody collects, and native everywhere."""

import copy
import inspect
import pickle
import threading
import warnings
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import lrnde
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

Tensor = torch.Tensor
_TIMES = torch.tensor([0.0, 1.0])
_SETTINGS: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}


class _Model(torch.nn.Module):
    """Somebody else's: it knows nothing of reports."""

    def __init__(self, solve: Any, use_reentrant: bool | None = None) -> None:
        super().__init__()
        self.field, self.solve, self.use_reentrant = Perceptron(dtype=torch.float32), solve, use_reentrant
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.use_reentrant is None:
            return self._block(x)
        return checkpoint(self._block, x, use_reentrant=self.use_reentrant)  # pyright: ignore[reportReturnType]

    def _block(self, x: Tensor) -> Tensor:
        return self.dropout(self.solve(self.field, x, _TIMES, **_SETTINGS)[-1])


def _input() -> Tensor:
    return torch.linspace(-1, 1, 30).reshape(10, 3).requires_grad_()


def _trained(model: _Model, *, is_backward_inside: bool = False) -> tuple[list[Tensor], list[lrnde.Report]]:
    """Gradients of a task and its penalty."""
    torch.manual_seed(0)
    with lrnde.collect() as reports:
        y = model(_input())
        loss = y.square().mean() + sum(report.penalty for report in reports)
        if is_backward_inside:
            loss.backward()
    if not is_backward_inside:
        loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None], reports


def test_outside_of_a_block_it_is_the_bare_call() -> None:
    bare, model = _Model(odeint).eval(), _Model(lrnde.collected(odeint)).eval()
    before = torch.random.get_rng_state()
    assert torch.equal(model(_input()), bare(_input()))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.field.num_calls == bare.field.num_calls


def test_within_a_block_it_reports_what_the_regularized_call_does() -> None:
    heuristic = lrnde.ErrorEstimate()
    field, x = Perceptron(dtype=torch.float32).eval(), _input()
    expected = lrnde.regularize(odeint, heuristic=heuristic)(field, x, _TIMES, draw=[0.4], **_SETTINGS)
    solve = lrnde.collected(odeint, heuristic=heuristic)
    assert solve == lrnde.collected(lrnde.regularize(odeint, heuristic=heuristic))
    with lrnde.collect() as reports:
        assert torch.equal(solve(field, x, _TIMES, draw=[0.4], **_SETTINGS), expected[0])
        solve(field, x, _TIMES, penalize=False, **_SETTINGS)
    assert [report.penalty for report in reports] == [expected[1].penalty, 0.0]
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(solve(field, x, _TIMES, draw=[0.4], generator=generator, **_SETTINGS), expected[0])
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(1).get_state())


def test_it_is_a_value() -> None:
    solve = lrnde.collected(odeint_adjoint, num_samples=2)
    for same in (
        copy.deepcopy(solve),
        pickle.loads(pickle.dumps(solve)),
        lrnde.collected(odeint_adjoint, num_samples=2),
    ):
        assert (same, hash(same)) == (solve, hash(solve))
    assert solve != lrnde.collected(odeint_adjoint)
    assert {"func", "y0", "draw", "generator"} <= set(inspect.signature(solve).parameters)


def test_it_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(lrnde.InputTypeError, match="already collected"):
        lrnde.collected(lrnde.collected(odeint))
    with pytest.raises(lrnde.InputError, match=r"regularized already; give \['num_samples'\] to `regularize`"):
        lrnde.collected(lrnde.regularize(odeint), num_samples=2)
    with pytest.raises(lrnde.InputTypeError, match="already"):
        lrnde.regularize(lrnde.collected(odeint))


def test_it_warns_once_where_training_is_not_collected() -> None:
    model = _Model(lrnde.collected(odeint, num_samples=3))
    model.eval()(_input())
    model.train()
    with torch.no_grad():
        model(_input())
    with lrnde.collect():
        model(_input())
    with pytest.warns(
        lrnde.UncollectedWarning, match=r"`collected\(torchdiffeq:odeint\)` was called in training"
    ) as caught:
        model(_input())
    model(_input())
    assert [warning.filename for warning in caught] == [__file__]
    lrnde.collected(odeint, num_samples=4)(lambda t, y: -y, _input(), _TIMES)


def test_it_warns_once_where_each_forward_pass_makes_it_anew() -> None:
    with pytest.warns(lrnde.UncollectedWarning):
        _Model(lrnde.collected(odeint))(_input())
    _Model(lrnde.collected(odeint))(_input())


def test_in_another_thread_it_is_the_bare_call_and_warns() -> None:
    model, results = _Model(lrnde.collected(odeint, num_samples=5)), []
    with lrnde.collect() as reports, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = threading.Thread(target=lambda: results.append(model(_input())))
        thread.start()
        thread.join()
    assert not reports
    assert isinstance(results[0], Tensor)
    assert [warning.category for warning in caught] == [lrnde.UncollectedWarning]


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_reentrant_checkpoints_are_refused_with_what_works(solve: Any) -> None:
    for wrapped in (lrnde.collected(solve), lrnde.regularize(solve)):
        with (
            lrnde.collect(),
            pytest.raises(lrnde.CapabilityError, match=r"`CheckpointFunction.forward`.*`use_reentrant=False`"),
        ):
            _Model(wrapped, use_reentrant=True)(_input())


def test_an_autograd_function_with_a_context_set_up_apart_is_refused() -> None:
    model = _Model(lrnde.collected(odeint)).eval()

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return model(x).detach()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            del ctx, inputs, output

        @staticmethod
        def backward(ctx: Any, *grad_outputs: Any) -> Any:
            return grad_outputs[0]

    with lrnde.collect() as reports:
        with pytest.raises(lrnde.CapabilityError, match=r"inside of `Function.forward`"):
            Function.apply(_input())
        Function.apply(_input().detach())
    assert len(reports) == 1


def test_predictions_within_reentrant_checkpoints_are_collected() -> None:
    model = _Model(lrnde.collected(odeint), use_reentrant=True).eval()
    with torch.no_grad(), lrnde.collect() as reports:
        model(_input())
    assert [report.nfe for report in reports] == [20]


def test_a_solve_within_the_field_of_an_adjoint_is_refused() -> None:
    inner = _Model(lrnde.collected(odeint)).eval()

    class Outer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.inner(y)

    with lrnde.collect(), pytest.raises(lrnde.CapabilityError, match=r"`OdeintAdjointMethod.forward`.*outside of that"):
        odeint_adjoint(Outer(), _input(), _TIMES, method="euler")


@pytest.mark.parametrize("is_backward_inside", [False, True])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_other_checkpoints_change_nothing(solve: Any, is_backward_inside: bool) -> None:
    wrapped = lrnde.collected(solve)
    plain, reports = _trained(_Model(wrapped))
    gradients, checkpointed = _trained(_Model(wrapped, use_reentrant=False), is_backward_inside=is_backward_inside)
    assert len(reports) == len(checkpointed) == 1
    assert torch.equal(reports[0].penalty, checkpointed[0].penalty)
    torch.testing.assert_close(gradients, plain, rtol=0, atol=0)


def test_reentrant_checkpoints_outside_of_a_block_solve_again_alike() -> None:
    gradients: list[Any] = []
    for solve in (odeint, lrnde.collected(odeint)):
        model = _Model(solve, use_reentrant=True)
        torch.manual_seed(0)
        y = model(_input())
        with lrnde.collect() as reports:
            y.sum().backward()
        assert not reports
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_every_block_draws_anew_and_a_seed_repeats_it() -> None:
    solve, field = lrnde.collected(odeint), Perceptron(dtype=torch.float32)

    def times(seed: int) -> list[float]:
        torch.manual_seed(seed)
        found: list[float] = []
        for _ in range(3):
            with lrnde.collect() as reports:
                for _ in range(2):
                    solve(field, _input(), _TIMES, method="euler", options={"step_size": 0.001})
            found += [report.sample.t.item() for report in reports if report.sample is not None]
        return found

    assert times(3) == times(3)
    assert len(set(times(3))) == 6


def test_a_report_does_not_outlive_a_transform() -> None:
    solve, weight = lrnde.collected(odeint), torch.eye(3)

    def predict(weight: Tensor) -> Tensor:
        return solve(lambda t, y: torch.tanh(y @ weight), torch.ones(2, 3), _TIMES, method="rk4").sum()

    def loss(weight: Tensor) -> Tensor:
        with lrnde.collect() as reports:
            return predict(weight) + sum(report.penalty for report in reports)

    with lrnde.collect(), pytest.raises(lrnde.CapabilityError, match="Begin the block inside"):
        torch.func.grad(predict)(weight)
    torch.manual_seed(0)
    inside = torch.func.grad(loss)(weight)
    leaf = weight.clone().requires_grad_()
    torch.manual_seed(0)
    loss(leaf).backward()
    torch.testing.assert_close(inside, leaf.grad)
