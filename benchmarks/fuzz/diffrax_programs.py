"""The programs and the values of calls of diffrax."""

import dataclasses
import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from calls import Choices, literal
from diffrax_fields import BEHAVIOURS, DYNAMICS, field_of
from diffrax_tables import (
    ADJOINTS,
    CONTROLLERS,
    EVENTS,
    INF,
    NAN,
    ODD_SHAPES,
    ODD_SOLVERS,
    SAVES,
    SDE_SOLVERS,
    SHAPES,
    SOLVERS,
    WRONG,
    controller,
)
from penalties import choose_settings


@dataclasses.dataclass
class Program:
    """What is static about the calls of a block; `made` in words.

    - `terms(values)`, `keywords(values)`: what is made of the values of a call.
    """

    template: Any
    field: Any
    solver: Any
    controller: str
    keywords: dict[str, Any]
    dt0_is_none: bool
    noise: str | None
    captures: bool
    mode: str
    settings: dict[str, Any]
    extras: dict[str, Any]
    source: str
    replaced: dict[str, Any]
    made: dict[str, str]

    def arguments(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of `diffeqsolve` for the values of one call."""
        parameters = {"a": values["a"], "b": values["b"]}
        field, args = self.field, parameters
        if self.captures:
            field, args = _Captured(self.field, parameters), None
        terms = diffrax.ODETerm(field)
        if self.noise is not None:
            terms = diffrax.MultiTerm(terms, diffrax.ControlTerm(_Diffusion(parameters), self.motion(values)))
        steps = controller(self.controller, values["rtol"], values["atol"])
        dt0 = None if self.dt0_is_none or self.controller == "steps" else values["dt0"]
        kwargs = {"stepsize_controller": steps, **self.keywords}
        given = {
            "terms": terms,
            "solver": self.solver,
            "t0": values["t0"],
            "t1": values["t1"],
            "dt0": dt0,
            "y0": values["y0"],
            "args": args,
        }
        given |= {name: value for name, value in self.replaced.items() if name in given}
        kwargs |= {name: value for name, value in self.replaced.items() if name not in given}
        return tuple(given.values()), kwargs

    def motion(self, values: dict[str, Any]) -> Any:
        """The Brownian motion, one for each element of the state."""
        shape = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), self.template)
        area: Any = (
            diffrax.SpaceTimeLevyArea if type(self.solver).__name__ in ("ShARK", "SPaRK") else diffrax.BrownianIncrement
        )
        if self.noise == "unsafe":
            return diffrax.UnsafeBrownianPath(shape, values["noise"], levy_area=area)
        return diffrax.VirtualBrownianTree(-1.0, 2.0, 1e-3, shape, values["noise"], levy_area=area)


class _Captured(eqx.Module):
    field: Any = eqx.field(static=True)
    parameters: Any

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        del args
        return self.field(t, y, self.parameters)


class _Diffusion(eqx.Module):
    parameters: Any

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        del t, args

        def one(leaf: Any) -> Any:
            return lineax.DiagonalLinearOperator(0.2 * self.parameters["a"] * jnp.cos(leaf))

        return one(y)


_MODES = ("eager", "jit", "grad", "grad", "vmap")


def choose_program(choices: Choices, *, is_alone: bool) -> Program:
    """What is static about a call."""
    template = choices.pick("y0", SHAPES, ODD_SHAPES)
    is_array = isinstance(template, np.ndarray) and template.dtype == np.float32 and template.size > 0
    noise = choices.random.choice(("tree", "unsafe", None, None, None)) if is_array else None
    solver = choices.pick("solver", SOLVERS if noise is None else SDE_SOLVERS, ODD_SOLVERS)
    friendly = choices.random.random() < 0.5
    behaviour = "plain" if friendly else choices.random.choice(list(BEHAVIOURS))
    dynamics = choices.random.choice(DYNAMICS)
    steps = choices.pick("controller", CONTROLLERS)
    keywords: dict[str, Any] = {
        "max_steps": choices.pick("max_steps", literal(8, 64, 256)),
        "throw": choices.pick("throw", literal(False, False, True)),
    }
    keywords |= choices.maybe("saveat", 0.6, SAVES)
    adjoint = choices.pick("adjoint", ADJOINTS)
    if adjoint is not None:
        keywords["adjoint"] = adjoint
    keywords |= choices.maybe("event", 0.15, EVENTS)
    replaced: dict[str, Any] = {}
    mode = choices.random.choice(_MODES)
    if is_alone:
        mode = "eager"
        for name in choices.random.sample(list(WRONG), choices.random.choice((0, 1, 1, 1, 2))):
            replaced[name] = choices.pick(f"wrong {name}", WRONG[name])
    choices.made |= {"behaviour": behaviour, "dynamics": dynamics, "noise": str(noise), "how": mode}
    settings = choose_settings(choices, is_stochastic=noise is not None)
    extras = choices.maybe("penalize", 0.1, literal(True, False), literal(1, None))
    source = choices.random.choice(("key", "key", "draw"))
    if is_alone:
        source = choices.random.choice(("key", "key", "draw", "draw", "nothing", "a number", "a wrong draw"))
    if "Jacobian" in choices.made.get("heuristic", ""):
        extras |= choices.maybe(
            "probes", 0.2, {"ones": lambda _: jax.tree.map(np.ones_like, template)}, {"a number": lambda _: 1.0}
        )
    captures = adjoint is None and choices.random.random() < 0.3
    choices.made |= {"source": source, "captures": str(captures)}
    return Program(
        template,
        field_of(dynamics, behaviour),
        solver,
        steps,
        keywords,
        choices.random.random() < 0.2,
        noise,
        captures,
        mode,
        settings,
        extras,
        source,
        replaced,
        choices.made,
    )


_SIZES = (0.5, 0.5, 0.5, 1.0, 0.0, 10.0, 1e20, 1e-20, NAN, INF)


def choose_values(choices: Choices, program: Program) -> dict[str, Any]:
    """What is not static about a call: arrays, so that another call does not compile another program."""
    draw, numbers = choices.random, np.random.default_rng(choices.random.getrandbits(40))
    is_odd = draw.random() < 0.4

    def scalar(name: str, usual: tuple[float, ...], odd: tuple[float, ...]) -> Any:
        value = draw.choice(odd) if is_odd and draw.random() < 0.25 else draw.choice(usual)
        choices.made[name] = repr(value)
        return jnp.asarray(value, jnp.float32)

    size = draw.choice(_SIZES) if is_odd else 0.5
    choices.made["size of y0"] = repr(size)

    def state(leaf: Any) -> Any:
        shape = (2, *np.shape(leaf)) if program.mode == "vmap" else np.shape(leaf)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jnp.asarray((size * numbers.uniform(-1, 1, shape)).astype(leaf.dtype))

    return {
        "y0": jax.tree.map(state, program.template),
        "t0": scalar("t0", (0.0,), (0.4, 0.5, -1.0, NAN, INF, 1e6)),
        "t1": scalar("t1", (0.4, 0.4, 0.3), (0.0, -0.4, 0.401, NAN, INF, 1e6, 1e-30)),
        "dt0": scalar("dt0", (0.1, 0.05), (0.0, -0.1, NAN, INF, 10.0, 1e-10)),
        "rtol": scalar("rtol", (1e-2, 1e-3), (0.0, INF, NAN, -1e-2, 1e-12)),
        "atol": scalar("atol", (1e-2, 1e-3), (0.0, INF, NAN, -1e-2, 1e-12)),
        "a": scalar("a", (0.7, -0.5, 1.0), (0.0, 50.0, 1e30, NAN, INF)),
        "b": scalar("b", (-0.4, 0.2), (0.0, 1e30, NAN)),
        "noise": jax.random.PRNGKey(draw.getrandbits(30)),
        "key": jax.random.PRNGKey(draw.getrandbits(30)),
        "draw": jnp.asarray(
            [draw.choice((0.0, 0.5, 0.99999, draw.random())) for _ in range(_num_samples(program))], jnp.float32
        ),
    }


def _num_samples(program: Program) -> int:
    number = program.settings.get("num_samples", 1)
    return number if type(number) is int and number > 0 else 1


def random_source(program: Program, values: dict[str, Any]) -> dict[str, Any]:
    match program.source:
        case "key" | "draw":
            return {program.source: values[program.source]}
        case "a number":
            return {"key": 3}
        case "a wrong draw":
            return {"draw": [2.0]}
        case _:
            return {}
