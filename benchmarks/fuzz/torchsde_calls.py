"""Calls of torchsde."""

import functools
from typing import Any

import numpy as np
import torch
import torch_endings
import torchsde
from calls import BUDGET, Call, Choices, FieldError, Table, literal
from penalties import choose_mode, choose_settings
from torch_choices import INF, NAN, choose_extras, dtype_of, is_wild, numbers, watched
from torch_fields import BEHAVIOURS, DYNAMICS, Field

import lrnde_core

Tensor = torch.Tensor

STATES: Table = {
    "(2, 3)": lambda c: numbers(c, 2, 3),
    "(1, 1)": lambda c: numbers(c, 1, 1),
    "(4, 2) single": lambda c: numbers(c, 4, 2, dtype=torch.float32),
    "(2, 2) with gradient": lambda c: numbers(c, 2, 2).requires_grad_(),
    "(2, 3) single with gradient": lambda c: numbers(c, 2, 3, dtype=torch.float32).requires_grad_(),
}
ODD_STATES: Table = {
    "(3,)": lambda c: numbers(c, 3),
    "()": numbers,
    "(0, 2)": lambda c: numbers(c, 0, 2),
    "(2, 0)": lambda c: numbers(c, 2, 0),
    "(2, 2, 2)": lambda c: numbers(c, 2, 2, 2),
    "half": lambda c: numbers(c, 2, 2, dtype=torch.float16),
    "bfloat16": lambda c: numbers(c, 2, 2, dtype=torch.bfloat16),
    "complex": lambda c: numbers(c, 2, 2).to(torch.complex128),
    "whole": lambda c: torch.ones(2, 2, dtype=torch.int64),
    "transposed": lambda c: numbers(c, 3, 2).T,
    "expanded": lambda c: numbers(c, 1, 1).expand(2, 3),
    "not a leaf": lambda c: numbers(c, 2, 2).requires_grad_() * 2,
    "nan": lambda c: torch.tensor([[0.1, NAN]]),
    "infinite": lambda c: torch.tensor([[0.1, INF]], requires_grad=True),
    "huge": lambda c: torch.tensor([[0.1, 1e30]], requires_grad=True),
    "zero": lambda c: torch.zeros(2, 2, requires_grad=True),
    "a tuple": lambda c: (numbers(c, 2, 2),),
    "a list": lambda c: [[0.1, 0.2]],
    "an array": lambda c: np.ones((2, 2)),
    "None": lambda c: None,
}
TIMES: Table = {
    "tensor": lambda _: torch.tensor([0.0, 0.4]),
    "double": lambda _: torch.tensor([0.0, 0.1, 0.4], dtype=torch.float64),
    "a list": lambda _: [0.0, 0.2, 0.4],
    "a tuple": lambda _: (0, 0.4),
}
ODD_TIMES: Table = {
    "backward": lambda _: torch.tensor([0.4, 0.0]),
    "repeated": lambda _: torch.tensor([0.0, 0.0, 0.4]),
    "all the same": lambda _: [0.2, 0.2],
    "one": lambda _: torch.tensor([0.2]),
    "none": lambda _: [],
    "no tensor elements": lambda _: torch.tensor([]),
    "whole": lambda _: torch.tensor([0, 1]),
    "whole list": lambda _: [0, 1],
    "two axes": lambda _: torch.tensor([[0.0, 0.4]]),
    "no axis": lambda _: torch.tensor(0.4),
    "not monotone": lambda _: [0.0, 0.4, 0.2],
    "starts nan": lambda _: [NAN, 0.4],
    "ends nan": lambda _: torch.tensor([0.0, NAN]),
    "ends infinite": lambda _: torch.tensor([0.0, INF]),
    "half": lambda _: torch.tensor([0.0, 0.4], dtype=torch.float16),
    "complex": lambda _: torch.tensor([0.0, 0.4], dtype=torch.complex64),
    "with gradient": lambda _: torch.tensor([0.0, 0.4], requires_grad=True),
    "texts": lambda _: ["0", "1"],
    "a number": lambda _: 0.4,
    "None": lambda _: None,
    "an array": lambda _: np.array([0.0, 0.4]),
    "bools": lambda _: [False, True],
    "far away": lambda _: torch.tensor([1e6, 1e6 + 0.5]),
    "negative": lambda _: [-0.4, 0.0],
}
STEPS: Table = literal(0.1, 0.2, 0.15, 1.0)
ODD_STEPS: Table = {
    **literal(0, -0.1, NAN, INF, 1, "x", None, True, 1e-12),
    "tensor": lambda _: torch.tensor(0.1),
    "double tensor": lambda _: torch.tensor(0.1, dtype=torch.float64),
    "tensor of one": lambda _: torch.tensor([0.1]),
    "tensor with gradient": lambda _: torch.tensor(0.1, requires_grad=True),
    "numpy number": lambda _: np.float64(0.1),
}
TOLERANCES: Table = literal(1e-1, 1e-2, 1e-3)
ODD_TOLERANCES: Table = {
    **literal(0, 0.0, INF, NAN, -1e-2, 1, None, "x", 1e-12),
    "tensor": lambda _: torch.tensor(1e-2),
    "tensor with gradient": lambda _: torch.tensor(1e-2, requires_grad=True),
    "tensor of three": lambda _: torch.tensor([1e-2, 1e-1, 1.0]),
    "array": lambda _: np.array([1e-2, 1e-1, 1.0]),
}
OPTIONS: Table = literal(None, (), "x", 3)
METHODS = ("euler", "srk", "milstein", "midpoint", "heun", "euler_heun", "log_ode", "reversible_heun")
OF_CALCULUS = {"ito": ("euler", "srk", "milstein"), "stratonovich": METHODS[2:]}
_SHAPES: Table = literal("f, g", "f_and_g", "f, g, h", "renamed", "f, g, g_prod", "f, g, f_and_g_prod")
_ODD_SHAPES: Table = literal("f, g_prod", "f_and_g_prod", "f alone", "g alone", "neither")
_DIFFUSIONS: Table = literal(
    "plain",
    "plain",
    "zero",
    "nan",
    "of the time",
    "one more axis",
    "single",
    "raises after 0.35",
    "huge",
    "random in torch",
    "negative root",
)


