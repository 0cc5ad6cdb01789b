"""The adapter keeps the laws of the protocol."""

from collections.abc import Callable

from lrnde_conformance import parametrize_with_checks


@parametrize_with_checks(["torchode"], is_fast=True)
def test_torchode(check: Callable[[], None]) -> None:
    check()
