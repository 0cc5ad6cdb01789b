"""Derivatives of a penalty by finite differences of whole solves."""

from collections.abc import Mapping

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._method import Method

_EPSILON = 1e-4


def difference_tolerance(method: Method) -> float:
    """How far a derivative may be from finite differences of whole solves, relative to the terms that make it up.

    Penalties that are rounded in their tenth digit leave, over steps of 1e-4, six; the fourth order loses less. Noise
    sees the parameters through products that nearly cancel, which costs one more. Implicit stages are known as far as
    the solver's iteration goes, to about seven digits of which steps of 1e-4 leave three.
    """
    if method.is_implicit:
        return 1e-3
    return 1e-5 if method.is_stochastic else 1e-6


def finite_difference(subject: Subject, experiment: Experiment, direction: Mapping[str, np.ndarray]) -> float:
    """The derivative of the penalty along a direction, by central differences of fourth order.

    - `direction`: by name of parameter, `y0` one of them.
    """

    def penalty(size: float) -> float:
        values = {**experiment.problem.parameters, "y0": experiment.problem.y0}
        moved = experiment.problem.moved(**{name: values[name] + size * along for name, along in direction.items()})
        return subject.measure(experiment.but(problem=moved), with_gradient=False).penalty

    inner = (penalty(_EPSILON) - penalty(-_EPSILON)) / (2 * _EPSILON)
    outer = (penalty(2 * _EPSILON) - penalty(-2 * _EPSILON)) / (4 * _EPSILON)
    return (4 * inner - outer) / 3
