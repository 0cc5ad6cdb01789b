"""JAX, as the suite uses it: few programs, each compiled once."""

import contextlib
import functools
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, final

import jax
import jax.core
import jax.export
import jax.monitoring
import jax.numpy as jnp
import numpy as np

from lrnde_conformance._backends._backend import AbstractBackend, Counter, Differentiated, Equation
from lrnde_conformance._backends._python_states import global_python_states, python_states_preserved, seed_python
from lrnde_conformance._paths import Crossing, SmoothPath
from lrnde_conformance._problems import Formula, Function

# Pytrees, so that arrays in them are arguments of a program.
jax.tree_util.register_dataclass(SmoothPath, data_fields=["amplitude", "frequency"], meta_fields=["xp"])
jax.tree_util.register_dataclass(Crossing, data_fields=["time"], meta_fields=[])


@final
class JaxBackend(AbstractBackend):
    """JAX on a CPU or a GPU, with 64 bits unless all is float32. Fields are functions `field(t, y, parameters)`."""

    name: ClassVar[str] = "jax"
    random_states_are_global: ClassVar[bool] = False
    arrays_are_mutable: ClassVar[bool] = False
    is_compiled: ClassVar[bool] = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._programs: dict[Any, Any] = {}
        self._is_hurried = True

    def array(self, values: Any, dtype: str) -> jax.Array:
        return values if isinstance(values, jax.Array) else jnp.asarray(np.asarray(values), dtype)

    def number(self, value: float, dtype: str) -> jax.Array:
        return self.array(value, dtype)

    def is_traced(self, value: Any) -> bool:
        return isinstance(value, jax.core.Tracer)

    def to_numpy(self, value: Any) -> np.ndarray:
        if isinstance(value, tuple):
            return np.concatenate([self.to_numpy(part) for part in value], axis=-1)
        return np.asarray(value)

    def equation(self, formula: Formula, parameters: Mapping[str, Any], *, is_split: bool) -> Equation:
        del parameters
        diffusion = None if formula.diffusion is None else _native(formula.diffusion, is_split)
        return Equation(_native(formula.drift, is_split), diffusion)

    def closed(self, field: Any, parameters: Mapping[str, Any]) -> Callable[..., Any]:
        return lambda t, y, _: field(t, y, parameters)

    def narrowed(self, array: Any) -> jax.Array:
        return array.astype(jnp.float32)

    def path(self, amplitude: Any, frequency: Any) -> SmoothPath:
        return SmoothPath(jnp, amplitude, frequency)

    def counted(self, formula: Formula, counter: Counter) -> Formula:
        diffusion = formula.diffusion

        def count_drift() -> None:
            counter.num_drift += 1

        def count_diffusion() -> None:
            counter.num_diffusion += 1

        def counted_drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
            jax.debug.callback(count_drift)
            return formula.drift(xp, t, y, p)

        def counted_diffusion(xp: Any, t: Any, y: Any, p: Any) -> Any:
            assert diffusion is not None
            jax.debug.callback(count_diffusion)
            return diffusion(xp, t, y, p)

        return Formula(f"counted {formula.name}", counted_drift, None if diffusion is None else counted_diffusion)

    def sum_of_squares(self, states: Any) -> Any:
        return (states * states).sum()

    def differentiate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Any, Any]],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Differentiated:
        if key not in self._programs:
            self._programs[key] = self._compiled(jax.value_and_grad(function, has_aux=True))
        (value, extra), gradient = self._programs[key](self._arrays(variables, dtype), self._arrays(constants, dtype))
        return Differentiated(value, {name: np.asarray(part) for name, part in gradient.items()}, extra)

    def evaluate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Any:
        if key in self._programs:
            done = self.differentiate(key, function, variables, constants, dtype)
            return done.value, done.extra
        key = ("forward", key)
        if key not in self._programs:
            self._programs[key] = self._compiled(function)
        return self._programs[key](self._arrays(variables, dtype), self._arrays(constants, dtype))

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        is_hurried = self._is_hurried and self.device == "cpu"
        return jax.jit(function, compiler_options=_hurried_options() if is_hurried else None)

    def trace(self, function: Callable[[Mapping[str, Any]], Any], arrays: Mapping[str, Any], dtype: str) -> None:
        jax.eval_shape(function, self._arrays(arrays, dtype))

    @contextlib.contextmanager
    def as_a_user(self) -> Generator[None]:
        is_hurried, self._is_hurried = self._is_hurried, False
        try:
            yield
        finally:
            self._is_hurried = is_hurried

    @contextlib.contextmanager
    def strict(self) -> Generator[None]:
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            yield

    def wait(self) -> None:
        jax.effects_barrier()

    def random_source(self, seed: int) -> jax.Array:
        return jax.random.key(seed)

    def seed_global(self, seed: int) -> None:
        seed_python(seed)

    def global_state(self) -> tuple[bytes, ...]:
        return global_python_states()

    def documented_draw(self) -> None:
        pass

    def field_with_state(self, formula: Formula, *, is_repeatable: bool = False) -> None:
        del formula, is_repeatable

    def variables(self, values: Mapping[str, np.ndarray], dtype: str) -> dict[str, jax.Array]:
        return self._arrays(values, dtype)

    def moved(self, variables: Mapping[str, Any], values: Mapping[str, np.ndarray], dtype: str) -> dict[str, jax.Array]:
        del variables
        return self._arrays(values, dtype)

    def gradient(self, function: Callable[[Any], tuple[Any, Any]], variables: Mapping[str, Any]) -> Differentiated:
        (value, extra), gradient = jax.value_and_grad(function, has_aux=True)(variables)
        return Differentiated(value, gradient, extra)

    def num_compiled(self) -> int:
        return len(_compilations())

    def vectorized(self, function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
        together = self._compiled(jax.vmap(function))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *values))
        return [jax.tree.map(lambda leaf, place=place: leaf[place], together) for place in range(len(values))]

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        program = self._compiled(function)

        def run(*arrays: Any) -> Any:
            # What a program raises when it runs, JAX logs too.
            logger = logging.getLogger("jax._src.callback")
            was_disabled, logger.disabled = logger.disabled, True
            try:
                return jax.block_until_ready(program(*arrays))
            finally:
                logger.disabled = was_disabled

        return run

    def exports(self, function: Callable[..., Any], arrays: Sequence[Any]) -> Mapping[str, Callable[..., Any]]:
        (batch,) = jax.export.symbolic_shape("batch")
        shapes = [jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype) for array in arrays]
        # Exported code is compiled by `jax.jit` first.
        exported = jax.export.deserialize(jax.export.export(jax.jit(function))(*shapes).serialize())
        return {"jax.export": exported.call}

    def held_bytes(self, function: Callable[[], Any]) -> None:
        del function

    @contextlib.contextmanager
    def in_thread(self) -> Generator[None]:
        with jax.enable_x64(not self.is_narrow), jax.default_device(self._jax_device()):
            yield

    @contextlib.contextmanager
    def preserved(self) -> Generator[None]:
        with python_states_preserved():
            try:
                with jax.enable_x64(not self.is_narrow), jax.default_device(self._jax_device()):
                    yield
            finally:
                jax.effects_barrier()

    def versions(self) -> Mapping[str, str]:
        return {"jax": jax.__version__}

    def _jax_device(self) -> Any:
        return jax.devices("cpu" if self.device == "cpu" else "gpu")[0]

    def _arrays(self, values: Mapping[str, Any], dtype: str) -> dict[str, Any]:
        return {name: self.array(value, dtype) for name, value in values.items()}


@functools.cache
def _hurried_options() -> dict[str, Any] | None:
    """Options with which XLA compiles for a CPU in a third of the time; `None` where a version does not know them."""
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    try:
        jax.jit(lambda: 0, compiler_options=options)()
    except jax.errors.JaxRuntimeError:
        return None
    return options


@functools.cache
def _compilations() -> list[float]:
    """The seconds that each program took to compile since this was first called."""
    found: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


@functools.lru_cache(maxsize=64)
def _native(function: Function, is_split: bool) -> Callable[[Any, Any, Any], Any]:
    """One object for each function: JAX compiles anew for each."""

    def field(t: Any, y: Any, parameters: Any) -> Any:
        if not is_split:
            return function(jnp, t, y, parameters)
        result = function(jnp, t, jnp.concatenate(y, axis=-1), parameters)
        parts = jnp.split(result, result.shape[-1], axis=-1)
        return tuple(part.astype(array.dtype) for part, array in zip(parts, y, strict=True))

    return field
