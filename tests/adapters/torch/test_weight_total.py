"""`WeightHolder.total`: loss plus weighted penalty, whose gradients are measured apart, however one trains."""

from typing import Any

import pytest
import torch
import torchdiffeq
from torch import nn

import lrnde
import lrnde_core
from lrnde_torch import WeightHolder, _holder

_TIMES = torch.linspace(0.0, 1.0, 3)


class _Field(nn.Module):
    def __init__(self, inner: nn.Linear, context: torch.Tensor) -> None:
        super().__init__()
        self.inner, self.context = inner, context

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.inner(y) + self.context) * torch.cos(t)


class _Model(nn.Module):
    """A field that holds what an encoder made, and a decoder."""

    def __init__(self, solve: Any = torchdiffeq.odeint) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.inner, self.decoder = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        self.solve = lrnde.regularize(solve)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, lrnde.Report]:
        context = torch.tanh(self.encoder(x))
        field = _Field(self.inner, context)
        ys, report = self.solve(field, context, _TIMES, rtol=1e-4, atol=1e-4, draw=torch.tensor([0.4]))
        return self.decoder(ys[-1]).square().mean(), report


def _gradients(model: _Model, x: torch.Tensor) -> tuple[list[Any], list[Any]]:
    """Of the loss and of the penalty, by separate solves."""
    parameters = list(model.parameters())
    return (
        list(torch.autograd.grad(model(x)[0], parameters, allow_unused=True)),
        list(torch.autograd.grad(model(x)[1].penalty, parameters, allow_unused=True)),
    )


def _norms(model: _Model, x: torch.Tensor) -> tuple[float, float]:
    by_loss, by_penalty = _gradients(model, x)
    pairs = [(a, b) for a, b in zip(by_loss, by_penalty, strict=True) if a is not None and b is not None]
    first, second = ([float(each.norm()) ** 2 for each in side] for side in zip(*pairs, strict=True))
    return sum(first) ** 0.5, sum(second) ** 0.5


_X = torch.linspace(-1.0, 1.0, 12).reshape(4, 3)


@pytest.mark.parametrize("solve", [torchdiffeq.odeint, torchdiffeq.odeint_adjoint], ids=["odeint", "adjoint"])
def test_the_gradient_is_that_of_the_weighted_sum(solve: Any) -> None:
    model = _Model(solve)
    weight = WeightHolder(lrnde.GradientRatio(0.3, period=2), model.parameters())
    by_loss_norm, by_penalty_norm = _norms(model, _X)
    expected = [0.0, *[0.3 * by_loss_norm / by_penalty_norm] * 2]
    by_loss, by_penalty = _gradients(model, _X)
    for factor in expected:
        assert weight.value() == pytest.approx(factor, rel=1e-5)
        model.zero_grad()
        loss, report = model(_X)
        weight.total(loss, report).backward()
        weight.update(report)
        for parameter, one, other in zip(model.parameters(), by_loss, by_penalty, strict=True):
            assert parameter.grad is not None
            expected_grad = one if other is None else one + factor * other
            torch.testing.assert_close(parameter.grad, expected_grad, rtol=1e-4, atol=1e-6)


def test_scaled_and_accumulated_gradients_do_not_change_the_weight() -> None:
    model = _Model()
    weight = WeightHolder(lrnde.GradientRatio(period=1), model.parameters())
    reports: list[lrnde.Report] = []
    for part in _X.split(2):
        loss, report = model(part)
        assert weight.value() == 0.0  # one value for all parts
        (1024.0 * weight.total(loss, report)).backward()
        reports.append(report)
    weight.update(reports)
    means = [_norms(model, part) for part in _X.split(2)]
    losses, penalties = zip(*means, strict=True)
    assert weight.value() == pytest.approx(0.1 * sum(losses) / sum(penalties), rel=1e-4)


def test_without_gradients_and_with_several_reports_the_sum_is_the_same() -> None:
    model = _Model()
    weight = WeightHolder(lrnde.Constant(0.5))
    with torch.no_grad():
        loss, report = model(_X)
        assert torch.equal(weight.total(loss, [report, report]), loss + 0.5 * (report.penalty + report.penalty))
        assert WeightHolder(lrnde.GradientRatio(), model.parameters()).total(loss, report) == loss


def test_an_update_without_a_total_is_refused_where_gradients_are_measured() -> None:
    model = _Model()
    weight = WeightHolder(lrnde.GradientRatio(), model.parameters())
    loss, report = model(_X)
    (loss + weight.value() * report.penalty).backward()
    with pytest.raises(
        lrnde.InputError, match=r"measures gradients in this iteration.*`WeightHolder.total\(loss, report\)`"
    ):
        weight.update(report)
    weight.total(*model(_X))
    weight.update(report)
    with pytest.raises(lrnde.InputError, match="measures gradients in this iteration"):
        weight.update(report)


def _without_gradient(model: _Model, **settings: Any) -> lrnde.Report:
    with torch.no_grad():
        return model.solve(
            _Field(model.inner, torch.ones(2)), torch.ones(2), _TIMES, draw=torch.tensor([0.4]), **settings
        )[1]


