"""Arrays: their types, and arithmetic for both Python numbers and arrays that never mixes dtypes silently.

Times may have another dtype than the state, and the leaves of a state may differ in dtype. JAX can be set to refuse
their promotion ("strict"), so formulas say which dtype they mean.
"""

import math
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import array_api_compat
from array_api_compat import is_jax_array, is_jax_namespace, is_torch_array

if not TYPE_CHECKING and "jaxtyping" in sys.modules:
    # A process that has loaded it can check shapes and dtypes, as our tests do. The core does not load it, because it
    # imports numpy.
    from jaxtyping import Bool, Float, Inexact, Integer, Shaped
else:
    # jaxtyping is the same to a type checker.
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Inexact
    from typing import Annotated as Integer
    from typing import Annotated as Shaped

Array: TypeAlias = Any
"""An array of the user's library: a tensor of torch, an array or tracer of JAX, an array or scalar of numpy.

These have no common type. An adapter narrows this to its library's type in both arguments and results, which only `Any`
allows. The types below add dtypes and shapes.
"""

DType: TypeAlias = Any
"""A dtype; each library has its own class."""

State: TypeAlias = Any
"""The user's state: an array, or any tree of arrays that the solver library takes."""

Leaf: TypeAlias = Inexact[Array, "..."]
"""One array of a state, real or complex."""

Leaves: TypeAlias = tuple[Leaf, ...]
"""A state as the protocol sees it: the arrays of the user's tree, one after the other."""

Scalar: TypeAlias = Float[Array, ""]
"""A real scalar: a cost, a norm."""

Time: TypeAlias = Float[Array, "*#steps"] | float
"""A time, or a signed length of time; of shape `(batch,)` if each member of a batch takes its own steps."""

Tolerance: TypeAlias = Float[Array, "..."] | float
"""A tolerance: a number, or an array that broadcasts against the state."""

Real: TypeAlias = Float[Array, "*#draws"] | float
"""A real number, or an array with one per draw."""

Count: TypeAlias = Integer[Array, "*#draws"] | int
"""An integer, or an array with one per draw."""

Number: TypeAlias = Real | Count
"""A real number or an integer."""

Bits: TypeAlias = Integer[Array, "*#draws"] | int
"""Up to 32 random bits as an unsigned integer, or an array with one per draw."""

Truth: TypeAlias = Bool[Array, "*#draws"] | bool
"""A truth value, or an array with one per draw."""

OfSamples: TypeAlias = Float[Array, "samples ..."]
"""A real number for each sample of a penalty."""

OfOutputs: TypeAlias = Float[Array, "*batch times"]
"""A real number for each output time; of each member of a batch, if each has its own."""

Members: TypeAlias = Bool[Array, "batch"]
"""A mask that selects members of a batch."""

Signal: TypeAlias = Float[Array, "*batch"]
"""A real number for each member of a batch, or a scalar if the state is a single sample."""

Flags: TypeAlias = Bool[Array, "*batch"]
"""Whether each member of a batch is flagged, or a single sample."""

OfMembers: TypeAlias = Shaped[Array, "batch ..."]
"""A value for each member of a batch."""

_Value = TypeVar("_Value")


def array_namespace(*arrays: Array) -> ModuleType:
    """The array library of these arrays, as `array_api_compat` wraps it."""
    torch, wrapped = sys.modules.get("torch"), sys.modules.get("array_api_compat.torch")
    if torch is not None and wrapped is not None and isinstance(arrays[0], torch.Tensor):
        # `torch.compile` warns about the caches behind the general function.
        return wrapped
    return array_api_compat.array_namespace(*arrays)


def root_mean_square(leaves: Leaves) -> Scalar:
    """The root of the mean square over all elements of all leaves; a scalar."""
    return array_namespace(*leaves).sqrt(mean_square(leaves))


def mean_square(leaves: Leaves) -> Scalar:
    """The mean square over all elements of all leaves; a scalar."""
    xp = array_namespace(*leaves)
    like = widest(leaves)
    first, *rest = (matching(xp.sum(leaf * leaf), like) for leaf in leaves)
    return sum(rest, first) / _size(leaves)


def _size(leaves: Leaves) -> int:
    return sum(math.prod(leaf.shape) for leaf in leaves)


def clip(value: Number, low: Number, high: Number) -> Number:
    """`value` limited to `[low, high]`; a Python number stays one."""
    if isinstance(value, int | float):
        return min(max(value, low), high)
    return array_namespace(value).clip(value, low, high)


def where(condition: Truth, yes: _Value, no: _Value) -> _Value:
    """`yes` where `condition` holds, else `no`; for a Python condition, a choice between Python objects."""
    if isinstance(condition, bool):
        return yes if condition else no
    return array_namespace(condition).where(condition, yes, no)


def where_members(mask: Members, yes: OfMembers, no: OfMembers) -> OfMembers:
    """`yes` for the members that `mask` (of shape `(batch,)`) marks, else `no`; both of shape `(batch, ...)`."""
    xp = array_namespace(mask)
    return xp.where(xp.reshape(mask, mask.shape + (1,) * (yes.ndim - 1)), yes, no)


def num_true(mask: Flags) -> Count:
    """The number of true entries; an integer scalar."""
    xp = array_namespace(mask)
    return xp.sum(xp.astype(mask, xp.int32))


