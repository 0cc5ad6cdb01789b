"""A driven pendulum, to be frozen: its steps by hand."""

import math

import numpy as np


def rk4_by_hand(y: np.ndarray, ends: tuple[float, ...]) -> np.ndarray:
    """States of shape `(2, n)`, angles and speeds, by the 3/8 rule from 0 to the end of the last step."""

    def field(t: float, y: np.ndarray) -> np.ndarray:
        return np.stack([y[1], -9.0 * np.sin(y[0]) + 0.1 * math.cos(t)])

    t = 0.0
    for end in ends:
        h = end - t
        k1 = field(t, y)
        k2 = field(t + h / 3, y + h * k1 / 3)
        k3 = field(t + 2 * h / 3, y + h * (k2 - k1 / 3))
        k4 = field(end, y + h * (k1 - k2 + k3))
        y, t = y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8, end
    return y
