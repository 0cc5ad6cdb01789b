"""The facts of the one method of `odeint`, known before it runs."""

from lrnde_core import ExplicitTableau, MethodFacts

# As in `runge_kutta_step`: Dormand and Prince 1980, with the embedded solution of Shampine 1986.
DOPRI5 = ExplicitTableau(
    a=(
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    error=(
        35 / 384 - 1951 / 21600,
        0.0,
        500 / 1113 - 22642 / 50085,
        125 / 192 - 451 / 720,
        -2187 / 6784 + 12231 / 42400,
        11 / 84 - 649 / 6300,
        -1 / 60,
    ),
)

FACTS = MethodFacts.explicit("dopri5", 5, DOPRI5)

# `odeint` evaluates the first stage and another one for its first step size, then six stages per attempt.
EVALUATIONS_AT_START = 2
EVALUATIONS_PER_STEP = 6
