"""What a user's field is made of: the modules, objects and random generators that its evaluation may change."""

import collections
import contextlib
import functools
import random
import sys
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

_FUNCTIONS = (functools.partial, types.FunctionType, types.MethodType)


_CONTAINERS = (list, dict, set, collections.deque)


class Reach(NamedTuple):
    """What a field reaches, each once.

    - `modules`: with buffers and submodules of their own. `objects`: of other classes. `containers`: lists,
      dictionaries, sets and deques that are attributes of these. `generators`: of random numbers.
    """

    modules: list[torch.nn.Module]
    objects: list[Any]
    containers: list[Any]
    generators: list[Any]


def reach_of(field: Any) -> Reach:
    """What `field` reaches: itself, and what its submodules, attributes and arguments, closures and globals hold.

    Followed are modules, functions, methods and what they belong to, `functools.partial`s, callable objects, and random
    generators. Of what a function finds among its globals, modules, generators and functions of the same file.
    """
    reach = Reach([], [], [], [])
    generators, seen, waiting = _generator_types(), set[int](), [field]
    # An equation of drift and diffusion need not be callable itself, nor what a method belongs to.
    given = {id(field)}
    followed = (*_FUNCTIONS, *generators)
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if _is_module(value):
            reach.modules.append(value)
            attributes = vars(value)
            waiting += attributes["_modules"].values()
            if len(attributes) > len(_OF_EVERY_MODULE):
                own = [held for name, held in attributes.items() if name not in _OF_EVERY_MODULE]
                reach.containers.extend(held for held in own if type(held) in _CONTAINERS)
                waiting += [held for held in own if isinstance(held, followed)]
        elif isinstance(value, generators):
            reach.generators.append(value)
        elif isinstance(value, functools.partial):
            waiting += (value.func, *value.args, *value.keywords.values())
        elif isinstance(value, types.MethodType):
            given.add(id(value.__self__))
            waiting += (value.__self__, value.__func__)
        elif isinstance(value, types.FunctionType):
            waiting += _held_by(value, generators)
        elif (id(value) in given or callable(value)) and not isinstance(value, type) and hasattr(value, "__dict__"):
            reach.objects.append(value)
            reach.containers.extend(held for held in vars(value).values() if type(held) in _CONTAINERS)
            waiting += vars(value).values()
    return reach


def _is_module(value: Any) -> bool:
    # One that never called `torch.nn.Module.__init__` is an object like any other.
    return isinstance(value, torch.nn.Module) and "_buffers" in vars(value)


_OF_EVERY_MODULE = frozenset(vars(torch.nn.Module()))


def _held_by(function: types.FunctionType, generators: tuple[type, ...]) -> Iterable[Any]:
    for cell in function.__closure__ or ():
        # A cell is empty until its name is assigned.
        with contextlib.suppress(ValueError):
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    known = function.__globals__
    for name in function.__code__.co_names:
        value = known.get(name)
        is_own = isinstance(value, types.FunctionType) and value.__globals__ is known
        if is_own or isinstance(value, (torch.nn.Module, *generators)):
            yield value


def _generator_types() -> tuple[type, ...]:
    numpy_random = sys.modules.get("numpy.random")
    of_numpy = () if numpy_random is None else (numpy_random.Generator, numpy_random.RandomState)
    return (torch.Generator, random.Random, *of_numpy)
