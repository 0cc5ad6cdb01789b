"""Equations, a motion that tells what it is asked, and schemes in numpy, written without the adapter's code."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
import torchsde
from torchsde import BaseBrownian, BrownianInterval

Tensor = torch.Tensor
sdeint: Any = torchsde.sdeint
sdeint_adjoint: Any = torchsde.sdeint_adjoint

NOISES = ("additive", "diagonal", "scalar", "general")
_STRUCTURED = NOISES[:3]
# Method, kind of integral, and the noise types it takes.
METHODS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("euler", "ito", NOISES),
    ("milstein", "ito", _STRUCTURED),
    ("srk", "ito", _STRUCTURED),
    ("milstein", "stratonovich", _STRUCTURED),
    *((method, "stratonovich", NOISES) for method in ("euler_heun", "heun", "midpoint", "log_ode", "reversible_heun")),
)
SCHEMES = [(method, calculus, noise) for method, calculus, noises in METHODS for noise in noises]
SIZE = 3
_CHANNELS = {"additive": 2, "diagonal": SIZE, "scalar": 1, "general": 2}
_AREAS = {"srk": "space-time", "log_ode": "foster"}
Y0 = torch.tensor([[0.4, -0.3, 0.8], [0.1, 0.9, -0.5]], dtype=torch.float64)


@final
class Equation(torch.nn.Module):
    """dy = (tanh(y A + sin(3 t)) - y / 2) dt + g dW, where row i of the diffusion g depends on component i of y alone.

    - `functions`: what it offers torchsde. `names`: under which names, where not under torchsde's own.
    - `num_drift`, `num_diffusion`: evaluations so far.
    """

    def __init__(
        self,
        calculus: str,
        noise: str,
        functions: Sequence[str] = ("f", "g"),
        names: Mapping[str, str] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.sde_type, self.noise_type = calculus, noise
        generator = torch.Generator().manual_seed(0)
        drift = 0.7 * torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
        diffusion = 0.3 + 0.2 * torch.rand(SIZE, _CHANNELS[noise], generator=generator, dtype=torch.float64)
        self.drift = torch.nn.Parameter(drift.to(dtype))
        self.diffusion = torch.nn.Parameter((diffusion[:, 0] if noise == "diagonal" else diffusion).to(dtype))
        self.num_drift = self.num_diffusion = 0
        for function in functions:
            self.__dict__[(names or {}).get(function, function)] = getattr(self, f"_{function}")

    @property
    def num_evaluations(self) -> int:
        return self.num_drift + self.num_diffusion

    def h(self, t: Tensor, y: Tensor) -> Tensor:
        """The prior drift."""
        return -0.3 * y

    def _f(self, t: Tensor, y: Tensor) -> Tensor:
        self.num_drift += 1
        return torch.tanh(y @ self.drift + torch.sin(3 * t)) - 0.5 * y

    def _g(self, t: Tensor, y: Tensor) -> Tensor:
        self.num_diffusion += 1
        if self.noise_type == "diagonal":
            return self.diffusion * (1.2 + torch.sin(y + t))
        if self.noise_type == "additive":
            return (self.diffusion * (1 + t * t)).expand(y.shape[0], *self.diffusion.shape)
        shift = torch.arange(self.diffusion.shape[1], dtype=y.dtype)
        return self.diffusion * (1.2 + torch.sin(y[..., None] + t + shift))

    def _f_and_g(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._f(t, y), self._g(t, y)

    def _g_prod(self, t: Tensor, y: Tensor, v: Tensor) -> Tensor:
        g = self._g(t, y)
        return g * v if self.noise_type == "diagonal" else (g @ v[..., None])[..., 0]

    def _f_and_g_prod(self, t: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self._f(t, y), self._g_prod(t, y, v)


class Query(NamedTuple):
    """What a motion was asked, with which arguments, and what it answered."""

    start: float
    end: float
    flags: tuple[tuple[str, bool], ...]
    w: Any
    u: Any
    a: Any


@final
class Watched(BaseBrownian):
    """A user's own Brownian motion, which writes down what it is asked."""

    def __init__(self, motion: BrownianInterval) -> None:
        super().__init__()
        self.motion = motion
        self.log: list[Query] = []

    def __call__(self, ta: Any, tb: Any = None, **flags: bool) -> Any:  # type: ignore[override]
        known = self.motion.levy_area_approximation
        answer: Any = self.motion(ta, tb, return_U=known != "none", return_A=known in ("davie", "foster"))
        w, u, a, *_ = (*(answer if isinstance(answer, tuple) else (answer,)), None, None)
        values = (part.numpy() if isinstance(part, Tensor) else None for part in (w, u, a))
        self.log.append(Query(float(ta), float(tb), tuple(sorted(flags.items())), *values))
        asked = [w, *([u] if flags.get("return_U") else []), *([a] if flags.get("return_A") else [])]
        return tuple(asked) if len(asked) > 1 else w

    def __repr__(self) -> str:
        return f"Watched({self.motion!r})"

    @property
    def dtype(self) -> Any:
        return self.motion.dtype

    @property
    def device(self) -> Any:
        return self.motion.device

    @property
    def shape(self) -> Any:
        return self.motion.shape

    @property
    def levy_area_approximation(self) -> str:
        return self.motion.levy_area_approximation


