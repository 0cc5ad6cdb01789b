"""The findings of a run: one result for each check and case, and the verdict over all of them."""

import dataclasses
import enum
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

Tier = Literal["core", "optional"]


@final
class Outcome(enum.Enum):
    """How a check ended. The value is the word that reports use."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not applicable"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"

    @property
    def is_fault(self) -> bool:
        """Whether the adapter does not conform: a failure, or a failure that was expected and did not come."""
        return self in (Outcome.FAILED, Outcome.UNEXPECTED_PASS)

    @property
    def has_run(self) -> bool:
        """Whether the check applied."""
        return self not in (Outcome.SKIPPED, Outcome.NOT_APPLICABLE)


@final
@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One check of one adapter on one case.

    - `adapter`: its name. `check`: stable id, such as `gradient.finite-differences`. `case`: what it ran on, such as
      `dopri5-float64`; empty if there is but one.
    - `law`: number of the law in docs/protocol.md. `tier`: of the check.
    - `reason`: why it was skipped, is not applicable or was expected to fail, or what went wrong, in a sentence.
    - `details`: of a failure: `got`, `expected`, `tolerance`, `seed`, `likely cause`, `raised at`, `next step`, where
      they apply.
    - `seconds`: wall time.
    """

    adapter: str
    check: str
    case: str
    law: int
    tier: Tier
    outcome: Outcome
    reason: str
    details: Mapping[str, str]
    seconds: float

    @property
    def id(self) -> str:
        """`check` and `case`, joined by a hyphen: what `-k` selects by, and what expected failures name."""
        return f"{self.check}-{self.case}" if self.case else self.check


@final
@dataclasses.dataclass(frozen=True)
class Verdict:
    """All results of one adapter.

    - `adapter`: its name. `origin`: distribution and version it came from. `versions`: of core, suite, solver, backend
      and Python. `device`: that it ran on.
    - `capabilities`: capability to reason against, `None` where supported.
    - `selection`: the options of `lrnde conformance` that select, each with its value; empty if everything runs.
      `num_left_out`: the checks that it leaves out.
    - `trained`: the trained task's step sizes before and after, as the reports plot them; empty if it did not run.
    """

    adapter: str
    origin: str
    versions: Mapping[str, str]
    device: str
    capabilities: Mapping[str, str | None]
    selection: Mapping[str, str]
    num_left_out: int
    results: Sequence[CheckResult]
    trained: Mapping[str, Any]
    is_complete: bool

    def count(self, tier: Tier, *outcomes: Outcome) -> int:
        """How many results of a tier ended in one of these ways."""
        return sum(result.tier == tier and result.outcome in outcomes for result in self.results)

    def count_run(self, tier: Tier) -> int:
        """How many results of a tier are of checks that applied."""
        return self.count(tier, *(outcome for outcome in Outcome if outcome.has_run))

    @property
    def num_not_applicable(self) -> int:
        """How many checks need what the driver declares its solver not to have."""
        return sum(result.outcome is Outcome.NOT_APPLICABLE for result in self.results)

    @property
    def options(self) -> str:
        """The selection as it is typed; empty if everything runs."""
        return " ".join(
            f"{option} {shlex.quote(value)}" if value else option for option, value in self.selection.items()
        )

    @property
    def conforms(self) -> bool:
        """Whether every core check passed, none failed, and the run covered the whole core tier to its end."""
        core = [result for result in self.results if result.tier == "core"]
        return (
            self.is_complete
            and any(result.outcome is Outcome.PASSED for result in core)
            and not any(result.outcome.is_fault for result in self.results)
            and not any(result.outcome is Outcome.EXPECTED_FAILURE for result in core)
        )
