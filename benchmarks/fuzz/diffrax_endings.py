"""Running one call of diffrax, bare or wrapped."""

import warnings
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
from diffrax_programs import Program, random_source
from endings import OWN_WARNINGS, PHASE, Ending, described
from traces import fingerprint, process_settings, random_states, seed_everything

import lrnde

COMPILED: list[float] = []
"""How long each program took to compile."""


def _note_compiled(event: str, duration_secs: float, **_: str | int) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(duration_secs)


jax.monitoring.register_event_duration_secs_listener(_note_compiled)


class Runner:
    """The calls of a program, bare and wrapped, each compiled once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bare, self.wrapped = (self._prepared(function) for function in (self._bare, self._wrapped))

    def _bare(self, values: dict[str, Any]) -> tuple[Any, Any]:
        args, kwargs = self.program.arguments(values)
        return diffrax.diffeqsolve(*args, **kwargs), None

    def _wrapped(self, values: dict[str, Any]) -> tuple[Any, Any]:
        args, kwargs = self.program.arguments(values)
        solve = lrnde.regularize(diffrax.diffeqsolve, **self.program.settings)
        return solve(*args, **kwargs, **self.program.extras, **random_source(self.program, values))

    def _prepared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of values and the penalty's weight, which gives result, report and gradient."""
        program = self.program

        def plain(values: Any, weight: Any) -> Any:
            del weight
            return (*function(values), None)

        def differentiated(values: Any, weight: Any) -> Any:
            moving, rest = eqx.partition({name: values[name] for name in ("a", "b", "y0")}, eqx.is_inexact_array)

            def loss(moving: Any) -> tuple[Any, Any]:
                result, report = function({**values, **eqx.combine(moving, rest)})
                total = _loss(result)
                return total if report is None else total + _weighted(weight, report.penalty), (result, report)

            if isinstance(program.keywords.get("adjoint"), diffrax.ForwardMode):
                (_, pair), (gradient, _) = eqx.filter_jvp(loss, (moving,), (jax.tree.map(jnp.ones_like, moving),))
                return (*pair, gradient)
            (_, pair), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(moving)
            return (*pair, gradient)

        match program.mode:
            case "eager":
                return plain
            case "jit":
                return eqx.filter_jit(plain)
            case "vmap":
                in_axes = {
                    name: 0 if name == "y0" else None
                    for name in ("y0", "t0", "t1", "dt0", "rtol", "atol", "a", "b", "noise", "key", "draw")
                }
                return eqx.filter_jit(eqx.filter_vmap(plain, in_axes=(in_axes, None)))
            case _:
                return eqx.filter_jit(differentiated)


def _weighted(weight: Any, penalty: Any) -> Any:
    # A weight of 0 stands for a loss without the penalty, so that it takes no part in the gradient either.
    return jax.lax.cond(
        weight == 0, lambda _: jnp.zeros((), jnp.float32), lambda p: (weight * p).astype(jnp.float32), penalty
    )


def _loss(result: Any) -> Any:
    leaves = [leaf for leaf in jax.tree.leaves((result.ys, result.ts)) if eqx.is_inexact_array(leaf)]
    parts = [jnp.sum(jnp.where(jnp.isfinite(leaf), leaf, 0).real.astype(jnp.float32)) for leaf in leaves]
    return sum(parts, jnp.zeros((), jnp.float32))


def bits(value: Any) -> Any:
    """The bits of an array, where there is one."""
    if eqx.is_array(value) and not jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        array = np.asarray(value)
        if jnp.issubdtype(array.dtype, jnp.inexact):
            # What is not a number has a sign too, which no rule decides.
            array = np.where(np.isnan(array), np.asarray(np.nan, array.dtype), array)
        return array.dtype.name, array.shape, array.tobytes()
    return None if callable(value) else str(value)


def _read(ending: Ending, name: str, tree: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        ending.values[f"{name}{jax.tree_util.keystr(path)}"] = bits(leaf)


def run(runner: Runner, function: Any, values: dict[str, Any], seed: int, bare: Ending | None) -> Ending:
    seed_everything(seed)
    PHASE["now"] = "bare" if bare is None else "wrapped"
    ending, gradient = Ending(), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = process_settings()
        try:
            result, report, gradient = jax.block_until_ready(function(values, jnp.zeros((), jnp.float32)))
            _read(ending, "result", result)
            _read(ending, "gradient", gradient)
            ending.is_finite = all(_finite(result.ys).values())
            if report is not None:
                _check_report(ending, report, result)
        except Exception as exc:
            ending.raised(exc)
        ending.left = {f"random state of {name}": state for name, state in random_states().items()}
        ending.left |= {name: fingerprint(np.asarray(value)) for name, value in values.items() if name != "y0"}
        ending.left["settings of the process"] = process_settings() == before
        if bare is not None and ending.outcome == "result" and runner.program.mode == "grad":
            _, _, combined = jax.block_until_ready(function(values, jnp.asarray(0.3, jnp.float32)))
            ending.finite = _finite(combined)
        elif ending.outcome == "result" and runner.program.mode == "grad":
            ending.finite = _finite(gradient)
    own = tuple(kind.__name__ for kind in OWN_WARNINGS)
    seen = {described(each.message) for each in caught}
    ending.warned = {(kind, text) for kind, text in seen if kind not in own}
    return ending


def _finite(gradient: Any) -> dict[str, bool]:
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    return {jax.tree_util.keystr(path): bool(jnp.all(jnp.isfinite(leaf))) for path, leaf in leaves}


def _check_report(ending: Ending, report: Any, result: Any) -> None:
    penalty = report.penalty
    if not jnp.issubdtype(penalty.dtype, jnp.floating):
        ending.faults.append(f"the penalty is not real: {penalty!r}")
    elif not bool(jnp.all(jnp.isfinite(penalty))):
        ending.faults.append(f"the penalty is not finite: {penalty!r}")
    del result
