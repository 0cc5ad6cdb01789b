"""Candidates of a sweep, written in one line each.

    HEURISTIC/SAMPLER/WEIGHT|WEIGHT...[/NUM_SAMPLES]        taylor_derivative:order=3/uniform_time/0.1|0.3/2
    weight_decay/VALUE|VALUE...                             weight_decay/0.1|1

Heuristics and samplers are named as `lrnde.regularize` knows them, with fields after a colon
(`uniform_step:weighting=paper`); heuristics add and scale (`error_estimate+0.1*stiffness_estimate`).
"""

import ast
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_core import REGISTRY, AbstractHeuristic, Constant, InputError

DEFAULT_CANDIDATES = (
    "taylor_derivative/uniform_time/0.1|0.3|1",
    "taylor_derivative/uniform_step/0.1|0.3|1",
    "taylor_derivative:order=3/uniform_time/0.001|0.01|0.1",
    "predicted_steps/uniform_time/0.03|0.1|0.3",
    "predicted_steps/uniform_step/0.03|0.1|0.3",
    "error_estimate/uniform_time/2.5|10|40",
    "error_estimate/uniform_step/2.5|10|40",
    "stiffness_estimate/uniform_time/0.1|1|10",
    "weight_decay/0.03|0.1|0.3|1",
)


def parse_candidate(text: str) -> list[Setting]:
    """The settings that one line stands for, one for each weight. Raises `InputError` or `UnknownNameError`."""
    parts = text.split("/")
    if parts[0] == "weight_decay" and len(parts) == 2:
        return [Setting(f"weight_decay/{decay:g}", weight_decay=decay) for decay in _numbers(text, parts[1])]
    if len(parts) not in (3, 4):
        raise InputError(f"`{text}` is not a candidate; it must look like `taylor_derivative/uniform_time/0.1|0.3`.")
    num_samples = int(_numbers(text, parts[3])[0]) if len(parts) == 4 else 1
    penalty = Penalty(_heuristic(parts[0]), _with_fields(parts[1], REGISTRY.sampler), num_samples=num_samples)
    suffix = f"/{num_samples}" if num_samples > 1 else ""
    return [
        Setting(f"{parts[0]}/{parts[1]}/{weight:g}{suffix}", penalty, Constant(weight))
        for weight in _numbers(text, parts[2])
    ]


def _heuristic(text: str) -> AbstractHeuristic:
    terms = [_term(term) for term in text.split("+")]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _term(text: str) -> AbstractHeuristic:
    factor, star, name = text.rpartition("*")
    heuristic = _with_fields(name, REGISTRY.heuristic)
    return _numbers(text, factor)[0] * heuristic if star else heuristic


def _with_fields(text: str, by_name: Callable[[str], Any]) -> Any:
    name, _, fields = text.partition(":")
    value = by_name(name)
    try:
        return dataclasses.replace(value, **dict(_fields(fields)))
    except (TypeError, ValueError) as error:
        raise InputError(f"`{text}`: {error}") from error


def _fields(text: str) -> Iterator[tuple[str, Any]]:
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, SyntaxError):
            yield name, value


def _numbers(text: str, numbers: str) -> list[float]:
    try:
        return [float(number) for number in numbers.split("|")]
    except ValueError as error:
        raise InputError(f"`{text}`: `{numbers}` is not a number, nor numbers separated by `|`.") from error
