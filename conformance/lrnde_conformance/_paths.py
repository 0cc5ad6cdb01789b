"""The path that drives a stochastic or a controlled equation: smooth, the same for whoever asks, and known throughout.

A Brownian path that is known in closed form, so that an adapter can be held to the increments, and the Levy areas, that
its local step must be taken along.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, final

Array = Any
Sees = Literal["w", "area", "levy"]
"""What of a path a scheme needs: increments alone, space-time Levy areas too, or Levy areas."""


@final
class PathIncrement(NamedTuple):
    """What a path does over one step: `w`, `area` and `levy` as `SmoothPath` defines them; `None` where not known."""

    w: Array
    area: Array = None
    levy: Array = None


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SmoothPath:
    """W(t) = amplitude sin(frequency t), elementwise, on an array namespace `xp`.

    - `amplitude`, `frequency`: shape `(batch, channels)`.
    """

    xp: Any
    amplitude: Array
    frequency: Array

    def __call__(self, t: Any) -> Array:
        """W(t), shape `(batch, channels)`."""
        return self.amplitude * self.xp.sin(self.frequency * t)

    def derivative(self, t: Any) -> Array:
        """dW/dt, shape `(batch, channels)`."""
        return self.amplitude * self.frequency * self.xp.cos(self.frequency * t)

    def area(self, start: Any, end: Any) -> Array:
        """The integral of W(s) - W(start) from start to end (space-time Levy area), shape `(batch, channels)`."""
        whole = self.xp.cos(self.frequency * start) - self.xp.cos(self.frequency * end)
        return self.amplitude / self.frequency * whole - self(start) * (end - start)

    def levy_area(self, start: Any, end: Any) -> Array:
        """Half the integral of V_i dV_j - V_j dV_i with V(s) = W(s) - W(start), shape `(batch, channels, channels)`."""
        one, other = self.frequency[:, :, None], self.frequency[:, None, :]
        difference = one - other
        # 0 on the diagonal, where the integrand cancels.
        difference = difference + (difference == 0)

        def antiderivative(t: Any) -> Array:
            # Of sin(one s) cos(other s).
            cos = self.xp.cos
            return -cos((one + other) * t) / (2 * (one + other)) - cos(difference * t) / (2 * difference)

        product = self.amplitude[:, :, None] * (self.amplitude * self.frequency)[:, None, :]
        integral = product * (antiderivative(end) - antiderivative(start))
        before, step = self(start), self(end) - self(start)
        integral = integral - before[:, :, None] * step[:, None, :]
        return 0.5 * (integral - self.xp.swapaxes(integral, 1, 2))

    def over(self, start: Any, end: Any, sees: Sees = "w") -> PathIncrement:
        """What the path does over a step, as far as a scheme sees it."""
        return PathIncrement(
            self(end) - self(start),
            self.area(start, end) if sees == "area" else None,
            self.levy_area(start, end) if sees == "levy" else None,
        )


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Crossing:
    """t - `time`: an event at a time that no solver knows."""

    time: Any

    def __call__(self, t: Any, y: Any) -> Any:
        """Changes its sign at `time`."""
        del y
        return t - self.time
