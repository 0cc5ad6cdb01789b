"""Progress of a run: bars on a terminal, a line per finished cell elsewhere."""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lrnde_benchmarks._study import Job


def remaining_seconds(elapsed: float, done: float, total: float) -> float | None:
    """How long the rest takes at the average speed so far; `None` before anything is done."""
    return elapsed * (total - done) / done if done > 0 else None


def in_words(seconds: float | None) -> str:
    """A duration as people say it."""
    if seconds is None:
        return ""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.{int(unit == 'h')}f} {unit} left"
    return f"about {seconds:.0f} s left"


@final
class Display:
    """What is shown while `jobs` of `steps` iterations each are trained. Its methods may be called by any thread."""

    def __init__(
        self,
        jobs: Sequence[Job],
        steps: int,
        console: Console,
        bars: Progress | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._steps = steps
        self._console = console
        self._bars = bars
        self._clock = clock
        self._begin = clock()
        self._counts = [0] * len(jobs)
        self._finished: set[Job] = set()
        self._lines: dict[Job, TaskID] = {}
        self._all = None if bars is None else bars.add_task("all", total=len(jobs) * steps, left="")

    def progress(self, counts: Sequence[int]) -> None:
        """Iterations done so far, by job."""
        self._counts = list(counts)
        if self._bars is None or self._all is None:
            return
        self._bars.update(self._all, completed=self._done(), left=self._left(), description=self._summary())
        for job, count in zip(self._jobs, counts, strict=True):
            if count > 0 and job not in self._finished:
                if job not in self._lines:
                    self._lines[job] = self._bars.add_task(job.label, total=self._steps, left="")
                self._bars.update(self._lines[job], completed=count)

    def finished(self, job: Job) -> None:
        """A job is through, well or not."""
        self._finished.add(job)
        if self._bars is None:
            left = self._left()
            self._console.print(f"{self._summary()}{f'; {left}' if left else ''}", highlight=False)
        elif job in self._lines:
            self._bars.remove_task(self._lines.pop(job))

    def _summary(self) -> str:
        return f"finished {len(self._finished)} of {len(self._jobs)} trainings"

    def _left(self) -> str:
        if len(self._finished) == len(self._jobs):
            return ""
        total = len(self._jobs) * self._steps
        return in_words(remaining_seconds(self._clock() - self._begin, self._done(), total))

    def _done(self) -> int:
        counted = zip(self._jobs, self._counts, strict=True)
        return sum(self._steps if job in self._finished else count for job, count in counted)


@contextlib.contextmanager
def showing(jobs: Sequence[Job], steps: int, console: Console) -> Generator[Display]:
    """A display for the time of a run."""
    if not console.is_terminal:
        yield Display(jobs, steps, console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield Display(jobs, steps, console, bars)
