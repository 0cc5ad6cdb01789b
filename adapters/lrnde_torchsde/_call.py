"""One native call of torchsde: its solve, and its kept steps as the core takes them."""

import dataclasses
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    CapabilityError,
    Counts,
    Draw,
    InputError,
    KeptStep,
    Leaves,
    MethodFacts,
    NativeResult,
    Record,
    Recording,
    RecordingPlan,
    ResolutionWarning,
    Run,
    State,
    noise_seed,
    penalty_errors,
    warn_at_call,
)
from lrnde_torch import check_probes, parameters_without
from lrnde_torchsde._arguments import Arguments
from lrnde_torchsde._brownian import Halved, coverage, resolution
from lrnde_torchsde._equation import CountedEquation
from lrnde_torchsde._methods import differentiates_diffusion, method_facts
from lrnde_torchsde._problem import SDECarry, SDEProblem
from lrnde_torchsde._recorder import Recorder, own_error_ratio, step_of
from lrnde_torchsde._solving import watched

# How far apart, relative to their size, two times may be that are meant to be the same: one of them may be in float32.
_TIME_ROUNDING = 2e-7


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TorchsdeCall(AbstractCall):
    """A call of `sdeint` or `sdeint_adjoint`."""

    arguments: Arguments
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        arguments = self.arguments
        if plan is not None:
            _check_coverage(arguments)
        recorder = Recorder(
            plan,
            arguments.start,
            arguments.end,
            is_adaptive=arguments.is_adaptive,
            smallest=arguments.smallest,
        )
        try:
            result = self._solve(recorder)
            recorder.finish()
        finally:
            recorder.detach()
        evaluations = recorder.evaluations
        counts = Counts(
            nfe=evaluations.num_drift + evaluations.num_diffusion,
            num_steps=recorder.num_steps,
            num_accepted=recorder.num_accepted,
            num_rejected=recorder.num_steps - recorder.num_accepted,
            nfe_diffusion=evaluations.num_diffusion,
            num_forced=recorder.num_forced if arguments.is_adaptive else None,
            nfe_backward=evaluations.backward if arguments.is_adjoint else None,
        )
        if plan is None:
            return Run(result, counts, None)
        _warn_if_unresolved(recorder)
        with penalty_errors():
            return Run(result, counts, self._recording(recorder, plan))

    def _recording(self, recorder: Recorder, plan: RecordingPlan) -> Recording:
        assert not isinstance(plan.draws, Draw)  # one for each sample
        assert recorder.kept is not None  # a plan was given
        kept = recorder.kept.kept
        # One draw stands for all steps, where all are kept.
        draws = list(plan.draws) * len(kept) if plan.sampler.keeps_every_step else plan.draws
        records = [self._record(draw, each, recorder, plan) for draw, each in zip(draws, kept, strict=True)]
        num_reused = sum(record.estimate is not None for record in records)
        problem, is_valid = self._problem(recorder), recorder.num_accepted > 0
        return Recording(problem, records, is_valid, num_reused, num_evaluated=len(records))

    def on_copy(self) -> "TorchsdeCall":
        """The same call from a copy of its initial state, into which the equation may write."""
        return dataclasses.replace(self, arguments=self.arguments.but(y0=self.arguments["y0"].clone()))

    def check_probes(self, probes: State) -> Leaves:
        if self.arguments["logqp"]:
            raise CapabilityError(
                "`probes=` are not supported with `logqp=True`, under which the state has one more channel than `y0`. "
                "Leave them out: each sample then has its own probe, determined by its draw."
            )
        return (check_probes(probes, self.arguments["y0"]),)

    @property
    def zero(self) -> torch.Tensor:
        """0 in the state's real dtype, on its device."""
        y0: torch.Tensor = self.arguments["y0"]
        return torch.zeros((), dtype=y0.dtype, device=y0.device).abs()

    def _solve(self, recorder: Recorder) -> NativeResult:
        arguments = self.arguments
        given = dict(arguments.given)
        equation = given["sde"]
        given["sde"] = CountedEquation(equation, given["names"], recorder.evaluations)
        if arguments.is_adjoint and given["adjoint_params"] is None and isinstance(equation, torch.nn.Module):
            # The stand-in is no module; the parameters stay those that torchsde would have found.
            given["adjoint_params"] = tuple(equation.parameters())
        return watched(arguments.native, recorder.attach)(**given)

    def _problem(self, recorder: Recorder) -> SDEProblem:
        arguments, y0 = self.arguments, self.arguments["y0"]
        assert recorder.motion is not None  # the solve is over
        last = next((kept for kept in recorder.kept.kept if kept is not None), None) if recorder.kept else None
        return SDEProblem(
            user_field=arguments["sde"],
            solver=recorder.solver,
            evaluations=recorder.evaluations,
            prepared=recorder.solver.sde._base_sde,
            noise_shape=tuple(recorder.motion.shape),
            differentiates_diffusion=differentiates_diffusion(
                arguments.method, arguments.noise, is_gradient_free=arguments.is_gradient_free
            ),
            rtol=arguments["rtol"] if arguments.is_adaptive else None,
            atol=arguments["atol"] if arguments.is_adaptive else None,
            dtype=y0.dtype,
            device=y0.device,
            # The end of a step is a floating-point time even where the user gave integers.
            time=self.zero if last is None else step_of(last.step).substeps[0].t1,
            constants=parameters_without(
                arguments["sde"], arguments["adjoint_params"] if arguments.is_adjoint else None
            ),
        )

    def _record(self, draw: Draw, kept: KeptStep | None, recorder: Recorder, plan: RecordingPlan) -> Record:
        assert recorder.kept is not None  # a plan was given
        assert recorder.motion is not None  # the solve is over
        arguments, drawn = self.arguments, recorder.kept.drawn(kept, 0.0 if kept is None else kept.size)
        if kept is None:
            # Of a solve from a time to that same time, which took no step; it is not evaluated.
            return Record(arguments.start, 0.0, (arguments["y0"],), None, 0.0, drawn)
        step = step_of(kept.step)
        substeps, is_adaptive = step.substeps, arguments.is_adaptive
        first = substeps[0]
        start, size = first.increment.start, kept.size
        seed = noise_seed(draw.bits)
        if plan.sampler.increment == "fresh":
            increments = Halved.fresh(recorder.motion, first.increment, seed)
        elif is_adaptive:
            increments = Halved(*(substep.increment for substep in substeps))
        else:
            increments = Halved.bridged(recorder.motion, first.increment, seed)
        y, hidden = first.y0, first.memory[-1] if first.memory else first.y0
        if not plan.keeps_gradient:
            y, hidden = y.detach(), hidden.detach()
        t0, t1 = _on_cpu(first.t0, start), _on_cpu(first.t1, first.increment.end)
        return Record(
            t=start,
            h=size,
            y=(y,),
            carry=SDECarry(
                t0=t0,
                middle=_on_cpu(substeps[1].t1, substeps[1].increment.end) if is_adaptive else 0.5 * (t0 + t1),
                t1=t1,
                hidden=hidden,
                increments=increments,
            ),
            remaining=arguments.end - start,
            drawn=drawn,
            estimate=step.estimate if plan.sampler.keeps_every_step else None,
            solver_error_ratio=(
                own_error_ratio(first.y1, substeps[-1].y1, arguments["rtol"], arguments["atol"])
                if is_adaptive
                else None
            ),
        )


