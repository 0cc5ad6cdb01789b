"""The weight of the penalty over training, as an object to save with a model."""

from collections.abc import Mapping, Sequence
from typing import final

from lrnde_core import AbstractWeight, InputError, InputTypeError, Number, Real, Report


@final
class WeightHolder:
    """Holds the state of a weight between iterations, in the style of a torch scheduler.

        weight = WeightHolder(NFETarget(target=26))
        loss = task_loss + weight.value() * report.penalty
        weight.update(report)

    - `weight`: any `AbstractWeight`, such as `Constant`, `ExponentialDecay` or `NFETarget`.

    With several processes, each has its own counts. Update all from the same report, so that the weights stay equal.
    """

    def __init__(self, weight: AbstractWeight) -> None:
        if not isinstance(weight, AbstractWeight):
            raise InputTypeError(f"`weight` must be an `AbstractWeight` such as `Constant(0.1)`, not {weight!r}.")
        self._weight = weight
        self._state = weight.init(like=0.0)

    def __repr__(self) -> str:
        return f"WeightHolder({self._weight!r}, {self._state!r})"

    def value(self) -> Real:
        """The weight to use in this iteration."""
        return self._weight.value(self._state)

    def update(self, report: Report | Sequence[Report]) -> None:
        """End an iteration whose solve returned `report`; for several solves, a list of their reports."""
        self._state = self._weight.update(self._state, report)

    def state_dict(self) -> dict[str, Number]:
        """The state by name, without the weight itself: plain numbers, which `torch.load` takes back safely."""
        return self._state._asdict()

    def load_state_dict(self, state_dict: Mapping[str, Number]) -> None:
        """Restore a state from `state_dict`. Raises `InputError` if it is not one."""
        kind = type(self._state)
        if set(state_dict) != set(kind._fields):
            raise InputError(
                f"`state_dict` has the keys {sorted(state_dict)}; the state of a weight has "
                f"{sorted(kind._fields)}. Load what `state_dict()` of a `WeightHolder` of this weight returned."
            )
        self._state = kind(**state_dict)