def is_traced(value: object) -> bool:
    """Whether `value` is a JAX array whose value is not known yet."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def scalars(like: Array | float | None, *values: float) -> tuple[Number, ...]:
    """`values` as scalars of one ecosystem, each a separate object.

    - `like`: an array or number of that ecosystem. With `None`, the libraries this process has loaded decide. Without
      JAX the scalars are Python numbers; with JAX alone, JAX arrays; with JAX and torch, NumPy scalars, which both
      take: JAX traces them as arrays, and torch multiplies by them as by Python numbers.

    JAX arrays are weakly typed, so that they take the dtype of whatever they are combined with.
    """
    if like is None:
        jax, torch = sys.modules.get("jax.numpy"), sys.modules.get("torch")
        if jax is None:
            return values
        return _numpy_scalars(values) if torch is not None else tuple(map(jax.asarray, values))
    if isinstance(like, int | float) or is_torch_array(like):
        return values
    xp = array_namespace(like)
    return tuple(map(xp.asarray, values)) if is_jax_namespace(xp) else _numpy_scalars(values)


def cast_like(value: Number, old: Number) -> Number:
    """The scalar `value` with the type, dtype and weak type of `old`.

    A JAX array if either is one.
    """
    if isinstance(value, int | float) and isinstance(old, int | float):
        return type(old)(value)
    for each in (old, value):
        if is_jax_array(each):
            xp = array_namespace(each)
            # It takes over the weak type of its first argument too, which no other function of the standard does.
            return xp.full_like(xp.asarray(old), value)
    return type(old)(value)


def joined(*values: Number) -> tuple[Number, ...]:
    """Scalars that can be combined: all JAX arrays if one of them is, else unchanged."""
    for each in values:
        if not isinstance(each, int | float) and is_jax_array(each):
            xp = array_namespace(each)
            return tuple(map(xp.asarray, values))
    return values


def mean_number(value: Array | float, like: Number) -> Real:
    """The mean over all entries of a count: a Python number, or a scalar JAX array with the dtype of `like`."""
    if isinstance(value, int | float):
        return float(value)
    xp, size = array_namespace(value), math.prod(value.shape)
    if not is_jax_array(value):
        return float(xp.sum(value)) / size
    return xp.mean(xp.astype(value, xp.asarray(like).dtype))


def _numpy_scalars(values: tuple[float, ...]) -> tuple[Number, ...]:
    numpy = sys.modules["numpy"]  # JAX has loaded it, or the user's array has
    return tuple(numpy.asarray(value)[()] for value in values)


def matching(value: Array | float, like: Array | float) -> Array | float:
    """`value` in the dtype of `like`; unchanged if either is a Python number."""
    if isinstance(value, int | float) or isinstance(like, int | float) or value.dtype == like.dtype:
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.to(like.dtype)  # `torch.compile` warns about the cache behind `array_namespace`
    return array_namespace(like).astype(value, like.dtype)


def widest(leaves: Leaves) -> Leaf:
    """The first of the floating-point `leaves` with the highest precision."""
    if len(leaves) == 1:
        return leaves[0]
    xp = array_namespace(*leaves)
    return max(leaves, key=lambda leaf: xp.finfo(leaf.dtype).bits)


def at_least_single(dtype: DType, xp: ModuleType) -> DType:
    """`dtype`, or single precision for the half ones, which have no room for 32 bits of an integer."""
    return dtype if xp.finfo(dtype).bits >= 32 else xp.float32


def tolerance_scale(rtol: Tolerance, atol: Tolerance, size: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\mathrm{atol} + \mathrm{rtol} \cdot \mathrm{size}$, elementwise; infinite where a tolerance is.

    - `rtol`, `atol`: numbers, or arrays that broadcast against `size`; numbers too large for the dtype of `size` become
      infinite. `size`: an array that they are relative to, at least 0.

    An infinite tolerance excludes an element from step control; its scale is a constant.
    """
    xp = array_namespace(size)
    largest = float(xp.finfo(size.dtype).max)
    tolerance = rtol + atol
    if isinstance(tolerance, int | float):
        return xp.full_like(size, math.inf) if tolerance > largest else atol + rtol * size
    is_free = xp.zeros_like(size) + tolerance > largest
    # Infinity times a size of 0 is NaN, and so is infinity times the zero cotangent of a size that is masked later.
    scale = atol + rtol * xp.where(is_free, xp.ones_like(size), size)
    return xp.where(is_free, xp.full_like(size, math.inf), scale)


def subtract(left: Leaves, right: Leaves) -> Leaves:
    """`left - right`, leaf by leaf."""
    return tuple(a - b for a, b in zip(left, right, strict=True))


def off_zero(scaled: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
    """`scaled`, of order 1 where it matters, with elements next to 0 replaced by a constant that is almost 0.

    A norm has no derivative at 0. A norm of parts (the largest root mean square of several arrays, or of each sample)
    computes the derivative of each part whether or not the part counts in the end: 0 times infinity for a part at rest.
    The elements replaced are those whose cube is below the smallest normal number. The cube of the constant must be
    above it, since the second derivative of a root divides by it.
    """
    xp = array_namespace(scaled)
    info = xp.finfo(scaled.dtype)
    smallest = min(4.0 * float(info.smallest_normal) ** (1 / 3), float(info.eps))
    return xp.where(xp.abs(scaled) < smallest, xp.full_like(scaled, smallest), scaled)
