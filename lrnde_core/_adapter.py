"""The contract between the core and a solver library, which a plugin implements.

A call passes through it in one direction:

1. `AbstractAdapter.bind` reads the native arguments and returns an `AbstractCall` with the facts of its method. Every
   refusal happens here or right after, before anything is solved.
2. `AbstractCall.run` runs the native solve unchanged, while a recorder asks the sampler whether to keep each accepted
   step. It returns the native result, the counts, and the kept steps with the local problem.
3. `AbstractAdapter.evaluate` evaluates the core's `LocalPenalty` on the kept steps.
"""

import abc
from collections.abc import Iterable, Sequence
from typing import ClassVar

from lrnde_core._arrays import Array, Scalar
from lrnde_core._call import AbstractCall, RecordingPlan
from lrnde_core._capabilities import Capabilities
from lrnde_core._claims import NativeArgument, NativeArguments, NativeFunction, NativeKeywords
from lrnde_core._random_states import RandomSource
from lrnde_core._recording import Recording
from lrnde_core._report import Sample
from lrnde_core._samplers import Draw


class AbstractAdapter(abc.ABC):
    """Connects one solver library. Stateless: two instances of one class are equal and have the same hash."""

    capabilities: ClassVar[Capabilities]
    random_argument: ClassVar[str]
    """Name of the wrapped call's argument for its random source, as the ecosystem calls it (`key`, `generator`)."""

    @abc.abstractmethod
    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> AbstractCall:
        """Read the native arguments of a call of `solve` (its name in the adapter's spec; `native` is the callable).

        Raises `InputError`, `InputTypeError` or `CapabilityError` for unsupported arguments. Arguments that cannot be
        read may raise anything else: the core then makes the bare call, so that the library refuses them in its own
        words.
        """

    @abc.abstractmethod
    def draw(self, source: RandomSource, num_samples: int) -> Array:
        """Draw `num_samples` uniforms in [0, 1) from the random source (`None`: the ecosystem's default, if any)."""

    @abc.abstractmethod
    def check_draw(self, draw: Array | Sequence[float], num_samples: int) -> Sequence[Draw] | Draw:
        """The user's uniforms as `Draw`s, batched as the adapter does.

        Refuses wrong shapes and, if values are concrete, values outside [0, 1).
        """

    @abc.abstractmethod
    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[Scalar, Sample | None]:
        """The mean over samples of `plan.penalty(problem, draw, record, plan.probes)`, and the samples stacked.

        If the recording has its own `cost`, that is the penalty, and the samples are `None`.

        The penalty is 0 with gradient exactly 0 if the recording is not valid or the local step is not finite. Where
        every step is kept, only the cost of a step that is not finite is.
        """

    @abc.abstractmethod
    def zero_penalty(self, call: AbstractCall) -> Scalar:
        """0 in the dtype and on the device of the call's state."""

    def is_collected(self) -> bool:
        """Whether a call within a `collect` block is penalised and reported here.

        False if a backward pass runs the solve again. Raises `CapabilityError` if its report would be useless: its
        penalty lacks a gradient that it should have, or a transform ends before the report is used.
        """
        return True

    def is_training(self, values: Iterable[NativeArgument]) -> bool:
        """Whether a call with these values (the solve and its arguments) is recognisable as part of training."""
        del values
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
