"""Wrapping a native solver call: the public entry point of the library."""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, final, overload

from lrnde_core._adapter import AbstractAdapter
from lrnde_core._arrays import Array, Count, Leaves, Scalar, State, is_traced, num_true
from lrnde_core._call import AbstractCall, RecordingPlan, Run
from lrnde_core._capabilities import Capability
from lrnde_core._checks import check_choice, check_count
from lrnde_core._claims import NativeArgument, NativeArguments, NativeKeywords, NativeResult, Parameters, Result
from lrnde_core._demands import Demands, Gradient, check_adapter, check_method, check_recording
from lrnde_core._errors import (
    InputError,
    InputTypeError,
    LrndeError,
    described,
    instance_hint,
    penalty_errors,
)
from lrnde_core._heuristics import AbstractHeuristic, ErrorEstimate, check_declarations
from lrnde_core._penalty import LocalPenalty
from lrnde_core._plans._checked_plan import AbstractPlanHolder, CheckedPlan
from lrnde_core._plans._checked_steps import CheckedSteps
from lrnde_core._plans._plan import FixedSteps
from lrnde_core._plans._planned_call import AskedSteps, checked_plan, make_plan_holder, planned_call
from lrnde_core._point_heuristics import TaylorDerivative
from lrnde_core._random_states import RandomSource
from lrnde_core._registry import REGISTRY
from lrnde_core._report import Report, Sample, active_reports, uncollected
from lrnde_core._resolution import count_unresolved, warn_once_if_all_unresolved
from lrnde_core._samplers import AbstractSampler, UniformTime
from lrnde_core._solver import Solver
from lrnde_core._wrapping import is_wrapped, wraps_solves

DEFAULT_HEURISTIC = TaylorDerivative(2, at="step")
DEFAULT_SDE_HEURISTIC = ErrorEstimate()
DEFAULT_SAMPLER = UniformTime()

_Value = TypeVar("_Value")

# The keyword arguments of a regularized call beside its random source, `plan` for those on checked steps.
_OWN_ARGUMENTS: Mapping[str, object] = {"penalize": True, "draw": None, "probes": None, "plan": "held"}

# If the sampler looks at every step, there is nothing to draw.
_NO_DRAW = (0.0,)


