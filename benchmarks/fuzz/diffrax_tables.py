"""Arguments for calls of diffrax, of right and wrong kinds."""

import functools
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from calls import Table, literal

NAN, INF = float("nan"), float("inf")

SHAPES: Table = {
    "(3,)": lambda _: np.zeros(3, np.float32),
    "(2, 2)": lambda _: np.zeros((2, 2), np.float32),
    "()": lambda _: np.zeros((), np.float32),
    "(1,)": lambda _: np.zeros(1, np.float32),
    "dictionary": lambda _: {"x": np.zeros(2, np.float32), "v": np.zeros((), np.float32)},
    "tuple": lambda _: (np.zeros(2, np.float32), np.zeros((1, 2), np.float32)),
}
ODD_SHAPES: Table = {
    "(0,)": lambda _: np.zeros(0, np.float32),
    "half": lambda _: np.zeros(3, np.float16),
    "bfloat16": lambda _: np.zeros(3, jnp.bfloat16),
    "double": lambda _: np.zeros(3, np.float64),
    "complex": lambda _: np.zeros(3, np.complex64),
    "whole": lambda _: np.zeros(3, np.int32),
    "bool": lambda _: np.zeros(3, bool),
    "of two dtypes": lambda _: (np.zeros(2, np.float32), np.zeros(2, np.float16)),
    "with a whole one": lambda _: (np.zeros(2, np.float32), np.zeros(2, np.int32)),
    "no arrays": lambda _: (),
    "with None": lambda _: (np.zeros(2, np.float32), None),
}
SOLVERS: Table = {
    "Tsit5": lambda _: diffrax.Tsit5(),
    "Dopri5": lambda _: diffrax.Dopri5(),
    "Bosh3": lambda _: diffrax.Bosh3(),
    "Heun": lambda _: diffrax.Heun(),
    "Dopri8": lambda _: diffrax.Dopri8(),
    "Ralston": lambda _: diffrax.Ralston(),
    "Euler": lambda _: diffrax.Euler(),
    "Midpoint": lambda _: diffrax.Midpoint(),
}
ODD_SOLVERS: Table = {
    "HalfSolver": lambda _: diffrax.HalfSolver(diffrax.Euler()),
    "ImplicitEuler": lambda _: diffrax.ImplicitEuler(),
    "Kvaerno3": lambda _: diffrax.Kvaerno3(),
    "LeapfrogMidpoint": lambda _: diffrax.LeapfrogMidpoint(),
    "ReversibleHeun": lambda _: diffrax.ReversibleHeun(),
    "ItoMilstein": lambda _: diffrax.ItoMilstein(),
}
SDE_SOLVERS: Table = {
    "EulerHeun": lambda _: diffrax.EulerHeun(),
    "Heun": lambda _: diffrax.Heun(),
    "Euler": lambda _: diffrax.Euler(),
    "ReversibleHeun": lambda _: diffrax.ReversibleHeun(),
    "ItoMilstein": lambda _: diffrax.ItoMilstein(),
    "ShARK": lambda _: diffrax.ShARK(),
    "SPaRK": lambda _: diffrax.SPaRK(),
    "HalfSolver": lambda _: diffrax.HalfSolver(diffrax.Euler()),
}
ADJOINTS: Table = {
    "default": lambda _: None,
    "default again": lambda _: None,
    "direct": lambda _: diffrax.DirectAdjoint(),
    "backsolve": lambda _: diffrax.BacksolveAdjoint(),
    "forward": lambda _: diffrax.ForwardMode(),
    "implicit": lambda _: diffrax.ImplicitAdjoint(),
}
SAVES: Table = {
    "end": lambda _: diffrax.SaveAt(t1=True),
    "end again": lambda _: diffrax.SaveAt(t1=True),
    "times": lambda _: diffrax.SaveAt(ts=[0.1, 0.2, 0.3]),
    "start and end": lambda _: diffrax.SaveAt(t0=True, t1=True),
    "steps": lambda _: diffrax.SaveAt(steps=True),
    "dense": lambda _: diffrax.SaveAt(dense=True),
    "states": lambda _: diffrax.SaveAt(t1=True, solver_state=True, controller_state=True, made_jump=True),
    "function": lambda _: diffrax.SaveAt(t1=True, fn=lambda t, y, args: jax.tree.map(jnp.sum, y)),
    "subs": lambda _: diffrax.SaveAt(subs=[diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(t0=True)]),
}
EVENTS: Table = {
    "at a time": lambda _: diffrax.Event(lambda t, y, args, **kw: t > 0.2),
    "at a state": lambda _: diffrax.Event(lambda t, y, args, **kw: _first(y) - 0.3),
    "never": lambda _: diffrax.Event(lambda t, y, args, **kw: jnp.array(False)),
    "with a root finder": lambda _: diffrax.Event(lambda t, y, args, **kw: t - 0.2, _root_finder()),
    "of two": lambda _: diffrax.Event([lambda t, y, args, **kw: t > 0.3, lambda t, y, args, **kw: _first(y) > 0.5]),
}


def _root_finder() -> Any:
    import optimistix

    return optimistix.Newton(1e-4, 1e-4)


