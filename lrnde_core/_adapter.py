"""The contract between the core and a solver library: what a plugin implements.

One call flows through it one way:

1. `AbstractAdapter.bind` reads the native arguments and returns an `AbstractCall` with the facts of its method. All
   refusals happen here or right after, before anything is solved.
2. `AbstractCall.run` runs the native solve unchanged, while a recorder asks the sampler at each accepted step whether
   to keep it, and returns the native result, the counts, and the kept steps with the local problem.
3. `AbstractAdapter.evaluate` evaluates the core's `LocalPenalty` on the kept steps.
"""

import abc
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from lrnde_core._call import AbstractCall, RecordingPlan
from lrnde_core._capabilities import Capabilities
from lrnde_core._recording import Recording
from lrnde_core._report import Sample


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
    def evaluate(self, plan: RecordingPlan, recording: Recording) -> tuple[Any, Sample | None]:
        """The mean over samples of `plan.penalty(problem, draw, record, plan.probes)`, and the samples stacked.

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

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