@final
@wraps_solves
@dataclasses.dataclass(frozen=True)
class RegularizedSolve(Generic[Parameters, Result]):
    """A native solver call that also returns a penalty. Made by `regularize`.

    A frozen value: hashable, equal by value, picklable, deep-copyable. To a type checker it takes the native arguments
    and ours, and returns the native result and a `Report`; where reports are collected, use `collected`, whose type has
    the native result alone.

    - `solver`: the native call. `heuristic`: `None` for the default. The other fields are arguments of `regularize`.
    - `plan_holder`: what keeps the plan of `steps`, in torch; else `None`. It compares by identity, and is copied with
      the solve.
    """

    solver: Solver
    heuristic: AbstractHeuristic | None
    sampler: AbstractSampler
    gradient: Gradient
    num_samples: int
    batched: bool
    steps: CheckedSteps | None = None
    plan_holder: AbstractPlanHolder | None = None

    # A `ParamSpec` takes no further keywords, so where one of ours is given the native arguments are left open.
    @overload
    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> tuple[Result, Report]: ...
    @overload
    def __call__(
        self,
        *args: NativeArgument,
        penalize: bool = True,
        draw: Array | Sequence[float] | None = None,
        probes: State | None = None,
        plan: AskedSteps = "held",
        **kwargs: NativeArgument,
    ) -> tuple[Result, Report]: ...
    def __call__(
        self,
        *args: NativeArgument,
        penalize: bool = True,
        draw: Array | Sequence[float] | None = None,
        probes: State | None = None,
        plan: AskedSteps = "held",
        **kwargs: NativeArgument,
    ) -> Any:
        """Solve as the native call does, and return `(native result, Report)`.

        Takes the arguments of the native call, and:

        - `penalize`: `False` runs the bare solve, with penalty 0 and no extra evaluation. Static under `jit`.
        - `draw`: uniforms in [0, 1) of shape `(num_samples,)` instead of random ones, so that several backends can take
          the same sample.
        - `probes`: one random direction for all samples, for `JacobianNorm`: a tree with the structure, shapes and
          dtypes of the state. By default each sample has its own, determined by its draw, the same on every backend.
        - `plan`: with `steps`, the fixed steps of this call, or `None` to solve adaptively; in JAX required and static
          under `jit` (`CheckedPlan.steps`). In torch those of `plan_holder` by default, checked if that is due, and
          the adaptive solve where gradients are disabled.
        - the ecosystem's random source: `key=` in JAX (required unless `draw` or `penalize=False` is given),
          `generator=` in torch. Without either, torch draws `torch.rand(num_samples)` once from the global CPU
          generator.

        Raises `InputError`, `InputTypeError` or `CapabilityError` before the solve starts, and `PenaltyError` after it
        if the penalty cannot be evaluated; errors of the solver library pass through unchanged.
        """
        _check_penalize(penalize)
        adapter = self.solver.adapter
        args, kwargs = self.solver.arguments(args, kwargs)
        source = kwargs.pop(adapter.random_argument, None)
        reports = active_reports()
        if reports is not None:
            self.solver.require(Capability.COLLECT)
        call = self._bound(args, kwargs)
        checked = None
        if self.steps is not None:
            call, checked = planned_call(self.solver, call, self.steps, self.plan_holder, plan)
        elif plan != "held":
            raise InputError("`plan` is for a solve on checked steps: `regularize(solve, steps=CheckedSteps())`.")
        if reports is not None and penalize and not adapter.is_collected():
            return call.run(None).result
        if penalize:
            result, report = self._penalized(adapter, call, source, draw, probes)
        else:
            run = call.run(None)
            result, report = run.result, self.report(run, None, adapter.zero_penalty(call))
        if checked is not None and self.plan_holder is not None:
            self.plan_holder.remember(report.step_error)
            self.plan_holder.watch(result, report.penalty)
            report = report._replace(plan=checked)
        if reports is None:
            return result, report
        reports.append(report)
        return result

    def check(self, *args: NativeArgument, step_error: Scalar | None = None, **kwargs: NativeArgument) -> CheckedPlan:
        """In torch: the plan for the next iteration, for a training step that a compiler takes as one graph.

            plan = odeint.check(func, y0, t, step_error=step_error)
            loss, step_error = compiled_step(y0, plan.steps)  # calls odeint.by_steps(steps, func, y0, t)

        It counts an iteration, and solves nothing unless a check is due. A call that is not compiled does this by
        itself.

        - `args`, `kwargs`: of the native call. `step_error`: `Report.step_error` of the last iteration.
        """
        steps, holder = self.steps, self.plan_holder
        if steps is None or holder is None:
            raise _no_holder("check")
        args, kwargs = self.solver.arguments(args, kwargs)
        if step_error is not None:
            holder.remember(step_error)
        return checked_plan(self.solver, self._bound(args, kwargs), steps, holder)

    def by_steps(
        self, steps: FixedSteps | None, *args: NativeArgument, **kwargs: NativeArgument
    ) -> tuple[Result, Report]:
        """In torch: solve by these steps in tensors alone, inside of `torch.compile(fullgraph=True)` or a CUDA graph.

        Returns `(native result, Report)`, as a call with `plan=steps` does. What needs Python is left out: a penalty
        that is not finite stays so, what the penalty's evaluations change in the field is not put back, the values of
        times and draws are not checked, and `Report.num_unresolved` is `None`.

        - `steps`: those of `check`. Without any the call is the adaptive one, which no compiler takes into a graph.
        - `args`, `kwargs`: of the native call, and `penalize`, `draw` (a tensor) and `probes` as there.

        Raises what a call raises before the solve starts, and `InputError` for `generator`.
        """
        if self.plan_holder is None:
            raise _no_holder("by_steps")
        if steps is None:
            return self(*args, plan=None, **kwargs)
        if not isinstance(steps, FixedSteps):
            raise InputTypeError(f"`steps` must be the `steps` of a `CheckedPlan`, not {described(steps)}.")
        _check_penalize(kwargs.get("penalize", True))
        return self.plan_holder.by_steps(self, steps, args, kwargs)

    def _bound(self, args: NativeArguments, kwargs: NativeKeywords) -> AbstractCall:
        """The call with its arguments read. The library itself refuses what it does not take, in its own words."""
        try:
            return self.solver.bind(args, kwargs)
        except (LrndeError, NotImplementedError):  # of an adapter that is being written
            raise
        except Exception as exc:
            fault = exc
        try:
            self.solver.function(*args, **kwargs)
        except TypeError as refusal:
            self._add_hints(refusal, kwargs)
            raise
        raise InputTypeError(
            f"`{self.solver.path}` takes these arguments, but its adapter cannot read them: {fault!r}. Give them as "
            "its documentation has them, or use the bare call."
        ) from fault

    def _add_hints(self, refusal: TypeError, kwargs: NativeKeywords) -> None:
        """Add a note to the library's refusal of an argument that is almost one of a regularized call."""
        source = self.solver.adapter.random_argument
        for name in (name for name in kwargs if f"'{name}'" in str(refusal)):
            close = difflib.get_close_matches(name, _OWN_ARGUMENTS, n=1, cutoff=0.75)
            meant = source if name in ("key", "generator", "rng", "seed") else close[0] if close else None
            if meant not in (None, name):
                refusal.add_note(f"A regularized call has no argument `{name}`; did you mean `{meant}=`?")

    def penalty_of(self, call: AbstractCall) -> LocalPenalty:
        """The penalty of a call. Raises `CapabilityError` for what its method does not support."""
        facts = call.facts
        heuristic = self.heuristic or _default_heuristic(
            is_stochastic=facts.is_stochastic, is_adaptive=facts.is_adaptive
        )
        check_method(self.solver, Demands(heuristic, self.sampler, self.gradient, self.batched), facts)
        return LocalPenalty(heuristic, self.sampler, facts)

    def check_probes(self, probes: State | None, penalty: LocalPenalty, call: AbstractCall) -> Leaves | None:
        """The user's probes as the penalty of a call takes them, if there are any."""
        if probes is None:
            return None
        if not penalty.heuristic.evaluations.probe:
            raise InputError(
                f"`probes` were given, and the heuristic {penalty.heuristic!r} uses none; leave them out, or use "
                "`JacobianNorm()`."
            )
        self.solver.require(Capability.PROBES)
        return call.check_probes(probes)

    def report(
        self,
        run: Run,
        plan: RecordingPlan | None,
        penalty: Scalar,
        sample: Sample | None = None,
        num_unresolved: Count | None = None,
    ) -> Report:
        """The report of a finished call. `plan`: the recording that it made; `None` without a penalty."""
        nfe_extra, recording = 0, run.recording
        if plan is not None and recording is not None:
            num_evaluated = self.num_samples if recording.num_evaluated is None else recording.num_evaluated
            evaluations = plan.penalty.num_evaluations(recording.problem, num_evaluated, recording.num_reused)
            nfe_extra = None if evaluations is None else (evaluations + recording.num_reading) * recording.is_valid
        return Report(
            penalty=penalty, nfe_extra=nfe_extra, sample=sample, **run.counts._asdict(), num_unresolved=num_unresolved
        )

    def _penalized(
        self,
        adapter: AbstractAdapter,
        call: AbstractCall,
        source: RandomSource,
        draw: Array | Sequence[float] | None,
        probes: State | None,
    ) -> tuple[NativeResult, Report]:
        penalty = self.penalty_of(call)
        checked_probes = self.check_probes(probes, penalty, call)
        if draw is None:
            is_random = penalty.heuristic.evaluations.probe or not self.sampler.keeps_every_step
            draw = adapter.draw(source, self.num_samples) if is_random else _NO_DRAW
        plan = RecordingPlan(
            penalty,
            adapter.check_draw(draw, self.num_samples),
            checked_probes,
            keeps_gradient=self.gradient == "full",
            is_batched=self.batched,
        )
        run = call.run(plan)
        counts, recording = run.counts, run.recording
        assert recording is not None  # a plan was given
        check_recording(self.solver, self.sampler, recording)
        with penalty_errors(), uncollected():
            value, sample = adapter.evaluate(plan, recording)
        num_unresolved = recording.num_unresolved if sample is None else count_unresolved(sample)
        if num_unresolved is not None and not is_traced(num_unresolved):
            warn_once_if_all_unresolved(
                self,
                num_unresolved,
                lambda: counts.num_accepted if sample is None else num_true(sample.weight != 0),
                (recording.problem.rtol, recording.problem.atol),
                value,
                is_systematic=self.sampler.keeps_every_step or self.sampler.local_start == "sample",
            )
        return run.result, self.report(run, plan, value, sample, num_unresolved)

    @property
    def __signature__(self) -> inspect.Signature:
        parameters = list(self.solver.signature.parameters.values())
        tail = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.VAR_KEYWORD]
        own = {**_OWN_ARGUMENTS, self.solver.adapter.random_argument: None}
        if self.steps is None:
            del own["plan"]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in own.items()
        ]
        return inspect.Signature([*(each for each in parameters if each not in tail), *added, *tail])


