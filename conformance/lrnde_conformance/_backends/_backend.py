"""An array library as the suite uses it: arrays, fields, gradients, counted calls, random states."""

import abc
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from lrnde_conformance._paths import Crossing, SmoothPath
from lrnde_conformance._problems import Formula

Array = Any


@final
class Counter:
    """Counts calls of a field and of a diffusion."""

    def __init__(self, num_drift: int = 0, num_diffusion: int = 0) -> None:
        self.num_drift = num_drift
        self.num_diffusion = num_diffusion

    def reset(self) -> None:
        """Start at 0 again."""
        self.num_drift = self.num_diffusion = 0

    def copy(self) -> "Counter":
        """The counts as they are now."""
        return Counter(self.num_drift, self.num_diffusion)

    @property
    def total(self) -> int:
        """Drift plus diffusion evaluations."""
        return self.num_drift + self.num_diffusion


class FieldWithState(NamedTuple):
    """A formula that keeps buffers and draws random numbers when it is evaluated; `buffers()` are to be compared."""

    formula: Formula
    buffers: Callable[[], Any]


class Equation(NamedTuple):
    """Drift and diffusion (`None` for an ordinary equation) in the form that the backend's solvers take."""

    field: Any
    diffusion: Any


class Differentiated(NamedTuple):
    """A scalar, its gradient by name (as numpy arrays), and what else the function returned."""

    value: Any
    gradient: Mapping[str, np.ndarray]
    extra: Any


