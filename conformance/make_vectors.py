"""Compute the stored vectors of law 6, in 120 digits with mpmath, by code that shares nothing with the library.

    python conformance/make_vectors.py

Writes `lrnde_conformance/vectors/SCHEME.json`: for one step from (t, y) over h, with given parameters, the error ratio,
the cost of each heuristic, and its gradient by each parameter at fixed (t, h, y). Derivatives are central differences
with steps of 1e-20 and 1e-40, which leaves some 40 correct digits. Needs mpmath, and numpy for the random inputs.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpmath import mp, mpf

mp.dps = 120
T, H, DRAW = 0.25, 0.25, 0.375
SIZE, HIDDEN = 2, 3
INNER, OUTER = mpf(10) ** -40, mpf(10) ** -20
FOLDER = Path(__file__).parent / "lrnde_conformance" / "vectors"

Vector = list[Any]
Parameters = dict[str, Any]


def rational(text: str) -> list[Any]:
    """Fractions and decimals, separated by blanks."""
    return [mpf(p.partition("/")[0]) / mpf(p.partition("/")[2] or 1) for p in text.split()]


# Rows, weights, weights of the embedded solution (or of the error), error order. Typed from the publications a second
# time: `lrnde_conformance/_oracles/_schemes.py` must not be able to lend its mistakes.
TABLEAUS: dict[str, tuple[list[str], str, str | None, str | None, float]] = {
    "euler": ([], "1", None, None, 2),
    "midpoint": (["1/2"], "0 1", None, None, 3),
    "heun": (["1"], "1/2 1/2", None, None, 3),
    "heun3": (["1/3", "0 2/3"], "1/4 0 3/4", None, None, 4),
    "rk4": (["1/2", "0 1/2", "0 0 1"], "1/6 1/3 1/3 1/6", None, None, 5),
    "rk4-38": (["1/3", "-1/3 1", "1 -1 1"], "1/8 3/8 3/8 1/8", None, None, 5),
    "heun-euler": (["1"], "1/2 1/2", "1 0", None, 2),
    "bosh3": (["1/2", "0 3/4", "2/9 3/9 4/9"], "2/9 3/9 4/9 0", "7/24 1/4 1/3 1/8", None, 3),
    "dopri5": (
        [
            "1/5",
            "3/40 9/40",
            "44/45 -56/15 32/9",
            "19372/6561 -25360/2187 64448/6561 -212/729",
            "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
            "35/384 0 500/1113 125/192 -2187/6784 11/84",
        ],
        "35/384 0 500/1113 125/192 -2187/6784 11/84 0",
        "1951/21600 0 22642/50085 451/720 -12231/42400 649/6300 1/60",
        None,
        5,
    ),
    "tsit5": (
        [
            "0.161",
            "-0.008480655492356989 0.335480655492357",
            "2.8971530571054935 -6.359448489975075 4.3622954328695815",
            "5.325864828439257 -11.748883564062828 7.4955393428898365 -0.09249506636175525",
            "5.86145544294642 -12.92096931784711 8.159367898576159 -0.071584973281401 -0.028269050394068383",
            "0.09646076681806523 0.01 0.4798896504144996 1.379008574103742 -3.290069515436081 2.324710524099774",
        ],
        "0.09646076681806523 0.01 0.4798896504144996 1.379008574103742 -3.290069515436081 2.324710524099774 0",
        None,
        "-0.00178001105222577714 -0.0008164344596567469 0.007880878010261995 -0.1447110071732629 0.5823571654525552 "
        "-0.45808210592918697 1/66",
        5,
    ),
}
# Real stability intervals of methods with a stiffness estimate: where the stability polynomial at -x leaves [-1, 1].
HAS_STIFFNESS = ("dopri5", "tsit5")
STOCHASTIC = {
    "euler-maruyama": ("additive", 1.0),
    "milstein-ito": ("diagonal", 1.0),
    "milstein-stratonovich": ("diagonal", 1.0),
    "euler-heun": ("diagonal", 1.0),
    "heun-stratonovich": ("diagonal", 1.0),
    "midpoint-stratonovich": ("diagonal", 1.0),
}


def add(*terms: tuple[Any, Vector]) -> Vector:
    """The sum of factor times vector."""
    return [mp.fsum(factor * vector[i] for factor, vector in terms) for i in range(len(terms[0][1]))]


def drift(t: Any, y: Vector, p: Parameters) -> Vector:
    """tanh(y A + t b) C."""
    hidden = [mp.tanh(mp.fsum(y[i] * p["inner"][i][j] for i in range(SIZE)) + t * p["shift"][j]) for j in range(HIDDEN)]
    return [mp.fsum(hidden[j] * p["outer"][j][i] for j in range(HIDDEN)) for i in range(SIZE)]


def noise(kind: str, t: Any, y: Vector, p: Parameters) -> Vector:
    """The elementwise diffusion."""
    at = y if kind == "diagonal" else [t] * SIZE
    return [mpf("0.3") + mpf("0.2") * mp.sin(at[i] * p["rate"][i] + p["phase"][i]) for i in range(SIZE)]


def stages(name: str, t: Any, h: Any, y: Vector, p: Parameters) -> tuple[list[Vector], list[Vector]]:
    """Slopes and states of the stages."""
    slopes, states = [drift(t, y, p)], [y]
    for text in TABLEAUS[name][0]:
        row = rational(text)
        states.append(add((1, y), *((h * a, k) for a, k in zip(row, slopes, strict=True))))
        slopes.append(drift(t + mp.fsum(row) * h, states[-1], p))
    return slopes, states


def ordinary_step(name: str, t: Any, h: Any, y: Vector, p: Parameters) -> Vector:
    """One step."""
    slopes, _ = stages(name, t, h, y, p)
    return add((1, y), *((h * b, k) for b, k in zip(rational(TABLEAUS[name][1]), slopes, strict=True)))


def stochastic_step(name: str, t: Any, h: Any, y: Vector, p: Parameters, w: Vector) -> Vector:
    """One step along the increment `w`, elementwise."""
    kind = STOCHASTIC[name][0]
    f, g = drift(t, y, p), noise(kind, t, y, p)
    gw = [a * b for a, b in zip(g, w, strict=True)]
    if name == "euler-maruyama":
        return add((1, y), (h, f), (1, gw))
    if name.startswith("milstein"):
        # g dg/dy by a central difference.
        up, down = (noise(kind, t, add((1, y), (s * INNER, [mpf(1)] * SIZE)), p) for s in (1, -1))
        slope = [(a - b) / (2 * INNER) for a, b in zip(up, down, strict=True)]
        squares = [x * x - (h if name == "milstein-ito" else 0) for x in w]
        correction = [g[i] * slope[i] * squares[i] for i in range(SIZE)]
        return add((1, y), (h, f), (1, gw), (mpf(1) / 2, correction))
    if name == "midpoint-stratonovich":
        middle = add((1, y), (h / 2, f), (mpf(1) / 2, gw))
        g2 = noise(kind, t + h / 2, middle, p)
        return add((1, y), (h, drift(t + h / 2, middle, p)), (1, [a * b for a, b in zip(g2, w, strict=True)]))
    ends = add((1, y), (1, gw)) if name == "euler-heun" else add((1, y), (h, f), (1, gw))
    gw2 = [a * b for a, b in zip(noise(kind, t + h, ends, p), w, strict=True)]
    if name == "euler-heun":
        return add((1, y), (h, f), (mpf(1) / 2, gw), (mpf(1) / 2, gw2))
    return add((1, y), (h / 2, f), (h / 2, drift(t + h, ends, p)), (mpf(1) / 2, gw), (mpf(1) / 2, gw2))


def take(name: str, t: Any, h: Any, y: Vector, p: Parameters, path: Callable[[Any], Vector] | None) -> Vector:
    """One step of either kind."""
    if path is None:
        return ordinary_step(name, t, h, y, p)
    return stochastic_step(name, t, h, y, p, add((1, path(t + h)), (-1, path(t))))


def estimate(name: str, y: Vector, p: Parameters, path: Callable[[Any], Vector] | None) -> tuple[Vector, Vector]:
    """End of the step, and its error."""
    t, h = mpf(T), mpf(H)
    if path is None and (TABLEAUS[name][2] or TABLEAUS[name][3]):
        _, b, embedded, error = TABLEAUS[name][:4]
        weights = (
            rational(error) if error else [x - e for x, e in zip(rational(b), rational(embedded or ""), strict=True)]
        )
        slopes, _ = stages(name, t, h, y, p)
        return take(name, t, h, y, p, path), add(*((h * e, k) for e, k in zip(weights, slopes, strict=True)))
    middle = take(name, t, h / 2, y, p, path)
    end = take(name, t + h / 2, h / 2, middle, p, path)
    return end, add((1, end), (-1, take(name, t, h, y, p, path)))


def second_derivative(t: Any, y: Vector, p: Parameters) -> Vector:
    """d^2 y / dt^2 along the drift, by a central difference."""
    f = drift(t, y, p)
    up, down = (drift(t + s * INNER, add((1, y), (s * INNER, f)), p) for s in (1, -1))
    return add((1 / (2 * INNER), up), (-1 / (2 * INNER), down))


def stability_interval(name: str) -> Any:
    """Where abs(R(-x)) reaches 1 again, by bisection of the step of y' = -x y over 1."""

    def growth(x: Any) -> Any:
        slopes: list[Any] = [-x]
        for text in TABLEAUS[name][0]:
            slopes.append(-x * (1 + mp.fsum(a * k for a, k in zip(rational(text), slopes, strict=True))))
        return abs(1 + mp.fsum(b * k for b, k in zip(rational(TABLEAUS[name][1]), slopes, strict=True)))

    low, high = mpf(3), mpf(4)
    for _ in range(300):
        middle = (low + high) / 2
        low, high = (middle, high) if growth(middle) <= 1 else (low, middle)
    return low


