"""Wrapping a native solver call: the public entry point of the library."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, final

from lrnde_core._adapter import AbstractAdapter, AbstractCall, Counts, RecordingPlan
from lrnde_core._capabilities import Capability
from lrnde_core._claims import import_path, resolve_imported, split_method
from lrnde_core._collect import active_reports
from lrnde_core._errors import AdapterNotFoundError, InputError, InputTypeError
from lrnde_core._heuristics import AbstractHeuristic, ErrorEstimate
from lrnde_core._hiding import is_wrapped, wraps_solves
from lrnde_core._local import Leaves
from lrnde_core._numbers import is_traced
from lrnde_core._penalty import LocalPenalty
from lrnde_core._point_heuristics import TaylorDerivative
from lrnde_core._registry import REGISTRY
from lrnde_core._report import Report, Sample
from lrnde_core._resolution import count_unresolved, warn_once_if_all_unresolved
from lrnde_core._samplers import AbstractSampler, UniformTime
from lrnde_core._support import check_adapter, check_method, check_recording, refuse

Gradient = Literal["local", "full"]

DEFAULT_HEURISTIC = TaylorDerivative(2, at="step")
DEFAULT_SDE_HEURISTIC = ErrorEstimate()
DEFAULT_SAMPLER = UniformTime()

# Where every step is looked at there is nothing to draw.
_NO_DRAW = (0.0,)


@final
@wraps_solves
@dataclasses.dataclass(frozen=True, eq=False)
class RegularizedSolve:
    """A native solver call that also returns a penalty. Made by `regularize`.

    A frozen value: hashable, equal by value, picklable, deep-copyable. Arguments bound by `functools.partial` compare
    by identity unless they are plain numbers or strings, and so does the object whose method is regularized.
    """

    solve: Callable[..., Any]
    adapter_name: str
    solve_name: str
    bound_args: tuple[Any, ...]
    bound_kwargs: Mapping[str, Any]
    heuristic: AbstractHeuristic | None
    sampler: AbstractSampler
    gradient: Gradient
    num_samples: int
    batched: bool

    def __call__(self, *args: Any, penalize: bool = True, draw: Any = None, probes: Any = None, **kwargs: Any) -> Any:
        """Solve as the native call does, and return `(native result, Report)`.

        Takes the arguments of the native call, and:

        - `penalize`: `False` runs the bare solve, with penalty 0 and no extra evaluation. Static under `jit`.
        - `draw`: uniforms in [0, 1) of shape `(num_samples,)` in place of random ones, so that several backends can be
          given the same sample.
        - `probes`: the random direction of every sample, for `JacobianNorm`: a tree like the state, with its shapes and
          dtypes. By default each sample has its own, decided by its draw, the same on every backend.
        - the ecosystem's random source: `key=` in JAX (required unless `draw` or `penalize=False` is given),
          `generator=` in torch. Without either, torch draws `torch.rand(num_samples)` once from the global CPU
          generator.

        Raises `InputError`, `InputTypeError` or `CapabilityError` before the solve starts; errors of the solver library
        come through unchanged.
        """
        if not isinstance(penalize, bool):
            raise InputTypeError(
                f"`penalize` must be a Python bool, not {type(penalize).__name__}; under jit make it a static argument."
            )
        adapter = find_wrapped_adapter(self)
        kwargs = {**self.bound_kwargs, **kwargs}
        source = kwargs.pop(adapter.random_argument, None)
        reports = active_reports()
        if reports is not None:
            self.check_collecting()
        call = adapter.bind(self.solve_name, self.solve, (*self.bound_args, *args), kwargs)
        if reports is not None and penalize and not adapter.is_collected():
            return call.run(None).result
        if penalize:
            result, report = self._penalized(adapter, call, source, draw, probes)
        else:
            result, counts, _ = call.run(None)
            report = _report(adapter.zero_penalty(call), 0, counts, None)
        if reports is None:
            return result, report
        reports.append(report)
        return result

    def _penalized(
        self, adapter: AbstractAdapter, call: AbstractCall, source: Any, draw: Any, probes: Any
    ) -> tuple[Any, Report]:
        facts = call.facts
        heuristic = _heuristic(self, has_noise_and_tolerance=facts.is_stochastic and not facts.needs_tolerances)
        check_method(self, heuristic, call)
        checked_probes = None if probes is None else _check_probes(probes, heuristic, call)
        if draw is None:
            is_random = heuristic.evaluations.probe or not self.sampler.keeps_every_step
            draw = adapter.draw(source, self.num_samples) if is_random else _NO_DRAW
        draws = adapter.check_draw(draw, self.num_samples)
        penalty = LocalPenalty(heuristic, self.sampler, call.facts)
        plan = RecordingPlan(penalty, draws, checked_probes, keeps_gradient=self.gradient == "full")
        result, counts, recording = call.run(plan)
        assert recording is not None  # a plan was given
        check_recording(self, recording)
        recording = recording._replace(probes=checked_probes)
        value, sample = adapter.evaluate(penalty, recording, draws, is_batched=self.batched)
        num_unresolved = recording.num_unresolved if sample is None else count_unresolved(sample)
        if num_unresolved is not None and not is_traced(num_unresolved):
            tolerances = recording.problem.rtol, recording.problem.atol
            warn_once_if_all_unresolved(
                self,
                num_unresolved,
                lambda: counts.num_accepted if sample is None else (sample.weight != 0).sum(),
                tolerances,
                value,
                is_systematic=self.sampler.keeps_every_step or self.sampler.local_start == "sample",
            )
        num_evaluated = self.num_samples if recording.num_evaluated is None else recording.num_evaluated
        evaluations = penalty.num_evaluations(num_evaluated, recording.num_reused)
        nfe_extra = None if evaluations is None else evaluations * recording.is_valid
        return result, _report(value, nfe_extra, counts, sample, num_unresolved)

    def check_collecting(self) -> None:
        """Raise `CapabilityError` where the adapter's reports cannot be collected."""
        capabilities = find_wrapped_adapter(self).capabilities
        refuse(self.adapter_name, [Capability.COLLECT], dict(capabilities.unsupported))

    @property
    def __signature__(self) -> inspect.Signature:
        native = inspect.signature(functools.partial(self.solve, *self.bound_args, **self.bound_kwargs))
        own = [
            inspect.Parameter("penalize", inspect.Parameter.KEYWORD_ONLY, default=True),
            inspect.Parameter("draw", inspect.Parameter.KEYWORD_ONLY, default=None),
            inspect.Parameter("probes", inspect.Parameter.KEYWORD_ONLY, default=None),
            inspect.Parameter(
                REGISTRY.get_adapter(self.adapter_name).random_argument, inspect.Parameter.KEYWORD_ONLY, default=None
            ),
        ]
        parameters = list(native.parameters.values())
        tail = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        return native.replace(
            parameters=[*(p for p in parameters if p not in tail), *own, *tail],
            return_annotation=inspect.Signature.empty,
        )

    def _key(self) -> tuple[Any, ...]:
        return (
            self.adapter_name,
            self.solve_name,
            self.heuristic,
            self.sampler,
            self.gradient,
            self.num_samples,
            self.batched,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegularizedSolve):
            return NotImplemented
        return (
            self._key() == other._key()
            and _is_same(self.solve, other.solve)
            and len(self.bound_args) == len(other.bound_args)
            and all(map(_is_same, self.bound_args, other.bound_args))
            and self.bound_kwargs.keys() == other.bound_kwargs.keys()
            and all(_is_same(value, other.bound_kwargs[name]) for name, value in self.bound_kwargs.items())
        )

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        # A solver call may be an object that does not pickle (a jitted wrapper); the path it was claimed by does.
        is_claimed = resolve_imported(self.solve_name) is self.solve
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["bound_kwargs"] = dict(self.bound_kwargs)
        del fields["solve"]
        return _rebuild, (None if is_claimed else self.solve, fields)


