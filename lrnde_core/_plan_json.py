"""Plans as JSON: what they have in common, and what is refused."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

from lrnde_core._errors import InputError

_Plan = TypeVar("_Plan")


def write_plan(plan: Any, plan_format: str) -> str:
    """A plan, which is a dataclass, as JSON under the name of its format; every number to the last bit."""
    return json.dumps({"format": plan_format, **dataclasses.asdict(plan)}, indent=1)


def read_plan(text: str, plan_format: str, make: Callable[[dict[str, Any]], _Plan]) -> _Plan:
    """What `make` makes of the fields of a plan of this format. Raises `InputError` for anything else."""
    try:
        fields = json.loads(text)
        found = fields.pop("format")
        if found != plan_format:
            raise InputError(f"The plan has format {found!r}; here {plan_format!r} is read.")
        return make(fields)
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as exc:
        raise InputError(f"This is no plan ({exc!r}); load what `to_json` wrote.") from exc