class Equation(torch.nn.Module):
    """A drift that is a `Field`, and a diffusion of the given noise.

    - `misdeed`: what is wrong with the diffusion.
    """

    def __init__(self, drift: Field, calculus: Any, noise: Any, misdeed: str, channels: int) -> None:
        super().__init__()
        self.drift, self.misdeed, self.channels = drift, misdeed, channels
        if calculus is not None:
            self.sde_type = calculus
        if noise is not None:
            self.noise_type = noise
        self.c = torch.nn.Parameter(torch.tensor(0.2, dtype=drift.a.dtype))
        self.log: list[Any] = []

    def slope(self, t: Any, y: Any) -> Any:
        return self.drift(t, y)

    def spread(self, t: Any, y: Any) -> Any:
        """The diffusion."""
        BUDGET.spend()
        noise = getattr(self, "noise_type", "diagonal")
        base = self.c * torch.ones_like(y) if noise == "additive" else self.c * y
        if self.misdeed == "of the time":
            base = self.c * t * torch.ones_like(y)
        if self.misdeed == "raises after 0.35" and t > 0.35:
            raise FieldError("the diffusion has no value after 0.35")
        base = {
            "zero": torch.zeros_like,
            "nan": lambda x: x * NAN,
            "one more axis": lambda x: x[..., None],
            "single": lambda x: x.float(),
            "huge": lambda x: x * 1e30,
            "random in torch": lambda x: x * torch.rand(()),
            "negative root": lambda x: x.sqrt(),
        }.get(self.misdeed, lambda x: x)(base)
        if noise == "diagonal":
            return base
        return base[..., None].repeat(*(1 for _ in base.shape), 1 if noise == "scalar" else self.channels)

    def product(self, t: Any, y: Any, v: Any) -> Any:
        spread = self.spread(t, y)
        return spread * v if spread.ndim == v.ndim else (spread @ v[..., None])[..., 0]


