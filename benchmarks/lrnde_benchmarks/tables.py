"""Print the tables of stored reports, with ratios formed from their rows as they are formed today.

    python -m lrnde_benchmarks.tables [--update | --front-page] REPORT.json...

`--update` also writes the ratios back, and the version of the format that they now have. Comparisons at matched quality
stay as they are. `--front-page` prints only these, as the first table of docs/results.md.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._reports._comparison import SCHEMA
from lrnde_benchmarks._reports._front_page import HEADER, front_page_rows
from lrnde_benchmarks._reports._matched import PARTS
from lrnde_benchmarks._reports._ratios import form_ratios
from lrnde_benchmarks._reports._table import render
from lrnde_core import InputError

# Since this version rows have the reference times that ratios are formed with.
_OLDEST = 3


def formed_anew(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report in the current format. Raises `InputError` for one that is older than version 3, or newer than this."""
    schema = report.get("schema")
    if not (isinstance(schema, int) and _OLDEST <= schema <= SCHEMA):
        raise InputError(
            f"A report of schema {schema} was given; {_OLDEST} to {SCHEMA} can be read. Run the task again."
        )
    # Frozen rows came without a new version.
    rows = [{"frozen": [None] * len(row["seeds"]), **row} for row in report["rows"]]
    # Comparisons at matched quality are made from the trained models, not from rows.
    kept = {
        (ratios["adapter"], ratios["setting"]): {part: ratios[part] for part in PARTS if part in ratios}
        for ratios in report["ratios"]
    }
    ratios = [
        each | kept.get((each["adapter"], each["setting"]), {}) for each in form_ratios(rows, report["task"]["metric"])
    ]
    return {**report, "schema": SCHEMA, "rows": rows, "ratios": ratios}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--update", action="store_true", help="write the ratios back")
    group.add_argument("--front-page", action="store_true", help="print the first table of docs/results.md")
    options = parser.parse_args()
    if options.front_page:
        found = ((json.loads(path.read_text()), path.name) for path in options.reports)
        print("\n".join([HEADER, *(row for report, file in found for row in front_page_rows(report, file))]))
        return
    console = Console()
    for path in options.reports:
        report = formed_anew(json.loads(path.read_text()))
        if options.update:
            write_json(path, report)
        console.print(str(path), style="bold", highlight=False)
        console.print(render(report))


if __name__ == "__main__":
    main()
