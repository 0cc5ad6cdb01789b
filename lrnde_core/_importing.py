"""Imports of plugins, none of which holds up the others for longer than a limit."""

import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar, final

from lrnde_core._errors import InputError

_Value = TypeVar("_Value")

_LIMIT_VARIABLE = "LRNDE_PLUGIN_SECONDS"
_LIMIT = 60.0


@final
class Importer:
    """Imports in threads of their own, because nothing can stop an import that hangs.

    A thread that is given up goes on, as a daemon; what it comes to is not used.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def is_calling(self) -> bool:
        """Whether the code that is being imported calls, rather than somebody who waits for it."""
        return threading.current_thread() is self._thread

    def __call__(self, load: Callable[[], _Value], limit: float) -> _Value:
        """The result of `load`, which imports. Raises what it raises, and `TimeoutError` after `limit` seconds.

        Within the import of another module, `load` runs in the same thread, without a limit: another thread would wait
        for that module if it needs it, and this one for the thread.
        """
        if _is_importing():
            return load()
        future: Future[_Value] = Future()

        def run() -> None:
            try:
                future.set_result(load())
            except BaseException as error:  # raised again where it is waited for
                future.set_exception(error)

        thread = threading.Thread(target=run, name="lrnde-import", daemon=True)
        self._thread = thread
        thread.start()
        try:
            thread.join(min(limit, threading.TIMEOUT_MAX))
        finally:
            self._thread = None
        if not future.done():
            raise TimeoutError(
                f"its import has taken more than {limit:g} seconds{_place(thread)}; `{_LIMIT_VARIABLE}` "
                "sets another limit"
            )
        return future.result()


def import_limit() -> float:
    """The seconds that the import of a plugin may take. Raises `InputError`."""
    text = os.environ.get(_LIMIT_VARIABLE, str(_LIMIT))
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not limit > 0:
        raise InputError(f"`{_LIMIT_VARIABLE}={text}`: must be a positive number of seconds, or `inf`.")
    return limit


def _is_importing() -> bool:
    """Whether this thread is importing a module."""
    frame = sys._getframe()  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _place(thread: threading.Thread) -> str:
    """The line that a thread is at."""
    frame = sys._current_frames().get(thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
    return "" if frame is None else f", and is at {frame.f_code.co_filename}, line {frame.f_lineno}"
