"""The margin of a task, from a report of its unpenalised model: one standard deviation of the score over seeds.

    lrnde benchmark TASK --methods none --seeds 10 --out FOLDER
    python benchmarks/fix_margin.py FOLDER/report.json

To be fixed before any penalised model is trained: adds or replaces the task's entry in margins.json, which
`lrnde benchmark --matched` reads.
"""

import argparse
import json
import statistics
from pathlib import Path

from lrnde_benchmarks._cells._code import current_commit
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._settings import BASELINE

MARGINS = Path(__file__).parent / "lrnde_benchmarks" / "margins.json"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    report = json.loads(parser.parse_args().report.read_text(encoding="utf-8"))
    row = next(row for row in report["rows"] if row["setting"] == BASELINE)
    commit = current_commit()
    entry = {
        "margin": statistics.stdev(row["score"]),
        "mean": statistics.fmean(row["score"]),
        "num_seeds": len(row["seeds"]),
        "adapter": row["adapter"],
        "commit": None if commit is None else commit.head,
    }
    name = report["task"]["name"]
    write_json(MARGINS, {**json.loads(MARGINS.read_text(encoding="utf-8")), name: entry})
    print(f"{name}: {entry['margin']:.4g} around {entry['mean']:.4g}, {entry['num_seeds']} seeds")


if __name__ == "__main__":
    main()