def _class_of(shape: str) -> type[Equation]:
    methods: dict[str, Any] = {
        "f": lambda self, t, y: self.slope(t, y),
        "g": lambda self, t, y: self.spread(t, y),
        "h": lambda self, t, y: -y,
        "g_prod": lambda self, t, y, v: self.product(t, y, v),
        "f_and_g": lambda self, t, y: (self.slope(t, y), self.spread(t, y)),
        "f_and_g_prod": lambda self, t, y, v: (self.slope(t, y), self.product(t, y, v)),
    }
    names = {"renamed": {"mu": "f", "sigma": "g"}, "f alone": {"f": "f"}, "g alone": {"g": "g"}, "neither": {}}
    given = names.get(shape) if shape in names else {name: name for name in shape.split(", ")}
    assert given is not None
    return type("Equation", (Equation,), {name: methods[method] for name, method in given.items()})


CLASSES = {shape[1:-1]: _class_of(shape[1:-1]) for shape in (*_SHAPES, *_ODD_SHAPES)}


class Plain:
    """An equation that is no module and holds one."""

    def __init__(self, inner: Equation) -> None:
        self.inner, self.sde_type, self.noise_type = inner, inner.sde_type, inner.noise_type

    def f(self, t: Any, y: Any) -> Any:
        return self.inner.slope(t, y)

    def g(self, t: Any, y: Any) -> Any:
        return self.inner.spread(t, y)


