"""The contract, before any law: declarations, claims, the frozen value, the shape of a report. Runs first."""

import copy
import dataclasses
import functools
import inspect
import pickle
from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import method_cases, of_method_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._kinds import KINDS
from lrnde_conformance._checks._tracing import check_traced, needs_numbers
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import COSTS, Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._oracle import oracle
from lrnde_conformance._problems import Formula
from lrnde_core import Capability

CONTRACT = "interface.contract"
"""Id of the check without which no other makes sense."""

_DECAY = Formula("decay", lambda _, __, y, ___: -y)


@check(CONTRACT, law=0, hint="read docs/write-an-adapter.md, section 2")
def interface_contract(subject: Subject, _: str) -> None:
    """The adapter is an `AbstractAdapter` that a driver can drive: one penalised solve runs and returns a pair.

    Where programs are compiled, it can be traced in all that the driver does not declare. Elsewhere a state of shape ()
    is penalised, if the bare call takes one.
    """
    if not isinstance(getattr(subject.adapter, "random_argument", None), str):
        raise ConformanceFailure(
            "The adapter does not say how its random source is called.",
            got=repr(getattr(subject.adapter, "random_argument", "nothing")),
            expected="a class attribute `random_argument` such as 'generator', 'key' or 'rng'",
            hint="add `random_argument: ClassVar[str] = ...` to the adapter",
        )
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    pair = _solved(subject, experiment)
    if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], lrnde_core.Report)):
        raise ConformanceFailure(
            "A regularized call does not return `(native result, Report)` to the driver.",
            got=type(pair).__name__,
            expected="a pair whose second member is a `lrnde_core.Report`",
            cause="the driver's `call` returns something else than `solve` returned",
            hint="return the result of `solve(...)` from `call` as it is",
        )
    _check_states(experiment, subject.backend.to_numpy(subject.driver.states(pair[0])))
    _check_scalar_state(subject, experiment)
    sampler = lrnde_core.UniformStep()
    check_traced(subject, experiment.but(sampler=sampler) if all(map(subject.supports, sampler.needs)) else experiment)


def _check_states(experiment: Experiment, states: np.ndarray) -> None:
    num_times, one = len(experiment.ts), experiment.problem.y0.shape
    shape = (num_times, *one)
    if states.shape == one or (states.shape[1:] == one and len(states) != num_times):
        num_found = 1 if states.shape == one else len(states)
        raise ConformanceFailure(
            f"{num_times} output times were asked for, {num_found} came back.",
            got=states.shape,
            expected=shape,
            cause="the driver does not pass `task.ts` on, or the solver returns the state at its end alone",
            hint="return the state at each of `task.ts` in `states`; docs/write-an-adapter.md, section 6, says what to "
            "do if the solver has no output times",
        )
    if states.shape != shape:
        raise ConformanceFailure(
            "The driver's `states` have another shape than (times, batch, size).",
            got=states.shape,
            expected=shape,
            hint="transpose what your solver returns in `states`",
        )


def _check_scalar_state(subject: Subject, experiment: Experiment) -> None:
    """A state of shape `()`, if the bare call takes it: functions of leaves and of an array are told apart by it."""
    if subject.backend.is_compiled or experiment.method.is_driven:
        return
    problem = experiment.problem
    problem = dataclasses.replace(problem, formula=_DECAY, y0=np.ones(()))
    scalar = experiment.but(problem=problem)
    try:
        subject.solve_bare(scalar)
    except Exception:  # the library, or the driver, takes no such state
        return
    try:
        subject.solve(scalar)
    except lrnde_core.CapabilityError:
        return
    except Exception as error:
        raise ConformanceFailure(
            "The penalised call raises with a state of shape (), which the bare call takes.",
            got=f"{type(error).__name__}: {error}",
            expected="a penalty, or a `CapabilityError` from `bind`",
            cause="the error norm iterates over the rows of an array: `lrnde_core.root_mean_square` takes a tuple of "
            "leaves, and `error_norm` of `lrnde_torch.ExplicitProblem` is given a tensor",
            hint="in that case, give it `lambda error: error.square().mean().sqrt()`",
        ) from error


