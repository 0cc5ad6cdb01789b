"""numpy, as the suite uses it, with derivatives by `Dual`s."""

import contextlib
import dataclasses
import gc
import random
import tracemalloc
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from lrnde_conformance._backends import _dual
from lrnde_conformance._backends._backend import AbstractBackend, Differentiated, Equation, FieldWithState
from lrnde_conformance._backends._dual import Dual, plain
from lrnde_conformance._backends._python_states import global_python_states, python_states_preserved, seed_python
from lrnde_conformance._paths import SmoothPath
from lrnde_conformance._problems import Formula, Function


@final
class NumpyBackend(AbstractBackend):
    """numpy on the CPU. Parameters and states may be `Dual`s; a solver that only adds and multiplies does not mind."""

    name: ClassVar[str] = "numpy"
    random_states_are_global: ClassVar[bool] = True
    arrays_are_mutable: ClassVar[bool] = True
    is_compiled: ClassVar[bool] = False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def array(self, values: Any, dtype: str) -> Any:
        return values if isinstance(values, Dual) else np.asarray(values, dtype)

    def to_numpy(self, value: Any) -> np.ndarray:
        if isinstance(value, tuple):
            return np.concatenate([self.to_numpy(part) for part in value], axis=-1)
        return np.stack([plain(part) for part in value]) if isinstance(value, list) else np.asarray(plain(value))

    def equation(self, formula: Formula, parameters: Mapping[str, Any], *, is_split: bool) -> Equation:
        def native(function: Function) -> Callable[[Any, Any], Any]:
            return lambda t, y: _call(function, t, y, parameters, is_split)

        return Equation(native(formula.drift), None if formula.diffusion is None else native(formula.diffusion))

    def narrowed(self, array: Any) -> Any:
        return _dual.astype(array, np.float32)

    def path(self, amplitude: Any, frequency: Any) -> SmoothPath:
        return SmoothPath(np, amplitude, frequency)

    def sum_of_squares(self, states: Any) -> Any:
        return sum((state * state).sum() for state in states)

    def variables(self, values: Mapping[str, np.ndarray], dtype: str) -> dict[str, Dual]:
        directions = np.eye(sum(value.size for value in values.values()), dtype=dtype)
        duals: dict[str, Dual] = {}
        start = 0
        for name, value in values.items():
            tangent = directions[:, start : start + value.size].reshape(len(directions), *value.shape)
            duals[name] = Dual(value.astype(dtype), tangent)
            start += value.size
        return duals

    def moved(self, variables: Mapping[str, Any], values: Mapping[str, np.ndarray], dtype: str) -> Mapping[str, Any]:
        for name, value in values.items():
            variables[name].value[...] = value.astype(dtype)
        return variables

    def gradient(self, function: Callable[[Any], tuple[Any, Any]], variables: Mapping[str, Any]) -> Differentiated:
        value, extra = function(variables)
        sizes = {name: plain(variable).size for name, variable in variables.items()}
        tangent = value.tangent if isinstance(value, Dual) else None
        flat = np.zeros(sum(sizes.values())) if tangent is None else tangent
        gradient: dict[str, np.ndarray] = {}
        for name, variable in variables.items():
            gradient[name], flat = flat[: sizes[name]].reshape(variable.shape), flat[sizes[name] :]
        return Differentiated(value, gradient, extra)

    def evaluate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Any:
        del key
        arrays = {name: value.astype(dtype) for name, value in variables.items()}
        return function(arrays, self._constants(constants, dtype))

    def wait(self) -> None:
        pass

    def random_source(self, seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    def seed_global(self, seed: int) -> None:
        seed_python(seed)

    def global_state(self) -> tuple[bytes, ...]:
        return global_python_states()

    def documented_draw(self) -> None:
        pass

    def field_with_state(self, formula: Formula, *, is_repeatable: bool = False) -> FieldWithState | None:
        if is_repeatable:
            return None  # its one state is numpy's global random state

        def noisy(xp: Any, t: Any, y: Any, p: Any) -> Any:
            noise = float(np.random.normal()) + random.gauss(0.0, 1.0)
            return formula.drift(xp, t, y, p) * (1.0 + 0.1 * noise)

        return FieldWithState(dataclasses.replace(formula, drift=noisy), tuple)

    def vectorized(self, function: Callable[[Any], Any], values: Sequence[Any]) -> None:
        del function, values

    def compiled(self, function: Callable[..., Any]) -> None:
        del function

    def exports(self, function: Callable[..., Any], arrays: Sequence[Any]) -> Mapping[str, Callable[..., Any]]:
        del function, arrays
        return {}

    def held_bytes(self, function: Callable[[], Any]) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            result = function()
            del result
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @contextlib.contextmanager
    def in_thread(self) -> Generator[None]:
        yield

    @contextlib.contextmanager
    def preserved(self) -> Generator[None]:
        # Checks look for what is not finite themselves.
        with python_states_preserved(), np.errstate(all="ignore"):
            yield

    def versions(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}


def _call(function: Function, t: Any, y: Any, parameters: Mapping[str, Any], is_split: bool) -> Any:
    if not is_split:
        return function(_dual, t, y, parameters)
    result = function(_dual, t, _dual.concat(y), parameters)
    return tuple(_dual.astype(result[:, i : i + 1], array.dtype) for i, array in enumerate(y))
