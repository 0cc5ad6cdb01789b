"""A library's own tests, with its solves as they are and wrapped: what differs, and which calls were refused and why.

    python benchmarks/peers/compare.py LIBRARY CHECKOUT [FILES ...] [--pytest ARGS] [--json FILE] [--reuse-bare]

- `LIBRARY`: torchdiffeq, torchsde or diffrax, as installed.
- `CHECKOUT`: a folder with its repository at the version that is installed; its tests run where they are.

A wrapped solve computes the default penalty and discards it. A call that lrnde refuses runs as it is, and is counted by
its reason. Exit code 0 only where every test ends alike.
"""

import argparse
import collections
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrnde_core import write_text

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "build" / "peers"
TESTS = {"torchdiffeq": "tests/*_tests.py", "torchsde": "tests/test_*.py", "diffrax": "test/test_*.py"}
Outcomes = dict[str, dict[str, int]]


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=TESTS)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("files", nargs="*", help="of its tests, relative to the checkout (default: all)")
    parser.add_argument("--pytest", default="", help='arguments for pytest, as "-n 2 -k event"')
    parser.add_argument("--json", type=Path, help="write what was seen to this file too")
    parser.add_argument("--reuse-bare", action="store_true", help="compare with the last run of the bare solves")
    options = parser.parse_args()
    pattern = TESTS[options.library]
    files = options.files or [str(path.relative_to(options.checkout)) for path in options.checkout.glob(pattern)]
    if not files:
        parser.error(f"{options.checkout} has no {pattern}: it should be a checkout of {options.library}")
    pytest_args = [*shlex.split(options.pytest), *sorted(files)]
    WORK.mkdir(parents=True, exist_ok=True)
    records = {is_wrapped: WORK / f"{options.library}-{('bare', 'wrapped')[is_wrapped]}.jsonl" for is_wrapped in (0, 1)}
    for is_wrapped, record in records.items():
        if is_wrapped or not options.reuse_bare or not record.exists():
            run_tests(options.library, options.checkout, pytest_args, record, is_wrapped=bool(is_wrapped))
    bare, wrapped = (outcomes_of(read(record)) for record in records.values())
    found = {
        "library": f"{options.library} {importlib.metadata.version(options.library)}",
        "bare": totals(bare),
        "wrapped": totals(wrapped),
        "differs": differences(bare, wrapped),
        "calls": calls_of(read(records[1])),
    }
    print(json.dumps(found, indent=1))
    if options.json is not None:
        write_text(options.json, json.dumps(found, indent=1) + "\n")
    return 1 if found["differs"] or not bare else 0


def run_tests(library: str, checkout: Path, pytest_args: list[str], record: Path, *, is_wrapped: bool) -> None:
    """Run pytest in `checkout`; what it saw goes to `record`, its output to a log beside it.

    Raises `SystemExit` unless it ran to its end.
    """
    record.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PEER_LIBRARY": library,
        "PEER_WRAPPED": str(int(is_wrapped)),
        "PEER_RECORD": str(record),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "pytest", "-p", "peer_plugin", "-p", "no:cacheprovider", "-q", *pytest_args]
    log = record.with_suffix(".log")
    with log.open("w") as out:
        done = subprocess.run(command, cwd=checkout, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
    if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        record.unlink(missing_ok=True)
        raise SystemExit(f"pytest did not run to its end (exit code {done.returncode}); see {log}.")


def read(record: Path) -> list[dict[str, Any]]:
    """The lines of a record."""
    return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if record.exists() else []


def outcomes_of(lines: list[dict[str, Any]]) -> Outcomes:
    """By test and subtest, how often each phase ended how."""
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in lines:
        if "test" in line:
            found[f"{line['test']} {line['subtest']}".strip()][f"{line['when']} {line['outcome']}"] += 1
    return {name: dict(counter) for name, counter in sorted(found.items())}


def totals(outcomes: Outcomes) -> dict[str, int]:
    """How many tests and subtests ended how; one that failed in any phase failed."""
    ended: collections.Counter[str] = collections.Counter()
    for phases in outcomes.values():
        seen = {phase.split()[1] for phase in phases}
        ended["failed" if "failed" in seen else "skipped" if "skipped" in seen else "passed"] += 1
    return dict(ended)


def differences(bare: Outcomes, wrapped: Outcomes) -> dict[str, dict[str, Any]]:
    """Tests and subtests that end otherwise, with both outcomes."""
    return {
        name: {"bare": bare.get(name), "wrapped": wrapped.get(name)}
        for name in sorted(bare.keys() | wrapped.keys())
        if bare.get(name) != wrapped.get(name)
    }


def calls_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How many calls were penalised, refused (by reason) and raised (by type)."""
    calls = [line for line in lines if "call" in line]
    refused = collections.Counter(line["refused"] for line in calls if "refused" in line)
    raised = collections.Counter(line["raised"] for line in calls if "raised" in line)
    return {
        "penalised": len(calls) - refused.total() - raised.total(),
        "refused": dict(refused.most_common()),
        "raised": dict(raised.most_common()),
    }


if __name__ == "__main__":
    sys.exit(main())