def read_call(arguments: Arguments) -> TorchsdeCall:
    """The call with the facts of its method."""
    facts = method_facts(
        arguments.method,
        arguments.noise,
        arguments["y0"].dtype,
        functions=arguments.functions,
        is_gradient_free=arguments.is_gradient_free,
        is_adaptive=arguments.is_adaptive,
        is_adjoint=arguments.is_adjoint,
        is_drift_joint=arguments.is_drift_joint,
    )
    return TorchsdeCall(arguments, facts)


def _on_cpu(time: torch.Tensor, value: float) -> torch.Tensor:
    """`time`, whose value the motion has been asked with: reading it again would wait for an accelerator again."""
    return time if time.device.type == "cpu" else torch.tensor(value, dtype=time.dtype, device="cpu")


def _check_coverage(arguments: Arguments) -> None:
    motion, start, end = arguments["bm"], arguments.start, arguments.end
    covered = coverage(motion)
    slack = resolution(motion) + _TIME_ROUNDING * max(abs(start), abs(end))
    # Times in disorder are left to torchsde.
    if covered is not None and start < end and not (covered[0] - slack <= start and end <= covered[1] + slack):
        raise InputError(
            f"`bm` covers times {covered[0]:g} to {covered[1]:g}, and the solve runs from {start:g} to {end:g}: its "
            f"increments would be cut off at the ends. Make it cover the solve, `t0={start:g}, t1={end:g}`."
        )


def _warn_if_unresolved(recorder: Recorder) -> None:
    unit = resolution(recorder.motion)
    if unit > recorder.smallest:
        warn_at_call(
            f"`bm` rounds times to multiples of {unit:g}, by its `tol`, and the solve asked for an interval of "
            f"{recorder.smallest:.3g}: its noise, and with it the error estimate, is that of another interval there. "
            f"Make the Brownian motion with a smaller `tol`, or keep the steps longer (`dt_min={2 * unit:g}`).",
            ResolutionWarning,
        )