def brownian(
    method: str, noise: str, *, dtype: torch.dtype = torch.float64, extra_channels: int = 0
) -> BrownianInterval:
    return BrownianInterval(
        t0=0.0,
        t1=1.0,
        size=(len(Y0), _CHANNELS[noise] + extra_channels),
        dtype=dtype,
        entropy=7,
        levy_area_approximation=_AREAS.get(method, "none"),
    )


def attempts(log: Sequence[Query]) -> list[tuple[list[Query], bool]]:
    """The attempted steps of an adaptive solve as (whole, first half, second half), and whether each was accepted."""
    triples = [list(log[i : i + 3]) for i in range(0, len(log), 3)]
    following = [*(triple[0].start for triple in triples[1:]), triples[-1][0].end]
    return [(triple, start == triple[0].end) for triple, start in zip(triples, following, strict=True)]


@final
@dataclasses.dataclass(frozen=True)
class Fields:
    """The same equation in numpy, for numbers that bound their rounding as well.

    Its diffusion is a matrix for every type of noise: `(batch, size, channels)`. `slope` is the derivative of row i of
    the diffusion by component i of the state.
    """

    noise: str
    drift: Any
    diffusion: Any

    @classmethod
    def of(cls, equation: Equation) -> "Fields":
        return cls(equation.noise_type, equation.drift.detach().numpy(), equation.diffusion.detach().numpy())

    def f(self, t: float, y: Any) -> Any:
        return np.tanh(y @ self.drift + np.sin(3 * t)) - 0.5 * y

    def acceleration(self, t: float, y: Any) -> Any:
        """The second derivative of y along the drift alone."""
        inner = 1 - np.tanh(y @ self.drift + np.sin(3 * t)) ** 2
        velocity = self.f(t, y)
        return inner * (velocity @ self.drift + 3 * np.cos(3 * t)) - 0.5 * velocity

    def g(self, t: float, y: Any) -> Any:
        if self.noise == "additive":
            return self.diffusion * (1 + t * t) + np.zeros((y.shape[0], 1, 1))
        return self._scaled(1.2 + np.sin(self._phase(t, y)))

    def slope(self, t: float, y: Any) -> Any:
        if self.noise == "additive":
            return np.zeros((y.shape[0], *self.diffusion.shape))
        return self._scaled(np.cos(self._phase(t, y)))

    def _phase(self, t: float, y: Any) -> Any:
        return y[..., None] + t + (0 if self.noise == "diagonal" else np.arange(self.diffusion.shape[1]))

    def _scaled(self, value: Any) -> Any:
        if self.noise == "diagonal":
            return value * np.eye(value.shape[1]) * self.diffusion[:, None]
        return value * self.diffusion


def _times(g: Any, w: Any) -> Any:
    return (g * w[:, None, :]).sum(axis=-1)


