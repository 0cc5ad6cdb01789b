"""The reference adapter with a fault: a wrapper whose every answer can be changed."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import lrnde_core
from lrnde_conformance import AbstractDriver, ReferenceAdapter, ReferenceDriver, Subject
from lrnde_conformance._reference._freeze import ReferenceFreezer, ReferenceSDEFreezer
from lrnde_conformance._reference._solver import integrate
from lrnde_core import AbstractAdapter, AbstractCall, AbstractFreezer, AbstractSDEFreezer, AdapterSpec, Run, hookimpl

Change = Callable[..., Any]


def _same(value: Any, *_: Any) -> Any:
    return value


def _raise(error: Exception, *_: Any) -> Any:
    raise error


@dataclasses.dataclass(frozen=True)
class Faults:
    """What differs from the reference adapter. Each is a function of the true value, unless said otherwise.

    - Of a bound call: `bound` is called with it; `facts`; `probes` (the user's, as it returns them); of its penalised
      run: `plan`, `result`, `counts`, `record` (and the call), `problem`; `before_run` is called, `after_run` is given
      run and call, and so is `silent` for a run without penalty; `error` turns what the solver raises into what the
      mutant raises.
    - Of the evaluation: `value` (penalty, then `LocalPenalty`, `Recording` and draws), `batched_value` (likewise, where
      samples are to be evaluated together), `sample`, `zero`.
    - Of the random numbers: `draw` (a function that draws, and how many), `check_draw` (in its place).
    - Of the class: `capabilities`, `random_argument` (a value), `is_equal` (whether instances are).
    - Of a diagnosis: `change` (a `CallChange`).
    - Of freezing: `form`, `copied` (the call, then the one that it is a copy of), `native` (`NativeSolve`),
      `native_failure` (turns what the native solve raises, and its call, into a `NativeSolve`), `step_ends`,
      `frozen_run`, `frozen_states`; `frozen` (the frozen solve, then its plan and its fallback). Of stochastic
      equations: `sde_native`, `sde_plan`, `frozen_sde_plan`, `path_counts`; `frozen_sde` (the frozen solve, then its
      plan).
    - Of training on checked steps: `steps` (of a plan), `replaced` (the call that they replace), `plan_holder` (makes a
      holder of a plan), `gradient` (a `Solved` with its gradient).
    - Of registration and driver: `is_claimed`, `is_method` (of an object), `adjoints`, `bridges_fixed_steps`,
      `shares_steps` (values), `methods`, `call` and `solver` (in their place), `declares` (class variables by name).
    """

    bound: Callable[[Any], Any] = _same
    facts: Change = _same
    plan: Change = _same
    result: Change = _same
    counts: Change = _same
    record: Change = _same
    problem: Change = _same
    before_run: Callable[[], Any] = lambda: None
    after_run: Change = _same
    silent: Change = _same
    error: Change = _same
    value: Change = _same
    batched_value: Change = _same
    probes: Change = _same
    sample: Change = _same
    zero: Change = _same
    draw: Change = lambda own, _: own()
    check_draw: Change | None = None
    capabilities: Change = _same
    random_argument: Any = "rng"
    is_equal: bool = True
    change: Change = _same
    form: Change = _same
    copied: Change = _same
    native: Change = _same
    native_failure: Change = _raise
    step_ends: Change = _same
    frozen_run: Change = _same
    frozen_states: Change = _same
    sde_native: Change = _same
    sde_plan: Change = _same
    frozen_sde_plan: Change = _same
    path_counts: Change = _same
    frozen_sde: Change = _same
    frozen: Change = _same
    steps: Change = _same
    replaced: Change = _same
    plan_holder: Callable[[lrnde_core.CheckedPlan], lrnde_core.AbstractPlanHolder] | None = None
    gradient: Change = _same
    is_claimed: bool = True
    is_method: bool = False
    methods: Change = _same
    adjoints: tuple[str, ...] = ()
    bridges_fixed_steps: bool = False
    shares_steps: bool = True
    call: Change | None = None
    solver: Callable[..., Any] = integrate
    declares: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A fault, the id of the check that is for it, and the case that shows it."""

    name: str
    check: str
    faults: Faults
    case: str = ""


class _Call(AbstractCall):
    def __init__(self, call: Any, faults: Faults) -> None:
        self._call = call
        self._faults = faults
        faults.bound(call)
        self.facts = faults.facts(call.facts)

    def run(self, plan: Any) -> Run:
        faults = self._faults
        if plan is None:
            return faults.silent(self._call.run(None), self._call)
        faults.before_run()
        try:
            run = self._call.run(faults.plan(plan))
        except Exception as error:
            raise faults.error(error) from error
        assert run.recording is not None
        records = [faults.record(record, self._call) for record in run.recording.records]
        recording = run.recording._replace(records=records, problem=faults.problem(run.recording.problem))
        return faults.after_run(Run(faults.result(run.result), faults.counts(run.counts), recording), self._call)

    def changed(self, change: Any) -> Any:
        return _Call(self._call.changed(self._faults.change(change)), self._faults)

    def check_probes(self, probes: Any) -> Any:
        return self._faults.probes(self._call.check_probes(probes))


class _Freezer(AbstractFreezer):
    """The reference's, with faults; calls are those of a mutant."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._true = ReferenceFreezer()

    def read(self, call: Any, *, is_batched: bool) -> Any:
        return self._faults.form(self._true.read(call._call, is_batched=is_batched))

    def isolated(self, calls: Any) -> Any:
        return self._true.isolated([call._call for call in calls])

    def copied(self, call: Any) -> Any:
        return self._faults.copied(_Call(self._true.copied(call._call), self._faults), call)

    def solve(self, call: Any, **settings: Any) -> Any:
        try:
            return self._faults.native(self._true.solve(call._call, **settings))
        except ArithmeticError as error:
            return self._faults.native_failure(error, call._call)

    def step_ends(self, call: Any) -> Any:
        return self._faults.step_ends(self._true.step_ends(call._call))

    def run(self, call: Any, plan: Any) -> Any:
        return self._faults.frozen_run(self._true.run(call._call, plan))

    def by_steps(self, call: Any, steps: Any, *, is_batched: bool) -> Any:
        native, steps = self._faults.replaced(call._call), self._faults.steps(steps)
        return _Call(self._true.by_steps(native, steps, is_batched=is_batched), self._faults)

    def with_gradient(self, call: Any, solve: Any) -> Any:
        solved = self._true.with_gradient(call._call, lambda copy: solve(_Call(copy, self._faults)))
        return self._faults.gradient(solved)

    def plan_holder(self, plan: Any) -> Any:
        make = self._faults.plan_holder
        return None if make is None else make(plan)

    def states(self, call: Any, result: Any) -> Any:
        return self._faults.frozen_states(self._true.states(call._call, result))

    def runners(self, call: Any, plan: Any) -> Any:
        native, frozen = self._true.runners(call._call, plan)

        def run() -> None:
            try:
                native()
            except ArithmeticError as error:
                self._faults.native_failure(error, call._call)

        return run, frozen

    def frozen(self, solve: Any, plan: Any, fallback: Any) -> Any:
        return self._faults.frozen(self._true.frozen(solve, plan, fallback), plan, fallback)


class _SDEFreezer(AbstractSDEFreezer):
    """The reference's, with faults; calls are those of a mutant."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._true = ReferenceSDEFreezer()

    def read(self, call: Any) -> Any:
        return self._true.read(call._call)

    def path_counts(self, call: Any) -> Any:
        return self._faults.path_counts(self._true.path_counts(call._call))

    def isolated(self, calls: Any) -> Any:
        return self._true.isolated([call._call for call in calls])

    def copied(self, call: Any) -> Any:
        return self._faults.copied(_Call(self._true.copied(call._call), self._faults), call)

    def solve(self, call: Any) -> Any:
        return self._faults.sde_native(self._true.solve(call._call))

    def with_plan(self, call: Any, plan: Any) -> Any:
        return _Call(self._true.with_plan(call._call, self._faults.sde_plan(plan)), self._faults)

    def runner(self, call: Any) -> Any:
        return self._true.runner(call._call)

    def frozen(self, solve: Any, plan: Any) -> Any:
        plan = self._faults.frozen_sde_plan(plan)
        return self._faults.frozen_sde(self._true.frozen(solve, plan), plan)


def _adapter(name: str, faults: Faults) -> type[AbstractAdapter]:
    true = ReferenceAdapter()

    class MutantAdapter(AbstractAdapter):
        capabilities = faults.capabilities(true.capabilities)
        random_argument = faults.random_argument

        def bind(self, solve: str, native: Any, args: Any, kwargs: Any) -> AbstractCall:
            return _Call(true.bind(solve, native, args, kwargs), faults)

        def draw(self, source: Any, num_samples: int) -> Any:
            return faults.draw(lambda: true.draw(source, num_samples), num_samples)

        def check_draw(self, draw: Any, num_samples: int) -> Any:
            if faults.check_draw is not None:
                return faults.check_draw(draw, num_samples)
            return true.check_draw(draw, num_samples)

        def evaluate(self, plan: Any, recording: Any) -> Any:
            value, sample = true.evaluate(plan, recording)
            value = faults.value(value, plan.penalty, recording, plan.draws)
            if plan.is_batched:
                value = faults.batched_value(value, plan.penalty, recording, plan.draws)
            return value, faults.sample(sample)

        def zero_penalty(self, call: Any) -> Any:
            return faults.zero(true.zero_penalty(call._call))

        def __eq__(self, other: object) -> bool:
            return super().__eq__(other) if faults.is_equal else self is other

        __hash__ = AbstractAdapter.__hash__

    MutantAdapter.__name__ = MutantAdapter.__qualname__ = f"{name}_adapter"
    return MutantAdapter


class _Solver:
    """A solver that is an object, which cannot be copied."""

    def solve(self, *args: Any, **kwargs: Any) -> Any:
        return integrate(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(protocol)


def driver(mutant: Mutant) -> type[AbstractDriver]:
    """The driver of a mutant, whose adapter registers itself under the mutant's name when it is first driven."""
    name, faults = mutant.name.replace("-", "_"), mutant.faults
    module = sys.modules[__name__]
    adapter = _adapter(name, faults)
    adapter.__module__ = __name__
    setattr(module, adapter.__name__, adapter)

    @functools.wraps(faults.solver)
    def solve(*args: Any, **kwargs: Any) -> Any:
        return faults.solver(*args, **kwargs)

    solve.__name__ = solve.__qualname__ = f"{name}_solve"
    setattr(module, solve.__name__, solve)
    claimed = solve.__name__ if faults.is_claimed else "nothing"
    native: Callable[..., Any] = solve
    if faults.is_method:
        native, claimed = _Solver().solve, f"{_Solver.__name__}.solve"

    class Plugin:
        @hookimpl
        def lrnde_register_adapters(self, register: Callable[[AdapterSpec], None]) -> None:
            target, solves = f"{__name__}:{adapter.__name__}", (f"{__name__}:{claimed}",)
            freezers = f"{__name__}:{freezer}", f"{__name__}:{sde_freezer}"
            register(AdapterSpec(mutant.name, target, solves, ("numpy>=1.26",), "numpy", (2, 1), *freezers))

    freezer, sde_freezer = f"{name}_freezer", f"{name}_sde_freezer"
    setattr(module, freezer, functools.partial(_Freezer, faults))
    setattr(module, sde_freezer, functools.partial(_SDEFreezer, faults))
    true = ReferenceDriver()

    class MutantDriver(AbstractDriver):
        plugin = Plugin()
        methods = faults.methods(true.methods)
        adjoints = faults.adjoints
        bridges_fixed_steps = faults.bridges_fixed_steps
        shares_steps = faults.shares_steps
        has_smallest_step = true.has_smallest_step
        avoids_jumps = true.avoids_jumps
        refused = true.refused

        @property
        def backend(self) -> Any:
            return true.backend

        def native(self, task: Any) -> Any:
            del task
            return native

        def call(self, solve: Any, task: Any, **extra: Any) -> Any:
            return (faults.call or true.call)(solve, task, **extra)

        def states(self, result: Any) -> Any:
            return true.states(result)

    for declared, value in {"adapter": mutant.name, **faults.declares}.items():
        setattr(MutantDriver, declared, value)
    return MutantDriver


def subject(mutant: Mutant) -> Subject:
    """The mutant under test."""
    kind = driver(mutant)
    if mutant.name not in _registered():
        lrnde_core.register(kind.plugin, origin="a mutant")
    return Subject(kind())


def _registered() -> list[str]:
    lrnde_core.REGISTRY.claimable()
    return [spec.name for spec in lrnde_core.REGISTRY.specs()]


nothing: Any = None
"""What the spec of a mutant that claims no solver names."""
