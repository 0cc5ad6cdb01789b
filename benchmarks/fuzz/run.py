"""A fuzz of the public calls: each wrapped call must end as the bare one does, or in a refusal.

    python benchmarks/fuzz/run.py [--calls N] [--library torchdiffeq|torchsde|diffrax] [--seed S] [--json FILE]
    python benchmarks/fuzz/run.py --library LIBRARY --replay SEED

A seed decides everything about a call. Prints how many calls ended how, the reasons of refusals, and every
disagreement with the seed that repeats it. Exit code 0 only where there is none.
"""

import argparse
import collections
import dataclasses
import faulthandler
import importlib
import importlib.metadata
import json
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import endings
import traces
from calls import Call

from lrnde_core import write_text

SHARES = {"torchdiffeq": 0.5, "torchsde": 0.3, "diffrax": 0.2}
SECONDS_PER_CALL = {"torchdiffeq": 5, "torchsde": 5, "diffrax": 120}


class TooSlowError(BaseException):
    """One call took longer than any should."""


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--library", choices=SHARES)
    parser.add_argument("--seed", type=int, default=0, help="of the first call; the others count on from it")
    parser.add_argument("--json", type=Path, help="write what was seen to this file too")
    parser.add_argument("--replay", type=int, metavar="SEED", help="show one call, bare and wrapped")
    options = parser.parse_args()
    faulthandler.enable()
    if options.replay is not None:
        if options.library is None:
            parser.error("--replay needs --library")
        return replay(options.library, options.replay)
    shares = SHARES if options.library is None else {options.library: 1.0}
    seen = {library: fuzz(library, round(share * options.calls), options.seed) for library, share in shares.items()}
    found = {
        "seed": options.seed,
        "versions": versions(),
        "libraries": {k: _as_json(dataclasses.asdict(v)) for k, v in seen.items()},
    }
    if options.json is not None:
        write_text(options.json, json.dumps(found, indent=1) + "\n")
    return 1 if any(each.disagreements for each in seen.values()) else 0


@dataclasses.dataclass
class Seen:
    """What a run saw of one library.

    - `compiled`: calls that compiled a program. `rounded`: those whose gradient a compiled program rounds otherwise.
    - `outcomes`: how calls ended wrapped, and bare. `refusals`: the reasons. `errors`: the types of native errors.
    - `disagreements`: the first of each kind in words, with its seed and how many there are.
    """

    calls: int = 0
    seconds: float = 0.0
    compiled: int = 0
    rounded: int = 0
    outcomes: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    refusals: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    errors: dict[str, int] = dataclasses.field(default_factory=collections.Counter)
    disagreements: dict[str, Any] = dataclasses.field(default_factory=dict)


def fuzz(library: str, num_calls: int, first_seed: int) -> Seen:
    """Make `num_calls` calls of a library, of consecutive seeds, and print what they gave."""
    module = importlib.import_module(f"{library}_calls")
    attributes: traces.Attributes | None = None
    seen, start = Seen(), time.perf_counter()
    for seed in range(first_seed, first_seed + num_calls):
        call, bare, wrapped, found = timed_judge(library, module, seed)
        seen.calls += 1
        seen.outcomes[f"{wrapped.outcome}, bare {bare.outcome}"] += 1
        seen.compiled += wrapped.has_compiled
        seen.rounded += wrapped.num_rounded > 0
        if wrapped.refusal is not None:
            seen.refusals[endings.reason(wrapped.refusal)] += 1
        if wrapped.error is not None:
            seen.errors[wrapped.error[0]] += 1
        # What libraries set up once, they have set up by then.
        if attributes is None:
            if seed >= first_seed + min(50, num_calls // 2):
                attributes = traces.Attributes((library,))
        else:
            changed = attributes.changed()
            if changed:
                found = [*found, f"changed attributes: {', '.join(sorted(changed))}"]
                attributes = traces.Attributes((library,))
        if found:
            note(seen, seed, call, found)
    seen.seconds = round(time.perf_counter() - start, 1)
    show(library, seen)
    return seen


def timed_judge(library: str, module: Any, seed: int) -> tuple[Any, endings.Ending, endings.Ending, list[str]]:
    """The verdict on a call; one that takes too long is a disagreement, unless the bare call does."""

    def stop(*_: Any) -> None:
        raise TooSlowError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_CALL[library])
    try:
        return module.judge(seed)
    except TooSlowError:
        place = traceback.extract_tb(sys.exc_info()[2])[-2]
        slow = endings.Ending(
            error=("TooSlowError", f"{SECONDS_PER_CALL[library]} s are over, in {place.name} of {place.filename}")
        )
        return None, slow, slow, [] if endings.PHASE["now"] == "bare" else [": ".join(slow.error or ())]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def note(seen: Seen, seed: int, call: Call | None, found: list[str]) -> None:
    """Count a disagreement among those of its kind."""
    kind = endings.reason(found[0])
    known = seen.disagreements.setdefault(kind, {"count": 0, "seeds": [], "found": found, "made": call and call.made})
    known["count"] += 1
    if len(known["seeds"]) < 8:
        known["seeds"].append(seed)


def show(library: str, seen: Seen) -> None:
    """Print what was seen."""
    rate = seen.calls / max(seen.seconds, 1e-9)
    print(
        f"{library}: {seen.calls} calls in {seen.seconds} s ({rate:.0f} a second), {seen.compiled} compiled a program"
    )
    if seen.rounded:
        print(f"  gradients that a compiled program rounds otherwise: {seen.rounded}")
    for title, counts in (("outcomes", seen.outcomes), ("refusals", seen.refusals), ("errors", seen.errors)):
        print(f"  {title}")
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
            print(f"    {count:6d}  {name}")
    print(f"  disagreements: {sum(each['count'] for each in seen.disagreements.values())}")
    for entry in sorted(seen.disagreements.values(), key=lambda each: -each["count"]):
        print(f"    {entry['count']:6d}  {entry['found'][0][:300]}")
        print(f"            --library {library} --replay {' '.join(map(str, entry['seeds']))}")


def replay(library: str, seed: int) -> int:
    """Show one call."""
    module = importlib.import_module(f"{library}_calls")
    call, bare, wrapped, found = timed_judge(library, module, seed)
    if call is not None:
        for name, made in call.made.items():
            print(f"  {name}: {made}")
        print(f"  settings: {call.settings}\n  extras: {call.extras}\n  mode: {call.mode}")
    for name, ending in (("bare", bare), ("wrapped", wrapped)):
        print(f"{name}: {ending.refusal or ending.error or ending.error_of_gradient or ending.outcome}")
    if found:
        print(wrapped.trace)
    for each in found:
        print(f"disagrees: {each}")
    return 1 if found else 0


def versions() -> dict[str, str]:
    """Of what was called."""
    return {
        name: importlib.metadata.version(name)
        for name in ("lrnde", "torch", "torchdiffeq", "torchsde", "jax", "diffrax")
    }


def _as_json(value: Any) -> Any:
    """The same with names for keys that are tuples."""
    if isinstance(value, dict):
        return {", ".join(map(str, k)) if isinstance(k, tuple) else k: _as_json(v) for k, v in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