def find_wrapped_adapter(solve: RegularizedSolve) -> AbstractAdapter:
    """The adapter that serves a wrapped solve."""
    return REGISTRY.get_adapter(solve.adapter_name)


def _report(penalty: Any, nfe_extra: Any, counts: Counts, sample: Sample | None, num_unresolved: Any = None) -> Report:
    return Report(
        penalty=penalty, nfe_extra=nfe_extra, sample=sample, **counts._asdict(), num_unresolved=num_unresolved
    )


def _rebuild(solve: Callable[..., Any] | None, fields: dict[str, Any]) -> RegularizedSolve:
    return RegularizedSolve(solve=import_path(fields["solve_name"]) if solve is None else solve, **fields)


def regularize(
    solve: Callable[..., Any],
    *,
    heuristic: AbstractHeuristic | str | None = None,
    sampler: AbstractSampler | str = DEFAULT_SAMPLER,
    gradient: Gradient | None = None,
    num_samples: int = 1,
    batched: bool = False,
    adapter: str | None = None,
) -> RegularizedSolve:
    """Wrap a native solver call so that it also returns the penalty of one sampled local step.

    - `solve`: the native callable, such as `torchdiffeq.odeint` or `diffrax.diffeqsolve`, the method of a solver that
      is an object, or a `functools.partial` of one. Found by identity; a jitted or otherwise wrapped callable is
      refused.
    - `heuristic`: what is penalised, a value or the name of one. By default what measured best at equal accuracy
      (docs/design.md): `ErrorEstimate()` for stochastic equations with adaptive steps, else
      `TaylorDerivative(2, at="step")`.
    - `sampler`: where; a value or the name of one, too.
    - `gradient`: `"local"` (default) differentiates the local step alone: its time, size, state and tolerances are
      constants, so any adjoint may be used. `"full"` (default of the samplers that look at every step, `AllSteps` and
      `Integral`) also differentiates how the solve got there, where the solve itself is differentiated through.
    - `num_samples`: independent samples a solve; the penalty is their mean. The cost grows with it, the variance falls.
    - `batched`: torch only: evaluates all samples in one `torch.func.vmap` instead of one after the other.
    - `adapter`: name of the adapter to use. Asserts that `solve` has the signature of the adapter's first solver call
      (or of the one named after a colon, `"torchdiffeq:odeint_adjoint"`), for callables that no adapter claims.

    Returns a callable with the signature of `solve` and some more keyword arguments; see `RegularizedSolve.__call__`.

    Raises `AdapterNotFoundError` if no adapter claims `solve`, `InputError` if several do, `PluginError` if its adapter
    is broken or a library is missing or too old, `UnknownNameError` for unknown names, `CapabilityError` for what the
    adapter cannot do.
    """
    if is_wrapped(solve):
        raise InputTypeError(f"`solve` is already a `{type(solve).__name__}`; regularize the native call instead.")
    if not callable(solve):
        raise InputTypeError(f"`solve` must be a callable such as `torchdiffeq.odeint`, not {solve!r}.")
    resolved_heuristic: AbstractHeuristic | None = (
        None if heuristic is None else _resolve("heuristic", heuristic, AbstractHeuristic, REGISTRY.heuristic)
    )
    resolved_sampler: AbstractSampler = _resolve("sampler", sampler, AbstractSampler, REGISTRY.sampler)
    if gradient not in ("local", "full", None):
        raise InputError(f'`gradient={gradient!r}`: must be "local" or "full".')
    if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
        raise InputError(f"`num_samples={num_samples!r}`: must be an integer of at least 1.")
    if resolved_sampler.keeps_every_step:
        _check_every_step(resolved_sampler, gradient, num_samples, batched=batched)
    native, bound_args, bound_kwargs = unwrap_partial(solve)
    adapter_name, solve_name = find_adapter(native, adapter)
    regularized = RegularizedSolve(
        native,
        adapter_name,
        solve_name,
        bound_args,
        bound_kwargs,
        resolved_heuristic,
        resolved_sampler,
        gradient or ("full" if resolved_sampler.keeps_every_step else "local"),
        num_samples,
        batched,
    )
    capabilities = REGISTRY.get_adapter(adapter_name).capabilities
    solves_odes = not {Capability.ADAPTIVE_ODE, Capability.FIXED_STEP_ODE}.isdisjoint(capabilities.supported)
    check_adapter(regularized, _heuristic(regularized, has_noise_and_tolerance=not solves_odes), capabilities)
    return regularized


