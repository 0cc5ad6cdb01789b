"""Checks: plain functions with a stable id, a tier, the law they test and the capabilities they need."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import final

from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._results import Tier
from lrnde_core import AnyCapability


@final
@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    - `id`: stable; retired, never renamed. `law`: number of the law in docs/protocol.md. `tier`: of the suite.
    - `needs`: capabilities without which it does not apply; the refusal of a missing one is a separate check.
    - `is_slow`: whether `--fast` leaves it out.
    - `cases`: the cases of a subject it runs on, as names; `("",)` for one.
    - `run`: `run(subject, case)`; raises `ConformanceFailure` where the law does not hold.
    - `doc`: what it checks, in a sentence, for reports. `hint`: what to do first when it is red.
    """

    id: str
    law: int
    tier: Tier
    needs: frozenset[AnyCapability]
    is_slow: bool
    cases: Callable[[Subject], Sequence[str]]
    run: Callable[[Subject, str], None]
    doc: str
    hint: str


def check(
    id: str,  # noqa: A002
    *,
    law: int,
    tier: Tier = "core",
    needs: Sequence[AnyCapability] = (),
    is_slow: bool = False,
    cases: Callable[[Subject], Sequence[str]] = lambda _: ("",),
    hint: str = "",
) -> Callable[[Callable[[Subject, str], None]], Check]:
    """Make a check of a function `run(subject, case)` with a docstring that says what it checks."""

    def make(run: Callable[[Subject, str], None]) -> Check:
        assert run.__doc__ is not None
        doc = " ".join(run.__doc__.split())
        return Check(id, law, tier, frozenset(needs), is_slow, cases, run, doc, hint)

    return make
