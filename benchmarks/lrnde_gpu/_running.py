"""Running a part in a separate process that cannot outlast its time."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import NamedTuple, final

from lrnde_gpu._parts import Part
from lrnde_gpu._place import ROOT

_GRACE = 8.0
"""Seconds that a part has after an interrupt to write down how far it came."""

_TAIL = 40
NEEDED = 10.0
"""A part that would have fewer seconds than this is not begun."""


@final
class PartResult(NamedTuple):
    """What became of a part. `outcome`: `passed`, `failed`, `out of time` or `not begun`. `tail`: its last lines."""

    name: str
    outcome: str
    seconds: float
    tail: list[str]


def run(part: Part, environment: Mapping[str, str], seconds: float) -> PartResult:
    """Run a part for at most `seconds`: then it is interrupted, and soon afterwards killed with all that it started."""
    if seconds < NEEDED:
        return PartResult(part.name, "not begun", 0.0, [f"{max(seconds, 0.0):.0f} s were left"])
    begin = time.monotonic()
    # A file, since a pipe that a surviving child holds open is never at its end.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *part.arguments],
            cwd=ROOT,
            env={**environment, "LRNDE_GPU_SECONDS": f"{seconds - _GRACE:.0f}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = _wait(process, seconds)
        finally:
            _signal(process, signal.SIGKILL)
        output.seek(0)
        text = output.read().decode(errors="replace")
    outcome = "out of time" if code is None else "passed" if code == 0 and part.expected in text else "failed"
    return PartResult(part.name, outcome, time.monotonic() - begin, text.splitlines()[-_TAIL:])


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code; `None` if the time was up before."""
    try:
        return process.wait(seconds - _GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGINT)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()
    return None


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
