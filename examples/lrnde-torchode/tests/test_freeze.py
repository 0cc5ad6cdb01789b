"""Frozen solves of torchode: its solution's form, and what has no plan."""

import dataclasses
import functools
from typing import Any

import lrnde
import pytest
import torch
import torchode as typed_torchode
from lrnde_core import NativeArgument, NativeArguments, NativeFunction, NativeKeywords

torchode: Any = typed_torchode  # its annotations use its own tensor types
_TIMES = torch.tensor([0.0, 0.5, 1.0])
_SOLVE = functools.partial(torchode.solve_ivp, method="dopri5")


def _field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    assert t.shape == y.shape[:1]
    return torch.sin(y) + t[:, None]


def _inputs(seed: int) -> torch.Tensor:
    return torch.randn(10, 2, generator=torch.Generator().manual_seed(seed))


def _calls(times: torch.Tensor = _TIMES, **extra: NativeArgument) -> list[NativeKeywords]:
    return [{"f": _field, "y0": _inputs(seed), "t_eval": times, **extra} for seed in range(2)]


def test_a_frozen_solution_has_the_form_of_the_solvers() -> None:
    frozen, report = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-3, fallback=_SOLVE)
    y0 = torch.cat([_inputs(2), 1e3 * _inputs(3)])
    # Times of each sample, as torchode takes them too.
    solution, flagged = frozen(_field, y0, _TIMES.expand(20, -1))
    native = _SOLVE(_field, y0, _TIMES)
    assert torch.equal(solution.ts, native.ts)
    assert torch.equal(solution.status, native.status)
    assert solution.stats.keys() == native.stats.keys()
    for name, value in solution.stats.items():
        assert value.shape == (20,)
        assert torch.equal(value[flagged], native.stats[name][flagged])
    assert torch.equal(solution.stats["n_initialized"], native.stats["n_initialized"])
    assert flagged[10:].all()
    assert torch.equal(solution.ys[flagged], native.ys[flagged])
    errors = (solution.ys - native.ys).norm(dim=(1, 2)) / native.ys[:, 1:].norm(dim=(1, 2))
    assert (errors < 2e-3).all()
    assert report.native_evaluations is not None
    assert report.num_evaluations < report.native_evaluations


@pytest.mark.parametrize(
    ("solve", "calibration", "message"),
    [
        (_SOLVE, _calls(args=1.0), "without `t_span` and `args`"),
        (_SOLVE, _calls(0 * _TIMES), "has no length"),
        (
            functools.partial(_SOLVE, max_steps=2),
            _calls(),
            r"failed: 10 of its 10 samples have status REACHED_MAX_STEPS",
        ),
        (functools.partial(_SOLVE, _field), [(_inputs(0), _TIMES)] * 2, "binds a positional argument"),
    ],
)
def test_what_has_no_plan_is_refused(
    solve: NativeFunction, calibration: list[NativeKeywords] | list[NativeArguments], message: str
) -> None:
    with pytest.raises(lrnde.LrndeError, match=message):
        lrnde.freeze(solve, calibration=calibration, error=1.0)


def _own_times(seed: int) -> torch.Tensor:
    """Of each sample its own, forward or backward."""
    draws = torch.rand(10, 5, generator=torch.Generator().manual_seed(seed)).sort(dim=1).values
    times = torch.cat([draws[:5, :3], draws[5:, 2:].flip(1)])
    # At least some length in each step.
    return times + torch.cat([0.2 * torch.arange(3.0).expand(5, 3), 0.2 * torch.arange(2.0, -1, -1).expand(5, 3)])


def test_times_of_each_sample_are_calibrated_and_solved() -> None:
    calls = [{"f": _field, "y0": _inputs(seed), "t_eval": _own_times(seed)} for seed in range(10)]
    frozen, report = lrnde.freeze(_SOLVE, calibration=calls, error=1e-3, guard=True)
    for seed in range(50, 54):
        y0, times = _inputs(seed), _own_times(seed)
        (solution, _), native = frozen(_field, y0, times), _SOLVE(_field, y0, times)
        assert torch.equal(solution.ts, native.ts)
        assert torch.equal(solution.ys[:, 0], y0)
        difference, size = ((ys[:, 1:] ** 2).sum((1, 2)).sqrt() for ys in (solution.ys - native.ys, native.ys))
        # Of fresh samples one in 51 is expected beyond the largest error of 50.
        assert (difference / size.clamp(min=size.median()) > report.error).sum() <= 1


def test_each_sample_gets_what_it_gets_alone() -> None:
    frozen, _ = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-3)
    y0, times = _inputs(0), _own_times(0)
    together = frozen(_field, y0, times).ys
    for index in range(10):
        alone = frozen(_field, y0[index : index + 1], times[index]).ys
        torch.testing.assert_close(together[index : index + 1], alone)


def test_compiled_code_takes_any_times() -> None:
    frozen, _ = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-3)
    compiled = torch.compile(lambda y0, t: frozen(_field, y0, t).ys, fullgraph=True, backend="eager")
    for times in (_TIMES, 0.5 * _TIMES, _own_times(3)):
        assert torch.equal(compiled(_inputs(0), times), frozen(_field, _inputs(0), times).ys)


def test_samples_over_longer_intervals_are_refused_or_nan_or_flagged() -> None:
    frozen, report = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-3)
    times = _TIMES.expand(len(_inputs(0)), -1).clone()
    times[1] *= 2
    with pytest.raises(lrnde.InputError, match="from 0 to 2 is too long"):
        frozen(_field, _inputs(0), times)
    compiled = torch.compile(lambda y0, t: frozen(_field, y0, t).ys, fullgraph=True, backend="eager")
    is_longer = torch.arange(len(times)) == 1
    assert torch.equal(compiled(_inputs(0), times).isnan().any((1, 2)), is_longer)
    guarded = lrnde.apply_plan(_SOLVE, dataclasses.replace(report.plan, bounds=(1e3, 1e3)))
    assert torch.equal(guarded(_field, _inputs(0), times)[1], is_longer)
