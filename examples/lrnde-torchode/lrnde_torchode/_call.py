"""One native call of torchode: its solve, and its kept steps as the core takes them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import final

import torch
from lrnde_core import (
    AbstractCall,
    CapabilityError,
    Counts,
    ExplicitTableau,
    KeptStep,
    KeptSteps,
    Leaves,
    MethodFacts,
    NativeFunction,
    NativeResult,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
)
from lrnde_torch import check_probes
from torchode.step_size_controllers import rms_norm

from lrnde_torchode import _methods
from lrnde_torchode._problem import OwnStepsProblem
from lrnde_torchode._recorder import Recorder
from lrnde_torchode._types import Controller, Field, Stats, StepMethod


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TorchodeCall(AbstractCall):
    """A call of `solve_ivp`, or of `solve` of an adjoint.

    - `solve()`: the call as the user wrote it. `solve_with(controller)`: the same with another controller.
    - `y0`, `step_method`, `controller`: as in the call, with defaults filled in.
    - `asked`: `f`, `y0` and `t_eval` of a call of `solve_ivp` with no other argument of the equation; else `None`.
      `solve_from(y0)`: that call from another initial state.
    """

    solve: Callable[[], NativeResult]
    solve_with: Callable[[Controller], NativeResult]
    y0: torch.Tensor
    step_method: StepMethod
    controller: Controller
    facts: MethodFacts
    asked: tuple[Field, torch.Tensor, torch.Tensor] | None = None
    solve_from: Callable[[torch.Tensor], NativeResult] | None = None

    def on_copy(self) -> "TorchodeCall":
        """The same call of `solve_ivp` from a copy of its initial state, into which the field may write."""
        assert self.asked is not None
        assert self.solve_from is not None
        f, y0, t_eval = self.asked
        copied = y0.clone()
        solve = functools.partial(self.solve_from, copied)
        return dataclasses.replace(self, solve=solve, y0=copied, asked=(f, copied, t_eval))

    def run(self, plan: RecordingPlan | None) -> Run:
        if plan is None:
            solution = self.solve()
            return Run(solution, _counts(solution), None)
        recorder = Recorder(self.controller, plan)
        try:
            solution = self.solve_with(recorder)
        finally:
            recorder.close()
        steps = recorder.kept
        assert steps is not None  # torchode has called `init`
        # One failed sample ends the solve of all samples.
        is_valid = bool((solution.status == 0).all() & (steps.num_offered > 0).any())
        records = [_record(recorder, steps, kept) for kept in steps.kept]
        return Run(solution, _counts(solution), Recording(self._recorded_problem(recorder), records, is_valid))

    def check_probes(self, probes: State) -> Leaves:
        return (check_probes(probes, self.y0),)

    @property
    def equation(self) -> tuple[Field, torch.Tensor, torch.Tensor]:
        """`asked`, of a call of `solve_ivp`. Raises `CapabilityError` for any other."""
        if self.asked is None:
            raise CapabilityError(
                "Fixed steps stand for `torchode.solve_ivp(f, y0, t_eval)`, without `t_span` and `args`, and not for "
                "`solve` of an adjoint. Call that, with a field that holds its arguments."
            )
        return self.asked

    def problem(self, field: Field, tableau: ExplicitTableau, time_dtype: torch.dtype) -> OwnStepsProblem:
        """The local problem of a step by this method, with the tolerances and the norm of the call."""
        has_tolerances = _methods.has_tolerances(self.controller)
        norm: NativeFunction = self.controller.norm if has_tolerances else rms_norm
        return OwnStepsProblem(
            field=field,
            user_field=getattr(field, "f", field),
            tableau=tableau,
            rtol=self.controller.rtol.item() if has_tolerances else None,
            atol=self.controller.atol.item() if has_tolerances else None,
            error_norm=norm,
            time_dtype=time_dtype,
            dtype=self.y0.dtype,
            device=self.y0.device,
        )

    def _recorded_problem(self, recorder: Recorder) -> OwnStepsProblem:
        tableau = _methods.tableau_of(self.step_method)
        assert tableau is not None  # refused before the solve
        term = self.step_method.term if recorder.term is None else recorder.term

        def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            stats: Stats = {}  # separate: the solution's statistics count the solve
            term.init(recorder.problem, stats)
            return term.vf(t, y, stats, recorder.args)

        problem = self.problem(field, tableau, recorder.problem.time_dtype)
        return dataclasses.replace(problem, user_field=getattr(term, "f", term))


def _record(recorder: Recorder, steps: KeptSteps, kept: KeptStep | None) -> Record:
    assert kept is not None  # if the solve takes no step, its start is kept
    t, h, y = kept.step
    # torchode clips its last step to the end of the solve, so that sizes are as taken.
    return Record(t, h, (y,), None, recorder.problem.t_end.detach() - t, steps.drawn(kept, kept.size))


def _counts(solution: NativeResult) -> Counts:
    """One number of evaluations, for the whole batch; steps of each sample, of shape `(batch,)`."""
    steps, accepted = solution.stats["n_steps"], solution.stats["n_accepted"]
    evaluations = solution.stats.get("n_f_evals")  # missing if the user's term keeps no statistics
    return Counts(None if evaluations is None else int(evaluations[0]), steps, accepted, steps - accepted)
