"""An adapter of a small numpy solver that keeps every law it declares: what the suite itself is tested with."""

from lrnde_conformance._reference._adapter import ReferenceAdapter
from lrnde_conformance._reference._driver import ReferenceDriver
from lrnde_conformance._reference._solver import integrate

__all__ = ["ReferenceAdapter", "ReferenceDriver", "integrate"]
