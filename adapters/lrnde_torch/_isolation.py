"""Further evaluations of a user's field without a trace: the state that they may change, and its restoration."""

import collections
import contextlib
import copy
import functools
import operator
import random
import sys
import threading
import types
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from lrnde_core import RandomSource, random_states_kept, uncollected

Held: TypeAlias = Any
"""Anything that a field reaches; its class decides what is done with it."""

Container: TypeAlias = Any
"""One of `_CONTAINERS`: a list, a set, a deque or a dictionary, of anything."""

# Values without contents that an evaluation could change.
_OF_PYTHON = (int, float, complex, bool, str, bytes, slice, type, type(None))
_OF_THE_INTERPRETER = (types.ModuleType, types.BuiltinFunctionType)
_OF_TORCH = (torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device)
_PLAIN = frozenset((*_OF_PYTHON, *_OF_THE_INTERPRETER, *_OF_TORCH))
_MAPPINGS = frozenset((dict, collections.OrderedDict, collections.defaultdict, collections.Counter))
_CONTAINERS = frozenset((list, set, collections.deque)) | _MAPPINGS
_OF_EVERY_MODULE = frozenset(vars(torch.nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")

EMPTY = object()
"""Stands for the value of an empty slot."""


class Reach(NamedTuple):
    """Everything that a field reaches.

    - `modules`: modules with their buffers and submodules. `owners`: everything with attributes: these modules,
      functions and objects. `slots`: pairs of an object and the descriptor of one of its slots. `containers`: lists,
      dictionaries, sets and deques that are attributes of these, or inside such containers. `cells`: the variables of
      closures. `generators`: random number generators.
    """

    modules: list[torch.nn.Module]
    owners: list[object]
    slots: list[tuple[object, types.MemberDescriptorType]]
    containers: list[Container]
    cells: list[types.CellType]
    generators: list[RandomSource]


def reach_of(field: object) -> Reach:
    """The reach of `field`: itself, and what its submodules, attributes, arguments, hooks, closures and globals hold.

    The walk follows modules, functions, methods and their objects, `functools.partial`s, callable objects, random
    generators, and containers. It includes other objects that one of these holds, but not the objects they hold in
    turn; of torch's own objects, only modules. Of a function's globals it follows modules, generators, containers, and
    functions and objects of the same file. It follows containers in arguments, closures and globals, but these belong
    to the caller and are not in `containers`.
    """
    return _Walk(field).reach


class _Walk:
    """The walk from a field, which collects everything in `reach`."""

    def __init__(self, field: object) -> None:
        self.reach = Reach([], [], [], [], [], [])
        self._generators = _generator_types()
        self._seen: set[int] = set()
        self._held: list[object] = [field]
        # Visited last, with whether a container is the field's, and whether any object is followed. So an object that
        # is reached in two ways counts as held.
        self._lent: list[tuple[object, bool, bool]] = []
        while self._held or self._lent:
            value, is_own, is_followed = (self._held.pop(), True, True) if self._held else self._lent.pop()
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self._visit(value, is_own, is_followed)

    def _hold(self, values: Iterable[object]) -> None:
        # Copied at once: other threads may fill the container during iteration.
        self._held += [value for value in list(values) if type(value) not in _PLAIN]

    def _hold_own(self, attributes: Mapping[str, object]) -> None:
        self._hold([held for name, held in list(attributes.items()) if name not in _OF_EVERY_MODULE])

    def _lend(self, values: Iterable[object], is_own: bool, is_followed: bool) -> None:
        self._lent += [(value, is_own, is_followed) for value in list(values) if type(value) not in _PLAIN]

    def _visit(self, value: Held, is_own: bool, is_followed: bool) -> None:
        kind = type(value)
        if _is_module(value):
            self._visit_module(value)
        elif isinstance(value, torch.jit.ScriptModule):
            # A traced module keeps everything in another one.
            self._hold([held for name, held in vars(value).items() if name == "_actual_script_module"])
        elif kind in _CONTAINERS or kind is tuple:
            if is_own and kind is not tuple:
                self.reach.containers.append(value)
            held = value.values() if kind in _MAPPINGS else value
            self._hold(held) if is_own and is_followed else self._lend(held, is_own, is_followed)
        elif isinstance(value, self._generators):
            self.reach.generators.append(value)
        elif isinstance(value, functools.partial):
            self._lend((value.func, *value.args, *value.keywords.values()), False, True)
        elif isinstance(value, types.MethodType):
            self._hold((value.__self__, value.__func__))
        elif isinstance(value, types.FunctionType):
            self._visit_function(value)
        elif not isinstance(value, type) and _top(kind) != "torch":
            self._visit_object(value, is_followed)

    def _visit_module(self, module: torch.nn.Module) -> None:
        attributes = vars(module)
        self.reach.modules.append(module)
        self.reach.owners.append(module)
        self._held += attributes["_modules"].values()
        # Those of compiled `torch.jit` modules are fixed, and not dictionaries.
        if attributes["_buffers"] and type(attributes["_buffers"]) in _MAPPINGS:
            self.reach.containers.append(attributes["_buffers"])
        if len(attributes) > len(_OF_EVERY_MODULE):
            self._hold_own(attributes)
        for hooks in _HOOKS:
            if attributes.get(hooks):
                self._hold(attributes[hooks].values())

    def _visit_function(self, function: types.FunctionType) -> None:
        self.reach.owners.append(function)
        if vars(function):
            # `functools.wraps` can give a function the attributes of a module.
            self._hold_own(vars(function))
        for cell in function.__closure__ or ():
            # A cell is empty until its name is assigned.
            with contextlib.suppress(ValueError):
                self._lend((cell.cell_contents,), False, True)
                self.reach.cells.append(cell)
        self._lend((*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()), False, True)
        known = function.__globals__
        if str(known.get("__name__")).partition(".")[0] == "torch":
            return
        values = [known.get(name) for name in function.__code__.co_names]
        self._lend([value for value in values if self._is_followed_global(value, known)], False, True)

    def _is_followed_global(self, value: object, known: dict[str, object]) -> bool:
        kind = type(value)
        if kind in _PLAIN:
            return False
        if isinstance(value, types.FunctionType):
            return value.__globals__ is known
        if isinstance(value, (torch.nn.Module, *self._generators)) or kind in _CONTAINERS or kind is tuple:
            return True
        return not isinstance(value, type) and kind.__module__ == known.get("__name__")

    def _visit_object(self, value: object, is_followed: bool) -> None:
        # An equation with drift and diffusion may not be callable itself, nor may the object of a method.
        is_callable = callable(value)
        if not (is_callable or (is_followed and _is_of_a_user(type(value)))):
            return
        attributes = list(vars(value).values()) if hasattr(value, "__dict__") else []
        if attributes:
            self.reach.owners.append(value)
        for slot in _slots(type(value)):
            attributes.append(read_slot(value, slot))
            self.reach.slots.append((value, slot))
        self._hold(attributes) if is_callable else self._lend(attributes, True, False)


def _is_module(value: object) -> bool:
    # A module that never called `torch.nn.Module.__init__` is an object like any other.
    return isinstance(value, torch.nn.Module) and "_buffers" in vars(value)


def read_slot(owner: object, slot: types.MemberDescriptorType) -> object:
    """The value of a slot; `EMPTY` until it is assigned."""
    try:
        return slot.__get__(owner)
    except AttributeError:
        return EMPTY


def _slots(kind: type) -> list[types.MemberDescriptorType]:
    parts = [vars(base) for base in kind.__mro__ if "__slots__" in vars(base)]
    return [each for part in parts for each in part.values() if isinstance(each, types.MemberDescriptorType)]


def _is_of_a_user(kind: type) -> bool:
    return kind is types.SimpleNamespace or _top(kind) not in sys.stdlib_module_names


def _top(kind: type) -> str:
    """The package of a class."""
    return kind.__module__.partition(".")[0]


def _generator_types() -> tuple[type, ...]:
    numpy_random = sys.modules.get("numpy.random")
    of_numpy = () if numpy_random is None else (numpy_random.Generator, numpy_random.RandomState)
    return (torch.Generator, random.Random, *of_numpy)


# Buffers are swapped in the module itself, which other threads may share.
_BUFFER_LOCK = threading.RLock()


@contextlib.contextmanager
def no_side_effects(field: object, device: torch.device) -> Generator[None]:
    """Restore at the end of the block whatever `field` changes of the user's state.

    - Random states: the global ones of torch, numpy and Python, and those of generators that the field reaches. So
      dropout later draws the same numbers as after the bare call.
    - Buffers of the modules that the field reaches, such as BatchNorm's running statistics: copies within the block.
    - Attributes and slots of these modules, of functions and of objects, and variables of closures, if set or replaced.
      The contents of lists, dictionaries, sets and deques among the attributes. Not integers: a user's counter also
      counts these evaluations, as `Report.nfe_extra` says.

    - The `collect` block around it, for solves that the field makes.
    - Weights that `torch.nn.utils.parametrize.cached` keeps: computed anew within the block, so that one computed
      without gradient is not kept for the solve, nor the solve's used here.

    `reach_of` finds everything that a field reaches.
    """
    reach = reach_of(field)
    is_cpu = device.type == "cpu"
    fork = contextlib.nullcontext() if is_cpu else torch.random.fork_rng([device], device_type=device.type)
    generators = (torch.default_generator, *reach.generators)
    kept = random_states_kept(generators)
    with uncollected(), fork, kept, _values_kept(reach), _copied_buffers(reach.modules), _weights_computed_anew():
        yield


@contextlib.contextmanager
def _weights_computed_anew() -> Generator[None]:
    known = parametrize._cache  # pyright: ignore[reportPrivateUsage]
    parametrize._cache = {}  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        parametrize._cache = known  # pyright: ignore[reportPrivateUsage]


@contextlib.contextmanager
def _values_kept(reach: Reach) -> Generator[None]:
    attributes = [(vars(owner), vars(owner).copy()) for owner in reach.owners if not _is_lazy(owner)]
    containers = [(container, copy.copy(container)) for container in reach.containers]
    slots = [(owner, slot, read_slot(owner, slot)) for owner, slot in reach.slots]
    cells = [(cell, cell.cell_contents) for cell in reach.cells]
    try:
        yield
    finally:
        for current, known in attributes:
            if not _is_same(current, known):
                _put_back(current, known)
        for container, content in containers:
            if not _is_same(container, content):
                _refill(container, content)
        for owner, slot, value in slots:
            now = read_slot(owner, slot)
            if now is not value and not _is_counted(now, value):
                slot.__delete__(owner) if value is EMPTY else slot.__set__(owner, value)
        for cell, value in cells:
            if cell.cell_contents is not value and not _is_counted(cell.cell_contents, value):
                cell.cell_contents = value


def _is_lazy(owner: object) -> bool:
    """Whether it is a module that its first evaluation will turn into another."""
    return isinstance(owner, LazyModuleMixin) and owner.has_uninitialized_params()  # pyright: ignore[reportAttributeAccessIssue]


def _is_same(values: Container, known: Container) -> bool:
    # Compared by identity, because comparing elements may not give a single truth value.
    if len(values) != len(known):
        return False
    if isinstance(known, dict):
        return all(map(operator.is_, values.values(), known.values())) and all(map(operator.is_, values, known))
    return all(map(operator.is_, values, known))


def _is_counted(value: object, known: object) -> bool:
    """Whether a value is an integer, which is not restored because it may count evaluations."""
    return type(known) is int and type(value) is int


def _put_back(attributes: dict[str, object], known: dict[str, object]) -> None:
    for name in attributes.keys() - known.keys():
        del attributes[name]
    for name, value in known.items():
        if not _is_counted(attributes.get(name), value):
            attributes[name] = value


def _refill(container: Container, content: Container) -> None:
    if isinstance(content, dict):
        counted = {key: container[key] for key, value in content.items() if _is_counted(container.get(key), value)}
        container.clear()
        # One by one: `Counter.update` adds counts.
        for key, value in content.items():
            container[key] = counted.get(key, value)
        return
    if isinstance(content, list) and len(container) == len(content):
        content = [now if _is_counted(now, value) else value for now, value in zip(container, content, strict=True)]
    container.clear()
    container.update(content) if isinstance(content, set) else container.extend(content)


@contextlib.contextmanager
def _copied_buffers(modules: list[torch.nn.Module]) -> Generator[None]:
    # In evaluation mode too: a field may count its calls in a buffer.
    buffers = [
        (module, name, buffer)
        for module in modules
        if vars(module)["_buffers"]
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        if not is_lazy(buffer)
    ]
    if not buffers:
        yield
        return
    # The copies replace the buffers, instead of the values being written back afterwards: writing in place would
    # invalidate tensors that autograd has saved for the backward pass. A buffer that several modules share stays
    # shared.
    with _BUFFER_LOCK:
        copies = {buffer: buffer.clone() for _, _, buffer in buffers}
        try:
            # Not as attributes, which a module may forbid to set.
            for module, name, buffer in buffers:
                vars(module)["_buffers"][name] = copies[buffer]
            yield
        finally:
            for module, name, buffer in buffers:
                vars(module)["_buffers"][name] = buffer
