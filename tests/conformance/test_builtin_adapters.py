"""Every adapter that lrnde brings keeps every law: the suite as `lrnde conformance --fast` runs it.

One test an adapter, for its checks share solves, and programs once compiled. The suite's own adapter is not among them:
test_mutants.py runs on it each check that a mutant fails, in the mutant's case, and `make conformance` all of them.
"""

import pytest

from lrnde_conformance import Outcome, run_checks
from lrnde_conformance._reports._junit import failure_text

_BUILT_IN = ["torchdiffeq", "torchsde", "diffrax", "taylor"]
_EXPLANATIONS = (
    "declared unsupported: ",
    "the driver names no second adjoint: ",
    "fields of jax are pure functions: ",
    "arrays of jax cannot be written to",
    "torch always promotes",
    "the solver itself cannot be differentiated with such a field: ",
    "what an implicit step evaluates is not its state",
    "the solver itself takes no ",
)
# Taylor expansions are no Runge--Kutta scheme; their solver has states of one array, and no events, `jit` or `vmap`.
_EXPLANATIONS_OF = {"taylor": ("the driver names no scheme that vectors are stored for",)}
_LARGEST_SHARE = {"taylor": 0.25}


@pytest.mark.parametrize("adapter", _BUILT_IN)
def test_built_in_adapters_keep_every_law(adapter: str) -> None:
    verdict = run_checks(adapter, is_fast=True)
    skipped = [each for each in verdict.results if each.outcome is Outcome.SKIPPED]
    faults = [f"{each.id}\n{failure_text(each)}" for each in verdict.results if each.outcome.is_fault]
    assert not faults, f"{len(faults)} of {len(verdict.results)} checks failed:\n\n" + "\n\n".join(faults)
    # An expected failure would be a declaration that is missing.
    assert [each.id for each in verdict.results if each.outcome is Outcome.EXPECTED_FAILURE] == []
    explanations = (*_EXPLANATIONS, *_EXPLANATIONS_OF.get(adapter, ()))
    assert [f"{each.id}: {each.reason}" for each in skipped if not each.reason.startswith(explanations)] == []
    assert len(skipped) < _LARGEST_SHARE.get(adapter, 0.15) * len(verdict.results)
    # Checks that train are left out, so the core tier is not covered.
    assert not verdict.is_complete