def _no_holder(method: str) -> InputError:
    return InputError(
        f"`{method}` is for a solve in torch with `regularize(solve, steps=CheckedSteps())`; in JAX call "
        "`CheckedSteps.check`, and give `plan=`."
    )


def _check_penalize(penalize: object) -> None:
    if not isinstance(penalize, bool):
        raise InputTypeError(
            f"`penalize` must be a Python bool, not {type(penalize).__name__}; under jit make it a static argument."
        )


def regularize(
    solve: Callable[Parameters, Result],
    *,
    heuristic: AbstractHeuristic | str | None = None,
    sampler: AbstractSampler | str = DEFAULT_SAMPLER,
    gradient: Gradient | None = None,
    num_samples: int = 1,
    batched: bool = False,
    steps: CheckedSteps | None = None,
    adapter: str | None = None,
) -> RegularizedSolve[Parameters, Result]:
    """Wrap a native solver call so that it also returns the penalty of one sampled local step.

    - `solve`: the native callable, such as `torchdiffeq.odeint` or `diffrax.diffeqsolve`, the method of a solver that
      is an object, or a `functools.partial` of one. Found by identity; a jitted or otherwise wrapped callable is
      refused.
    - `heuristic`: the heuristic to penalise, or its name. The default measured best at equal accuracy (docs/design.md):
      `ErrorEstimate()` for stochastic equations with adaptive steps, else `TaylorDerivative(2, at="step")`.
    - `sampler`: the choice of the steps to penalise; a sampler or its name.
    - `gradient`: `"local"` (default) differentiates the local step alone: its time, size, state and tolerances are
      constants, so any adjoint may be used. `"full"` (default of the samplers that look at every step, `AllSteps` and
      `Integral`) also differentiates how the solve got there, if the adjoint differentiates through the solve.
    - `num_samples`: independent samples per solve; the penalty is their mean. More samples cost more and vary less.
    - `batched`: torch only: evaluates all samples in one `torch.func.vmap` instead of one after the other.
    - `steps`: trains on a few fixed steps, which the adaptive solver chooses and checks; see `CheckedSteps`.
    - `adapter`: name of the adapter to use. Asserts that `solve` has the signature of the adapter's first solver call
      (or of the one named after a colon, `"torchdiffeq:odeint_adjoint"`), for callables that no adapter claims.

    Returns a callable with the signature of `solve` and further keyword arguments; see `RegularizedSolve.__call__`.

    Raises `AdapterNotFoundError` if no adapter claims `solve`, `InputError` if several do, `PluginError` if its adapter
    is broken or a library is missing or too old, `UnknownNameError` for unknown names, `CapabilityError` for what the
    adapter cannot do.
    """
    if is_wrapped(solve):
        raise InputTypeError(f"`solve` is already a `{type(solve).__name__}`; regularize the native call instead.")
    named = None if heuristic is None else _resolve("heuristic", heuristic, AbstractHeuristic, REGISTRY.heuristic)
    if named is not None:
        check_declarations(named)
    chosen = _resolve("sampler", sampler, AbstractSampler, REGISTRY.sampler)
    if gradient is not None:
        check_choice("gradient", gradient, Gradient)
    num_samples = check_count("num_samples", num_samples)
    if chosen.keeps_every_step:
        _check_every_step(chosen, gradient, num_samples, batched=batched)
    gradient = gradient or ("full" if chosen.keeps_every_step else "local")
    if not isinstance(steps, CheckedSteps | None):
        hint = instance_hint(steps, CheckedSteps)
        raise InputTypeError(f"`steps` must be a `CheckedSteps`, not {described(steps)}.{hint}")
    solver = Solver.find(solve, adapter)
    holder = None if steps is None else make_plan_holder(solver, steps)
    solves_odes = not {Capability.ADAPTIVE_ODE, Capability.FIXED_STEP_ODE}.isdisjoint(solver.capabilities.supported)
    assumed = named or _default_heuristic(is_stochastic=not solves_odes, is_adaptive=True)
    check_adapter(solver, Demands(assumed, chosen, gradient, batched), has_steps=steps is not None)
    return RegularizedSolve(solver, named, chosen, gradient, num_samples, batched, steps, holder)


