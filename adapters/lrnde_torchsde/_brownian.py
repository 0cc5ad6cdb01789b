"""Brownian motions that record a solver's queries, and that answer them again."""

import math
from typing import NamedTuple, final

import torch
import torchsde
from torchsde import BaseBrownian, BrownianInterval

from lrnde_core import Time
from lrnde_torchsde._types import Answer

Tensor = torch.Tensor

# torchsde's own motions first convert times to Python numbers, so they can take numbers. Reading a time from an
# accelerator twice would wait for it twice.
_OWN = (torchsde.BrownianInterval, torchsde.BrownianPath, torchsde.BrownianTree)


@final
class Increment(NamedTuple):
    """The increment of a motion over one interval.

    - `start`, `end`: the interval. `w`: increment, shape `(batch, channels)`.
    - `u`: space-time Levy area, the integral of the motion since `start`; `a`: Levy area, shape `(batch, channels,
      channels)`; `None` if the solver did not ask for them.
    """

    start: float
    end: float
    w: Tensor
    u: Tensor | None
    a: Tensor | None

    def answer(self, *, return_u: bool, return_a: bool) -> Answer:
        """The return value that torchsde expects from a motion for such a query."""
        if not (return_u or return_a):
            return self.w
        return (self.w, *((self.u,) if return_u else ()), *((self.a,) if return_a else ()))


def ask(motion: BaseBrownian, start: Time, end: Time, *, return_u: bool, return_a: bool) -> Increment:
    """The increment of `motion` between two times. A user's motion gets exactly this query.

    If the Levy area is needed, torchsde's own motions return both areas, so that it can be bridged: it depends on the
    space-time area, which they have computed anyway.
    """
    times = float(start), float(end)
    if type(motion) in _OWN:
        start, end = times
        return_u = return_u or return_a
    if not (return_u or return_a):
        return Increment(*times, motion(start, end), None, None)
    flags = {name: True for name, is_asked in (("return_U", return_u), ("return_A", return_a)) if is_asked}
    w, *areas = motion(start, end, **flags)
    return Increment(*times, w, areas[0] if return_u else None, areas[-1] if return_a else None)


# The fields of an `Increment`. A solver queries every step, and making a named tuple takes longer than passing it on.
RawIncrement = tuple[float, float, Tensor, Tensor | None, Tensor | None]


@final
class ObservedMotion:
    """Replaces the user's motion in a solver and keeps the latest answer. The motion gets no further queries."""

    latest: RawIncrement

    def __init__(self, motion: BaseBrownian) -> None:
        self._motion = motion
        self._is_own = type(motion) in _OWN

    def __getattr__(self, name: str) -> object:
        return getattr(self._motion, name)

    def __call__(self, ta: Time, tb: Time, return_U: bool = False, return_A: bool = False) -> Answer:  # noqa: N803
        if return_U or return_A or not self._is_own:
            increment = self.latest = ask(self._motion, ta, tb, return_u=return_U, return_a=return_A)
            return increment.answer(return_u=return_U, return_a=return_A)
        start, end = float(ta), float(tb)
        w = self._motion(start, end)
        self.latest = (start, end, w, None, None)
        return w


@final
class KnownMotion:
    """A motion in a local step, where each step of the solver queries one increment that is already known."""

    def __init__(self) -> None:
        self.increment: Increment | None = None

    def __call__(self, ta: Time, tb: Time, return_U: bool = False, return_A: bool = False) -> Answer:  # noqa: N803
        del ta, tb
        assert self.increment is not None
        return self.increment.answer(return_u=return_U, return_a=return_A)


@final
class Halved(NamedTuple):
    """The increments of a motion over a step and over its halves."""

    whole: Increment
    first: Increment
    second: Increment

    @classmethod
    def bridged(cls, motion: BaseBrownian, whole: Increment, seed: int) -> "Halved":
        """The halves of a known increment (and space-time area) by a Brownian bridge, with noise from `seed` alone."""
        h = whole.end - whole.start
        if whole.u is None and whole.a is None:
            # One normal number each; torchsde's interval would take ten times as long.
            generator = torch.Generator(whole.w.device).manual_seed(seed)
            noise = torch.randn(whole.w.shape, generator=generator, dtype=whole.w.dtype, device=whole.w.device)
            first, middle = torch.add(0.5 * whole.w, noise, alpha=0.5 * h**0.5), 0.5 * (whole.start + whole.end)
            halves = (whole.start, middle, first), (middle, whole.end, whole.w - first)
            return cls(whole, *(Increment(*half, u=None, a=None) for half in halves))
        # Space-time Levy area as torchsde defines it: the mean of the motion minus that of a straight line.
        area = None if whole.u is None else whole.u / h - 0.5 * whole.w
        bridge = _interval(motion, whole, seed, W=whole.w, H=area)
        return cls(whole, *_halves(bridge, whole))

    @classmethod
    def fresh(cls, motion: BaseBrownian, like: Increment, seed: int) -> "Halved":
        """A new increment over the interval of `like`, and its halves, from `seed` alone."""
        interval = _interval(motion, like, seed)
        return cls(_ask_as(interval, like.start, like.end, like), *_halves(interval, like))


def coverage(motion: BaseBrownian | None) -> tuple[float, float] | None:
    """The start and end that a motion covers, if it states them, as torchsde's own do."""
    interval = _own_interval(motion)
    return None if interval is None else (interval._start, interval._end)  # pyright: ignore[reportPrivateUsage]


def resolution(motion: BaseBrownian | None) -> float:
    """The multiple to which a motion rounds query times; 0 if it does not round."""
    interval = _own_interval(motion)
    # The next power of ten above `tol`, by the same expression as in torchsde.
    return 0.0 if interval is None or interval.tol == 0 else 10.0 ** int(math.log10(interval.tol))


def _own_interval(motion: BaseBrownian | None) -> BrownianInterval | None:
    if not isinstance(motion, _OWN):
        return None
    return motion if isinstance(motion, BrownianInterval) else motion._interval  # pyright: ignore[reportPrivateUsage]


def _interval(motion: BaseBrownian, step: Increment, seed: int, **known: Tensor | None) -> BrownianInterval:
    return BrownianInterval(
        t0=step.start,
        t1=step.end,
        size=tuple(step.w.shape),
        dtype=step.w.dtype,
        device=step.w.device,
        entropy=seed,
        levy_area_approximation=motion.levy_area_approximation,
        **known,  # pyright: ignore[reportArgumentType]
    )


def _halves(interval: BrownianInterval, whole: Increment) -> tuple[Increment, Increment]:
    middle = 0.5 * (whole.start + whole.end)
    return _ask_as(interval, whole.start, middle, whole), _ask_as(interval, middle, whole.end, whole)


def _ask_as(interval: BrownianInterval, start: float, end: float, like: Increment) -> Increment:
    return ask(interval, start, end, return_u=like.u is not None, return_a=like.a is not None)
