"""Types of diffrax's values for signatures, beside those of `lrnde_core` for arrays, states and times."""

from typing import TypeAlias

import diffrax
import jax
from jaxtyping import Float, Int, Int32, PyTree, Shaped

from lrnde_core import Array, Time

Args: TypeAlias = PyTree
"""The user's `args`; only the user's own functions read them."""

VectorField: TypeAlias = PyTree
"""The value of a vector field: a tree of arrays or of linear operators, as the user's function returns it."""

Control: TypeAlias = PyTree
"""The value or increment of a control: a tree of arrays, or one of diffrax's increments with its Levy area."""

Term: TypeAlias = diffrax.AbstractTerm[VectorField, Control]
"""One term; a `MultiTerm` is one too."""

Terms: TypeAlias = PyTree[Term]
"""The terms of a call: one, or a tree of them for a solver of several coupled terms."""

BrownianPath: TypeAlias = diffrax.AbstractBrownianPath[Control]

LevyArea: TypeAlias = type[diffrax.AbstractBrownianIncrement]
"""The class of a Brownian path's increments, which says what Levy areas they have."""

SolverState: TypeAlias = PyTree
"""What a solver carries from step to step: a tree that each solver makes its own way."""

Solver: TypeAlias = diffrax.AbstractSolver[SolverState]

ControllerState: TypeAlias = PyTree
"""What the user's controller carries from attempt to attempt; only that controller reads it."""

FirstStep: TypeAlias = Time | None
"""`dt0` of a call; `None` leaves it to the controller."""

Controller: TypeAlias = diffrax.AbstractStepSizeController[ControllerState, FirstStep]
AnyAdaptiveController: TypeAlias = diffrax.AbstractAdaptiveStepSizeController[ControllerState, FirstStep]

Subs: TypeAlias = PyTree[diffrax.SubSaveAt]
"""`subs` of a `SaveAt`: what to save. `ts` and `ys` of the solution are trees of the same structure."""

JaxTime: TypeAlias = Float[Array, ""]
"""A time, or a signed length of time, where diffrax has made it an array."""

Direction: TypeAlias = Int[Array, ""] | int
"""1, or -1 if the user's time runs backward."""

StoredState: TypeAlias = PyTree[Shaped[jax.Array, "..."]]
"""A state as the recorder carries it: as unsigned integers of the same bits, unless it keeps gradients."""

StepTimes: TypeAlias = Float[jax.Array, "samples 2"]
"""Start and end of the step kept for each draw."""

Counter: TypeAlias = Int32[jax.Array, ""]
Counters: TypeAlias = Int32[jax.Array, "3"]
"""`num_accepted`, `num_fresh` and `is_fresh` of a `RecorderState`."""

TwoSizes: TypeAlias = Float[jax.Array, "2"]
"""`sizes` of a `RecorderState`."""

KnownTimes: TypeAlias = Float[jax.Array, "times"]
"""The times at which a Brownian tree is known."""
