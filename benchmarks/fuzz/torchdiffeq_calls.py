"""Calls of torchdiffeq."""

import functools
from typing import Any

import torch
import torch_endings
import torchdiffeq
from calls import Call, Choices, Table, literal
from penalties import choose_mode, choose_settings
from torch_choices import choose_extras, dtype_of, is_wild, watched
from torch_fields import choose_field
from torchdiffeq_tables import (
    ADAPTIVE_OPTIONS,
    EVENTS,
    FIXED,
    FIXED_OPTIONS,
    METHODS,
    ODD_METHODS,
    ODD_STATES,
    ODD_TIMES,
    ODD_TOLERANCES,
    STATES,
    TIMES,
    TOLERANCES,
    spending,
)

import lrnde_core

Tensor = torch.Tensor


def make(seed: int) -> Call:
    """The call of this seed; each time anew, of equal parts."""
    choices = Choices(f"torchdiffeq {seed}")
    name = choices.random.choices(("odeint", "odeint_adjoint", "odeint_event"), (0.5, 0.35, 0.15))[0]
    choices.made["entry"] = name
    solve = getattr(torchdiffeq, name)
    y0 = choices.pick("y0", STATES, ODD_STATES)
    func, field = choose_field(choices, dtype_of(y0))
    t = choices.pick("t", TIMES, ODD_TIMES)
    method = choices.pick("method", METHODS, ODD_METHODS)
    kwargs: dict[str, Any] = {} if method is None else {"method": method}
    for tolerance in ("rtol", "atol"):
        if choices.random.random() < 0.97:
            kwargs[tolerance] = choices.pick(tolerance, TOLERANCES, ODD_TOLERANCES)
    if method == "scipy_solver" and any(isinstance(kwargs.get(name), complex) for name in ("rtol", "atol")):
        kwargs = {"method": method}  # scipy 1.17 writes beyond its arrays there, and the process ends
    kwargs |= _choose_options(choices, method)
    settings, leaves = choose_settings(choices), _leaves(field, y0, t)
    if name == "odeint_adjoint":
        kwargs |= _adjoint(choices, field)
    if name == "odeint_event" or choices.random.random() < 0.05:
        kwargs["event_fn"] = spending(choices.pick("event_fn", EVENTS))
        if method in FIXED and choices.random.random() < 0.8:
            kwargs["options"] = {"step_size": 0.1}
    args: tuple[Any, ...] = (func, y0, t)
    if name == "odeint_event":
        t0 = t[0] if isinstance(t, Tensor) and t.ndim == 1 and len(t) else t
        args = (func, y0, t0)
        kwargs |= choices.maybe("reverse_time", 0.2, literal(True, False))
        interface = choices.maybe("odeint_interface", 0.3, literal("adjoint", "plain"))
        kwargs |= {
            key: torchdiffeq.odeint_adjoint if value == "adjoint" else torchdiffeq.odeint
            for key, value in interface.items()
        }
    args, kwargs = _spelling(choices, args, kwargs)
    if kwargs and choices.random.random() < 0.1:
        bound = choices.random.choice(list(kwargs))
        solve = functools.partial(solve, **{bound: kwargs.pop(bound)})
        choices.made["partial"] = bound
    return Call(
        solve,
        args,
        kwargs,
        settings,
        choose_extras(choices, settings, y0),
        choose_mode(choices),
        leaves,
        watched(
            field,
            {"field": field, "y0": y0, "t": t, "keyword arguments": {k: v for k, v in kwargs.items() if k != "func"}},
        ),
        choices.made,
        field.raises_at if field.behaviour == "raises at an evaluation" else None,
        is_wild(choices),
    )


def _choose_options(choices: Choices, method: Any) -> dict[str, Any]:
    """The argument `options`, or nothing."""
    if choices.random.random() > 0.3:
        return {}
    if choices.random.random() < choices.oddity * 0.3:
        return {"options": choices.pick("options", literal((), [], "x", 3, (("first_step", 0.1),)))}
    of_method = FIXED_OPTIONS if method in FIXED else ADAPTIVE_OPTIONS
    if choices.random.random() < 0.3 * choices.oddity:
        of_method = FIXED_OPTIONS if of_method is ADAPTIVE_OPTIONS else ADAPTIVE_OPTIONS
    names = choices.random.sample(list(of_method), choices.random.randint(0, 2))
    return {"options": {name: choices.pick(f"option {name}", of_method[name]) for name in names}}


def _spelling(
    choices: Choices, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments by name, or one too few or too many."""
    style = choices.random.random()
    if style < 0.05:
        return (), {
            **dict(zip(("func", "y0", "t" if "reverse_time" not in kwargs else "t0"), args, strict=True)),
            **kwargs,
        }
    if style < 0.05 + 0.05 * choices.oddity:
        choices.made["arguments"] = "too few"
        return args[:-1], kwargs
    if style < 0.05 + 0.1 * choices.oddity:
        choices.made["arguments"] = "too many"
        return (*args, 1e-3), kwargs
    if style < 0.05 + 0.15 * choices.oddity:
        choices.made["arguments"] = "unknown"
        return args, {**kwargs, "no_such_argument": 1}
    return args, kwargs


def _leaves(field: Any, y0: Any, t: Any) -> dict[str, Any]:
    leaves: dict[str, Any] = {"a": field.a, "b": field.b}
    for place, tensor in enumerate(y0 if isinstance(y0, tuple) else (y0,)):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            leaves[f"y0[{place}]"] = tensor
    if isinstance(t, Tensor) and t.requires_grad:
        leaves["t"] = t
    return leaves


def _adjoint(choices: Choices, field: Any) -> dict[str, Any]:
    """Arguments of the adjoint solve."""
    params: Table = {
        "all": lambda _: tuple(field.parameters()),
        "one": lambda _: (field.a,),
        "none": lambda _: (),
        "a list": lambda _: list(field.parameters()),
        "a generator": lambda _: field.parameters(),
        "None": lambda _: None,
    }
    if choices.made["field"] not in ("module", "module, hooked", "submodule") and choices.random.random() < 0.9:
        kwargs = {"adjoint_params": choices.pick("adjoint_params", params)}
    else:
        kwargs = choices.maybe("adjoint_params", 0.1, params)
    kwargs |= choices.maybe("adjoint_rtol", 0.1, TOLERANCES, ODD_TOLERANCES)
    kwargs |= choices.maybe("adjoint_atol", 0.1, TOLERANCES, ODD_TOLERANCES)
    kwargs |= choices.maybe("adjoint_method", 0.1, METHODS, ODD_METHODS)
    if choices.random.random() < 0.1:
        kwargs["adjoint_options"] = {"norm": choices.pick("adjoint norm", literal("seminorm", "x"))}
    return kwargs


# Adapters are imported when they are first asked for, which changes the process.
lrnde_core.get_adapter("torchdiffeq")


def judge(seed: int) -> Any:
    """The call of this seed, bare and wrapped."""
    return torch_endings.judge(functools.partial(make, seed), seed)
