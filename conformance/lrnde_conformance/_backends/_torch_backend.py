"""torch, as the suite uses it."""

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch

from lrnde_conformance._backends._backend import AbstractBackend, Differentiated, Equation, FieldWithState
from lrnde_conformance._backends._python_states import global_python_states, python_states_preserved, seed_python
from lrnde_conformance._backends._torch_modules import CalledModule, StatefulDrift, TorchField
from lrnde_conformance._paths import SmoothPath
from lrnde_conformance._problems import Formula


@final
class TorchBackend(AbstractBackend):
    """torch on a CPU or a CUDA device. Fields are modules whose parameters are the task's."""

    name: ClassVar[str] = "torch"
    random_states_are_global: ClassVar[bool] = True
    arrays_are_mutable: ClassVar[bool] = True
    is_compiled: ClassVar[bool] = False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self._graphs: list[torch.fx.GraphModule] = []

    def array(self, values: Any, dtype: str) -> torch.Tensor:
        if isinstance(values, torch.Tensor):
            return values
        return torch.tensor(np.asarray(values), dtype=getattr(torch, dtype), device=self.device)

    def to_numpy(self, value: Any) -> np.ndarray:
        if isinstance(value, tuple):
            return np.concatenate([self.to_numpy(part) for part in value], axis=-1)
        return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)

    def equation(self, formula: Formula, parameters: Mapping[str, Any], *, is_split: bool) -> Equation:
        field = TorchField(formula.drift, parameters, is_split)
        # The parameters belong to the drift, so that they are counted once.
        diffusion = None if formula.diffusion is None else TorchField(formula.diffusion, parameters, is_split)
        return Equation(field, diffusion)

    def narrowed(self, array: Any) -> torch.Tensor:
        return array.to(torch.float32)

    def path(self, amplitude: Any, frequency: Any) -> SmoothPath:
        return SmoothPath(torch, amplitude, frequency)

    def sum_of_squares(self, states: Any) -> Any:
        return (states * states).sum()

    def variables(self, values: Mapping[str, np.ndarray], dtype: str) -> dict[str, torch.nn.Parameter]:
        return {name: torch.nn.Parameter(self.array(value, dtype)) for name, value in values.items()}

    def moved(self, variables: Mapping[str, Any], values: Mapping[str, np.ndarray], dtype: str) -> Mapping[str, Any]:
        with torch.no_grad():
            for name, value in values.items():
                variables[name].copy_(self.array(value, dtype))
        return variables

    def gradient(self, function: Callable[[Any], tuple[Any, Any]], variables: Mapping[str, Any]) -> Differentiated:
        value, extra = function(variables)
        if not value.requires_grad:
            return Differentiated(value, {name: np.zeros(array.shape) for name, array in variables.items()}, extra)
        gradients = torch.autograd.grad(value, list(variables.values()), allow_unused=True, materialize_grads=True)
        named = zip(variables, gradients, strict=True)
        return Differentiated(value.detach(), {name: self.to_numpy(gradient) for name, gradient in named}, extra)

    def evaluate(
        self,
        key: Any,
        function: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        variables: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        dtype: str,
    ) -> Any:
        del key
        return function(self.variables(variables, dtype), self._constants(constants, dtype))

    def without_gradients(self) -> contextlib.AbstractContextManager[object]:
        return torch.no_grad()

    def wait(self) -> None:
        torch.cuda.synchronize() if self.device == "cuda" else None

    def random_source(self, seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def seed_global(self, seed: int) -> None:
        torch.manual_seed(seed)
        seed_python(seed)

    def global_state(self) -> tuple[bytes, ...]:
        states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]
        return (*(state.numpy().tobytes() for state in states), *global_python_states())

    def documented_draw(self) -> torch.Tensor:
        return torch.rand(1, device="cpu")

    def field_with_state(self, formula: Formula, *, is_repeatable: bool = False) -> FieldWithState:
        drift = StatefulDrift(formula.drift, is_repeatable=is_repeatable).to(self.device)
        return FieldWithState(dataclasses.replace(formula, drift=drift), drift.states)

    def num_compiled(self) -> int:
        return len(self._graphs)

    def compiled_field(self, field: Any) -> Any:
        def count(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
            self._graphs.append(graph)
            return graph.forward

        return torch.compile(field, backend=count)

    def vectorized(self, function: Callable[[Any], Any], values: Sequence[Any]) -> None:
        del function, values

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # What is captured whole is what counts, and not the code that a compiler makes of it.
        return torch.compile(function, fullgraph=True, backend="eager", dynamic=True)

    def exports(self, function: Callable[..., Any], arrays: Sequence[Any]) -> Mapping[str, Callable[..., Any]]:
        batch = torch.export.Dim("batch", min=2)
        shapes = {"arrays": tuple({0: batch} for _ in arrays)}
        exported = torch.export.export(CalledModule(function), tuple(arrays), dynamic_shapes=shapes)
        return {"torch.compile": self.compiled(function), "torch.export": exported.module()}

    def held_bytes(self, function: Callable[[], Any]) -> int:
        # What the graph no longer holds in the end does not count, and its memory may be another tensor's by then.
        held: weakref.WeakSet[_Held] = weakref.WeakSet()

        def pack(tensor: torch.Tensor) -> _Held:
            holder = _Held(tensor)
            held.add(holder)
            return holder

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda holder: holder.tensor):
            result = function()
        storages = [holder.tensor.untyped_storage() for holder in held]
        del result
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    @contextlib.contextmanager
    def in_thread(self) -> Generator[None]:
        yield

    @contextlib.contextmanager
    def preserved(self) -> Generator[None]:
        dtype, threads, is_grad_enabled = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
        with torch.random.fork_rng(), python_states_preserved(), warnings.catch_warnings():
            # `torch.compile` looks for `.grad` of all that a field is given (torch 2.13, _dynamo/variables/builder.py,
            # `safe_has_grad`), which fails where warnings are errors; to be removed when torch no longer does.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
            try:
                # Small problems are faster without threads; `--fast` runs several adapters beside each other.
                torch.set_num_threads(1)
                torch.set_grad_enabled(True)
                yield
            finally:
                torch.set_default_dtype(dtype)
                torch.set_num_threads(threads)
                torch.set_grad_enabled(is_grad_enabled)

    def versions(self) -> Mapping[str, str]:
        return {"torch": torch.__version__}


@final
class _Held:
    """A tensor that a graph holds for its backward pass."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
