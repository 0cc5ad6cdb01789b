"""Published settings by name: `regularize(solve, **lrnde.presets.lrnde_unbiased())`.

They reproduce what their authors' code does, for comparison. The defaults of `regularize` are what measured best here
(docs/design.md).
"""

from typing import Any, NoReturn

from lrnde_core._errors import UnknownPresetError
from lrnde_core._heuristics import ErrorEstimate, StiffnessEstimate
from lrnde_core._samplers import UniformStep, UniformTime

_HEURISTICS = {"error": ErrorEstimate(), "stiffness": StiffnessEstimate(weighting="paper")}


def lrnde_unbiased(*, stiffness: bool = False) -> dict[str, Any]:
    """LRNDE with the regularisation time drawn uniformly over the interval; `stiffness=True` for its second variant.

    The local problem starts at the drawn time with an automatic step, weight 1 and a constant first stage.

    Source: Pal, Edelman and Rackauckas, "Locally Regularized Neural Differential Equations", ICML 2023, section 3.2
    and its code; published weight on MNIST: 2.5 decaying exponentially to 1.0 (stiffness: 0.1 throughout).
    """
    return {"heuristic": _heuristic(stiffness), "sampler": UniformTime(weighting="paper", local_start="sample")}


def lrnde_biased(*, stiffness: bool = False) -> dict[str, Any]:
    """LRNDE with the regularisation time drawn among the times of the solver's own steps.

    Source: as for `lrnde_unbiased`.
    """
    return {"heuristic": _heuristic(stiffness), "sampler": UniformStep(weighting="paper", local_start="sample")}


def _heuristic(stiffness: bool) -> Any:
    return _HEURISTICS["stiffness" if stiffness else "error"]


def __getattr__(name: str) -> NoReturn:
    msg = f"There is no preset `{name}`; known are `lrnde_biased` and `lrnde_unbiased`."
    raise UnknownPresetError(msg)
