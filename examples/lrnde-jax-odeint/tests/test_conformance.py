"""The adapter keeps the laws of the protocol."""

from collections.abc import Callable

from lrnde_conformance import parametrize_with_checks


@parametrize_with_checks(["lrnde_jax_odeint._conformance:JaxOdeintDriver"], is_fast=True)
def test_jax_odeint(check: Callable[[], None]) -> None:
    check()
