"""A generated call, and the choices that a seed makes."""

import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

Table = Mapping[str, Callable[["Choices"], Any]]
"""What may be chosen: a function that makes it, by its name."""

Mode = Literal["regularize", "collect", "outside"]


class LimitError(Exception):
    """A field was evaluated more often than a small problem should take."""


class FieldError(Exception):
    """The error that a hostile field raises."""


class Budget:
    """How often fields may be evaluated before they raise `LimitError`; endless solves end so, bare and wrapped."""

    def __init__(self) -> None:
        self.limit = 0
        self.spent = 0

    def allow(self, limit: int) -> None:
        """Begin to count again."""
        self.limit, self.spent = limit, 0

    def spend(self) -> None:
        """Count one evaluation."""
        self.spent += 1
        if self.spent > self.limit:
            raise LimitError("the field was evaluated too often")


BUDGET = Budget()


class Choices:
    """All choices that `seed` makes, in their order.

    - `made`: their names by what was chosen. `oddity`: how likely a choice is an odd one.
    """

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.made: dict[str, str] = {}
        self.oddity = self.random.choice((0.0, 0.03, 0.1, 0.3))

    def pick(self, what: str, usual: Table, odd: Table | None = None) -> Any:
        """Make one of the `usual` things, or at times one of the `odd` ones."""
        table = odd if odd and self.random.random() < self.oddity else usual
        name = self.random.choice(list(table))
        self.made[what] = name
        return table[name](self)

    def maybe(self, what: str, probability: float, usual: Table, odd: Table | None = None) -> dict[str, Any]:
        """The argument `what` with what was picked for it, or nothing, so that it keeps its default."""
        if self.random.random() < max(probability, 0.2 * self.oddity):
            return {what: self.pick(what, usual, odd)}
        return {}


def literal(*values: Any) -> Table:
    """A table of values that nobody writes to."""
    return {repr(value): lambda _, value=value: value for value in values}


@dataclasses.dataclass
class Call:
    """One call of a solver library, and how it is to be penalised.

    - `solve(*args, **kwargs)`: the native call. `settings`: of `regularize`. `extras`: further arguments of the
      regularized call. `mode`: called as it is, within a `collect` block, or as collected solves outside of any.
    - `leaves`: what gradients are taken with respect to, by name. `watched`: what the call must leave as the bare call
      leaves it.
    - `made`: the choices behind it. `raises_at`: the evaluation at which the field raises, or `None`.
      `is_wild`: whether squares and derivatives of the field may be out of range or not exist, where it has a gradient.
    """

    solve: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    settings: dict[str, Any]
    extras: dict[str, Any]
    mode: Mode
    leaves: dict[str, Any]
    watched: dict[str, Any]
    made: dict[str, str]
    raises_at: int | None = None
    is_wild: bool = False