def _check_every_step(sampler: AbstractSampler, gradient: Gradient | None, num_samples: int, *, batched: bool) -> None:
    name = type(sampler).__name__
    if gradient == "local":
        raise InputError(
            f'`{name}` differentiates through the whole solve: leave `gradient="local"` out. `UniformStep()` and '
            "`UniformTime()` estimate the same sum from one step, with a local gradient."
        )
    if num_samples > 1 or batched:
        raise InputError(f"`{name}` looks at every step, once: leave `num_samples` and `batched` out.")


def _resolve(kind: str, value: Any, expected: type, by_name: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return by_name(value)
    if not isinstance(value, expected):
        hint = f" Did you mean `{value.__name__}()`?" if isinstance(value, type) and issubclass(value, expected) else ""
        raise InputTypeError(f"`{kind}` must be a {kind} or the name of one, not {value!r}.{hint}")
    return value


def unwrap_partial(solve: Callable[..., Any]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The callable behind every `functools.partial`, and the arguments that they bind."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while isinstance(solve, functools.partial):
        args, kwargs = (*solve.args, *args), {**solve.keywords, **kwargs}
        solve = solve.func
    return solve, args, kwargs


def find_adapter(solve: Callable[..., Any], asserted: str | None) -> tuple[str, str]:
    """Name of the adapter and of the solver call it is to be read as."""
    claims = REGISTRY.claims(solve)
    if asserted is not None:
        name, _, function = asserted.partition(":")
        spec = REGISTRY.spec(name)
        claimed = [path for claimed_name, path in claims if claimed_name == name]
        by_function = {path.partition(":")[2]: path for path in spec.solves}
        if function and function not in by_function:
            raise InputError(f"`adapter={asserted!r}`: `{name}` has no `{function}`; it has {sorted(by_function)}.")
        return name, by_function[function] if function else (claimed or list(spec.solves))[0]
    claiming = list(dict.fromkeys(name for name, _ in claims))
    if len(claiming) == 1:
        return claims[0]
    if claims:
        names = " and ".join(f"`{name}`" for name in claiming)
        raise InputError(f"The adapters {names} both claim {_describe(solve)}; choose one with `adapter=`.")
    if _wraps_claimed(solve):
        raise AdapterNotFoundError(
            f"No adapter claims this `{type(solve).__name__}`, a wrapper around {_describe(solve)}: regularize the "
            "inner call, and wrap or jit the function that calls it."
        )
    if REGISTRY.claims_bound(solve):
        raise AdapterNotFoundError(
            f"{_describe(solve)} is a method without its object: regularize that of the object, such as `solver.solve`."
        )
    raise AdapterNotFoundError(
        f"No adapter claims {_describe(solve)}. Claimed are {', '.join(REGISTRY.claimable()) or 'none'}. If it wraps "
        "or jits one of these, regularize the inner call and wrap the result; if it has the same signature as one of "
        "these, name the adapter with `adapter=`; for another solver, write an adapter."
    )


def _wraps_claimed(solve: Callable[..., Any]) -> bool:
    inner = getattr(solve, "__wrapped__", None)
    return inner is not None and (bool(REGISTRY.claims(inner)) or _wraps_claimed(inner))


def _describe(solve: Callable[..., Any]) -> str:
    module, name = getattr(solve, "__module__", None), getattr(solve, "__qualname__", None)
    return f"`{module}.{name}`" if module and name else f"`{type(solve).__name__}` object {solve!r}"


def _heuristic(regularized: RegularizedSolve, *, has_noise_and_tolerance: bool) -> AbstractHeuristic:
    if regularized.heuristic is not None:
        return regularized.heuristic
    # Where steps are fixed there is no tolerance to measure an error by.
    return DEFAULT_SDE_HEURISTIC if has_noise_and_tolerance else DEFAULT_HEURISTIC


def _check_probes(probes: Any, heuristic: AbstractHeuristic, call: AbstractCall) -> Leaves:
    if not heuristic.evaluations.probe:
        raise InputError(
            f"`probes` were given, and the heuristic {heuristic!r} uses none; leave them out, or use `JacobianNorm()`."
        )
    return call.check_probes(probes)


def _is_same(left: Any, right: Any) -> bool:
    left_method, right_method = split_method(left), split_method(right)
    if left_method is not None and right_method is not None:
        # A method is made anew each time it is asked for.
        return left_method[0] is right_method[0] and left_method[1] is right_method[1]
    plain = (bool, int, float, complex, str, bytes, type(None))
    return left is right or (isinstance(left, plain) and type(left) is type(right) and left == right)
