"""Verdicts made by hand, for the tests of the reports."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from lrnde_conformance._reports._report import RunReport
from lrnde_conformance._results import CheckResult, Outcome, Tier, Verdict

HOSTILE = (
    "</script><script>document.body.dataset.owned=1</script><img src=x onerror=alert(1)>|`*_[x](javascript:1)&\"'\r\n"
)
"""What a plugin might say: markup of every format, and characters that may not stand in one."""
UNPRINTABLE = "\x00\x07\x1b[31mred\x1b[0m\ud800\ufffe\u202eoot\u2028\x85"


def result(
    check: str,
    outcome: Outcome = Outcome.PASSED,
    *,
    adapter: str = "solver",
    case: str = "",
    law: int = 1,
    tier: Tier = "core",
    reason: str = "",
    details: Mapping[str, str] | None = None,
) -> CheckResult:
    return CheckResult(adapter, check, case, law, tier, outcome, reason, details or {}, 0.25)


def verdict(
    results: Sequence[CheckResult],
    *,
    adapter: str = "solver",
    is_complete: bool = True,
    trained: Any = None,
    selection: Mapping[str, str] | None = None,
    num_left_out: int = 0,
) -> Verdict:
    return Verdict(
        adapter=adapter,
        origin="lrnde-solver 1.2",
        versions={"lrnde": "0.1.0", "solver": "3.4", "Python": "3.11.7"},
        device="cpu",
        capabilities={"JIT": None, "EVENTS": "It has no events."},
        selection={} if selection is None else selection,
        num_left_out=num_left_out,
        results=results,
        trained=trained or {},
        is_complete=is_complete,
    )


def report(*verdicts: Verdict, **kwargs: Any) -> RunReport:
    return RunReport(verdicts, created=datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), **kwargs)


def trained() -> dict[str, Any]:
    return {
        "before": {"times": [0.1 * step for step in range(10)], "sizes": [0.1] * 10},
        "after": {"times": [0.0, 0.25, 0.5, 0.75], "sizes": [0.25, 0.25, 0.25, 0.25]},
    }


def green(adapter: str = "solver") -> Verdict:
    """All passed, but for what the adapter declares that it cannot do."""
    checks = ("identity.solution", "silence.calls", "penalty.oracle", "gradient.finite-differences")
    results = [
        result(check, adapter=adapter, law=law, case=case)
        for law, check in enumerate(checks, start=1)
        for case in ("dopri5", "bosh3")
    ]
    results.append(result("refusal.events", adapter=adapter, law=14, tier="optional"))
    results.append(
        result(
            "shape.jit",
            Outcome.SKIPPED,
            adapter=adapter,
            law=13,
            tier="optional",
            reason="declared unsupported: It has no compiler.",
        )
    )
    return verdict(results, adapter=adapter, trained=trained())


def declaring() -> Verdict:
    """All passed, but for two checks that need what the driver declares that the solver does not have."""
    made = green()
    results = [
        result(check, Outcome.NOT_APPLICABLE, law=6, reason="No first step is taken.") for check in ("one.a", "one.b")
    ]
    return verdict([*made.results, *results], trained=made.trained)


def raising() -> Verdict:
    """Three checks that one line raised the same in, one that another line raised in, and one that is only red."""
    one, other = ({"raised at": f"solver.py:{line}, in step (TypeError)", "next step": "look there"} for line in (7, 8))
    made = {"penalty.oracle": (3, one), "gradient.full": (4, one), "counts.nfe": (11, one), "event.counts": (11, other)}
    results = [
        result(check, Outcome.FAILED, law=law, reason=f"TypeError: not callable: {check}", details=details)
        for check, (law, details) in made.items()
    ]
    return verdict([*results, result("counts.steps", Outcome.FAILED, law=11, reason="They do not add up.")])


def red(adapter: str = "broken", *, text: str = "") -> Verdict:
    """One of each outcome; `text` stands wherever a plugin has a say."""
    adapter += text
    details = {
        "got": f"0.5{text}",
        "expected": "1.0",
        "tolerance": "1e-8",
        "likely cause": f"h was dropped{text}",
        "next step": f"compare with the formula of E{text}",
    }
    results = [
        result(f"identity.solution{text}", adapter=adapter),
        result(
            "penalty.oracle",
            Outcome.FAILED,
            adapter=adapter,
            law=3,
            case=f"dopri5{text}",
            reason=f"The penalty is off by a factor of 2.{text}",
            details=details,
        ),
        result(
            "counts.nfe", Outcome.EXPECTED_FAILURE, adapter=adapter, law=11, reason=f"The library hides one call.{text}"
        ),
        result(
            "counts.rejected",
            Outcome.UNEXPECTED_PASS,
            adapter=adapter,
            law=11,
            tier="optional",
            reason=f"Expected to fail, and passed.{text}",
        ),
        result("shape.vmap", Outcome.SKIPPED, adapter=adapter, law=13, tier="optional", reason=f"No vmap.{text}"),
    ]
    made = verdict(results, adapter=adapter)
    return Verdict(
        **{
            **vars(made),
            "origin": f"evil 1.0{text}",
            "versions": {f"solver{text}": f"1{text}"},
            "device": f"cpu{text}",
            "capabilities": {f"JIT{text}": f"no{text}"},
            "selection": {f"--tier{text}": f"core{text}"},
            "trained": {"before": {"times": [text], "sizes": [text]}, text: text},
        }
    )
