"""A whole training step on fixed steps as one graph, beside the same step uncompiled."""

import functools
from typing import Any

import pytest
import torch
import torchdiffeq

import lrnde

STEPS = lrnde.FixedSteps.equal("rk4", 2)
_ROUNDING = 200 * torch.finfo(torch.float64).eps


class _Field(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 3, dtype=torch.float64)

    def forward(self, t: Any, y: Any) -> Any:
        if isinstance(y, tuple):
            return self.layer(y[0]).tanh() * torch.cos(t), (y[0] * y[1][:, None]).sum(1)
        return self.layer(y).tanh() * torch.cos(t)


def _called(solve: Any, steps: Any, *args: Any, **settings: Any) -> Any:
    return solve(*args, plan=steps, **settings)


def _step(solve: Any, field: Any, y0: Any, t: Any, draw: Any, *, traced: bool, **settings: Any) -> tuple[Any, ...]:
    solve = solve.by_steps if traced else functools.partial(_called, solve)
    result, report = solve(STEPS, field, y0, t, draw=draw, **settings)
    ys = result if isinstance(result, tuple) else (result,)
    loss = sum(each.square().sum() for each in ys) + 10 * report.penalty
    return loss, report.penalty, report.step_error, report.nfe


@pytest.mark.parametrize(
    ("settings", "times", "is_tuple", "backend"),
    [
        ({}, (1.0, 0.3, -0.5), True, "aot_eager"),
        ({"heuristic": lrnde.ErrorEstimate(), "sampler": lrnde.UniformStep()}, (0.0, 0.2, 1.0), True, "eager"),
        (
            {"heuristic": lrnde.JacobianNorm(mode="jvp") + lrnde.KineticEnergy(), "num_samples": 2},
            (0, 1),
            False,
            "eager",
        ),
    ],
)
def test_a_compiled_step_is_the_uncompiled_one(settings: Any, times: Any, is_tuple: bool, backend: str) -> None:
    field = _Field()
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(), **settings)
    y0: Any = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    y0 = (y0, torch.linspace(0, 1, 4, dtype=torch.float64)) if is_tuple else y0
    t = torch.tensor(times, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(_step, fullgraph=True, backend=backend)
    for number in (0.1, 0.9):
        draw = torch.full((settings.get("num_samples", 1),), number, dtype=torch.float64)
        found = []
        for step, traced in ((_step, False), (_step, True), (compiled, True)):
            loss, *rest = step(solve, field, y0, t, draw, traced=traced)
            found.append([loss, *rest, *torch.autograd.grad(loss, list(field.parameters()))])
        for eager, *others in zip(*found, strict=True):
            for other in others:
                torch.testing.assert_close(
                    torch.as_tensor(other), torch.as_tensor(eager), rtol=_ROUNDING, atol=_ROUNDING
                )


def test_a_compiled_training_is_checked_beside_it() -> None:
    field, t = _Field(), torch.tensor([0.0, 1.0], dtype=torch.float64)
    y0 = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(period=(2, 8)))

    def step(y0: Any, steps: lrnde.FixedSteps) -> tuple[Any, Any]:
        result: tuple[Any, lrnde.Report] = solve.by_steps(steps, field, y0, t)
        ys, report = result
        return ys.sum() + report.penalty, report.step_error

    torch.compiler.reset()
    compiled, step_error, checks = torch.compile(step, fullgraph=True, backend="eager"), None, list[int]()
    for _ in range(16):
        plan = solve.check(field, y0, t, step_error=step_error)
        assert plan.steps is not None
        loss, step_error = compiled(y0, plan.steps)
        loss.backward()
        checks.append(plan.num_checks)
    assert checks == [1, 1] + [2] * 4 + [3] * 8 + [4] * 2
    with pytest.raises(lrnde.InputError, match=r"`CheckedSteps\.check`"):
        lrnde.regularize(torchdiffeq.odeint).check(field, y0, t)


@pytest.mark.parametrize(
    ("own", "error", "message"),
    [
        ({"rtoll": 1e-2}, lrnde.InputTypeError, "does not take these arguments: 3 by position, and rtoll by name"),
        ({"penalise": False}, lrnde.InputTypeError, "a call by steps `penalize`, `draw` and `probes`"),
        ({"penalize": 0}, lrnde.InputTypeError, "must be a Python bool"),
        ({"event_fn": lambda t, y: y.sum()}, lrnde.CapabilityError, "an event ends"),
        ({"method": "nonsense"}, ValueError, "no `method='nonsense'`"),
        ({"method": "implicit_adams"}, lrnde.CapabilityError, "keeps a history"),
        ({"draw": torch.rand(2)}, lrnde.InputError, r"shape \(2,\)"),
        ({"draw": [0.3]}, lrnde.InputTypeError, "must be a tensor of shape"),
        ({"probes": torch.ones(2, 3)}, lrnde.InputError, "is of shape .2, 3. and dtype torch.float32"),
    ],
)
def test_a_call_by_steps_refuses_what_a_call_does(own: Any, error: type[Exception], message: str) -> None:
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(), heuristic=lrnde.JacobianNorm())
    y0, t = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    with pytest.raises(error, match=message):
        solve.by_steps(STEPS, _Field(), y0, t, **own)
    if own.keys() != {"draw"} or isinstance(own["draw"], torch.Tensor):
        with pytest.raises((TypeError, ValueError, lrnde.CapabilityError)):
            solve(_Field(), y0, t, plan=STEPS, **own)


def test_by_no_steps_a_call_is_the_adaptive_one() -> None:
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(error=1e-13))
    y0, t, draw = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64), torch.rand(1)
    field = _Field()
    plan = solve.check(field, y0, t)
    assert plan.steps is None
    found, expected = (call(field, y0, t, draw=draw) for call in (functools.partial(solve.by_steps, None), solve))
    assert torch.equal(found[0], expected[0])
    assert (found[1].nfe, found[1].penalty, found[1].step_error) == (expected[1].nfe, expected[1].penalty, None)
    with pytest.raises(lrnde.InputTypeError, match="the `steps` of a `CheckedPlan`, not <CheckedPlan"):
        solve.by_steps(plan, field, y0, t)  # pyright: ignore[reportArgumentType]  # meant wrong


@pytest.mark.parametrize("own", [{"penalise": False}, {"method": "nonsense"}, {"draw": torch.rand(2)}])
def test_what_a_call_refuses_a_compiled_one_does(own: Any) -> None:
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps())
    y0, t = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(functools.partial(solve.by_steps, STEPS), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"does not take|no `method=|has shape"):
        compiled(_Field(), y0, t, **own)


@pytest.mark.parametrize(
    ("settings", "own", "message"),
    [
        ({"gradient": "full"}, {}, "has only the local gradient"),
        ({}, {"generator": torch.Generator()}, "give `draw=`"),
    ],
)
def test_what_needs_python_is_refused(settings: Any, own: Any, message: str) -> None:
    solve = lrnde.regularize(torchdiffeq.odeint, steps=lrnde.CheckedSteps(), **settings)
    y0, t = torch.ones(2, 3, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(_step, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=message):
        compiled(solve, _Field(), y0, t, None, traced=True, **own)