def _default_heuristic(*, is_stochastic: bool, is_adaptive: bool) -> AbstractHeuristic:
    """The default heuristic of a method."""
    # Fixed steps have no tolerance to measure an error by.
    return DEFAULT_SDE_HEURISTIC if is_stochastic and is_adaptive else DEFAULT_HEURISTIC


def _check_every_step(sampler: AbstractSampler, gradient: Gradient | None, num_samples: int, *, batched: bool) -> None:
    name = type(sampler).__name__
    if gradient == "local":
        raise InputError(
            f'`{name}` differentiates through the whole solve: leave `gradient="local"` out. `UniformStep()` and '
            "`UniformTime()` estimate the same sum from one step, with a local gradient."
        )
    if num_samples > 1 or batched:
        raise InputError(f"`{name}` looks at every step, once: leave `num_samples` and `batched` out.")


def _resolve(kind: str, value: _Value | str, expected: type[_Value], by_name: Callable[[str], _Value]) -> _Value:
    if isinstance(value, str):
        return by_name(value)
    if not isinstance(value, expected):
        hint = instance_hint(value, expected) or f" Your own is a subclass of `lrnde_core.{expected.__name__}`."
        raise InputTypeError(f"`{kind}` must be a {kind} or the name of one, not {value!r}.{hint}")
    try:
        hash(value)
    except TypeError as error:
        raise InputTypeError(
            f"The {kind} `{type(value).__name__}` is not hashable, and must be, to be a static argument of what is "
            "compiled. Decorate its class with `@dataclasses.dataclass(frozen=True)`, with hashable fields."
        ) from error
    return value
