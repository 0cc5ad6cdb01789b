"""The contract between the core and a solver library: what a plugin implements.

One call flows through it one way:

1. `AbstractAdapter.bind` reads the native arguments and returns an `AbstractCall` with the facts of its method. All
   refusals happen here or right after, before anything is solved.
2. `AbstractCall.run` runs the native solve unchanged, while a recorder asks the sampler at each accepted step whether
   to keep it, and returns the native result, the counts, and the kept steps with the local problem.
3. `AbstractAdapter.evaluate` evaluates the core's `LocalPenalty` on the kept steps.
"""

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

from lrnde_core._capabilities import Capabilities, Capability
from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._local import AbstractLocalProblem, Leaves, StepEstimate
from lrnde_core._penalty import LocalPenalty
from lrnde_core._report import Sample
from lrnde_core._samplers import AbstractSampler, Draw, DrawnStep
from lrnde_core._tableau import ExplicitTableau

if TYPE_CHECKING:
    from lrnde_core._freezing import AbstractFreezer, AbstractSDEFreezer

ADAPTER_API = (1, 0)
"""Version (major, minor) of this contract. An adapter states the one it was written for in its `AdapterSpec`."""


@final
@dataclasses.dataclass(frozen=True)
class MethodFacts:
    """What is known about the method of one bound call before it runs. Hashable.

    - `name`: the method as the user spells it. `order`: its order.
    - `error_order`: the power of the step size that the error ratio goes with: q for an embedded pair of orders q and
      q - 1, q + 1 for step doubling of order q; q + 1/2 for a stochastic equation and a method of strong order q.
    - `stability_interval`: real stability interval where the method has a stiffness estimate, else `None`.
    - `evaluations_per_step`, `evaluations_per_advance`: vector-field evaluations of one local step with and without its
      error estimate (drift plus diffusion of a stochastic equation); `None` where they cannot be told.
    - `needs_tolerances`: whether an error ratio must bring its own tolerances (fixed steps have none).
    - `unsupported`: what this call cannot serve, with the reason and what would work instead.
    - `evaluations_per_point`: evaluations behind one of the vector field at a point: 2 where the drift of a stochastic
      equation is only to be had together with its diffusion.
    - `is_stochastic`: whether the equation is a stochastic one.
    - `has_taylor_mode`: whether a derivative of any order along the solution takes one evaluation behind it, rather
      than one for each order.
    - `tableau`: of an explicit Runge--Kutta method, else `None`: the nodes of a running cost.
    """

    name: str
    order: int
    error_order: float
    stability_interval: float | None
    evaluations_per_step: int | None
    evaluations_per_advance: int | None
    needs_tolerances: bool
    unsupported: tuple[tuple[Capability, str], ...]
    evaluations_per_point: int = 1
    is_stochastic: bool = False
    has_taylor_mode: bool = False
    tableau: ExplicitTableau | None = None


class Counts(NamedTuple):
    """What a solve cost, as `Report` defines it: evaluations (`None` if hidden), steps, two for SDEs, and backward."""

    nfe: Any
    num_steps: Any
    num_accepted: Any
    num_rejected: Any
    nfe_diffusion: Any = None
    num_forced: Any = None
    nfe_backward: Any = None


class Record(NamedTuple):
    """One kept step, without gradient (with `gradient="full"`, `y` keeps its own).

    - `t`, `h`: start and signed size in the user's time, the size clipped to the end of the solve.
    - `y`: state at `t`. `carry`: what else the step needs: what a solver with memory carries into it, the Brownian
      increments of a stochastic equation; `None` if nothing.
    - `remaining`: signed time from `t` to the end of the solve.
    - `drawn`: what the sampler needs to know about it.
    - `estimate`: the step itself, with gradient, where the solver's own stages are at hand; else `None`.
    - `solver_error_ratio`: what the solver's controller compared with 1 at this step, where the protocol's error ratio
      is defined otherwise; else `None`.
    """

    t: Any
    h: Any
    y: Leaves
    carry: Any
    remaining: Any
    drawn: DrawnStep
    estimate: StepEstimate | None = None
    solver_error_ratio: Any = None


class Recording(NamedTuple):
    """The kept steps of a solve: one a draw, or every accepted step where the sampler keeps them all.

    - `problem`: the local problem.
    - `records`: `Record`s in the adapter's own batching: a sequence, or one `Record` of arrays with a leading axis.
      `None` where `cost` is given.
    - `is_valid`: whether the solve took a step and succeeded; where not, the penalty is exactly 0. May be traced.
    - `num_reused`: how many of the records bring their own `estimate`. May be traced.
    - `probes`: the user's own, for every sample, as `AbstractCall.check_probes` returned them; `None` where there are
      none. Set by the core.
    - `num_evaluated`: how many local steps the penalty evaluates, where that is not one a draw. May be traced.
    - `cost`: the reduced cost of every step, where it had to be added up while the solve ran. `num_unresolved`: of
      `Report`, counted along with it.
    """

    problem: AbstractLocalProblem
    records: Any
    is_valid: Any
    num_reused: Any = 0
    probes: Leaves | None = None
    num_evaluated: Any = None
    cost: Any = None
    num_unresolved: Any = None


