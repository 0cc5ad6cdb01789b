"""The solvers of the tasks, alike on every backend.

With noise it is Stratonovich's Heun method by step doubling: torchsde's adaptive `heun` and diffrax's
`HalfSolver(Heun())` take the same steps to the last digits and estimate the same error. It has strong order 1 for
diagonal noise and needs no Levy area.
"""

from collections.abc import Mapping

import numpy as np

ODE_SOLVERS: Mapping[str, str] = {"torchdiffeq": "dopri5, odeint", "diffrax": "Tsit5, diffeqsolve"}
"""By adapter, where there is no noise."""

SDE_SOLVERS: Mapping[str, str] = {
    "torchsde": "heun by step doubling, sdeint",
    "diffrax": "HalfSolver(Heun()), diffeqsolve",
}
"""By adapter, where there is noise."""

SMALLEST_STEP = 1e-3
"""Both controllers go no lower; the Brownian paths resolve half of it. Steps here are 10 to 100 times longer."""


def path_seed(seed: int, *, is_test: bool, index: int) -> int:
    """Decides the Brownian path of a torch solve: the training iteration or prediction solve `index` of a seed."""
    return int(np.random.SeedSequence([seed, 3 + is_test, index]).generate_state(1)[0])