class Step:
    """One step of a batch, and its costs as functions of the parameters."""

    def __init__(self, name: str, batch: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.name = name
        self.inputs: dict[str, Any] = {
            "parameters": {
                "inner": (1.5 * rng.normal(size=(SIZE, HIDDEN))).tolist(),
                "shift": rng.normal(size=HIDDEN).tolist(),
                "outer": (1.5 * rng.normal(size=(HIDDEN, SIZE))).tolist(),
            },
            "y0": rng.normal(size=(batch, SIZE)).tolist(),
        }
        self.paths: list[Any] = [None] * batch
        self.error_order = mpf(TABLEAUS[name][4]) if name in TABLEAUS else mpf(STOCHASTIC[name][1]) + mpf(1) / 2
        if name in STOCHASTIC:
            self.inputs["parameters"]["rate"] = rng.uniform(0.5, 1.5, SIZE).tolist()
            self.inputs["parameters"]["phase"] = rng.normal(size=SIZE).tolist()
            self.inputs["amplitude"] = (0.3 * rng.uniform(0.5, 1.5, (batch, SIZE))).tolist()
            self.inputs["frequency"] = rng.uniform(5.0, 20.0, (batch, SIZE)).tolist()
            for row in range(batch):
                amplitude, frequency = (self.inputs[name][row] for name in ("amplitude", "frequency"))
                pairs = [(mpf(a), mpf(f)) for a, f in zip(amplitude, frequency, strict=True)]
                self.paths[row] = lambda t, pairs=pairs: [a * mp.sin(f * t) for a, f in pairs]
        self.y0 = [[mpf(value) for value in row] for row in self.inputs["y0"]]
        self.tolerance = mpf(1)
        # A tolerance with few digits, for an error ratio near 0.3.
        self.tolerance = mpf(float(f"{float(self.error_ratio(self.parameters()) / 0.3):.1e}"))

    def parameters(self) -> Parameters:
        """As multiprecision numbers."""
        convert: Callable[[Any], Any] = lambda v: [convert(x) for x in v] if isinstance(v, list) else mpf(v)  # noqa: E731
        return {name: convert(value) for name, value in self.inputs["parameters"].items()}

    def error_ratio(self, p: Parameters) -> Any:
        """The scaled root mean square of the error."""
        squares: Vector = []
        for y, path in zip(self.y0, self.paths, strict=True):
            end, error = estimate(self.name, y, p, path)
            for before, after, part in zip(y, end, error, strict=True):
                squares.append((part / (self.tolerance + self.tolerance * max(abs(before), abs(after)))) ** 2)
        return mp.sqrt(mp.fsum(squares) / len(squares))

    def cost(self, heuristic: str, p: Parameters) -> Any:
        """The cost of the step."""
        t, h = mpf(T), mpf(H)
        if heuristic == "error":
            return h * self.error_ratio(p)
        if heuristic == "predicted":
            return self.error_ratio(p) ** (1 / self.error_order)
        if heuristic == "stiffness":
            pairs = [stages(self.name, t, h, y, p) for y in self.y0]
            up = mp.fsum((a - b) ** 2 for k, _ in pairs for a, b in zip(k[-1], k[-2], strict=True))
            down = mp.fsum((a - b) ** 2 for _, g in pairs for a, b in zip(g[-1], g[-2], strict=True))
            return h * mp.sqrt(up / down) / stability_interval(self.name)
        inner = mpf(DRAW) * h if heuristic == "taylor" else mpf(0)
        points = [(y if inner == 0 else take(self.name, t, inner, y, p, None)) for y in self.y0]
        squares = [value**2 for y in points for value in second_derivative(t + inner, y, p)]
        return h * mp.fsum(squares) / len(squares)

    def gradient(self, heuristic: str) -> dict[str, Any]:
        """By central differences."""

        def entry(name: str, index: tuple[int, ...]) -> float:
            values: list[Any] = []
            for sign in (1, -1):
                p = self.parameters()
                target = p[name]
                for place in index[:-1]:
                    target = target[place]
                target[index[-1]] += sign * OUTER
                values.append(self.cost(heuristic, p))
            return float((values[0] - values[1]) / (2 * OUTER))

        gradient: dict[str, Any] = {}
        for name, value in self.inputs["parameters"].items():
            shape = np.shape(value)
            flat = [entry(name, index) for index in np.ndindex(shape)]
            gradient[name] = np.reshape(flat, shape).tolist()
        return gradient

    def as_json(self) -> dict[str, Any]:
        """Inputs, costs and gradients."""
        costs = ["error", "predicted", "taylor-at-step"]
        if self.name in TABLEAUS:
            costs.append("taylor")
        if self.name in HAS_STIFFNESS:
            costs.append("stiffness")
        p = self.parameters()
        return {
            **self.inputs,
            "tolerance": float(self.tolerance),
            "error_ratio": float(self.error_ratio(p)),
            "costs": {c: {"penalty": float(self.cost(c, p)), "gradient": self.gradient(c)} for c in costs},
        }


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name in (*TABLEAUS, *STOCHASTIC):
        document = {
            "scheme": name,
            "noise": STOCHASTIC[name][0] if name in STOCHASTIC else None,
            "t": T,
            "h": H,
            "draw": DRAW,
            "batches": {str(batch): Step(name, batch, seed=20 + batch).as_json() for batch in (1, 3)},
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
