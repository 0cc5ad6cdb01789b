"""Directions to torch's compiler: to leave wrapped calls alone, and when to run code uncompiled."""

import contextlib
import inspect
import threading
from collections.abc import Generator

import torch

from lrnde_core import NativeFunction, hide_calls

_REASON = (
    "lrnde chooses and counts steps in Python, which torch.compile cannot take into a graph: leave `fullgraph=True` "
    "out, or call the wrapped solve outside. The field itself may be compiled, and a frozen solve (`lrnde.freeze`)."
)


def _hide(function: NativeFunction) -> NativeFunction:
    # `reason` came after torch 2.4.
    has_reason = "reason" in inspect.signature(torch.compiler.disable).parameters
    return torch.compiler.disable(function, reason=_REASON) if has_reason else torch.compiler.disable(function)


# This loads the compiler (a second or two), as making an optimizer does anyway. It cannot wait, because the compiler
# may be the first to reach a wrapped call.
hide_calls(_hide)


class _Uncompiled:
    """A compiler stance of the whole process, kept as long as anyone needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_users = 0
        self._stance: contextlib.AbstractContextManager[object] = contextlib.nullcontext()

    def enter(self) -> None:
        with self._lock:
            if self._num_users == 0:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
            self._num_users += 1

    def leave(self) -> None:
        with self._lock:
            self._num_users -= 1
            if self._num_users == 0:
                self._stance.__exit__(None, None, None)


_UNCOMPILED = _Uncompiled()


@contextlib.contextmanager
def uncompiled() -> Generator[None]:
    """Within the block, functions compiled by `torch.compile` run eagerly, so that they have every derivative.

    PyTorch offers this only for the whole process, so other threads also run their compiled code eagerly meanwhile.
    Before torch 2.6 it does not offer it at all, and a compiled field has no second derivative.
    """
    if not hasattr(torch.compiler, "set_stance"):
        yield
        return
    _UNCOMPILED.enter()
    try:
        yield
    finally:
        _UNCOMPILED.leave()
