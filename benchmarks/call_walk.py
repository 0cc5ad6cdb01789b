"""The walk of a call of `odeint` through the library, from the wrapped call to its penalty: functions and crossings.

    python benchmarks/call_walk.py [--functions]

A function is entered each time it is called. A crossing is a call from another package, ours or the user's, whatever of
other libraries lies between. The call is one with the default penalty and four accepted steps, after three others, so
that nothing is made for the first time.
"""

import argparse
import collections
import sys
from types import FrameType
from typing import Any, NamedTuple

import torch
import torchdiffeq

import lrnde

PACKAGES = ("lrnde", "lrnde_core", "lrnde_torch", "lrnde_torchdiffeq")


class Entry(NamedTuple):
    """A function that was entered: its package, module and name, and the package of the function that called it."""

    package: str
    module: str
    name: str
    caller: str


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--functions", action="store_true", help="also print every function, and every crossing")
    options = parser.parse_args()
    layer = torch.nn.Linear(8, 8)

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.tanh(layer(y) + t)

    y0, t = torch.randn(16, 8), torch.tensor([0.0, 1.0])
    settings = {"rtol": 1e-3, "atol": 1e-3, "options": {"first_step": 0.25, "max_step": 0.25}}
    odeint: Any = lrnde.regularize(torchdiffeq.odeint)

    def call() -> None:
        odeint(field, y0, t, **settings)

    for _ in range(3):
        call()
    entries = walk(call)
    functions = collections.Counter(entry[:3] for entry in entries)
    crossings = collections.Counter(entry for entry in entries if entry.package != entry.caller)
    print(f"{len(entries)} functions entered, {len(functions)} different ones")
    print(f"{sum(crossings.values())} crossings, {len(crossings)} different ones")
    if options.functions:
        for (package, module, name), count in functions.most_common():
            print(f"{count:5} {package}.{module} {name}")
        for entry, count in crossings.items():
            print(f"{count:5} {entry.caller} -> {entry.package}.{entry.module} {entry.name}")


def walk(call: Any) -> list[Entry]:
    """The functions of `PACKAGES` that a call enters, in order."""
    entries: list[Entry] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        del argument
        package = _package(frame)
        if event != "call" or package not in PACKAGES:
            return
        caller = frame.f_back
        while caller is not None and _package(caller) not in (*PACKAGES, "__main__"):
            caller = caller.f_back
        module = frame.f_globals["__name__"].partition(".")[2]
        entries.append(Entry(package, module, frame.f_code.co_name, "" if caller is None else _package(caller)))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return entries


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


if __name__ == "__main__":
    main()
