"""The part of the suite that is to run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import final

from lrnde_conformance._checks._check import Check
from lrnde_conformance._experiments._subject import Subject
from lrnde_core import InputError

ALLOWED: Mapping[str, tuple[str | None, ...]] = {
    "tier": ("core", "optional", "all"),
    "device": ("cpu", "cuda"),
    "dtype": (None, "float32", "float64"),
}
"""The values of each argument of `run_checks` that has a fixed set of them."""


@final
@dataclasses.dataclass(frozen=True)
class Selection:
    """The arguments of `run_checks` that select. Raises `InputError` for an unknown value."""

    tier: str
    select: str
    device: str
    dtype: str | None
    is_fast: bool

    def __post_init__(self) -> None:
        for name, values in ALLOWED.items():
            value = getattr(self, name)
            if value not in values:
                msg = f"`{name}={value!r}`: must be one of {', '.join(repr(v) for v in values)}."
                raise InputError(msg)

    @property
    def is_everything(self) -> bool:
        """Whether nothing of the core tier is left out."""
        return self.tier != "optional" and not self.select.strip() and not self.is_fast and self.dtype is None

    def includes(self, check: Check, case: str) -> bool:
        """Whether a check runs on a case."""
        if self.tier not in ("all", check.tier) or (self.is_fast and check.is_slow):
            return False
        name = f"{check.id}-{case}" if case else check.id
        parts = [part.strip() for part in self.select.split(" or ")]
        return any(part in name for part in parts)

    def as_text(self) -> Mapping[str, str]:
        """For reports: the options of `lrnde conformance` that select, each with its value."""
        given = {
            "--tier": self.tier if self.tier != "all" else None,
            "-k": self.select.strip() or None,
            "--dtype": self.dtype,
            "--fast": "" if self.is_fast else None,
        }
        return {option: value for option, value in given.items() if value is not None}


def select_cases(subject: Subject, checks: Sequence[Check], selection: Selection) -> list[tuple[Check, str]]:
    """The checks and cases that run. Raises `InputError` if there are none."""
    selected = [(check, case) for check in checks for case in check.cases(subject) if selection.includes(check, case)]
    if not selected:
        msg = (
            f"No check matches tier {selection.tier!r} and {selection.select!r}; ids are such as "
            f"`{checks[0].id}`; `lrnde conformance --list` lists them."
        )
        raise InputError(msg)
    return selected


def count_cases(subject: Subject, checks: Sequence[Check]) -> int:
    """The number of checks, each counted once per case, that run if nothing is selected."""
    whole = Subject(subject.driver, dtype=subject.dtype, is_fast=False)
    return sum(len(check.cases(whole)) for check in checks)


def check_expected_failures(subject: Subject, checks: Sequence[Check]) -> None:
    """Raise `InputError` for expected failures of unknown checks, and for empty reasons."""
    known = {check.id for check in checks}
    whole = Subject(subject.driver, dtype=subject.dtype, is_fast=False)
    known |= {f"{check.id}-{case}" for check in checks for case in check.cases(whole) if case}
    for name, reason in subject.driver.expected_failures.items():
        if name not in known:
            msg = f"The driver of `{subject.name}` expects `{name}` to fail, and there is no such check."
            raise InputError(msg)
        if not reason.strip():
            msg = f"The driver of `{subject.name}` expects `{name}` to fail without a reason; give one."
            raise InputError(msg)
