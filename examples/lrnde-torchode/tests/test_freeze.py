"""Frozen solves of torchode: its solution's form, and what has no plan."""

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
        (_SOLVE, _calls(torch.arange(20.0).reshape(10, 2)), "differs from sample to sample"),
        (_SOLVE, _calls(_TIMES[2:]), "has no length"),
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


def test_compiled_code_fails_at_other_times() -> None:
    frozen, _ = lrnde.freeze(_SOLVE, calibration=_calls(), error=1e-3)
    compiled = torch.compile(lambda y0, t: frozen(_field, y0, t).ys, fullgraph=True, backend="eager")
    assert torch.equal(compiled(_inputs(0), _TIMES), frozen(_field, _inputs(0), _TIMES).ys)
    for times in (2 * _TIMES, torch.stack([_TIMES] * 9 + [2 * _TIMES])):
        with pytest.raises(RuntimeError, match="not those that its plan was found for"):
            compiled(_inputs(0), times)
