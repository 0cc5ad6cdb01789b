"""Reports of both backends as scalars to log: without gradient, compiled and vectorised, against counted calls."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import pytest
import torch
import torchdiffeq

import lrnde

_COUNTS = ("nfe", "num_steps", "num_accepted", "num_rejected")


def test_entries_in_torch_are_the_counted_calls_without_gradient() -> None:
    calls: list[None] = []
    rate = torch.tensor(1.0, requires_grad=True)

    class Field(torch.nn.Module):
        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            calls.append(None)
            return -rate * y

    solve = lrnde.regularize(torchdiffeq.odeint_adjoint)
    times = torch.tensor([0.0, 1.0])
    result: tuple[Any, lrnde.Report] = solve(
        Field(), torch.ones(3), times, rtol=1e-3, atol=1e-3, adjoint_params=(rate,)
    )
    ys, report = result
    num_forward = len(calls)
    ys.sum().backward()
    entries: dict[str, Any] = {**report.as_dict()}
    assert set(entries) == {"penalty", "nfe_extra", "nfe_backward", *_COUNTS}
    assert entries["nfe"] + entries["nfe_extra"] == num_forward
    assert entries["nfe_backward"] == len(calls) - num_forward > 0
    assert torch.equal(entries["penalty"], report.penalty)
    assert not entries["penalty"].requires_grad


def test_entries_in_jax_are_scalars_also_when_compiled() -> None:
    solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate())
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)

    def report_of(rate: jax.Array) -> Any:
        term = diffrax.ODETerm(lambda t, y, args: -rate * y)
        return solve(term, diffrax.Heun(), 0.0, 1.0, 0.5, jnp.ones(2), stepsize_controller=controller, draw=[0.4])[1]

    @jax.jit
    def noted(rate: jax.Array) -> Any:
        report = report_of(rate)
        return report, report.as_dict("a/")

    rates = jnp.asarray([1.0, 30.0])
    apart, apart_entries = zip(*map(noted, rates), strict=True)
    together = jax.jit(lambda rates: jax.vmap(report_of)(rates).as_dict("a/"))(rates)
    names = ("penalty", "nfe_extra", "num_unresolved", "sample_error_ratio", *_COUNTS)
    for entries, reports in ((apart_entries[0], apart[:1]), (together, apart)):
        assert set(entries) == {f"a/{name}" for name in names}
        assert all(value.shape == () for value in entries.values())
        for name in _COUNTS:
            expected = sum(int(getattr(report, name)) for report in reports) / len(reports)
            assert float(entries[f"a/{name}"]) == expected


def test_the_text_of_a_traced_report_has_dtypes_and_shapes() -> None:
    shown: list[str] = []

    @jax.jit
    def noted(count: jax.Array) -> jax.Array:
        shown.append(repr(lrnde.Report(count.astype(jnp.float32), count, 0, count, count, None, None)))
        return count

    noted(jnp.arange(2, dtype=jnp.int32))
    assert shown == ["Report(penalty=float32[2], nfe=int32[2], nfe_extra=0, num_steps=int32[2], num_accepted=int32[2])"]


def test_the_text_of_a_report_without_values_in_torch_has_dtypes_and_shapes() -> None:
    shown: list[str] = []

    def noted(y: torch.Tensor) -> torch.Tensor:
        shown.append(repr(lrnde.Report(y, 3, 0, None, None, None, None)))
        return y

    torch.func.vmap(noted)(torch.ones(2))
    noted(torch.ones(2, device="meta"))
    noted(torch.tensor(0.5, requires_grad=True))
    assert [text.split(", ")[0] for text in shown] == [
        *("Report(penalty=float32[]", "Report(penalty=float32[2]", "Report(penalty=0.5"),
    ]


def test_an_array_of_a_backend_times_a_report_is_refused() -> None:
    report = lrnde.Report(0.0, 9, 0, 1, 1, 0, None)
    for weight in (jnp.float32(0.3), torch.tensor(0.3), torch.tensor(2)):
        with pytest.raises(lrnde.InputTypeError, match=r"`report\.penalty`"):
            weight * report
    assert jax.jit(jax.vmap(lambda x: report._replace(penalty=x)))(jnp.ones(2)).penalty.shape == (2,)