def make(seed: int) -> Call:
    """The call of this seed; each time anew, of equal parts."""
    choices = Choices(f"torchsde {seed}")
    name = choices.random.choices(("sdeint", "sdeint_adjoint"), (0.6, 0.4))[0]
    choices.made["entry"] = name
    solve = getattr(torchsde, name)
    y0 = choices.pick("y0", STATES, ODD_STATES)
    equation = choose_equation(choices, y0)
    ts = choices.pick("ts", TIMES, ODD_TIMES)
    calculus, noise = getattr(equation, "sde_type", "ito"), getattr(equation, "noise_type", "diagonal")
    sde: Any = equation
    if type(equation) is CLASSES["f, g"] and hasattr(equation, "sde_type") and hasattr(equation, "noise_type"):
        odd: Table = {"None": lambda _: None, "a function": lambda _: lambda t, y: y, "a class": lambda _: Equation}
        sde = choices.pick("sde", {"module": lambda _: equation, "object": lambda _: Plain(equation)}, odd)
    kwargs: dict[str, Any] = {}
    methods = ("euler",) if (calculus, noise) == ("ito", "general") else OF_CALCULUS.get(calculus, METHODS)
    if choices.random.random() < 0.8:
        kwargs["method"] = choices.pick("method", literal(*methods), literal(*METHODS, "x", 5, None))
    if choices.random.random() < 0.97:
        kwargs["dt"] = choices.pick("dt", STEPS, ODD_STEPS)
    kwargs |= choices.maybe("adaptive", 0.5, literal(True, False), literal(1, None, "x"))
    if kwargs.get("adaptive"):
        kwargs["rtol"] = choices.pick("rtol", TOLERANCES, ODD_TOLERANCES)
        kwargs["atol"] = choices.pick("atol", TOLERANCES, ODD_TOLERANCES)
        kwargs["dt_min"] = choices.pick("dt_min", literal(0.02, 0.05), literal(0, -1.0, NAN, INF, 1e-5, 0.5, "x"))
    if choices.made["equation"] == "'renamed'" or choices.random.random() < 0.1 * choices.oddity:
        kwargs["names"] = choices.pick(
            "names",
            {"right": lambda _: {"drift": "mu", "diffusion": "sigma"}},
            {"wrong": lambda _: {"drift": "x"}, "a text": lambda _: "x", "unknown": lambda _: {"x": "f"}},
        )
    kwargs |= choices.maybe("logqp", 0.3 if choices.made["equation"] == "'f, g, h'" else 0.0, literal(True))
    kwargs |= choices.maybe("extra", 0.1, literal(True, False))
    if choices.random.random() < 0.1 * choices.oddity:
        kwargs["extra_solver_state"] = choices.pick("extra_solver_state", literal((), None, "x"))
    if kwargs.get("method") == "milstein" or choices.random.random() < 0.2 * choices.oddity:
        kwargs |= choices.maybe(
            "options", 0.4, {"grad_free": lambda _: {"grad_free": True}, "empty": lambda _: {}}, OPTIONS
        )
    kwargs |= choose_motion(choices, y0, noise, kwargs.get("method"))
    if name == "sdeint_adjoint":
        kwargs |= _adjoint(choices, equation, is_module=isinstance(sde, torch.nn.Module))
    if choices.random.random() < 0.1 * choices.oddity:
        kwargs["no_such_argument"] = 1
    settings = choose_settings(choices, is_stochastic=True)
    args: tuple[Any, ...] = (sde, y0, ts)
    if choices.random.random() < 0.05:
        args, kwargs = (), {"sde": sde, "y0": y0, "ts": ts, **kwargs}
    elif choices.random.random() < 0.1 * choices.oddity:
        choices.made["arguments"] = "too few"
        args = args[:-1]
    elif choices.random.random() < 0.1 * choices.oddity:
        choices.made["arguments"] = "one twice"
        kwargs["ts"] = ts
    if kwargs and choices.random.random() < 0.1:
        bound = choices.random.choice(list(kwargs))
        solve = functools.partial(solve, **{bound: kwargs.pop(bound)})
    leaves: dict[str, Any] = {"a": equation.drift.a, "b": equation.drift.b, "c": equation.c}
    if isinstance(y0, Tensor) and y0.requires_grad:
        leaves["y0"] = y0
    keywords = {key: value for key, value in kwargs.items() if key not in ("sde", "bm")}
    motion = kwargs.get("bm")
    seen = {"field": equation, "y0": y0, "ts": ts, "keyword arguments": keywords, "motion": _Answers(motion)}
    return Call(
        solve,
        args,
        kwargs,
        settings,
        choose_extras(choices, settings, y0),
        choose_mode(choices),
        leaves,
        watched(equation.drift, seen),
        choices.made,
        raises_at=equation.drift.raises_at if equation.drift.behaviour == "raises at an evaluation" else None,
        # With `logqp` torchsde takes a pseudoinverse of the diffusion.
        is_wild=is_wild(choices) or (choices.made.get("logqp") == "True" and noise != "diagonal"),
    )


class _Answers:
    """What a Brownian motion answers after the call."""

    def __init__(self, motion: Any) -> None:
        self._motion = motion

    def fingerprint(self) -> Any:
        if not isinstance(self._motion, torchsde.BaseBrownian):
            return None
        try:
            return [self._motion(*ends).numpy().tobytes() for ends in ((0.0, 0.1), (0.05, 0.3), (0.0, 0.4))]
        except Exception as exc:
            return repr(exc)


def choose_equation(choices: Choices, y0: Any) -> Equation:
    """An equation for states like `y0`."""
    friendly = literal("plain", "plain", "updates a buffer", "dropout", "time as a number")
    behaviour = choices.pick("behaviour", friendly if choices.random.random() < 0.5 else literal(*BEHAVIOURS))
    dynamics = choices.pick("dynamics", DYNAMICS)
    drift = Field(dynamics, behaviour, dtype_of(y0), choices.random.randint(1, 40))
    oddity, choices.oddity = choices.oddity, 0.2 * choices.oddity  # what is wrong here is all that torchsde sees
    calculus = choices.pick("calculus", literal("ito", "stratonovich"), literal("x", None, 3))
    noise = choices.pick("noise", literal("diagonal", "additive", "scalar", "general"), literal("x", None, 3))
    misdeed = (
        choices.pick("diffusion", literal("plain"), None)
        if choices.random.random() < 0.7
        else choices.pick("diffusion", _DIFFUSIONS)
    )
    shape = (
        choices.pick("equation", _SHAPES, _ODD_SHAPES)
        if choices.random.random() < 0.4
        else choices.pick("equation", literal("f, g"))
    )
    choices.oddity = oddity
    equation = CLASSES[shape](drift, calculus, noise, misdeed, choices.random.choice((1, 2, 2, 2, 2, 2, 3)))
    equation.train(choices.random.random() < 0.7)
    return equation


