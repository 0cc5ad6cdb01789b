"""Training torchode on checked steps, where each sample has its own times."""

from typing import Any

import lrnde
import torch
import torchode as typed_torchode

torchode: Any = typed_torchode  # its annotations use its own tensor types
Tensor = torch.Tensor
# Of a few hundred sums and products, taken in another order.
_ROUNDING = 1e3 * torch.finfo(torch.float64).eps
_TIMES = torch.tensor([[0.0, 0.3, 1.0], [1.0, 0.2, -0.5], [0.5, 1.2, 2.5], [0.0, 1.4, 2.0]]).double()
_TWO = lrnde.FixedSteps.equal("rk4", 2)


class _Field(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.weight) * torch.cos(t)[..., None]


def _one_by_hand(field: _Field, y0: Tensor, t: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """One sample by two steps of the 3/8 rule: the states at its times, and half the mean square of the field there."""
    h, time, y = (t[-1] - t[0]) / 2, t[0], y0
    ends: list[tuple[Tensor, Tensor]] = []
    for _ in range(2):
        k1 = field(time, y)
        ends.append((y, h * k1))
        k2 = field(time + h / 3, y + h * k1 / 3)
        k3 = field(time + 2 * h / 3, y - h * k1 / 3 + h * k2)
        k4 = field(time + h, y + h * (k1 - k2 + k3))
        time, y = time + h, y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8
    ends.append((y, h * field(t[-1], y)))

    def at(time: Tensor) -> Tensor:
        place = int((time - t[0]) / h > 1)
        x = (time - t[0]) / h - place
        (a, da), (b, db) = ends[place : place + 2]
        return (1 - x) ** 2 * (1 + 2 * x) * a + x**2 * (3 - 2 * x) * b + x * (1 - x) ** 2 * da - x**2 * (1 - x) * db

    energy = field(drawn, at(drawn).detach()).square().mean() / 2
    return torch.stack([at(each) for each in t]), abs(t[-1] - t[0]) * energy


def test_each_sample_takes_the_steps_of_its_own_interval() -> None:
    steps = lrnde.CheckedSteps(error=1e3, candidates=[lrnde.Candidate("rk4", 2)])
    solve = lrnde.regularize(torchode.solve_ivp, heuristic=lrnde.KineticEnergy(), steps=steps)
    found: list[tuple[Tensor, Tensor, list[Any]]] = []
    for is_ours in (True, False):
        field, y0 = _Field(), torch.linspace(-1, 1, 12).double().reshape(4, 3).requires_grad_()
        if is_ours:
            solution, report = solve(field, y0, _TIMES, draw=[0.37])
            assert report.plan.steps == _TWO
            assert report.num_steps.tolist() == [2] * 4
            ys, penalty = solution.ys, report.penalty
        else:
            drawn = _TIMES[:, 0] + 0.37 * (_TIMES[:, -1] - _TIMES[:, 0])
            samples = [_one_by_hand(field, *each) for each in zip(y0, _TIMES, drawn, strict=True)]
            ys, penalties = (torch.stack(parts) for parts in zip(*samples, strict=True))
            penalty = penalties.mean()
        loss: Any = ys.sin().sum() + penalty
        loss.backward()
        found.append((ys, penalty, [y0.grad, *(each.grad for each in field.parameters())]))
    torch.testing.assert_close(found[0], found[1], rtol=_ROUNDING, atol=_ROUNDING)


def test_predictions_are_the_bare_call() -> None:
    field, y0 = _Field(), torch.ones(4, 3, dtype=torch.float64)
    solve = lrnde.regularize(torchode.solve_ivp, steps=lrnde.CheckedSteps())
    assert solve(field, y0, _TIMES)[1].plan.steps is not None
    with torch.no_grad():
        assert torch.equal(solve(field, y0, _TIMES)[0].ys, torchode.solve_ivp(field, y0, _TIMES).ys)
