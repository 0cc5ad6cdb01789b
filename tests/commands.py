"""The command `lrnde` in this process, and in a separate one that can be interrupted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

PATIENCE = 240
# A suite that a script runs in the background hands down an ignored SIGINT, which Python would go on ignoring.
_PROGRAM = """
import signal
from lrnde_cli import main
if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
"""
_COMMAND = (sys.executable, "-c", _PROGRAM)


class Printed(NamedTuple):
    """The exit code of a command, and what it printed; `words` is all of that in one line."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        return " ".join((self.out + self.err).split())


Command = Callable[..., Printed]
"""Takes the arguments of `lrnde`; the fixture `command` runs it in this process."""


def interrupt(*args: str, once: Callable[[], bool]) -> Printed:
    """`lrnde` in a separate process, interrupted by Ctrl-C once that holds."""
    process = subprocess.Popen(
        [*_COMMAND, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends the signal to the whole group, workers included.
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not once():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Printed(process.returncode, output, errors)


class InlineExecutor(Executor):
    """Runs a job in this process when it is submitted. Interrupts do as in a terminal: they end everything."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, kill_workers: bool = False) -> None:
        del wait, cancel_futures, kill_workers
