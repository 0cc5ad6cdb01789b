"""The margin between rounding and the bounds of the conformance suite, over many random problems.

    python benchmarks/rounding_margin.py ADAPTER [--problems N] [--first SEED] [-k SELECT] [--whole] [--json FILE]

Each check that is judged by a bound on rounding runs on random networks, initial states and paths, its cases in turn,
and the largest difference over its bound is printed for each: below 1, or a tolerance depends on the processor. The
bounds hold for any processor; run it with other instruction sets all the same (`MKL_ENABLE_INSTRUCTIONS`,
`ATEN_CPU_CAPABILITY`, `OPENBLAS_CORETYPE`, `XLA_FLAGS=--xla_cpu_max_isa=...`).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lrnde_conformance import CHECKS, Outcome, Subject, run_check
from lrnde_conformance._checks._compare import margins
from lrnde_conformance._lookup import driver_class
from lrnde_core import write_text

_FIXED = ("agreement.", "freeze.steps", "freeze.gradient", "freeze.export")


def largest_margins(
    adapter: str, seeds: range, select: str, *, is_fast: bool, file: Path | None
) -> dict[str, dict[str, Any]]:
    """By check: how many problems and comparisons, the largest difference over its bound, and what failed.

    - `file`: rewritten after each problem.
    """
    make_driver = driver_class(adapter)
    found: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        subject = Subject(make_driver(), is_fast=is_fast, seed=seed)
        with subject.backend.preserved():
            for check in CHECKS:
                cases = check.cases(subject)
                # Of checks without a bound, or whose problem is always the same, one seed says all.
                is_done = seed > seeds[0] and (check.id not in found or check.id.startswith(_FIXED))
                if check.is_slow or not any(part in check.id for part in select.split(" or ")) or is_done or not cases:
                    continue
                for case in cases if check.id.startswith(_FIXED) else [cases[seed % len(cases)]]:
                    with margins() as ratios:
                        result = run_check(subject, check, case)
                    if not ratios and seed == seeds[0]:
                        continue
                    row = found.setdefault(check.id, {"problems": 0, "comparisons": 0, "largest": 0.0, "failed": []})
                    row["problems"] += 1
                    row["comparisons"] += len(ratios)
                    row["largest"] = max([row["largest"], *ratios])
                    if result.outcome is Outcome.FAILED:
                        row["failed"].append(f"{case}, seed {seed}: {result.reason}")
        if file is not None:
            write_text(file, json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", help="name, or package.module:Class of a driver")
    parser.add_argument("--problems", type=int, default=200, help="how many random problems (200)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first (0)")
    parser.add_argument("-k", dest="select", default="", help="parts of the ids of checks, joined by ' or '")
    parser.add_argument("--whole", action="store_true", help="all methods, rather than the first of each kind")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.problems)
    found = largest_margins(given.adapter, seeds, given.select, is_fast=not given.whole, file=given.json)
    print(f"{given.adapter}, {len(seeds)} problems from seed {seeds[0]}")
    for name, row in found.items():
        print(f"{name:<26}{row['problems']:>5}{row['comparisons']:>8}  {row['largest']:.2g}")
        for failure in row["failed"]:
            print(f"    failed: {failure}")
    sys.exit(any(row["failed"] or row["largest"] >= 1 for row in found.values()))


if __name__ == "__main__":
    main()
