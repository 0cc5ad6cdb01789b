"""The checks of plain use catch adapters that compile and break there, which no numpy adapter can."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.custom_batching
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lrnde_conformance import CHECKS, Outcome, Subject, run_check
from lrnde_conformance._results import CheckResult
from lrnde_diffrax._adapter import DiffraxAdapter
from lrnde_diffrax._conformance import DiffraxDriver
from lrnde_torch import solve_by_plan
from lrnde_torchdiffeq._adapter import TorchdiffeqAdapter
from lrnde_torchdiffeq._conformance import TorchdiffeqDriver

_BY_ID = {check.id: check for check in CHECKS}
_Change = Callable[[Any, Any], Any]


@pytest.fixture(scope="module")
def subject() -> Subject:
    """One for all, so that what the faults leave alone is compiled once."""
    return Subject(DiffraxDriver(), is_fast=True)


def test_output_times_that_must_be_constants_are_caught(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    bind = DiffraxAdapter.bind

    def constant(self: DiffraxAdapter, solve: Any, native: Any, args: Any, kwargs: Any) -> Any:
        np.asarray(kwargs["saveat"].subs.ts)
        return bind(self, solve, native, args, kwargs)

    monkeypatch.setattr(DiffraxAdapter, "bind", constant)
    assert "TracerArrayConversionError" in _failed(_run(subject, "transform.traced", "ts"))


def test_a_function_made_and_compiled_for_each_call_is_caught(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_penalty(monkeypatch, lambda penalty, _: jax.jit(lambda value: 1.0 * value)(penalty))
    assert "compiles anew" in _failed(_run(subject, "use.repeated"))


def test_a_gradient_by_arguments_alone_is_caught(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_arguments(penalty: Any, problem: Any) -> Any:
        return penalty if jax.tree.leaves(problem.args) else jax.lax.stop_gradient(penalty)

    _change_penalty(monkeypatch, by_arguments)
    assert "gradient by" in _failed(_run(subject, "use.field", "partial"))


def test_a_penalty_of_the_first_element_is_caught(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    @jax.custom_batching.custom_vmap
    def shared(value: Any) -> Any:
        return value

    @shared.def_vmap
    def _(size: int, batched: Any, values: Any) -> Any:
        del size, batched
        return jnp.broadcast_to(values[0], values.shape), True

    def of_the_first(penalty: Any, _: Any) -> Any:
        constant = jax.lax.stop_gradient(penalty)
        return penalty + shared(constant) - constant

    _change_penalty(monkeypatch, of_the_first)
    assert "penalty" in _failed(_run(subject, "transform.vmap", "y0"))


def test_a_recording_that_threads_share_is_caught(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, latest = DiffraxAdapter.evaluate, list[Any]()

    def of_the_latest(self: DiffraxAdapter, plan: Any, recording: Any) -> Any:
        latest[:] = [recording]
        time.sleep(0.1)  # so that the other thread gets as far
        return evaluate(self, plan, latest[0])

    monkeypatch.setattr(DiffraxAdapter, "evaluate", of_the_latest)
    assert "from a thread" in _failed(_run(subject, "transform.threads"))


def test_a_field_that_each_call_compiles_anew_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, axes = TorchdiffeqAdapter.evaluate, list[int]()

    def with_one_more_axis(self: TorchdiffeqAdapter, plan: Any, recording: Any) -> Any:
        (y,) = recording.records[0].y
        axes.append(1)
        recording.problem.user_field(y.new_zeros(()), y.reshape((*axes, *y.shape)))
        return evaluate(self, plan, recording)

    monkeypatch.setattr(TorchdiffeqAdapter, "evaluate", with_one_more_axis)
    assert "compiles anew" in _failed(_run(Subject(TorchdiffeqDriver()), "use.repeated", "compiled-field"))


def test_times_that_compiled_code_holds_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(plan: Any, field: Any, y0: Any, t: torch.Tensor, *, is_watched: bool) -> Any:
        return solve_by_plan(plan, field, y0, t.new_tensor([0.0, 0.5, 1.0]), is_watched=is_watched)

    monkeypatch.setattr("lrnde_torchdiffeq._freeze.solve_by_plan", at_once)
    assert "solution at (0.5, 1.5, 2.5)" in _failed(_run(Subject(TorchdiffeqDriver()), "freeze.compiled-times"))


def test_compiled_code_that_overlooks_the_interval_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrnde_torch._freeze.longer_intervals", lambda plan, t: None)
    assert "longer interval" in _failed(_run(Subject(TorchdiffeqDriver()), "freeze.compiled-times"))


def _change_penalty(monkeypatch: pytest.MonkeyPatch, change: _Change) -> None:
    evaluate = DiffraxAdapter.evaluate

    def changed(self: DiffraxAdapter, plan: Any, recording: Any) -> tuple[Any, Any]:
        penalty, sample = evaluate(self, plan, recording)
        return change(penalty, recording.problem), sample

    monkeypatch.setattr(DiffraxAdapter, "evaluate", changed)


def _run(subject: Subject, check: str, case: str = "") -> CheckResult:
    return run_check(subject, _BY_ID[check], case)


def _failed(result: CheckResult) -> str:
    assert result.outcome is Outcome.FAILED, result
    return result.reason