def test_what_trains_nothing_is_refused() -> None:
    model = _Model()
    loss, report = model(_X)
    for weight in (WeightHolder(lrnde.Constant(0.5)), WeightHolder(lrnde.GradientRatio(), model.parameters())):
        with pytest.raises(lrnde.InputError, match=r"`loss` has no gradient.*`detach`"):
            weight.total(loss.detach(), report)
        with pytest.raises(lrnde.InputError, match=r"`loss` has the shape \(2,\).*take the mean over the batch"):
            weight.total(loss.expand(2), report)
        with pytest.raises(lrnde.InputTypeError, match=r"`loss` must be a tensor.*not 1.5"):
            weight.total(1.5, report)  # pyright: ignore[reportArgumentType]
        with pytest.raises(lrnde.InputError, match=r"penalty of `report` has no gradient.*`torch.no_grad\(\)`"):
            weight.total(loss, _without_gradient(model))
        with pytest.raises(lrnde.InputError, match="`penalize=False`"):
            weight.total(loss, _without_gradient(model, penalize=False))
        # One of several solves may be of a part that is not trained.
        assert weight.total(loss, [_without_gradient(model), report]).requires_grad
        # A failed local step, of which nothing is to be trained.
        assert weight.total(loss, report._replace(penalty=torch.tensor(0.0))).requires_grad


def test_a_loaded_state_forgets_the_measurements_before_it() -> None:
    model = _Model()
    weights = [WeightHolder(lrnde.GradientRatio(), model.parameters()) for _ in range(2)]
    loss, report = model(_X)
    weights[0].total(1e6 * loss, report)
    weights[0].load_state_dict(weights[1].state_dict())
    for weight in weights:
        weight.total(loss, report)
        weight.update(report)
    assert weights[0].state_dict() == weights[1].state_dict()


def test_a_gradient_that_is_not_a_number_in_one_parameter_leaves_the_weight_as_it_is() -> None:
    model = _Model()
    weight = WeightHolder(lrnde.GradientRatio(), model.parameters())
    loss, report = model(_X)
    weight.total(loss + torch.nan * model.encoder.bias.square().sum(), report)
    weight.update(report)
    assert weight.value() == 0
    weight.total(loss, report)
    weight.update(report)
    assert weight.value() > 0


def test_a_parameter_that_is_given_twice_counts_once() -> None:
    model, values = _Model(), set[Any]()
    for parameters in (model.parameters(), [*model.inner.parameters(), *model.parameters()]):
        weight = WeightHolder(lrnde.GradientRatio(), parameters)
        loss, report = model(_X)
        weight.total(loss, report)
        weight.update(report)
        values.add(weight.value())
    assert len(values) == 1


@pytest.mark.parametrize("kind", [lrnde.GradientRatio(), lrnde.NFETarget(20), lrnde.ExponentialDecay(1.0, 0.1, 10)])
def test_a_training_that_never_updates_is_told_so_once(
    monkeypatch: pytest.MonkeyPatch, kind: lrnde_core.AbstractWeight
) -> None:
    monkeypatch.setattr(_holder, "_MOST_TOTALS", 5)
    model = _Model()
    weight = WeightHolder(kind, model.parameters())
    loss, report = model(_X)
    for _ in range(3):  # parts of an iteration
        for _ in range(4):
            weight.total(loss, report)
        weight.update(report)
    for _ in range(4):
        weight.total(loss, report)
    with pytest.warns(lrnde_core.WeightWarning, match=r"called 5 times .*`WeightHolder.update\(report\)`") as caught:
        weight.total(loss, report)
    assert caught[0].filename == __file__
    weight.total(loss, report)


@pytest.mark.parametrize(
    ("reports", "error", "message"),
    [
        ([], lrnde.InputError, r"`WeightHolder.total` was given an empty list of reports\. Pass at least one"),
        ((), lrnde.InputError, "an empty tuple of reports"),
        ({}, lrnde.InputTypeError, r"takes the `Report` of a solve, or a list of reports, not \{\}"),
        (torch.ones(3), lrnde.InputTypeError, "not a `Tensor`"),
    ],
)
def test_what_is_no_report_is_refused(reports: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WeightHolder(lrnde.Constant(0.5)).total(torch.tensor(1.0), reports)


def test_a_weight_that_measures_needs_parameters() -> None:
    with pytest.raises(
        lrnde.InputError, match=r"was given no parameters.*`WeightHolder\(weight, model.parameters\(\)\)`"
    ):
        WeightHolder(lrnde.GradientRatio())


@pytest.mark.parametrize(
    ("weight", "parameters", "message"),
    [
        (lrnde.GradientRatio, (), r"`weight` must be an `AbstractWeight`.*Did you mean `GradientRatio\(\)`\?"),
        (lrnde.Constant, (), r"Did you mean `Constant\(\.\.\.\)`\?"),
        (lrnde.GradientRatio(), nn.Linear(2, 2), r"`parameters` .*not Linear\(.*`model.parameters\(\)`"),
        (lrnde.GradientRatio(), nn.Linear(2, 2).weight, r"not a `Parameter` of shape \(2, 2\)"),
        (lrnde.GradientRatio(), nn.Linear(2, 2).named_parameters(), r"holds \('weight'"),
        (lrnde.Constant(0.1), 3, "not 3"),
    ],
)
def test_what_is_no_weight_and_no_parameters_is_refused(weight: Any, parameters: Any, message: str) -> None:
    with pytest.raises(lrnde.InputTypeError, match=message):
        WeightHolder(weight, parameters)
