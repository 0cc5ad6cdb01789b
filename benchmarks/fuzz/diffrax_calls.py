"""Calls of diffrax: few programs, and many values for each.

The seeds of a block share one program, so that it is compiled once; every 20th seed is a call with a program of its
own, most of them with arguments of wrong kinds, which end before anything is compiled.
"""

import functools
import warnings
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from calls import Call, Choices
from diffrax_endings import COMPILED, Runner, bits, run
from diffrax_fields import UNCHECKED
from diffrax_programs import choose_program, choose_values
from endings import Ending, disagreements
from traces import seed_everything

import lrnde_core

BLOCK = 200
ALONE = 20


@functools.lru_cache(maxsize=2)
def _runner_of_block(block: int) -> Runner:
    """The first program of a block that can be traced wrapped, so that its values matter."""
    program = choose_program(Choices(f"diffrax block {block} 0"), is_alone=False)
    for place in range(1, 12):
        if _is_traced(Runner(program), block):
            break
        program = choose_program(Choices(f"diffrax block {block} {place}"), is_alone=False)
    return Runner(program)


def _is_traced(runner: Runner, block: int) -> bool:
    values = choose_values(Choices(f"diffrax values {block}"), runner.program)
    seed_everything(block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            jax.eval_shape(lambda values: jax.tree.map(_nothing, runner.wrapped(values, jnp.zeros(()))), values)
        except Exception:
            return False
    return True


def _forgive_lastbits(bare: Ending, wrapped: Ending) -> None:
    """Have gradients count as the same where they are within the last bits: two programs, which XLA fuses otherwise."""
    for name, value in bare.values.items():
        other = wrapped.values.get(name)
        if not name.startswith("gradient") or other == value or other is None or value[:2] != other[:2]:
            continue
        left, right = (np.frombuffer(each[2], each[0]) for each in (value, other))
        if np.allclose(left, right, rtol=1e-6, atol=1e-6 * float(np.max(np.abs(left), initial=0.0)), equal_nan=True):
            wrapped.values[name] = value
            wrapped.num_rounded += 1


def _are_checks(bare: Ending, wrapped: Ending) -> bool:
    """Whether a check of diffrax's failed in both: which of several a compiled program reports, is up to XLA."""
    errors = [ending.error for ending in (bare, wrapped)]
    return all(error is not None and error[0] == "EquinoxRuntimeError" for error in errors)


def _is_checked_where_unused(bare: Ending, wrapped: Ending) -> bool:
    """Whether a field's own check failed where the solve took no step: compiled code evaluates it (docs/limits.md)."""
    is_unused = bare.values.get("result.stats['num_accepted_steps']") == bits(jnp.zeros((), jnp.int32))
    return is_unused and wrapped.error is not None and wrapped.error[1].startswith(UNCHECKED)


def _is_solved_linearly(bare: Ending, wrapped: Ending) -> bool:
    """Whether the derivative of an implicit step failed, whose equations are not finite (docs/limits.md)."""
    del bare
    return wrapped.error is not None and wrapped.error[1].startswith("A linear solver received non-finite")


def _nothing(leaf: Any) -> Any:
    return leaf if eqx.is_array(leaf) else None


def judge(seed: int) -> Any:
    """The call of this seed, bare and wrapped."""
    is_alone = seed % ALONE == 0
    COMPILED.clear()
    choices = Choices(f"diffrax {seed}")
    runner = Runner(choose_program(choices, is_alone=True)) if is_alone else _runner_of_block(seed // BLOCK)
    values = choose_values(choices, runner.program)
    bare = run(runner, runner.bare, values, seed, None)
    wrapped = run(runner, runner.wrapped, values, seed, bare)
    wrapped.has_compiled = bool(COMPILED)
    program = runner.program
    call = Call(
        diffrax.diffeqsolve,
        (),
        {},
        program.settings,
        program.extras,
        "regularize",
        {},
        {},
        {**program.made, **choices.made},
    )
    _forgive_lastbits(bare, wrapped)
    found = disagreements(bare, wrapped, call)
    if any(is_known(bare, wrapped) for is_known in (_are_checks, _is_checked_where_unused, _is_solved_linearly)):
        found = []
    return call, bare, wrapped, found


# Adapters are imported when they are first asked for, which changes the process.
lrnde_core.get_adapter("diffrax")
