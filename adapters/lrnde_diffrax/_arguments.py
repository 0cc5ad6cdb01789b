"""Reading the arguments of a `diffeqsolve` call."""

import dataclasses
import functools
import inspect
from typing import final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lrnde_core import (
    Array,
    DType,
    NativeArgument,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    NativeResult,
    State,
    Time,
)
from lrnde_jax import real_dtype


@final
@dataclasses.dataclass(frozen=True)
class Arguments:
    """One call of `diffeqsolve` or of a function with its signature, not yet made.

    - `native`: the function. `given`: the arguments that the user gave. `defaults`: its defaults for the rest.
    """

    native: NativeFunction
    given: inspect.BoundArguments
    defaults: NativeKeywords

    def __getitem__(self, name: str) -> NativeArgument:
        return self.given.arguments.get(name, self.defaults.get(name))

    def but(self, **replaced: NativeArgument) -> "Arguments":
        """The same call with some arguments replaced."""
        given = inspect.BoundArguments(self.given.signature, {**self.given.arguments, **replaced})  # pyright: ignore[reportArgumentType]
        return Arguments(self.native, given, self.defaults)

    def call(self, **replaced: NativeArgument) -> NativeResult:
        """Make the call, with some arguments replaced."""
        # `BoundArguments` reads its values in the order of the signature.
        given = self.but(**replaced).given
        return self.native(*given.args, **given.kwargs)

    @property
    def has_event(self) -> bool:
        return self["event"] is not None or self["discrete_terminating_event"] is not None

    @property
    def has_event_root_finder(self) -> bool:
        """Whether the solve may end inside a step."""
        return self["event"] is not None and self["event"].root_finder is not None

    @functools.cached_property
    def time_dtype(self) -> DType:
        """The dtype that `diffeqsolve` gives all times."""
        times = [self["t0"], self["t1"], self["dt0"]]
        is_sub = functools.partial(_is_instance, diffrax.SubSaveAt)
        times += [sub.ts for sub in jax.tree.leaves(self["saveat"].subs, is_leaf=is_sub)]
        # As diffrax does, whatever the user's settings elsewhere: here and below.
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.result_type(*(time for time in times if time is not None))
        return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)

    def rounded(self, times: Time) -> NDArray[np.floating]:
        """Times with known values, one or several, as `diffeqsolve` rounds them before it compares them."""
        return np.asarray(times, self.time_dtype)

    @functools.cached_property
    def y0(self) -> State:
        """The shapes and dtypes of the initial state as `diffeqsolve` promotes it."""

        def promote(leaf: Array | float) -> jax.ShapeDtypeStruct:
            with jax.numpy_dtype_promotion("standard"):
                return jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf, self.time_dtype))

        return jax.tree.map(promote, self["y0"])

    @property
    def complex_argument(self) -> str | None:
        """The first of `y0`, `args` and `terms` that holds complex numbers; `None` if none does."""
        names = ("y0", "args", "terms")
        return next((name for name in names if any(map(_is_complex, jax.tree.leaves(self[name])))), None)

    @property
    def state_dtype(self) -> DType:
        """The real dtype of the state, which is the dtype of the penalty."""
        return real_dtype(jax.tree.leaves(self.y0) or [jax.ShapeDtypeStruct((), self.time_dtype)])


def read_arguments(native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> Arguments:
    """Bind the arguments to the signature of `native`. Raises `TypeError` for those that do not fit."""
    signature = _signature(native)
    given = signature.bind(*args, **kwargs)
    own = {name: parameter.default for name, parameter in _signature(diffrax.diffeqsolve).parameters.items()}
    own |= {name: parameter.default for name, parameter in signature.parameters.items()}
    defaults = {name: value for name, value in own.items() if value is not inspect.Parameter.empty}
    return Arguments(native, given, defaults)


@functools.lru_cache(maxsize=16)
def _signature(native: NativeFunction) -> inspect.Signature:
    return inspect.signature(native)


def _is_instance(cls: type, value: object) -> bool:
    return isinstance(value, cls)


def _is_complex(leaf: object) -> bool:
    return eqx.is_array_like(leaf) and jnp.iscomplexobj(leaf)
