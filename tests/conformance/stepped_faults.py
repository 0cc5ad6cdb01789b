"""Faults that training on checked steps may have, and a holder that keeps its plan."""

import dataclasses
from typing import Any, final

from lrnde_conformance import ReferenceDriver
from lrnde_conformance._backends._dual import plain
from lrnde_core import AbstractPlanHolder, CheckedPlan, FixedSteps, Gradient, Scalar

_TRUE = ReferenceDriver()


@final
class Holder(AbstractPlanHolder):
    """Keeps the plan of a training whose every call is one of its iterations."""

    def __init__(self, plan: CheckedPlan) -> None:
        self.plan = plan
        self._step_error: Scalar | None = None

    def is_training(self) -> bool:
        return True

    def remember(self, step_error: Scalar | None) -> None:
        self._step_error = step_error

    def remembered(self) -> float | None:
        return None if self._step_error is None else float(self._step_error)

    def agree(self, value: float) -> float:
        return value


def by_euler(steps: FixedSteps) -> FixedSteps:
    """The same steps by another method."""
    return dataclasses.replace(steps, method="euler")


def at_the_start(record: Any, _: Any) -> Any:
    return record if record.point is None else record._replace(point=(record.t, record.y))


def as_the_only_step(record: Any, _: Any) -> Any:
    return record._replace(drawn=record.drawn._replace(num_accepted=1))


def without_gradient_of_states(run: Any, *_: Any) -> Any:
    return run._replace(result=[plain(state) for state in run.result])


def with_step_error(change: Any) -> Any:
    """Another `step_error` of silent calls, from the true one."""

    def changed(run: Any, _: Any) -> Any:
        error = run.counts.step_error
        return run._replace(counts=run.counts._replace(step_error=None if error is None else change(error)))

    return changed


def by_another_cotangent(solved: Any) -> Any:
    """The gradient by a cotangent that depends on the solve."""
    scale = 1.0 + float(solved.states[0].sum())
    return solved._replace(gradient=Gradient(tuple(scale * leaf for leaf in solved.gradient.y0), ()))


def with_the_same_gradient(solved: Any) -> Any:
    """The gradient of all steps, and of the adaptive solve."""
    return solved._replace(gradient=Gradient(tuple(leaf * 0.0 + 1.0 for leaf in solved.gradient.y0), ()))


def reading_not_counted(run: Any, _: Any) -> Any:
    return run._replace(recording=run.recording._replace(num_reading=0))


def always_planned(solve: Any, task: Any, **extra: Any) -> Any:
    if "plan" in extra and extra["plan"] is None:
        extra["plan"] = FixedSteps.equal("dormand-prince", 8)
    return _TRUE.call(solve, task, **extra)


def without_event(call: Any) -> Any:
    return dataclasses.replace(call, settings={**call.settings, "event": None})