class Run(NamedTuple):
    """A finished native solve: its own result untouched, the counts, and the recording if one was asked for."""

    result: Any
    counts: Counts
    recording: Recording | None


@final
@dataclasses.dataclass(frozen=True)
class RecordingPlan:
    """What to record: the steps that the sampler of `penalty` keeps for the draws.

    - `probes`: of `Recording`; for costs that are added up while the solve runs.
    - `keeps_gradient`: whether the kept state keeps its gradient.
    """

    penalty: LocalPenalty
    draws: Sequence[Draw] | Draw
    probes: Leaves | None
    keeps_gradient: bool

    @property
    def sampler(self) -> AbstractSampler:
        """The sampler of `penalty`."""
        return self.penalty.sampler


class AbstractCall(abc.ABC):
    """One native call with its arguments read."""

    facts: MethodFacts

    @abc.abstractmethod
    def run(self, plan: RecordingPlan | None) -> Run:
        """Run the native solve; its result must be what the bare call returns, to the last bit.

        With `plan=None` nothing is recorded. Errors of the library come through unchanged.
        """

    def check_probes(self, probes: Any) -> Leaves:
        """The user's `probes` as leaves like those of a recorded state, without gradient; before the solve.

        Raises `InputError` unless they are a tree of arrays with the structure, shapes and dtypes of the state, and
        `CapabilityError` where the adapter does not override it.
        """
        del probes
        raise CapabilityError(
            f"This adapter's `{type(self).__name__}` takes no `probes=`. Leave them out: each sample then has a probe "
            "of its own, decided by its draw."
        )


class AbstractAdapter(abc.ABC):
    """Connects one solver library. Stateless: two instances of one class are equal, and hash alike."""

    capabilities: ClassVar[Capabilities]
    random_argument: ClassVar[str]
    """Name under which the wrapped call takes its random source, as the ecosystem calls it (`key`, `generator`)."""

    @abc.abstractmethod
    def bind(self, solve: str, native: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AbstractCall:
        """Read the native arguments of a call of `solve` (its name in the adapter's spec; `native` is the callable).

        Raises `InputError`, `InputTypeError` or `CapabilityError` for what cannot be served. Arguments that the
        library itself refuses are left to it.
        """

    @abc.abstractmethod
    def draw(self, source: Any, num_samples: int) -> Any:
        """`num_samples` uniforms in [0, 1) from the random source (`None`: the ecosystem's default, if it has one)."""

    @abc.abstractmethod
    def check_draw(self, draw: Any, num_samples: int) -> Any:
        """Uniforms that the user gave, as `Draw`s in the adapter's batching.

        Refuses wrong shapes and, where values are concrete, values outside [0, 1).
        """

    @abc.abstractmethod
    def evaluate(
        self, penalty: LocalPenalty, recording: Recording, draws: Any, *, is_batched: bool
    ) -> tuple[Any, Sample | None]:
        """The mean over samples of `penalty(problem, draw, record, recording.probes)`, and the samples stacked.

        Where the recording brings its `cost`, that is the penalty, and there are no samples (`None`).

        0 with gradient exactly 0 where the recording is not valid or the local step is not finite.
        """

    @abc.abstractmethod
    def zero_penalty(self, call: AbstractCall) -> Any:
        """0 in the dtype and on the device of the call's state."""

    def is_collected(self) -> bool:
        """Whether a call within a `collect` block is penalised and reported here.

        Not where it solves again what a backward pass needs. Raises `CapabilityError` where its report would be of no
        use: its penalty without a gradient that it should have, or outlived by a transform.
        """
        return True

    def is_training(self, values: Iterable[Any]) -> bool:
        """Whether a call of these values (the solve, and its arguments) can be told to be one of training."""
        del values
        return False

    def freezer(self) -> "AbstractFreezer":
        """How calls of this library are solved by a plan; of adapters that support `Capability.FREEZE`."""
        raise self._no_freezer("freezer", Capability.FREEZE)

    def sde_freezer(self) -> "AbstractSDEFreezer":
        """How stochastic calls are solved in fixed steps; of adapters that support `Capability.FREEZE_SDE`."""
        raise self._no_freezer("sde_freezer", Capability.FREEZE_SDE)

    def _no_freezer(self, missing: str, capability: Capability) -> PluginError:
        return PluginError(
            f"`{type(self).__name__}` has no `{missing}` and does not declare `Capability.{capability.name}` "
            "unsupported. This is a fault of the adapter: it needs one or the other."
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
