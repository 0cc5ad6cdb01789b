"""The array libraries that the tests of the core run on, and derivatives in those that have them.

Where torch and JAX are installed, the tests run on them. Elsewhere (`make test-core`) tests of formulas run on numpy
and on `array_api_strict`, whose arrays do what the array API says and nothing else, and tests of gradients on the dual
numbers of the conformance suite.
"""

import abc
import contextlib
import importlib.util
from collections.abc import Callable
from typing import Any, final

import numpy as np
import pytest

from lrnde_conformance._backends import _dual
from lrnde_conformance._backends._dual import Dual, plain

Function = Callable[[Any], Any]


class AbstractDifferentiable(abc.ABC):
    """An array library with derivatives."""

    sin: Function

    @abc.abstractmethod
    def array(self, values: Any, dtype: str = "float64") -> Any:
        """An array of the library."""

    @abc.abstractmethod
    def derivatives(self, function: Function, at: float, dtype: str = "float64", *, order: int = 1) -> list[float]:
        """The value of a scalar function of a scalar and its derivatives up to `order`."""

    def preserved(self) -> contextlib.AbstractContextManager[None]:
        """Within the block the library computes in double precision too, and says nothing of what is not finite."""
        return contextlib.nullcontext()


@final
class DualNumbers(AbstractDifferentiable):
    sin = staticmethod(_dual.sin)

    def array(self, values: Any, dtype: str = "float64") -> Dual:
        return Dual(np.asarray(values, dtype))

    def derivatives(self, function: Function, at: float, dtype: str = "float64", *, order: int = 1) -> list[float]:
        theta: Any = np.asarray(at, dtype)
        for level in range(order):
            theta = Dual(theta, np.ones(1, dtype), level)
        results = [function(theta)]
        for _ in range(order):
            tangent = results[-1].tangent if isinstance(results[-1], Dual) else None
            results.append(0.0 if tangent is None else tangent)
        return [float(np.squeeze(plain(result))) for result in results]

    def preserved(self) -> contextlib.AbstractContextManager[None]:
        return np.errstate(all="ignore")


@final
class Torch(AbstractDifferentiable):
    def __init__(self) -> None:
        self._torch = importlib.import_module("torch")
        self.sin = self._torch.sin

    def array(self, values: Any, dtype: str = "float64") -> Any:
        return self._torch.asarray(values, dtype=getattr(self._torch, dtype))

    def derivatives(self, function: Function, at: float, dtype: str = "float64", *, order: int = 1) -> list[float]:
        theta = self.array(at, dtype).requires_grad_()
        results = [function(theta)]
        for index in range(order):
            last = results[-1]
            gradient = 0.0 * last
            if last.requires_grad:
                (gradient,) = self._torch.autograd.grad(
                    last, theta, create_graph=index + 1 < order, allow_unused=True, materialize_grads=True
                )
            results.append(gradient)
        return [result.item() for result in results]


@final
class Jax(AbstractDifferentiable):
    def __init__(self) -> None:
        self._jax = importlib.import_module("jax")
        self.sin = self._jax.numpy.sin

    def array(self, values: Any, dtype: str = "float64") -> Any:
        return self._jax.numpy.asarray(values, dtype)

    def derivatives(self, function: Function, at: float, dtype: str = "float64", *, order: int = 1) -> list[float]:
        theta, results = self.array(at, dtype), []
        for _ in range(order):
            results.append(function(theta))
            function = self._jax.grad(function)
        return [result.item() for result in (*results, function(theta))]

    def preserved(self) -> contextlib.AbstractContextManager[None]:
        return self._jax.enable_x64(True)


DIFFERENTIABLE: dict[str, type[AbstractDifferentiable]] = {"dual": DualNumbers, "jax": Jax, "torch": Torch}

HAS_BACKENDS = importlib.util.find_spec("torch") is not None
OF_ARRAYS = ["torch"] if HAS_BACKENDS else ["array_api_strict", "numpy"]
OF_DERIVATIVES = ["jax", "torch"] if HAS_BACKENDS else ["dual"]

# For tests that are many: JAX compiles each operation for each of them.
eagerly = pytest.mark.parametrize("differentiable", ["torch"] if HAS_BACKENDS else ["dual"], indirect=True)
# For tests of what the array API lacks: derivatives, and `tolist`.
beyond_the_standard = pytest.mark.parametrize("xp", ["torch"] if HAS_BACKENDS else ["numpy"], indirect=True)
# The integers that hold 32 unsigned bits.
with_integers = pytest.mark.parametrize(
    ("xp", "dtype"),
    [("torch", "int64")] if HAS_BACKENDS else [("array_api_strict", "int64"), ("array_api_strict", "uint32")],
    indirect=["xp"],
)