@final
@dataclasses.dataclass(frozen=True)
class Scheme:
    """One step of a published scheme; `state` is `(y, z)`, where only reversible Heun moves z apart from y."""

    method: str
    calculus: Literal["ito", "stratonovich"]
    grad_free: bool = False

    def step(self, fields: Fields, query: Query, state: tuple[Any, Any]) -> tuple[Any, Any]:
        t, h, w = query.start, query.end - query.start, query.w
        f, g = fields.f, fields.g
        y, z = state
        match self.method:
            case "euler":
                y1 = y + f(t, y) * h + _times(g(t, y), w)
            case "milstein":
                y1 = y + f(t, y) * h + _times(g(t, y), w) + self._milstein(fields, t, h, y, w)
            case "euler_heun":
                predictor = y + _times(g(t, y), w)
                y1 = y + f(t, y) * h + _times(g(t, y) + g(t + h, predictor), w) / 2
            case "heun":
                predictor = y + f(t, y) * h + _times(g(t, y), w)
                y1 = y + (f(t, y) + f(t + h, predictor)) * h / 2 + _times(g(t, y) + g(t + h, predictor), w) / 2
            case "midpoint" | "log_ode":
                middle = y + f(t, y) * h / 2 + _times(g(t, y), w) / 2
                y1 = y + f(t + h / 2, middle) * h + _times(g(t + h / 2, middle), w)
                if self.method == "log_ode" and fields.noise == "general":
                    slope, matrix = fields.slope(t + h / 2, middle), g(t + h / 2, middle)
                    y1 = y1 + (slope * (matrix @ query.a)).sum(axis=-1)
            case "reversible_heun":
                z1 = 2 * y - z + f(t, z) * h + _times(g(t, z), w)
                return y + (f(t, z) + f(t + h, z1)) * h / 2 + _times(g(t, z) + g(t + h, z1), w) / 2, z1
            case _:
                y1 = _srk(fields, query, y)
        return y1, y1

    def _milstein(self, fields: Fields, t: float, h: float, y: Any, w: Any) -> Any:
        # The mixed terms vanish: noise is diagonal, scalar or additive.
        v = w**2 - h if self.calculus == "ito" else w**2
        if not self.grad_free or fields.noise == "additive":
            return _times(fields.slope(t, y) * fields.g(t, y), v) / 2
        total: Any = 0
        drift = fields.f(t, y) * h if self.calculus == "ito" else 0.0
        for channel in range(w.shape[1]):
            column = fields.g(t, y)[..., channel]
            shifted = fields.g(t, y + drift + column * h**0.5)[..., channel]
            total = total + (shifted - column) * v[:, [channel]] / (2 * h**0.5)
        return total

    def states(self, fields: Fields, queries: Sequence[Query], y0: Any) -> list[tuple[Any, Any]]:
        """The state before each of the queried steps, and after the last."""
        states = [(y0, y0)]
        for query in queries:
            states.append(self.step(fields, query, states[-1]))
        return states

    def error_ratio(
        self, fields: Fields, queries: Sequence[Query], state: tuple[Any, Any], rtol: float, atol: float
    ) -> Any:
        """The scaled root mean square of the difference of one step and two halves from `state`."""
        whole = self.step(fields, queries[0], state)[0]
        halved = self.step(fields, queries[2], self.step(fields, queries[1], state))[0]
        scaled = (halved - whole) / (atol + rtol * np.maximum(abs(state[0]), abs(halved)))
        return np.sqrt(np.mean(scaled**2))


# Rössler, SIAM J. Numer. Anal. 48 (2010): SRA1, and SRI2 of section 5, as printed there.
_SRI_C0, _SRI_C1 = (0, 1, 1 / 2, 0), (0, 1 / 4, 1, 1 / 4)
_SRI_A0 = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1 / 4, 1 / 4, 0, 0], [0, 0, 0, 0]])
_SRI_A1 = np.array([[0, 0, 0, 0], [1 / 4, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1 / 4, 0]])
_SRI_B0 = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1 / 2, 0, 0], [0, 0, 0, 0]])
_SRI_B1 = np.array([[0, 0, 0, 0], [-1 / 2, 0, 0, 0], [1, 0, 0, 0], [2, -1, 1 / 2, 0]])
_SRI_ALPHA = (1 / 6, 1 / 6, 2 / 3, 0)
_SRI_BETA = np.array([[-1, 4 / 3, 2 / 3, 0], [1, -4 / 3, 1 / 3, 0], [2, -4 / 3, -2 / 3, 0], [-2, 5 / 3, -2 / 3, 1]])


def _srk(fields: Fields, query: Query, y: Any) -> Any:
    t, h, w, i10 = query.start, query.end - query.start, query.w, query.u
    root = h**0.5
    if fields.noise == "additive":
        second = y + 0.75 * h * fields.f(t, y) + 1.5 * _times(fields.g(t + h, y), i10 / h)
        noise = _times(fields.g(t + h, y), w - i10 / h) + _times(fields.g(t, y), i10 / h)
        return y + h * (fields.f(t, y) + 2 * fields.f(t + 0.75 * h, second)) / 3 + noise

    def column(time: float, state: Any) -> Any:
        return fields.g(time, state).sum(axis=-1)  # one entry a row

    drifts: list[Any] = []
    columns: list[Any] = []
    i11, i111 = (w**2 - h) / 2, (w * w * w - 3 * h * w) / 6
    weights = (w, i11 / root, i10 / h, i111 / h)
    y1 = y
    for s in range(4):
        x, z = y, y
        for j in range(s):
            x = x + _SRI_A0[s, j] * h * drifts[j] + _SRI_B0[s, j] * columns[j] * i10 / h
            z = z + _SRI_A1[s, j] * h * drifts[j] + _SRI_B1[s, j] * columns[j] * root
        drifts.append(fields.f(t + _SRI_C0[s] * h, x))
        columns.append(column(t + _SRI_C1[s] * h, z))
        y1 = y1 + _SRI_ALPHA[s] * h * drifts[s]
        y1 = y1 + columns[s] * sum(beta[s] * weight for beta, weight in zip(_SRI_BETA, weights, strict=True))
    return y1
