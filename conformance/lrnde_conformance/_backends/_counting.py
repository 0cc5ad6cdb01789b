"""A formula that counts its calls, where Python executes each of them."""

from typing import Any

from lrnde_conformance._backends._backend import Counter
from lrnde_conformance._problems import Formula


def counted_in_python(formula: Formula, counter: Counter) -> Formula:
    """A formula whose calls are counted."""
    diffusion = formula.diffusion

    def drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
        counter.num_drift += 1
        return formula.drift(xp, t, y, p)

    def counted_diffusion(xp: Any, t: Any, y: Any, p: Any) -> Any:
        assert diffusion is not None
        counter.num_diffusion += 1
        return diffusion(xp, t, y, p)

    return Formula(f"counted {formula.name}", drift, None if diffusion is None else counted_diffusion)
