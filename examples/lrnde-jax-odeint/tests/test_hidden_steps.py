"""Hidden steps, which the suite does not ask for, because other solvers have nothing like it."""

from typing import Any

import jax
import jax.numpy as jnp
import lrnde
import pytest
from jax.experimental.ode import odeint

from lrnde_jax_odeint import _plugin, _solving

if "jax_odeint" not in {info.name for info in lrnde.list_adapters()}:
    lrnde.register(_plugin)

_Y0 = jnp.array([1.0, 0.5])
_TS = jnp.linspace(0.0, 2.0, 3)
_TOLERANCES = {"rtol": 1e-4, "atol": 1e-4}


def _field(y: jax.Array, t: jax.Array, rate: jax.Array) -> jax.Array:
    return jnp.sin(3 * t) * jnp.tanh(rate * y[::-1])


def _solve(*args: Any, **kwargs: Any) -> tuple[Any, lrnde.Report]:
    return lrnde.regularize(odeint, heuristic=lrnde.ErrorEstimate())(*args, draw=[0.4], **{**_TOLERANCES, **kwargs})


def test_a_solve_that_does_not_reach_an_output_time_has_penalty_0() -> None:
    def penalty(rate: jax.Array) -> tuple[jax.Array, Any]:
        solution, report = _solve(_field, _Y0, _TS, rate, mxstep=2)
        return report.penalty, (solution, report.num_steps)

    (value, (solution, num_steps)), gradient = jax.value_and_grad(penalty, has_aux=True)(jnp.float32(2.0))
    # `odeint` extrapolates, and says nothing.
    assert (solution == odeint(_field, _Y0, _TS, jnp.float32(2.0), mxstep=2, **_TOLERANCES)).all()
    assert (value, gradient, num_steps) == (0.0, 0.0, 4)


# The bare call promotes them.
@jax.numpy_dtype_promotion("standard")
def test_leaves_may_differ_in_dtype() -> None:
    def field(y: Any, t: jax.Array) -> Any:
        a, b = y
        return -a * b.sum().astype(a.dtype), jnp.sin(t).astype(b.dtype) * b

    y0 = (_Y0, jnp.ones((1, 2), jnp.bfloat16))
    solution, report = _solve(field, y0, _TS)
    bare = odeint(field, y0, _TS, **_TOLERANCES)
    for got, expected in zip(solution, bare, strict=True):
        assert got.dtype == expected.dtype
        assert (got == expected).all()
    assert report.penalty > 0


def test_new_values_are_traced_once_and_leak_nothing() -> None:
    num_traces = 0

    def counted(y: jax.Array, t: jax.Array, rate: jax.Array) -> jax.Array:
        nonlocal num_traces
        num_traces += 1
        return _field(y, t, rate)

    _solve(counted, _Y0, _TS, jnp.float32(1.0))
    before = num_traces
    _solve(counted, 2 * _Y0, 2 * _TS, jnp.float32(2.0))
    assert num_traces == before
    with jax.check_tracer_leaks():
        jax.jit(lambda rate: _solve(_field, _Y0, _TS, rate)[1].penalty)(1.0)


def test_default_tolerances_are_below_what_float32_resolves() -> None:
    with pytest.warns(lrnde.ResolutionWarning, match="below what float32 resolves"):
        lrnde.regularize(odeint, heuristic=lrnde.ErrorEstimate())(_field, _Y0, _TS, jnp.float32(1.0), draw=[0.4])


@pytest.mark.parametrize(
    ("y0", "ts", "match"),
    [(_Y0, _TS[::-1], "`t` decreases.*forward only"), (_Y0.astype(jnp.complex64), _TS, "`y0` is complex")],
)
def test_what_only_the_values_reveal_is_refused(y0: jax.Array, ts: jax.Array, match: str) -> None:
    with pytest.raises(lrnde.CapabilityError, match=match):
        _solve(_field, y0, ts, 1.0)


def test_another_version_of_the_library_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_solving, "_KNOWN_SOURCE", "of another version")
    _solving._check_source.cache_clear()
    with pytest.raises(lrnde.PluginError, match=r"has another `jax\.experimental\.ode\.odeint`.*Install jax=="):
        _solve(_field, _Y0, _TS, 1.0)
