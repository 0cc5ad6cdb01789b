"""One call of `odeint`: its solve, and its kept steps as the core takes them."""

import dataclasses
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from lrnde_core import (
    AbstractCall,
    Array,
    Counts,
    Draw,
    Leaves,
    MethodFacts,
    NativeFunction,
    NativeKeywords,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
    UniformStep,
    native_errors,
)
from lrnde_jax import KeptTimes, check_probes, record_of_draws, spare_states

from lrnde_jax_odeint._methods import EVALUATIONS_AT_START, EVALUATIONS_PER_STEP
from lrnde_jax_odeint._problem import JaxOdeintProblem
from lrnde_jax_odeint._recorder import Steps
from lrnde_jax_odeint._solving import solve_recorded
from lrnde_jax_odeint._types import Args, Field


@final
@dataclasses.dataclass(frozen=True, eq=False)
class JaxOdeintCall(AbstractCall):
    """A call of `odeint`, its arguments as in the call."""

    native: NativeFunction
    func: Field
    y0: State
    t: Array
    args: Args
    options: NativeKeywords
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        nothing = Draw(jnp.zeros((0,)), jnp.zeros((0,), jnp.uint32))
        sampler, draws = (UniformStep(), nothing) if plan is None else (plan.sampler, plan.draws)
        assert isinstance(draws, Draw)  # as `check_uniforms` makes it
        draws = draws._replace(uniform=jnp.asarray(draws.uniform, self.t.dtype))
        arguments = (self.func, self.y0, self.t, *self.args)
        with native_errors(lambda: self.native(*arguments, **self.options)):
            solution, steps = solve_recorded(self.native, arguments, self.options, sampler, draws)
        num_steps, num_accepted = steps.num_attempted, steps.num_accepted
        nfe = EVALUATIONS_AT_START + EVALUATIONS_PER_STEP * num_steps
        counts = Counts(nfe, num_steps, num_accepted, num_steps - num_accepted)
        if plan is None:
            return Run(solution, counts, None)
        record, is_valid = _record(steps, ravel_pytree(self.y0)[0], jax.lax.stop_gradient(self.t))
        return Run(solution, counts, Recording(self._problem(), record, is_valid))

    def check_probes(self, probes: State) -> Leaves:
        check_probes(probes, jax.tree.map(jnp.asarray, self.y0))
        return (ravel_pytree(probes)[0],)

    def _problem(self) -> JaxOdeintProblem:
        return JaxOdeintProblem(
            func=self.func,
            args=jax.tree.map(jnp.asarray, self.args),
            unravel=ravel_pytree(self.y0)[1],
            rtol=float(self.options["rtol"]),
            atol=float(self.options["atol"]),
        )


@eqx.filter_jit  # unlike `jax.jit`, leaves `is_end_known` a Python value
def _record(steps: Steps, y0: Array, ts: Array) -> tuple[Record, Array]:
    """The kept steps as one `Record` of arrays, and whether they are valid (int32, 1 or 0).

    If they are not, a harmless step replaces each one, because the local step is evaluated all the same.
    """
    t0, t1 = ts[0], ts[-1]
    is_valid = (steps.num_accepted > 0) & steps.reaches_outputs
    kept = jax.lax.stop_gradient(steps.kept)
    # The last step of a solve may go beyond its end.
    size = jnp.minimum(kept.h, t1 - kept.t)
    record = record_of_draws(
        KeptTimes(start=kept.t, size=size, taken=size),
        (kept.y,),
        spare_states((y0,), steps.reaches_outputs),
        t0=t0,
        end=t1,
        duration=t1 - t0,
        num_accepted=steps.num_accepted,
        is_valid=is_valid,
        is_end_known=True,
    )
    return record, is_valid.astype(jnp.int32)
