"""A call of the reference solver: run with a recorder in place, and read afterwards."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._backends._dual import copied, detach, plain
from lrnde_conformance._reference._problem import ReferenceProblem, as_dual
from lrnde_conformance._reference._steps import ADAPTIVE, IMPLICIT
from lrnde_core import (
    AbstractCall,
    CallChange,
    CapabilityError,
    Counts,
    Draw,
    InputError,
    KeptStep,
    KeptSteps,
    Leaves,
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

    def changed(self, change: CallChange) -> "ReferenceCall":
        if self.facts.name not in ADAPTIVE:
            msg = f"`{self.facts.name}` takes fixed steps, whatever its tolerances and samples are."
            raise CapabilityError(msg)
        settings, factor = dict(self.settings), change.tolerance_factor
        settings |= {"rtol": factor * settings.get("rtol", 1e-3), "atol": factor * settings.get("atol", 1e-6)}
        if change.first_step is not None:
            settings["first_step"] = change.first_step
        y0 = self.y0 if change.samples is None else self.y0[list(change.samples)]
        return dataclasses.replace(self, y0=y0, settings=settings)

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
        end = result[0] if has_event else self.ts[-1]
        steps = recorder.steps
        assert steps is not None  # a plan was given
        assert isinstance(plan.draws, list)  # as `check_draw` makes it
        kept = steps.kept or [None]
        # One draw stands for all steps, where all are kept.
        draws = plan.draws * len(kept) if plan.sampler.keeps_every_step else plan.draws
        records = [self._record(draw, each, steps, plan, end) for draw, each in zip(draws, kept, strict=True)]
        is_valid = recorder.num_accepted > 0
        return Run(result, counts, Recording(self.problem(), records, is_valid, num_evaluated=len(records)))

    def problem(self) -> ReferenceProblem:
        """The local problem of a step by the method of the call."""
        is_adaptive = self.facts.name in ADAPTIVE
        return ReferenceProblem(
            self.facts.name,
            self.field,
            self.settings.get("diffusion"),
            self.settings.get("path"),
            self.settings.get("rtol", 1e-3) if is_adaptive else None,
            self.settings.get("atol", 1e-6) if is_adaptive else None,
            self.facts.tableau,
        )

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

    def check_probes(self, probes: Any) -> Leaves:
        array = np.asarray(probes)
        if array.shape != self.y0.shape or array.dtype != plain(self.y0).dtype:
            msg = (
                f"`probes` have shape {array.shape} and dtype {array.dtype}; the state has {self.y0.shape} and "
                f"{plain(self.y0).dtype}."
            )
            raise InputError(msg)
        return (as_dual(array),)

    def _record(self, draw: Draw, kept: KeptStep | None, steps: KeptSteps, plan: RecordingPlan, end: float) -> Record:
        t, size, y = (self.ts[0], 0.0, self.y0) if kept is None else kept.step
        remaining = end - t
        # An event may end the solve inside of its last step.
        h = size if abs(size) <= abs(remaining) else remaining
        carry = _FreshPath(draw, t, h, self.settings["path"]) if plan.sampler.increment == "fresh" else None
        y = as_dual(y) if plan.keeps_gradient else detach(y)
        return Record(t, h, (y,), carry, remaining, steps.drawn(kept, abs(h)))


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
    """Counts evaluations and offers the steps of one solve; `duration` is `None` where an event decides it."""

    def __init__(
        self, field: Any, diffusion: Any, plan: RecordingPlan | None, start: float, duration: float | None
    ) -> None:
        self._field = field
        self._start = start
        self.diffusion = diffusion
        self.num_drift = 0
        self.num_diffusion = 0
        self.num_steps = 0
        self.num_accepted = 0
        self.num_forced = 0
        self.steps = None if plan is None else plan.keep_steps(duration)

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
        if self.steps is not None:
            self.steps.offer(abs(t - self._start), abs(h), (t, h, y))