def _first(y: Any) -> Any:
    leaves = jax.tree.leaves(y)
    return jnp.sum(leaves[0]).real if leaves else jnp.zeros(())


def _largest(y: Any) -> Any:
    # One function for all calls: another one would be another program.
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(y)]))


def controller(name: str, rtol: Any, atol: Any) -> Any:
    pid = functools.partial(diffrax.PIDController, rtol=rtol, atol=atol)
    match name:
        case "constant":
            return diffrax.ConstantStepSize()
        case "PID":
            return pid(pcoeff=0.1, icoeff=0.4)
        case "bounded":
            return pid(dtmin=0.02, dtmax=0.2)
        case "bounded, not forced":
            return pid(dtmin=0.02, force_dtmin=False)
        case "largest norm":
            return pid(norm=_largest)
        case "clipped":
            return diffrax.ClipStepSizeController(pid(), step_ts=[0.15], jump_ts=[0.25])
        case "steps":
            return diffrax.StepTo(ts=jnp.array([0.0, 0.1, 0.3, 0.4]))
        case "clipped constant":
            return diffrax.ClipStepSizeController(diffrax.ConstantStepSize(), step_ts=[0.15])  # pyright: ignore[reportArgumentType]
        case _:
            return pid()


CONTROLLERS = literal(
    "adaptive",
    "adaptive",
    "constant",
    "PID",
    "bounded",
    "bounded, not forced",
    "largest norm",
    "clipped",
    "steps",
    "clipped constant",
)

WRONG: dict[str, Table] = {
    "terms": {
        "a function": lambda _: lambda t, y, args: y,
        "None": lambda _: None,
        "a class": lambda _: diffrax.ODETerm,
        "a list": lambda _: [],
    },
    "solver": {
        "a class": lambda _: diffrax.Tsit5,
        "None": lambda _: None,
        "a text": lambda _: "Tsit5",
        "KenCarp3": lambda _: diffrax.KenCarp3(),
        "SemiImplicitEuler": lambda _: diffrax.SemiImplicitEuler(),
    },
    "t0": {
        **literal(0, "x", None, True),
        "an array of one": lambda _: jnp.zeros(1),
        "double": lambda _: np.float64(0.0),
        "complex": lambda _: jnp.array(0j),
        "half": lambda _: jnp.array(0.0, jnp.float16),
    },
    "t1": {
        **literal(1, "x", None, NAN, INF),
        "an array of two": lambda _: jnp.ones(2),
        "whole": lambda _: jnp.array(1),
    },
    "dt0": {
        **literal(0, 0.1, -0.1, "x", NAN, True),
        "an array of one": lambda _: jnp.full(1, 0.1),
        "complex": lambda _: 0.1j,
    },
    "y0": {
        **literal(0.5, 1, "x", None, True, (), 0.5j),
        "a list": lambda _: [0.1, 0.2],
        "an array of texts": lambda _: np.array(["x"]),
        "a function": lambda _: jnp.sin,
        "numpy double": lambda _: np.array([0.1, 0.2]),
        "object": lambda _: object(),
    },
    "args": {**literal(None, 3, "x"), "an array": lambda _: jnp.ones(2)},
    "saveat": {
        **literal(None, "x"),
        "unsorted": lambda _: diffrax.SaveAt(ts=[0.3, 0.1]),
        "outside": lambda _: diffrax.SaveAt(ts=[-1.0, 5.0]),
        "whole": lambda _: diffrax.SaveAt(ts=[0, 1]),
        "a class": lambda _: diffrax.SaveAt,
    },
    "stepsize_controller": {
        **literal(None, "x"),
        "a class": lambda _: diffrax.PIDController,
        "text tolerances": lambda _: diffrax.PIDController(rtol="x", atol=1e-3),  # pyright: ignore[reportArgumentType]
        "array tolerances": lambda _: diffrax.PIDController(rtol=jnp.full(3, 1e-3), atol=jnp.array([1e-3, 1e-2, INF])),
        "tree tolerances": lambda _: diffrax.PIDController(rtol=(1e-3, 1e-2), atol=1e-3),  # pyright: ignore[reportArgumentType]
        "zero": lambda _: diffrax.PIDController(rtol=0.0, atol=0.0),
        "negative": lambda _: diffrax.PIDController(rtol=-1.0, atol=-1.0),
    },
    "adjoint": {
        **literal(None, "x"),
        "a class": lambda _: diffrax.DirectAdjoint,
        "checkpoints": lambda _: diffrax.RecursiveCheckpointAdjoint(checkpoints=3),
    },
    "event": {
        **literal("x", 3),
        "a function": lambda _: lambda t, y, args, **kw: t > 0.2,
        "of another shape": lambda _: diffrax.Event(lambda t, y, args, **kw: jnp.ones(3)),
    },
    "max_steps": literal(0, -1, 1.5, "x", True, 1),
    "throw": literal("x", None, 0),
    "solver_state": literal(3, "x", ()),
    "controller_state": literal(2, "x", ()),
    "made_jump": literal(3, "x"),
    "no_such_argument": literal(1),
    "discrete_terminating_event": {"a text": lambda _: "x"},
    "progress_meter": literal(None, "x"),
}
