"""One native call with its arguments read, what can be changed in it, and the record and result of running it."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, final

from lrnde_core._arrays import Leaves, Real, State
from lrnde_core._claims import NativeResult
from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._method import MethodFacts
from lrnde_core._penalty import LocalPenalty
from lrnde_core._recording import Counts, KeptStep, KeptSteps, Recording
from lrnde_core._samplers import AbstractSampler, Draw


class Run(NamedTuple):
    """A finished native solve: its unchanged result, the counts, and the recording if one was requested."""

    result: NativeResult
    counts: Counts
    recording: Recording | None


@final
@dataclasses.dataclass(frozen=True)
class RecordingPlan:
    """The recording to make of a solve: the steps that the sampler of `penalty` keeps for the draws.

    - `penalty`: the penalty to evaluate on these steps. `draws`: as `AbstractAdapter.check_draw` returned them.
    - `probes`: one random direction for every sample, as `AbstractCall.check_probes` returned the user's; `None` if the
      draws determine them.
    - `keeps_gradient`: whether the kept state keeps its gradient.
    - `is_batched`: whether all samples are evaluated in one batched step.
    """

    penalty: LocalPenalty
    draws: Sequence[Draw] | Draw
    probes: Leaves | None
    keeps_gradient: bool
    is_batched: bool = False

    def keep_steps(self, duration: Real | None, nothing: KeptStep | None = None) -> KeptSteps:
        """An empty collection of kept steps for a solve; the arguments are those of `KeptSteps`."""
        assert not isinstance(self.draws, Draw)
        return KeptSteps(self.sampler, self.draws, duration, nothing)

    @property
    def sampler(self) -> AbstractSampler:
        """The sampler of `penalty`."""
        return self.penalty.sampler


@final
@dataclasses.dataclass(frozen=True)
class CallChange:
    """What to change in a call of an ordinary equation, to compare its cost.

    - `tolerance_factor`: what to multiply rtol and atol by.
    - `first_step`: the size of the first step, without sign, in the user's time; `None` for that of the call.
    - `samples`: which samples to solve, as indices into the first axis of every array of the state; `None` for all.
    """

    tolerance_factor: float = 1.0
    first_step: float | None = None
    samples: tuple[int, ...] | None = None


class AbstractCall(abc.ABC):
    """One native call with its arguments read."""

    facts: MethodFacts

    @abc.abstractmethod
    def run(self, plan: RecordingPlan | None) -> Run:
        """Run the native solve; its result must be what the bare call returns, to the last bit.

        With `plan=None` nothing is recorded. Errors of the library pass through unchanged; what reads the recording
        after the solve belongs into a `penalty_errors` block.
        """

    def changed(self, change: CallChange) -> "AbstractCall":
        """The same native call with some of its settings changed, for `diagnose`. Optional.

        Raises `CapabilityError` for what the solver has no setting for, such as the tolerance of fixed steps.
        """
        del change
        raise CapabilityError("its adapter cannot change settings of a call (`AbstractCall.changed`).")

    def check_probes(self, probes: State) -> Leaves:
        """The user's `probes` as leaves like those of a recorded state, without gradient. Called before the solve.

        Required for `Capability.PROBES`. Raises `InputError` unless the probes are a tree of arrays with the
        structure, shapes and dtypes of the state.
        """
        del probes
        raise PluginError(
            f"`{type(self).__name__}` has no `check_probes`, and its adapter does not declare `Capability.PROBES` "
            "unsupported. This is a fault of the adapter: it needs one or the other."
        )
