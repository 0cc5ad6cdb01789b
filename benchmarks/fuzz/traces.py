"""Traces that a call may leave: fingerprints that are equal where nothing differs."""

import random
import sys
import types
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

_ATOMS = (str, bytes, float, complex, bool, type(None))
_DEPTH = 6


def random_states() -> dict[str, Any]:
    """The global random states of torch, numpy and Python."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.random.get_rng_state().numpy().tobytes(),
        "numpy": (kind, np.asarray(keys).tobytes(), *rest),
        "python": random.getstate(),
    }


def seed_everything(seed: int) -> None:
    """Set the global random states."""
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` looks for every accelerator each time
    np.random.seed(seed % 2**32)
    random.seed(seed)


def process_settings() -> dict[str, Any]:
    """Settings of the whole process that a solve has no business with."""
    return {
        "warnings": [(action, category) for action, _, category, *_ in warnings.filters],
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "numpy": np.geterr(),
    }


class Attributes:
    """The attributes of a library's modules and of the classes in them; what changes them is named."""

    def __init__(self, libraries: Iterable[str]) -> None:
        self.owners: list[Any] = []
        for library in libraries:
            names = [name for name in sys.modules if name == library or name.startswith(library + ".")]
            modules = [sys.modules[name] for name in names]
            self.owners += modules
            classes = [
                value
                for module in modules
                for value in list(vars(module).values())
                if type(value) is type or issubclass(type(value), type)
            ]
            self.owners += [each for each in dict.fromkeys(classes) if each.__module__.partition(".")[0] == library]
        # Values are kept as well, so that no identity is given away twice.
        self.known = [dict(vars(owner)) for owner in self.owners]

    def changed(self) -> list[str]:
        """The names of attributes that are others than at first."""
        found: list[str] = []
        for owner, known in zip(self.owners, self.known, strict=True):
            now = vars(owner)
            if len(now) == len(known) and all(map(_is, now.values(), known.values())):
                continue
            name = owner.__name__
            found += [
                f"{name}.{key}"
                for key in now.keys() | known.keys()
                if now.get(key) is not known.get(key) and not _is_cached(key, now.get(key), known.get(key))
            ]
        return found


def _is(left: Any, right: Any) -> bool:
    return left is right


def _is_cached(name: str, new: Any, old: Any) -> bool:
    # What the interpreter and `abc` keep in classes and modules, submodules that are imported late, and counters.
    return name.startswith(("_abc_", "__")) or isinstance(new, types.ModuleType | int) or new is old


def fingerprint(value: Any, depth: int = _DEPTH, seen: frozenset[int] = frozenset()) -> Any:
    """What is in a value; whole numbers aside, since those of a field may count its evaluations."""
    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, _ATOMS):
        return repr(value)
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, torch.Generator):
        return "generator", value.get_state().numpy().tobytes()
    if depth == 0 or id(value) in seen:
        return type(value).__name__
    seen |= {id(value)}
    if isinstance(value, dict):
        return "dict", [
            (key if isinstance(key, str) else type(key).__name__, fingerprint(entry, depth - 1, seen))
            for key, entry in value.items()
        ]
    if isinstance(value, list | tuple):
        return type(value).__name__, [fingerprint(entry, depth - 1, seen) for entry in value]
    if isinstance(value, type | types.FunctionType | types.ModuleType | types.BuiltinFunctionType):
        return type(value).__name__
    if hasattr(value, "fingerprint"):
        return value.fingerprint()
    if hasattr(value, "__dict__"):
        return type(value).__name__, fingerprint(vars(value), depth - 1, seen)
    return type(value).__name__


def _of_tensor(value: torch.Tensor) -> Any:
    if value.is_sparse or value.is_meta:
        return "tensor", str(value.layout), value.shape
    grad = fingerprint(value.grad) if value.is_leaf else None
    return "tensor", value.dtype, value.shape, value.stride(), value.requires_grad, tensor_bytes(value), grad


def tensor_bytes(value: torch.Tensor) -> bytes:
    """The bits of a tensor, in the order of its elements."""
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
