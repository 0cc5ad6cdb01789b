"""A diagnosis of solves as data and in words: where their steps go, and what each change was measured to save."""

import dataclasses
import enum
from collections.abc import Mapping
from typing import final


@final
class FindingKind(enum.Enum):
    """What a finding is about. The value is the heading that a diagnosis prints."""

    WARM_UP = "warm-up from a small first step"
    REJECTED_STEPS = "rejected steps"
    COSTLY_SAMPLE = "one costly sample in a batch"
    ROUNDING = "tolerance below the rounding of the dtype"
    TOLERANCE = "tolerance"
    FIXED_STEPS = "adaptive steps where fixed ones would do"
    BACKWARD_PASS = "backward pass of the adjoint"


@final
@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that was measured about the cost of solves.

    - `kind`: what it is about. `numbers`: what was measured, by name.
    - `measured`: the measurement in words. `advice`: what would help.
    """

    kind: FindingKind
    numbers: Mapping[str, float] = dataclasses.field(hash=False)
    measured: str
    advice: str

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.measured}\n  {self.advice}"


@final
@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Where the steps of some solves go. `str` gives it in words.

    - `unit`: what costs are counted in: `"evaluations"` of the field, or `"steps"` if the library hides evaluations.
    - `cost`, `num_accepted`, `num_rejected`: of one solve, on average over the calls; `None` if the library hides its
      steps.
    - `num_calls`: how many were solved.
    - `findings`: what was found. `not_measured`: what could not be measured, each with the reason.
    """

    unit: str
    cost: float
    num_accepted: float | None
    num_rejected: float | None
    num_calls: int
    findings: tuple[Finding, ...]
    not_measured: tuple[str, ...]

    def __str__(self) -> str:
        calls = "1 call" if self.num_calls == 1 else f"{self.num_calls} calls, on average"
        steps = ""
        if self.num_accepted is not None and self.num_rejected is not None:
            steps = f" in {self.num_accepted:.4g} accepted and {self.num_rejected:.4g} rejected steps"
        cost = f"{self.cost:.4g} {self.unit} a solve{steps} ({calls})."
        found = [f"- {finding}" for finding in self.findings] or [
            "- Nothing that was measured makes it cheaper at this tolerance; a penalty does (`lrnde.regularize`)."
        ]
        missing = [f"- Not measured: {reason}" for reason in self.not_measured]
        return "\n".join((cost, *found, *missing))

    def __repr__(self) -> str:
        kinds = ", ".join(finding.kind.name for finding in self.findings) or "no findings"
        return f"<Diagnosis: {self.cost:.4g} {self.unit} a solve; {kinds}>"
