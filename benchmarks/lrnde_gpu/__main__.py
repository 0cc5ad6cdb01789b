"""Run all parts within a budget of time and report; exit code 0 only if every one ran and passed.

    PYTHONPATH=benchmarks python -m lrnde_gpu [--device cpu] [--small] [--parts NAME,...] [--data DIR] [--budget S]

Reports go to docs/results/gpu, or to the folder that $OUT names.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from lrnde_gpu._parts import make_parts
from lrnde_gpu._place import ROOT, make_environment
from lrnde_gpu._report import write_report
from lrnde_gpu._running import PartResult, run


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--parts", default="", help="only these, separated by commas")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all of them")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "mnist", help="folder of the four files of MNIST")
    default_out = Path(os.environ.get("OUT") or ROOT / "docs" / "results" / "gpu")
    parser.add_argument("--out", type=Path, default=default_out)
    options = parser.parse_args()
    deadline = time.monotonic() + options.budget
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    parts = make_parts(out, options.device, options.data.resolve(), is_small=options.small)
    names = [part.name for part in parts]
    chosen = options.parts.split(",") if options.parts else names
    if unknown := set(chosen) - set(names):
        parser.error(f"there are no parts {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    parts = [part for part in parts if part.name in chosen]
    settings = {
        "device": options.device,
        "is_small": options.small,
        "budget": options.budget,
        "python": platform.python_version(),
    }
    outcomes: list[PartResult] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = make_environment(Path(folder))
        for part in parts:
            left = deadline - time.monotonic()
            # The last one has all that the others did not use.
            outcome = run(part, environment, left if part is parts[-1] else min(part.limit, left))
            outcomes.append(outcome)
            write_report(out, settings, outcomes, is_complete=len(outcomes) == len(parts))
            print(f"{outcome.name}: {outcome.outcome}, {outcome.seconds:.0f} s", flush=True)
            if outcome.outcome != "passed":
                print("\n".join(f"    {line}" for line in outcome.tail[-20:]), flush=True)
    print(f"Written: {out / 'report.md'}")
    return int(any(outcome.outcome != "passed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