def choose_motion(choices: Choices, y0: Any, noise: Any, method: Any) -> dict[str, Any]:
    """The argument `bm`, or nothing; a motion answers alike twice only with given entropy."""
    if not isinstance(y0, Tensor) or y0.ndim != 2 or choices.random.random() > 0.35 or not y0.dtype.is_floating_point:
        return {}
    channels = {"diagonal": y0.shape[1], "scalar": 1}.get(noise, 2)
    levy = {"srk": "space-time", "log_ode": "foster"}.get(method, "none")
    entropy = choices.random.getrandbits(30)
    size = (y0.shape[0], channels)

    def interval(**given: Any) -> Any:
        known: dict[str, Any] = {
            "t0": 0.0,
            "t1": 0.4,
            "size": size,
            "dtype": y0.dtype,
            "entropy": entropy,
            "levy_area_approximation": levy,
        }
        return torchsde.BrownianInterval(**{**known, **given})

    usual: Table = {
        "interval": lambda _: interval(),
        "wide interval": lambda _: interval(t0=-1.0, t1=2.0),
        "path": lambda c: torchsde.BrownianPath(0.0, numbers(c, *size, dtype=y0.dtype), window_size=8),
        "tree": lambda c: torchsde.BrownianTree(
            -1.0, numbers(c, *size, dtype=y0.dtype), t1=2.0, entropy=entropy, tol=1e-4
        ),
    }
    odd: Table = {
        "short interval": lambda _: interval(t1=0.2),
        "coarse interval": lambda _: interval(tol=0.3),
        "of another size": lambda _: interval(size=(7, 7)),
        "of another dtype": lambda _: interval(dtype=torch.float32),
        "of another area": lambda _: interval(levy_area_approximation="davie"),
        "reversed": lambda _: torchsde.ReverseBrownian(interval(t0=-1.0, t1=1.0)),
        "a number": lambda _: 3,
        "a text": lambda _: "bm",
    }
    return {"bm": choices.pick("bm", usual, odd)}


def _adjoint(choices: Choices, equation: Equation, *, is_module: bool) -> dict[str, Any]:
    """Arguments of the adjoint solve."""
    params: Table = {
        "all": lambda _: tuple(equation.parameters()),
        "one": lambda _: (equation.c,),
        "none": lambda _: (),
        "a list": lambda _: list(equation.parameters()),
        "a generator": lambda _: equation.parameters(),
        "None": lambda _: None,
    }
    kwargs = choices.maybe("adjoint_params", 0.1 if is_module else 0.9, params)
    kwargs |= choices.maybe("adjoint_method", 0.15, literal(*METHODS, "adjoint_reversible_heun", None), literal("x", 5))
    kwargs |= choices.maybe("adjoint_adaptive", 0.1, literal(True, False))
    kwargs |= choices.maybe("adjoint_rtol", 0.1, TOLERANCES, ODD_TOLERANCES)
    return kwargs | choices.maybe("adjoint_options", 0.05, literal(None, "x"))


# Adapters are imported when they are first asked for, which changes the process.
lrnde_core.get_adapter("torchsde")


def judge(seed: int) -> Any:
    """The call of this seed, bare and wrapped."""
    return torch_endings.judge(functools.partial(make, seed), seed)
