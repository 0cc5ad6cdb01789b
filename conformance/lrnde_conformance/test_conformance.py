"""The conformance suite as tests: `pytest --pyargs lrnde_conformance --lrnde-adapter=NAME`."""

from lrnde_conformance._doors._planned import PlannedCheck


def test_conformance(lrnde_check: PlannedCheck) -> None:
    """The adapter keeps the law; one test for each check and case."""
    lrnde_check()
