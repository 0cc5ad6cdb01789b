"""A call of `diffeqsolve` solved by the fixed steps of a plan, for training."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import final

import jax
import jax.numpy as jnp

from lrnde_core import (
    AbstractStages,
    AbstractSteppedCall,
    Array,
    Counts,
    Draw,
    FixedSteps,
    Followed,
    PlanRecorder,
    Record,
    Recording,
    Scalar,
)
from lrnde_diffrax._call import DiffraxCall
from lrnde_diffrax._fixed_steps import check_form, solve_by_steps, stages_of
from lrnde_diffrax._problem import DiffraxProblem
from lrnde_diffrax._types import JaxTime
from lrnde_jax import cost_of_step

_REDUCTIONS: Mapping[str, Callable[[Array], Array]] = {"mean": jnp.mean, "sum": jnp.sum, "max": jnp.max}


@final
class SteppedCall(AbstractSteppedCall[DiffraxCall]):
    """A `diffeqsolve` by fixed steps."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [leaf.shape for leaf in jax.tree.leaves(self.native.arguments.y0)]

    @property
    def interval(self) -> tuple[JaxTime, JaxTime]:
        arguments = self.native.arguments
        t0, t1 = (jnp.asarray(arguments[name], arguments.time_dtype) for name in ("t0", "t1"))
        return jax.lax.stop_gradient((t0, t1))

    def follow(self, *, needs_last: bool) -> Followed:
        return solve_by_steps(self.steps, self.native.arguments, needs_last=needs_last)

    @property
    def stages(self) -> AbstractStages:
        return stages_of(self.native.arguments)

    def problem(self) -> DiffraxProblem:
        return dataclasses.replace(
            self.native.problem(), tableau=self.steps.tableau, solver=None, is_doubled=False, advances_by_halves=False
        )

    def counts(self, nfe: int, num_steps: int, step_error: Scalar) -> Counts:
        evaluated, taken, rejected = (jnp.asarray(count, jnp.int32) for count in (nfe, num_steps, 0))
        return Counts(evaluated, taken, taken, rejected, step_error=step_error)

    def recording(self, recorder: PlanRecorder) -> Recording:
        plan, problem = recorder.plan, recorder.problem
        assert isinstance(plan.draws, Draw)  # as `check_uniforms` makes it
        draws = plan.draws._replace(uniform=jnp.asarray(plan.draws.uniform, self.native.arguments.time_dtype))
        if plan.sampler.keeps_every_step:
            draw = jax.tree.map(lambda leaf: leaf[0], draws)
            records = recorder.records_of_all(draw)
            terms = [cost_of_step(plan.penalty, problem, draw, record, plan.probes) for record in records]
            cost = _REDUCTIONS[plan.sampler.reduction](jnp.stack([cost for cost, _ in terms]))
            # Of all of them or of none.
            found = [each for _, each in terms if each is not None]
            num_unresolved = sum(found) if found else None
            num_reading = jnp.asarray(recorder.num_reading, jnp.int32)
            return Recording(
                problem,
                None,
                1,
                len(records),
                num_evaluated=len(records),
                cost=cost,
                num_reading=num_reading,
                num_unresolved=num_unresolved,
            )

        # Outside of the map, which would not give it back.
        recorder.evaluate_end()

        def kept(draw: Draw) -> Record:
            (record,) = recorder.records_of([draw])
            return record

        records = jax.vmap(kept)(draws)
        # Static, so that it stays a Python value.
        records = records._replace(drawn=records.drawn._replace(is_end_known=True))
        num_reused = jnp.shape(draws.bits)[0] if plan.keeps_gradient else 0
        return Recording(problem, records, 1, num_reused, num_reading=jnp.asarray(recorder.num_reading, jnp.int32))


def by_steps(call: DiffraxCall, steps: FixedSteps, *, is_batched: bool) -> SteppedCall:
    """The call by fixed steps. Raises `CapabilityError` or `InputError` for what they cannot replace."""
    check_form(call.arguments)
    return SteppedCall(call, steps, is_batched=is_batched)