def _solved(subject: Subject, experiment: Experiment) -> Any:
    try:
        return subject.solve(experiment)
    except lrnde_core.LrndeError:
        raise
    except Exception:
        failure = needs_numbers(subject, experiment) if subject.backend.is_compiled else None
        if failure is None:
            raise
        raise failure from None


@check("interface.capabilities", law=14, hint="declare with `Capabilities.declare({capability: reason})`")
def interface_capabilities(subject: Subject, _: str) -> None:
    """Every capability is declared, supported or unsupported with a reason, and none is both."""
    capabilities = subject.capabilities
    unsupported = dict(capabilities.unsupported)
    both = capabilities.supported & unsupported.keys()
    neither = set(Capability) - capabilities.supported - unsupported.keys()
    silent = [c.name for c, reason in unsupported.items() if not reason.strip()]
    for what, names in (
        ("both supported and unsupported", [c.name for c in both]),
        ("not declared", [c.name for c in neither]),
        ("unsupported without a reason", silent),
    ):
        if names:
            raise ConformanceFailure(
                f"Some capabilities are {what}.",
                got=", ".join(sorted(names)),
                expected="each capability either supported, or unsupported with a reason",
                cause="the `Capabilities` were not made by `Capabilities.declare`",
                hint="use `Capabilities.declare({...})`, which takes the rest as supported",
            )


@check("interface.driver", law=14, hint="list one method for each kind of solve that the adapter declares")
def interface_driver(subject: Subject, _: str) -> None:
    """Each kind of solve that the adapter declares has a method in the driver, and none has one that it does not."""
    for kind, belongs in KINDS.items():
        names = [method.name for method in subject.driver.methods if belongs(method)]
        if subject.supports(kind) == bool(names):
            continue
        raise ConformanceFailure(
            f"The declaration of {kind.name} ({kind.value}) and the driver's methods do not agree.",
            got=f"declared {'supported' if subject.supports(kind) else 'unsupported'}, methods {names}",
            expected="at least one method for what is supported, and none for what is not",
            cause="a method is missing in the driver, or the declaration claims too much or too little",
            hint="add a `Method` to the driver's `methods`, or declare the capability unsupported with the reason",
        )
    for method in (*subject.driver.methods, *subject.driver.refused):
        try:
            oracle(None, method, 1.0, 1.0)  # pyright: ignore[reportArgumentType]
        except KeyError as error:
            raise ConformanceFailure(
                f"The scheme of the method `{method.name}` is not in the suite's table.",
                got=method.scheme,
                expected="a name in `lrnde_conformance.SCHEMES` or `SDE_SCHEMES`, or `None`",
                hint="use `scheme=None` where the suite does not know it",
            ) from error
    names = [method.name for method in subject.driver.methods]
    unknown = [name for name in subject.driver.avoids_jumps if name not in names]
    if unknown:
        raise ConformanceFailure(
            "`avoids_jumps` of the driver names methods that it does not have.",
            got=unknown,
            expected=f"names among {names}",
            hint="use the names of the driver's `methods`",
        )


@check(
    "interface.claim",
    law=0,
    cases=method_cases,
    hint="list the callable in `solves` of your `AdapterSpec`; a method as `torchode:AutoDiffAdjoint.solve`",
)
def interface_claim(subject: Subject, case: str) -> None:
    """`lrnde.regularize(native)` finds this adapter by itself, also through `functools.partial`."""
    task = subject.task(trajectory(subject, of_method_case(subject, case)))
    native = subject.driver.native(task)
    claims = [name for name, _ in lrnde_core.REGISTRY.claims(native)]
    if subject.name not in claims:
        raise ConformanceFailure(
            f"The adapter does not claim the solver's function for `{case}`.",
            got=f"claimed by {claims or 'no adapter'}",
            expected=f"claimed by `{subject.name}`",
            cause=f"`solves={subject.spec.solves}` does not name this very object",
            hint="write 'package.module:function' such that `getattr(package.module, 'function')` is what users call; "
            "for a method 'package.module:Class.method', such as `torchode:AutoDiffAdjoint.solve`",
        )
    if len(claims) == 1:
        whole = lrnde_core.regularize(native)
        part = lrnde_core.regularize(functools.partial(native))
        if (whole.solver.adapter_name, part.solver.adapter_name) != (subject.name, subject.name):
            raise ConformanceFailure(
                "`regularize` finds another adapter.", got=whole.solver.adapter_name, expected=subject.name
            )


