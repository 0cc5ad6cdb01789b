"""The purpose of the penalty: a trained task costs less with it, at no worse accuracy."""

from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._training import TrainedNetwork, train
from lrnde_conformance._failure import ConformanceFailure
from lrnde_core import AbstractWeight, Capability, Constant, GradientRatio

LARGEST_RATIO = 0.733
_WEIGHT: AbstractWeight = Constant(0.02)
_NOISY_WEIGHT: AbstractWeight = Constant(0.01)
# The largest error is that of one element, and the size of its gradient differs by solver. 0.01 and 0.05 serve as well.
_MAX_NORM_WEIGHT: AbstractWeight = GradientRatio(0.03)
_ACCURACY = 0.015
_HINT = "check laws 3 and 4 first: a penalty that is right reduces the cost of this task with every solver tried"


def _adaptive(subject: Subject) -> list[str]:
    return [subject.main_method.name] if subject.main_method.is_adaptive else []


def _fixed(subject: Subject) -> list[str]:
    names = [method.name for method in subject.driver.methods if not method.is_adaptive and not method.is_stochastic]
    return names[:1]


@check(
    "reduction.adaptive",
    law=0,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT, Capability.FLOAT64],
    is_slow=True,
    cases=_adaptive,
    hint=_HINT,
)
def reduction_adaptive(subject: Subject, case: str) -> None:
    """Trained with the penalty, a solve needs at most 0.733 of the evaluations at no worse accuracy on other points."""
    before, after = _trained(subject, case)
    subject.trained.setdefault("before", {"times": list(before.times), "sizes": list(before.sizes)})
    subject.trained.setdefault("after", {"times": list(after.times), "sizes": list(after.sizes)})
    _assert_accuracy(before, after)
    ratio = after.evaluations / before.evaluations
    if ratio > LARGEST_RATIO:
        raise ConformanceFailure(
            f"Trained with the penalty, a solve with `{case}` is not cheap enough.",
            got=f"{ratio:.3f} of the evaluations: {after.evaluations}, without the penalty {before.evaluations}",
            expected=f"at most {LARGEST_RATIO}, as published for the weakest of its experiments",
            seed=0,
            cause="the gradient of the penalty does not reach the parameters, has a wrong sign or is far too small",
            hint=_HINT,
        )


@check(
    "reduction.fixed-step",
    law=0,
    needs=[Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT, Capability.FLOAT64, Capability.FIXED_STEP_ODE],
    is_slow=True,
    cases=_fixed,
    hint=_HINT,
)
def reduction_fixed_step(subject: Subject, case: str) -> None:
    """Trained with the penalty, fixed steps make a smaller error at equal steps and no worse accuracy."""
    before, after = _trained(subject, case)
    _assert_accuracy(before, after)
    if not after.error < before.error:
        raise ConformanceFailure(
            f"Trained with the penalty, fixed steps of `{case}` are not more accurate.",
            got=f"an error of {after.error:.3g}",
            expected=f"less than without the penalty, {before.error:.3g}",
            seed=0,
            cause="the gradient of the penalty does not reach the parameters, has a wrong sign or is far too small",
            hint=_HINT,
        )


def _trained(subject: Subject, case: str) -> tuple[TrainedNetwork, TrainedNetwork]:
    method = next(each for each in subject.driver.methods if each.name == case)
    weight = _MAX_NORM_WEIGHT if method.norm == "max" else _NOISY_WEIGHT if method.is_stochastic else _WEIGHT
    return train(subject, method, Constant(0.0)), train(subject, method, weight)


def _assert_accuracy(before: TrainedNetwork, after: TrainedNetwork) -> None:
    if after.accuracy < before.accuracy - _ACCURACY:
        raise ConformanceFailure(
            "Trained with the penalty, the network is less accurate.",
            got=f"{after.accuracy:.3f} of the points right",
            expected=f"{before.accuracy:.3f}, as without the penalty",
            tolerance=f"{_ACCURACY}, of points that the networks were not trained on",
            seed=0,
            cause="the penalty is far larger than the costs it is made of, or its gradient points elsewhere",
            hint=_HINT,
        )
