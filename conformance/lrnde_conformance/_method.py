"""The methods of a solver, as its author names them to the suite."""

import dataclasses
from typing import Any, Literal, final

Calculus = Literal["ito", "stratonovich"]
Noise = Literal["additive", "diagonal", "general"]
Control = Literal["increment", "derivative"]
Norm = Literal["rms", "max"]


@final
@dataclasses.dataclass(frozen=True)
class Method:
    """One method of the solver that the suite is to try; a few that differ in kind are enough. Hashable.

    - `name`: in reports and in `-k`. `native`: as the native call takes it; `None` where that is `name`.
    - `scheme`: name of the published scheme in the suite's own table (`lrnde_conformance.SCHEMES`), so that its steps
      can be computed independently; `None` if it is not there. Its penalty is then checked for its gradient and its
      sampling, but not for its value.
    - `kind`: whether the solver chooses its steps (`"adaptive"`) or the user does (`"fixed"`).
    - `calculus`, `noise`: of a stochastic equation; `None` for ordinary ones.
    - `is_implicit`: whether a step solves an equation.
    - `control`: of a controlled equation dy = f dt + g dX with a smooth control X, what the stages of a step see of it:
      its increment over the step, `"increment"`, or its derivative at their times, `"derivative"`; else `None`.
    - `norm`: of the error ratio: the root mean square or the largest modulus of all elements of the state. The local
      problem's `norm` must be the same.
    """

    name: str
    scheme: str | None
    kind: Literal["adaptive", "fixed"] = "adaptive"
    native: Any = None
    calculus: Calculus | None = None
    noise: Noise | None = None
    is_implicit: bool = False
    control: Control | None = None
    norm: Norm = "rms"

    @property
    def is_stochastic(self) -> bool:
        """Whether it solves stochastic equations."""
        return self.calculus is not None

    @property
    def is_driven(self) -> bool:
        """Whether a path drives its equation: noise, or a control."""
        return self.is_stochastic or self.control is not None

    @property
    def is_adaptive(self) -> bool:
        """Whether the solver chooses its steps."""
        return self.kind == "adaptive"

    @property
    def argument(self) -> Any:
        """What the native call takes."""
        return self.name if self.native is None else self.native