@check("interface.value", law=0, hint="an adapter is stateless; give your solver calls module-level names")
def interface_value(subject: Subject, _: str) -> None:
    """A regularized call is a frozen value: equal, hashable, picklable, deep-copyable, with a readable signature."""
    task = subject.task(trajectory(subject, subject.main_method))
    native = subject.driver.native(task)
    heuristic = COSTS[subject.main_cost]
    one, other = (subject.regularized(native, heuristic=heuristic) for _ in range(2))
    different = subject.regularized(native, heuristic=0.5 * heuristic)
    copies = {"another one with the same settings": other}
    # The copy of a method belongs to another object, and whether that object can be copied is the solver's affair.
    if getattr(native, "__func__", None) is None:
        copies |= {"its pickled copy": pickle.loads(pickle.dumps(one)), "its deep copy": copy.deepcopy(one)}
    for what, value in copies.items():
        if one != value or hash(one) != hash(value):
            raise ConformanceFailure(
                f"A regularized call and {what} are not equal or hash differently.",
                got=f"equal: {one == value}, hashes {hash(one)} and {hash(value)}",
                expected="equal, with equal hashes",
                hint="give the adapter no state, and the solver's function a module-level name",
            )
    if one == different:
        raise ConformanceFailure(
            "Regularized calls with different heuristics are equal.", got="equal", expected="different"
        )
    adapters = type(subject.adapter)(), type(subject.adapter)()
    if adapters[0] != adapters[1] or hash(adapters[0]) != hash(adapters[1]):
        raise ConformanceFailure(
            "Two instances of the adapter are not equal, or hash differently.",
            got=f"equal: {adapters[0] == adapters[1]}",
            expected="equal: an adapter has no state",
            hint="do not override `__eq__` and `__hash__` of `AbstractAdapter`",
        )
    missing = {"penalize", "draw", subject.adapter.random_argument} - inspect.signature(one).parameters.keys()
    if missing:
        raise ConformanceFailure(
            "The signature of a regularized call lacks arguments.",
            got=str(inspect.signature(one)),
            expected=f"also {sorted(missing)}",
        )


@check("interface.report", law=0, cases=method_cases, hint="return what the core's `Report` and `Sample` say")
def interface_report(subject: Subject, case: str) -> None:
    """The report has a scalar penalty in the state's dtype, samples of shape (num_samples, ...), counts of steps."""
    experiment = trajectory(subject, of_method_case(subject, case), subject.main_cost)
    report = subject.measure(experiment)
    shape = report.shapes["penalty"]
    if shape != () or report.penalty_dtype != experiment.dtype:
        raise ConformanceFailure(
            "`report.penalty` is not a scalar array of the state's dtype.",
            got=f"shape {shape}, dtype {report.penalty_dtype}",
            expected=f"shape (), dtype {experiment.dtype}",
            cause="a Python number, or a mean in another dtype",
            hint="return an array of shape () in the state's real dtype from `evaluate`",
        )
    for name in lrnde_core.Sample._fields:
        shape = report.shapes.get(name)
        if shape is not None and (not shape or shape[0] != 1):
            raise ConformanceFailure(
                f"`report.sample.{name}` of one sample has a wrong shape.",
                got=shape,
                expected="(1,) or (1, batch)",
                hint="stack what each sample says along a first axis",
            )
    steps = (report.num_steps, report.num_accepted, report.num_rejected)
    if any(number is None for number in steps):
        raise ConformanceFailure(
            f"The report of a penalised solve with `{case}` does not count its steps.",
            got=f"num_steps, num_accepted, num_rejected = {steps}",
            expected="three numbers: whoever records steps can count them",
        )
