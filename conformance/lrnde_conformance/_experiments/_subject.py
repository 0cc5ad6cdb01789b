"""The adapter under test with its driver, and measurements that several checks share."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import numpy as np

import lrnde_core
from lrnde_conformance._backends._backend import AbstractBackend, Counter
from lrnde_conformance._driver import AbstractDriver, Task
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._tasks import in_words, make_task, static_numbers
from lrnde_conformance._method import Method
from lrnde_conformance._origin import packages_of
from lrnde_conformance._results import Outcome

_COUNTS = (
    *("nfe", "nfe_extra", "nfe_diffusion", "num_steps", "num_accepted", "num_rejected", "num_forced"),
    "num_unresolved",
)


class Counted(NamedTuple):
    """Counted evaluations of a call, its states, and what its report says (`None` for the bare call)."""

    counter: Counter
    states: np.ndarray
    measured: Measurement | None


class Ended(NamedTuple):
    """How a check of a law ended; `held_by`: the id of the check that holds the law in its place."""

    law: int
    outcome: Outcome
    held_by: str


@final
class Subject:
    """An adapter under test.

    - `driver`: its driver. `name`: of the adapter. `adapter`, `spec`: as the registry has them.
    - `dtype`: the only one to try, or `None` for all that are declared. `is_fast`: whether to try fewer methods.
    - `seed`: of the problem that most checks solve.
    - `trained`: what the trained task left for the reports. `ended`: how each check ended so far, by id.
    - `asked`: the last task, in words.
    """

    def __init__(
        self, driver: AbstractDriver, *, dtype: str | None = None, is_fast: bool = False, seed: int = 0
    ) -> None:
        self.driver = driver
        self.name = driver.adapter
        self.adapter = lrnde_core.get_adapter(self.name)
        self.spec = lrnde_core.REGISTRY.spec(self.name)
        self.dtype = dtype
        self.is_fast = is_fast
        self.seed = seed
        self.trained: dict[str, Any] = {}
        self.ended: dict[str, Ended] = {}
        self.asked = ""
        self._measurements: dict[tuple[Experiment, bool], Measurement] = {}
        self._memory: dict[Any, Any] = {}

    @functools.cached_property
    def backend(self) -> AbstractBackend:
        """The array library of the driver; one object, which may hold compiled programs."""
        backend = self.driver.backend
        backend.is_narrow = self.main_dtype == "float32"
        return backend

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the plugin's author."""
        return packages_of([type(self.adapter).__module__, type(self.driver).__module__])

    @property
    def capabilities(self) -> lrnde_core.Capabilities:
        """What the adapter declares."""
        return lrnde_core.REGISTRY.capabilities(self.name)

    def supports(self, capability: lrnde_core.AnyCapability) -> bool:
        """Whether the adapter declares it supported."""
        return self.capabilities.reason_against(capability) is None

    @functools.cached_property
    def methods(self) -> tuple[Method, ...]:
        """The driver's methods; with `--fast` the first of each kind, or where programs are compiled even fewer."""
        if not self.is_fast:
            return self.driver.methods
        if self.backend.is_compiled:
            return self.main_methods
        first: dict[Any, Method] = {}
        for method in self.driver.methods:
            first.setdefault((method.kind, method.noise, method.control, method.is_implicit), method)
        return tuple(first.values())

    @property
    def main_method(self) -> Method:
        """The first adaptive method, or the first at all: for checks that do not depend on the method."""
        return next((method for method in self.driver.methods if method.is_adaptive), self.driver.methods[0])

    @property
    def main_methods(self) -> tuple[Method, ...]:
        """`main_method`, and the first adaptive one of the other kind of equation, if there is any."""
        main = self.main_method
        others = [m for m in self.driver.methods if m.is_stochastic != main.is_stochastic]
        return (main, *sorted(others, key=lambda method: not method.is_adaptive)[:1])

    @property
    def main_cost(self) -> str:
        """The cost to look for steps with: one that the adapter offers."""
        return "error" if self.supports(lrnde_core.Capability.ERROR_ESTIMATE) else "taylor-at-step"

    @property
    def training_cost(self) -> str:
        """What the trained task penalises: the cost of the solve itself where it is offered."""
        return "predicted" if self.supports(lrnde_core.Capability.ERROR_ESTIMATE) else "taylor-at-step"

    @property
    def is_lean(self) -> bool:
        """Whether only what is most telling is to run: `--fast`, where each new program is compiled."""
        return self.is_fast and self.backend.is_compiled

    @property
    def batch(self) -> int:
        """How many states a problem has: 1 where each takes its own steps, so that there is one step to look at."""
        return 3 if self.driver.shares_steps else 1

    @property
    def main_dtype(self) -> str:
        """The dtype of checks that need precision."""
        if self.dtype is not None:
            return self.dtype
        return "float64" if self.supports(lrnde_core.Capability.FLOAT64) else "float32"

    @functools.cached_property
    def static(self) -> frozenset[str]:
        """The numbers of an experiment that the solver needs when it is compiled."""
        return static_numbers(self.driver)

    @property
    def has_all(self) -> bool:
        """Whether the driver declares nothing that its solver does not have."""
        driver = self.driver
        return driver.takes_first_step and driver.traces_tolerances and driver.traces_times

    def takes_first_step(self, method: Method) -> bool:
        """Whether the suite decides the first step size, or the size of all steps where they are fixed."""
        return self.driver.takes_first_step or not method.is_adaptive

    def regularized(self, native: Any, **settings: Any) -> Any:
        """The native call, regularized by this adapter whoever else claims it."""
        return lrnde_core.regularize(native, adapter=self.name, **settings)

    def task(self, experiment: Experiment, **given: Any) -> Task:
        """The task of an experiment; `given` replaces what it is made of (`parameters`, `y0`, `ts`, ...)."""
        takes_first_step = self.takes_first_step(experiment.method)
        task = make_task(experiment, self.backend, self.static, given, takes_first_step=takes_first_step)
        self.asked = in_words(experiment, task, self.backend)
        return task

    def solve_bare(self, experiment: Experiment, **given: Any) -> Any:
        """The native result of the bare call."""
        task = self.task(experiment, **given)
        return self.driver.call(self.driver.native(task), task)

    def solve(self, experiment: Experiment, *, extra: Mapping[str, Any] | None = None, **given: Any) -> Any:
        """The native result and the report of the regularized call; `extra`: its arguments in place of `draw=`."""
        task = self.task(experiment, **given)
        solve = self.regularized(self.driver.native(task), **experiment.regularization)
        if extra is None:
            draws = given.get("draws", np.array(experiment.draws))
            extra = {"draw": self.backend.array(draws, experiment.dtype)}
        extra = {**extra, **experiment.call_arguments}
        return self.driver.call(solve, task, **extra)

    def measure(self, experiment: Experiment, *, with_gradient: bool = True) -> Measurement:
        """Solve, and take note of everything; the same experiment is solved once."""
        key = (experiment, with_gradient)
        if key not in self._measurements:
            self._measurements[key] = self._measure(experiment, with_gradient=with_gradient)
        return self._measurements[key]

    def _measure(self, experiment: Experiment, *, with_gradient: bool) -> Measurement:
        problem = experiment.problem

        def solve(variables: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Any]:
            parameters = {name: value for name, value in variables.items() if name != "y0"}
            result, report = self.solve(experiment, parameters=parameters, y0=variables["y0"], **constants)
            return report.penalty, (self.driver.states(result), report)

        variables, constants = {**problem.parameters, "y0": problem.y0}, experiment.constants(self.static)
        key = experiment.key(self.static)
        gradient: Mapping[str, np.ndarray] = {}
        if with_gradient:
            done = self.backend.differentiate(key, solve, variables, constants, experiment.dtype)
            gradient, (states, report) = done.gradient, done.extra
        else:
            _, (states, report) = self.backend.evaluate(key, solve, variables, constants, experiment.dtype)
        return self.read(states, report, gradient)

    def read(self, states: Any, report: lrnde_core.Report, gradient: Mapping[str, np.ndarray]) -> Measurement:
        """A report as numpy."""
        to_numpy = self.backend.to_numpy
        penalty = to_numpy(report.penalty)
        counts = {name: _count(to_numpy, getattr(report, name)) for name in _COUNTS}
        sample = report.sample
        nothing = np.zeros(0)
        entries = dict.fromkeys(lrnde_core.Sample._fields) if sample is None else sample._asdict()
        arrays: dict[str, Any] = {
            name: None if value is None else _one_a_sample(to_numpy(value)) for name, value in entries.items()
        }
        if sample is None:
            arrays |= {"t": nothing, "h": nothing, "weight": nothing}
        return Measurement(
            states=to_numpy(states),
            penalty=float(penalty),
            penalty_dtype=str(penalty.dtype),
            has_sample=sample is not None,
            step_error=None if report.step_error is None else float(to_numpy(report.step_error)),
            gradient=gradient,
            shapes={
                "penalty": penalty.shape,
                **{n: np.shape(to_numpy(v)) for n, v in entries.items() if v is not None},
            },
            **counts,
            **arrays,
        )

    def count(self, experiment: Experiment, *, is_bare: bool = False, penalize: bool = True) -> Counted:
        """The evaluations that a call of the field executes, counted in the field; and what the call returned."""
        formula = experiment.problem.formula
        counter = self.remember(("counter", formula), Counter)
        # One formula for all calls, so that a program is compiled once.
        counted = self.remember(("counted", formula), lambda: self.backend.counted(formula, counter))

        def solve(variables: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[Any, Any]:
            parameters = {name: value for name, value in variables.items() if name != "y0"}
            given = {**given, "parameters": parameters, "y0": variables["y0"], "formula": counted}
            if is_bare:
                return self.driver.states(self.solve_bare(experiment, **given)), None
            extra = None if penalize else {"penalize": False}
            result, report = self.solve(experiment, extra=extra, **given)
            return self.driver.states(result), report

        problem, constants = experiment.problem, experiment.constants(self.static)
        variables = {**problem.parameters, "y0": problem.y0}
        key = ("count", penalize, experiment.key(self.static))
        if is_bare:
            del constants["draws"]
            key = ("bare count", experiment.bare_key(self.static))
        # Without a penalty the states are to be those of the bare call, to the last bit.
        is_bit_identical = is_bare or not penalize
        counter.reset()
        with self.backend.as_a_user() if is_bit_identical else contextlib.nullcontext():
            states, report = self.backend.evaluate(key, solve, variables, constants, experiment.dtype)
        self.backend.wait()
        measured = None if report is None else self.read(states, report, {})
        return Counted(counter.copy(), self.backend.to_numpy(states), measured)

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returned when it was first asked for under this key."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]


def _one_a_sample(values: np.ndarray) -> np.ndarray:
    """The first of a batch whose states each take their own steps; shape `(num_samples,)`."""
    values = np.atleast_1d(values)
    # A solve without a step has no samples where every step is one.
    return values if values.ndim == 1 else values.reshape(len(values), -1)[:, 0]


def _count(to_numpy: Any, value: Any) -> int | None:
    return None if value is None else int(np.sum(to_numpy(value)))