class AbstractBackend(abc.ABC):
    """One array library on one device.

    - `name`: of the library. `device`: `"cpu"` or `"cuda"`.
    - `random_states_are_global`: whether the library has random states that code may advance unseen.
    - `arrays_are_mutable`: whether a field can write into the state that it is given.
    - `is_compiled`: whether each new program is compiled, so that a few must do.
    - `is_narrow`: whether float32 is all that is asked for; set by the `Subject`.
    """

    name: ClassVar[str]
    random_states_are_global: ClassVar[bool]
    arrays_are_mutable: ClassVar[bool]
    is_compiled: ClassVar[bool]
    is_narrow: bool = False
    device: str

    @abc.abstractmethod
    def array(self, values: Any, dtype: str) -> Any:
        """An array of the library on the device."""

    def number(self, value: float, dtype: str) -> Any:
        """A tolerance or a step size as a user would give it; an array where a program is compiled for each number."""
        del dtype
        return value

    def is_traced(self, value: Any) -> bool:
        """Whether the value of an array is not known yet, for a program is made of it."""
        del value
        return False

    @abc.abstractmethod
    def to_numpy(self, value: Any) -> np.ndarray:
        """A numpy array with the same values and dtype; of a tuple of arrays, one that joins them at the last axis."""

    @abc.abstractmethod
    def equation(self, formula: Formula, parameters: Mapping[str, Any], *, is_split: bool) -> Equation:
        """The native form of a formula with these parameters.

        `is_split`: for a state that is a tuple of one array per column; the parts of the result have their dtypes.
        """

    def closed(self, field: Any, parameters: Mapping[str, Any]) -> Callable[..., Any]:
        """The native field as a plain function that captures its parameters."""
        del parameters
        return lambda t, y: field(t, y)  # noqa: PLW0108 (a function, whatever the field is)

    @final
    def split(self, y: Any, *, is_mixed: bool) -> tuple[Any, ...]:
        """The columns of a state, each an array; `is_mixed`: the first of them float32."""
        first, *others = (y[:, column : column + 1] for column in range(y.shape[1]))
        return (self.narrowed(first) if is_mixed else first, *others)

    @abc.abstractmethod
    def narrowed(self, array: Any) -> Any:
        """The array in float32."""

    @abc.abstractmethod
    def path(self, amplitude: Any, frequency: Any) -> SmoothPath:
        """The path of these arrays of the library."""

    @final
    def event(self, time: Any) -> Crossing:
        """The event at this time."""
        return Crossing(time)

    def counted(self, formula: Formula, counter: Counter) -> Formula:
        """A formula whose calls are counted as often as they are executed; here by Python, where it executes each."""
        diffusion = formula.diffusion

        def drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
            counter.num_drift += 1
            return formula.drift(xp, t, y, p)

        def counted_diffusion(xp: Any, t: Any, y: Any, p: Any) -> Any:
            assert diffusion is not None
            counter.num_diffusion += 1
            return diffusion(xp, t, y, p)

        return Formula(f"counted {formula.name}", drift, None if diffusion is None else counted_diffusion)

    @abc.abstractmethod
    def sum_of_squares(self, states: Any) -> Any:
        """A loss of what a driver's `states` returns."""

    def differentiate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[Any, Any]],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Differentiated:
        """`function(variables, constants) -> (scalar, extra)` and its gradient with respect to each variable.

        Functions with equal `key` are the same but for their arguments; a backend may compile them once.
        """
        del key
        numbers = self._constants(constants, dtype)
        return self.gradient(lambda arrays: function(arrays, numbers), self.variables(variables, dtype))

    @abc.abstractmethod
    def evaluate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Any:
        """`function(variables, constants)` without gradient."""

    def trace(self, function: Callable[[Mapping[str, Any]], Any], arrays: Mapping[str, Any], dtype: str) -> None:
        """Make a program of `function(arrays)`, and neither compile nor run it; nothing where the library has none."""
        del function, arrays, dtype

    def as_a_user(self) -> contextlib.AbstractContextManager[None]:
        """Within the block programs are compiled as a user's would be, rather than in a hurry."""
        return contextlib.nullcontext()

    def without_gradients(self) -> contextlib.AbstractContextManager[object] | None:
        """Within the block nothing is differentiated; `None` where the library has no such mode."""
        return None

    def strict(self) -> contextlib.AbstractContextManager[None] | None:
        """Within the block the library refuses to promote dtypes and ranks; `None` where it has no such mode."""
        return None

    @abc.abstractmethod
    def wait(self) -> None:
        """Block until pending work, callbacks included, has finished."""

    @abc.abstractmethod
    def random_source(self, seed: int) -> Any:
        """A random source as the adapters of this library take it."""

    @abc.abstractmethod
    def seed_global(self, seed: int) -> None:
        """Seed whatever is global."""

    @abc.abstractmethod
    def global_state(self) -> tuple[bytes, ...]:
        """The global random states, to be compared."""

    @abc.abstractmethod
    def documented_draw(self) -> Any:
        """Make the one draw that is documented where no random source is given; `None` where one must be given."""

    @abc.abstractmethod
    def field_with_state(self, formula: Formula, *, is_repeatable: bool = False) -> FieldWithState | None:
        """A formula with state; `None` where fields are pure.

        - `is_repeatable`: whether its values must not depend on its state, nor it draw random numbers.
        """

    @abc.abstractmethod
    def variables(self, values: Mapping[str, np.ndarray], dtype: str) -> dict[str, Any]:
        """Arrays of the library that `gradient` differentiates by."""

    @abc.abstractmethod
    def moved(self, variables: Mapping[str, Any], values: Mapping[str, np.ndarray], dtype: str) -> Mapping[str, Any]:
        """Variables with other values: where arrays are mutable the same ones, changed in place as optimisers do it."""

    @abc.abstractmethod
    def gradient(self, function: Callable[[Any], tuple[Any, Any]], variables: Mapping[str, Any]) -> Differentiated:
        """`function(variables) -> (scalar, extra)` and its gradient, with arrays of the library.

        Where `is_compiled`, also for use within `compiled` and `vectorized`.
        """

    def num_compiled(self) -> int:
        """How many programs were compiled since this was first asked; 0 where calls compile none."""
        return 0

    def compiled_field(self, field: Any) -> Any:
        """The native field, compiled for what `num_compiled` counts; `None` where users compile none."""
        del field

    @abc.abstractmethod
    def vectorized(self, function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any] | None:
        """What `function` returns for each of the values, vectorised over them; `None` where that does not exist."""

    @abc.abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any] | None:
        """`function` of arrays, compiled when it is first called; `None` where the library has no compiler."""

    @abc.abstractmethod
    def exports(self, function: Callable[..., Any], arrays: Sequence[Any]) -> Mapping[str, Callable[..., Any]]:
        """`function` of arrays like these, by each way that the library has to compile or export code, by name.

        Their first axis, common to all, may have any length. Empty where there is no such way.
        """

    @abc.abstractmethod
    def held_bytes(self, function: Callable[[], Any]) -> int | None:
        """The memory of a call: saved for its backward pass, or at its peak; `None` where it cannot be measured."""

    @abc.abstractmethod
    def in_thread(self) -> contextlib.AbstractContextManager[None]:
        """What `preserved` sets up, for the thread that enters."""

    @abc.abstractmethod
    def preserved(self) -> contextlib.AbstractContextManager[None]:
        """Within the block the library is set up as the checks need it; afterwards everything global is as before."""

    @abc.abstractmethod
    def versions(self) -> Mapping[str, str]:
        """Versions of the library."""

    @final
    def _constants(self, constants: Mapping[str, Any], dtype: str) -> dict[str, Any]:
        """The same with arrays of the library, which a field may write into; numbers stay as they are."""
        is_array = {name: isinstance(value, np.ndarray) and value.ndim > 0 for name, value in constants.items()}
        return {name: self.array(v.copy(), dtype) if is_array[name] else v for name, v in constants.items()}
