"""The evaluation of the penalty on the kept steps of a JAX solve."""

from collections.abc import Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lrnde_core
from lrnde_core import (
    AbstractLocalProblem,
    Count,
    Draw,
    DType,
    Leaf,
    Leaves,
    LocalPenalty,
    Record,
    Recording,
    RecordingPlan,
    Sample,
    Scalar,
    Truth,
    count_unresolved,
    is_traced,
    random_states_kept,
)
from lrnde_jax._guard import finite_or_zero


def evaluate_samples(plan: RecordingPlan, recording: Recording) -> tuple[Scalar, Sample]:
    """The mean of the weighted costs over samples, and the samples stacked, without gradient.

    - `plan.draws`: one `Draw` of arrays of shape `(num_samples,)`.
    - `recording.records`: one `Record` of arrays of shape `(num_samples, ...)`, all of them finite.

    The penalty has the real dtype of the state. It is 0 with gradient 0 if the recording is not valid or a local step
    is not finite; `h`, `weight` and the estimates are then also 0.

    Issues a `ResolutionWarning` as `warn_if_unresolved` does. Random states of numpy and Python stay as they are.
    """
    assert isinstance(plan.draws, Draw)
    warn_if_unresolved(plan, recording.problem, real_dtype(recording.records.y))
    # Tracing a field again repeats its draws in numpy.
    with random_states_kept():
        return _evaluate(plan.penalty, recording, plan.draws, plan.probes)


def cost_of_step(
    penalty: LocalPenalty,
    problem: AbstractLocalProblem,
    draw: Draw,
    record: Record,
    probes: Leaves | None,
    is_valid: Truth = True,
) -> tuple[Scalar, Count | None]:
    """The weighted cost of one of all steps, in the real dtype of the state, and `count_unresolved` of its sample.

    The cost is 0 with gradient 0, and nothing is counted, if the step is not valid or the cost not finite, as
    `finite_or_zero` says.
    """

    def term() -> tuple[Scalar, Count | None]:
        cost, sample = _term(penalty, problem, draw, record, probes)
        return cost, count_unresolved(sample)

    cost, num_unresolved = finite_or_zero(term, is_valid)
    return cost, None if num_unresolved is None else jnp.where(is_valid, num_unresolved, 0)


def warn_if_unresolved(plan: RecordingPlan, problem: AbstractLocalProblem, dtype: DType) -> None:
    """`lrnde_core.warn_if_unresolved` if the penalty compares errors with tolerances of the solve that have values.

    - `dtype`: the real dtype of the state.
    """
    tolerances = (problem.rtol, problem.atol)
    if plan.penalty.uses_solver_tolerances and not any(map(is_traced, tolerances)):
        rtol, atol = (float(np.max(np.asarray(value))) for value in tolerances)
        lrnde_core.warn_if_unresolved(rtol, atol, float(jnp.finfo(dtype).eps), str(dtype))


@eqx.filter_jit
def _evaluate(penalty: LocalPenalty, recording: Recording, draws: Draw, probes: Leaves | None) -> tuple[Scalar, Sample]:
    is_valid = jnp.asarray(recording.is_valid, bool)

    def one(draw: Draw, record: Record) -> tuple[Scalar, Sample]:
        draw = draw._replace(uniform=jnp.asarray(draw.uniform, jnp.result_type(record.t)))
        return _term(penalty, recording.problem, draw, record, probes)

    def mean() -> tuple[Scalar, Sample]:
        pair = (draws, recording.records)
        if jnp.shape(draws.bits) == (1,):
            # Without `vmap` a field sees no batch axis, and compiles faster.
            cost, sample = one(*jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, pair))
            return cost, jax.tree.map(lambda leaf: leaf[None], sample)
        costs, sample = eqx.filter_vmap(one, in_axes=eqx.if_array(0))(*pair)
        return jnp.mean(costs), sample

    value, sample = finite_or_zero(mean, is_valid)
    return value, _without_invalid(sample, is_valid)


def _term(
    penalty: LocalPenalty, problem: AbstractLocalProblem, draw: Draw, record: Record, probes: Leaves | None
) -> tuple[Scalar, Sample]:
    """The weighted cost in the real dtype of the state, and the sample without gradient; weight 0 if not finite."""
    dtype = real_dtype(record.y)
    cost, sample = penalty(problem, draw, record, probes)
    sample = Sample(*(None if entry is None else jnp.asarray(entry).astype(dtype) for entry in sample))
    entries = sample._replace(weight=jnp.where(jnp.isfinite(cost), sample.weight, 0.0))
    return jnp.asarray(cost).astype(dtype), Sample(*jax.lax.stop_gradient(entries))


def real_dtype(leaves: Iterable[Leaf]) -> DType:
    """The real dtype that the leaves of a state share: the widest, even under strict promotion."""
    return max((jnp.finfo(leaf.dtype) for leaf in leaves), key=lambda info: info.bits).dtype


def _without_invalid(sample: Sample, is_valid: Truth) -> Sample:
    masked = [
        None if entry is None else jnp.where(is_valid & jnp.isfinite(entry), entry, jnp.zeros_like(entry))
        for entry in sample[1:]
    ]
    return Sample(sample.t, *masked)
