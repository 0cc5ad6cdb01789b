"""The check of strict promotion catches an adapter for JAX that promotes, which standard promotion hides."""

from typing import Any

import jax.numpy as jnp
import pytest

from lrnde_conformance import CHECKS, Outcome, Subject, run_check
from lrnde_diffrax._adapter import DiffraxAdapter
from lrnde_diffrax._conformance import DiffraxDriver

_CHECK = next(check for check in CHECKS if check.id == "transform.strict-promotion")


@pytest.mark.parametrize("case", ["", "all-steps"])
def test_a_weight_in_the_default_dtype_is_caught(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(DiffraxDriver())
    assert run_check(subject, _CHECK, case).outcome is Outcome.PASSED
    evaluate = DiffraxAdapter.evaluate

    def weighted(self: DiffraxAdapter, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        penalty, sample = evaluate(self, *args, **kwargs)
        return jnp.ones(()) * penalty, sample

    monkeypatch.setattr(DiffraxAdapter, "evaluate", weighted)
    result = run_check(subject, _CHECK, case)
    assert result.outcome is Outcome.FAILED
    assert "TypePromotionError" in result.reason
