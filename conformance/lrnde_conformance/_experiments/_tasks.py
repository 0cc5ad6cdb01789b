"""Tasks for the driver, made of experiments as far as the driver declares that its solver can take them."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from lrnde_conformance._backends._backend import AbstractBackend
from lrnde_conformance._driver import AbstractDriver, Task
from lrnde_conformance._experiments._experiment import Experiment


def static_numbers(driver: AbstractDriver) -> frozenset[str]:
    """The numbers of an experiment that the solver needs when it is compiled."""
    names: tuple[str, ...] = () if driver.traces_tolerances else ("rtol", "atol")
    return frozenset(names if driver.traces_times else (*names, "ts", "first_step", "smallest_step", "jump_at"))


def make_task(
    experiment: Experiment,
    backend: AbstractBackend,
    static: Collection[str],
    given: Mapping[str, Any],
    *,
    takes_first_step: bool,
) -> Task:
    """The task of an experiment.

    - `static`: names of what is to be Python numbers. `given`: replaces what the task is made of.
    """
    problem, dtype = experiment.problem, experiment.dtype
    formula = given.get("formula", problem.formula)
    parameters = given.get("parameters")
    if parameters is None:
        parameters = {name: backend.array(value, dtype) for name, value in problem.parameters.items()}
    y0 = backend.array(given.get("y0", problem.y0), dtype)
    equation = backend.equation(formula, parameters, is_split=experiment.is_split)
    path = None
    if formula.diffusion is not None:
        waves = (given.get(name, getattr(problem, name)) for name in ("amplitude", "frequency"))
        path = backend.path(*(backend.array(wave, dtype) for wave in waves))
    chosen = {"event_at": experiment.event_at, "smallest_step": experiment.smallest_step, **given}
    event_at, smallest_step = chosen["event_at"], chosen["smallest_step"]

    def number(name: str, value: float) -> Any:
        return given[name] if name in given else value if name in static else backend.number(value, dtype)

    ts = given.get("ts", np.array(experiment.ts))
    is_known = "ts" in static or isinstance(ts, tuple)
    return Task(
        method=experiment.method,
        adjoint=experiment.adjoint,
        field=equation.field,
        diffusion=equation.diffusion,
        path=path,
        parameters=parameters,
        y0=backend.split(y0, is_mixed=experiment.is_mixed) if experiment.is_split else y0,
        ts=tuple(float(t) for t in ts) if is_known else backend.array(ts, dtype),
        rtol=number("rtol", experiment.rtol),
        atol=number("atol", experiment.atol),
        first_step=number("first_step", experiment.first_step) if takes_first_step else None,
        dtype=dtype,
        event=None if event_at is None else backend.event(backend.number(event_at, dtype)),
        smallest_step=None if smallest_step is None else number("smallest_step", smallest_step),
        jump=None if experiment.jump_at is None else number("jump_at", experiment.jump_at),
    )


def in_words(experiment: Experiment, task: Task, backend: AbstractBackend) -> str:
    """What a task asks for; the numbers are those of the experiment, in place of which others may be given."""
    ts = experiment.ts
    numbers: dict[str, Any] = {
        f"{len(ts)} times from {ts[0]:g} to {ts[-1]:g}": task.ts,
        f"rtol={experiment.rtol:.3g}": task.rtol,
        f"atol={experiment.atol:.3g}": task.atol,
        f"y0 of shape {experiment.problem.y0.shape}": task.y0,
    }
    if task.first_step is not None:
        numbers[f"first_step={experiment.first_step:.3g}"] = task.first_step
    marked = (f"{words} (traced)" if backend.is_traced(value) else words for words, value in numbers.items())
    return ", ".join((f"`{task.method.name}`", task.dtype, *marked))
