"""A call of the reference solver: run with a recorder in place, and read afterwards."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._reference._dual import copied, detach
from lrnde_conformance._reference._methods import ADAPTIVE, IMPLICIT
from lrnde_conformance._reference._problem import ReferenceProblem, as_dual
from lrnde_core import (
    AbstractCall,
    AcceptedStep,
    Counts,
    Draw,
    DrawnStep,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    noise_seed,
)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceCall(AbstractCall):
    """A call of `integrate`. `settings`: its keyword arguments."""

    native: Callable[..., Any]
    field: Any
    y0: Any
    ts: tuple[float, ...]
    settings: Mapping[str, Any]
    facts: MethodFacts

    def on_copy(self) -> "ReferenceCall":
        """The same call from a copy of its initial state, into which the field may write."""
        return dataclasses.replace(self, y0=copied(self.y0))

    def run(self, plan: RecordingPlan | None) -> Run:
        settings, has_event = dict(self.settings), self.settings.get("event") is not None
        duration = None if has_event else abs(self.ts[-1] - self.ts[0])
        recorder = _Recorder(self.field, settings.get("diffusion"), plan, self.ts[0], duration)
        settings["observe"] = recorder.observe
        if recorder.diffusion is not None:
            settings["diffusion"] = recorder.count_diffusion
        result = self.native(recorder.count_drift, self.y0, self.ts, **settings)
        counts = self._counts(recorder)
        if plan is None:
            return Run(result, counts, None)
        is_adaptive = self.facts.name in ADAPTIVE
        problem = ReferenceProblem(
            self.facts.name,
            self.field,
            self.settings.get("diffusion"),
            self.settings.get("path"),
            self.settings.get("rtol", 1e-3) if is_adaptive else None,
            self.settings.get("atol", 1e-6) if is_adaptive else None,
        )
        end = result[0] if has_event else self.ts[-1]
        records = [self._record(draw, kept, recorder, plan, end) for draw, kept in recorder.drawn()]
        is_valid = recorder.num_accepted > 0
        return Run(result, counts, Recording(problem, records, is_valid, num_evaluated=len(records)))

    def _counts(self, recorder: "_Recorder") -> Counts:
        is_stochastic = self.facts.is_stochastic
        num_drawn = recorder.num_diffusion if is_stochastic else 0
        return Counts(
            # How often an implicit step iterates is nobody's business.
            nfe=None if self.facts.name in IMPLICIT else recorder.num_drift + num_drawn,
            num_steps=recorder.num_steps,
            num_accepted=recorder.num_accepted,
            num_rejected=recorder.num_steps - recorder.num_accepted,
            nfe_diffusion=recorder.num_diffusion if is_stochastic else None,
            num_forced=recorder.num_forced if self.facts.name in ADAPTIVE else None,
        )

    def _record(
        self, draw: Draw, kept: tuple[float, float, Any] | None, recorder: "_Recorder", plan: RecordingPlan, end: float
    ) -> Record:
        t, size, y = (self.ts[0], 0.0, self.y0) if kept is None else kept
        is_end_known = recorder.duration is not None
        remaining = end - t
        # An event may end the solve inside of its last step.
        h = size if abs(size) <= abs(remaining) else remaining
        drawn = DrawnStep(
            elapsed=abs(t - self.ts[0]),
            size=abs(h),
            measure=abs(h) if is_end_known else abs(size),
            duration=recorder.covered if recorder.duration is None else recorder.duration,
            num_accepted=recorder.num_accepted,
            is_end_known=is_end_known,
        )
        carry = _FreshPath(draw, t, h, self.settings["path"]) if plan.sampler.increment == "fresh" else None
        return Record(t, h, (as_dual(y) if plan.keeps_gradient else detach(y),), carry, remaining, drawn)


class _FreshPath:
    """Brownian motion over one step and its halves, a function of the draw alone; shaped as another path."""

    def __init__(self, draw: Draw, t: float, h: float, like: Any) -> None:
        old = np.asarray(like(t))
        halves = np.random.default_rng(noise_seed(draw.bits)).normal(size=(2, *old.shape)).astype(old.dtype)
        halves = halves * math.sqrt(0.5 * abs(h))
        self._times = np.array([t, t + 0.5 * h, t + h])
        self._values = np.concatenate([0 * halves[:1], np.cumsum(halves, axis=0)])

    def __call__(self, time: float) -> Any:
        return self._values[np.argmin(abs(self._times - time))]


class _Recorder:
    """Counts evaluations and keeps the drawn steps of one solve; `duration` is `None` where an event decides it."""

    def __init__(
        self, field: Any, diffusion: Any, plan: RecordingPlan | None, start: float, duration: float | None
    ) -> None:
        self._field = field
        self.diffusion = diffusion
        self._plan = plan
        self._start = start
        self.duration = duration
        self.covered = 0.0
        self.num_drift = 0
        self.num_diffusion = 0
        self.num_steps = 0
        self.num_accepted = 0
        self.num_forced = 0
        self.draws: list[Draw] = []
        if plan is not None:
            assert isinstance(plan.draws, list)  # as `check_draw` makes it
            self.draws = plan.draws
        self._keeps_every_step = plan is not None and plan.sampler.keeps_every_step
        self._kept: list[tuple[float, float, Any] | None] = [] if self._keeps_every_step else [None] * len(self.draws)

    def drawn(self) -> list[tuple[Draw, tuple[float, float, Any] | None]]:
        """The kept steps, each with its draw; `None` where there was none. One draw stands for all steps."""
        kept = self._kept or [None]
        return list(zip(self.draws * len(kept) if self._keeps_every_step else self.draws, kept, strict=True))

    def count_drift(self, t: Any, y: Any) -> Any:
        self.num_drift += 1
        return self._field(t, y)

    def count_diffusion(self, t: Any, y: Any) -> Any:
        self.num_diffusion += 1
        return self.diffusion(t, y)

    def observe(self, t: float, h: float, y: Any, ratio: float, is_accepted: bool) -> None:
        self.num_steps += 1
        if not is_accepted:
            return
        self.num_accepted += 1
        self.num_forced += ratio > 1
        step = AcceptedStep(self.num_accepted, abs(t - self._start), abs(h), self.duration)
        self.covered = step.elapsed + step.size
        if self._keeps_every_step:
            self._kept.append((t, h, y))
            return
        for place, draw in enumerate(self.draws):
            assert self._plan is not None
            if self._plan.sampler.keep(draw, step):
                self._kept[place] = (t, h, y)
