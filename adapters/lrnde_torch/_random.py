"""The random draws of the torch adapters, and checks of the user's own random numbers."""

import math
from collections.abc import Sequence

import torch

from lrnde_core import Array, CapabilityError, Draw, InputError, InputTypeError, RandomSource, State
from lrnde_torch._collecting import block_generator

_NUM_BITS = 24


def draw_uniforms(generator: RandomSource, num_samples: int) -> list[float]:
    """`num_samples` uniforms in [0, 1): one `torch.rand` from `generator`.

    If that is `None`, from the generator of the `collect` block, or outside any block from the CPU's global one.

    Nothing else in lrnde advances a global generator, so a recomputation under `torch.utils.checkpoint`, which rewinds
    it, draws the same numbers.
    """
    if not isinstance(generator, torch.Generator | None):
        raise InputTypeError(f"`generator` must be a `torch.Generator`, not {generator!r}.")
    generator = block_generator() if generator is None else generator
    device = "cpu" if generator is None else generator.device
    try:
        return torch.rand(num_samples, generator=generator, device=device).tolist()
    except RuntimeError as error:
        if "vmap" not in str(error):
            raise
        raise CapabilityError(
            "The call is within `torch.func.vmap`, and solvers in torch choose their steps from values, which it does "
            "not have. Solve the whole batch as one state, or use diffrax with `jax.vmap`."
        ) from error


def check_uniforms(draw: Array | Sequence[float], num_samples: int) -> list[Draw]:
    """The user's draws as `Draw`s of Python numbers; a tensor, array or sequence of shape `(num_samples,)`."""
    try:
        # To the host first: not every device has the dtype.
        draw = draw.detach().cpu() if isinstance(draw, torch.Tensor) else draw
        uniforms = torch.as_tensor(draw, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError) as exc:
        raise InputTypeError(f"`draw` must be numbers of shape ({num_samples},), not {draw!r}.") from exc
    _check_shape(uniforms, num_samples)
    values: list[float] = uniforms.tolist()
    for value in values:
        if not 0 <= value < 1:
            raise InputError(f"`draw` holds {value!r}; uniforms must be at least 0 and below 1.")
    return [Draw(value, math.floor(value * 2**_NUM_BITS)) for value in values]


def unread_draws(uniforms: Array | Sequence[float], num_samples: int) -> list[Draw]:
    """The same for a tensor, whose values are not looked at: for compilers and CUDA graphs."""
    if not isinstance(uniforms, torch.Tensor):
        raise InputTypeError(
            f"`draw` must be a tensor of shape ({num_samples},) where nothing is read, not a {type(uniforms).__name__}."
        )
    _check_shape(uniforms, num_samples)
    return [Draw(uniforms[index], (uniforms[index] * 2**_NUM_BITS).long()) for index in range(num_samples)]


def _check_shape(uniforms: torch.Tensor, num_samples: int) -> None:
    if uniforms.shape != (num_samples,):
        raise InputError(
            f"`draw` has shape {tuple(uniforms.shape)}; `num_samples={num_samples}` needs shape ({num_samples},)."
        )


def check_probes(probes: State, y0: State) -> State:
    """The user's probes without gradient, a tensor or a tuple of tensors as the initial state `y0` is.

    Raises `InputError` unless structure, shapes, dtypes and devices are those of `y0`.
    """
    given, expected = (value if isinstance(value, tuple) else (value,) for value in (probes, y0))
    is_tuple = isinstance(y0, tuple)
    if isinstance(probes, tuple) is not is_tuple or len(given) != len(expected):
        like = f"a tuple of {len(expected)} tensors" if is_tuple else "a tensor"
        found = f"a tuple of {len(given)}" if isinstance(probes, tuple) else f"a `{type(probes).__name__}`"
        raise InputError(f"`probes` must be {like} like the state, not {found}.")
    for place, (probe, tensor) in enumerate(zip(given, expected, strict=True)):
        name = f"`probes[{place}]`" if is_tuple else "`probes`"
        if not isinstance(probe, torch.Tensor):
            raise InputError(f"{name} must be a tensor like the state, not a `{type(probe).__name__}`.")
        if (probe.shape, probe.dtype, probe.device) != (tensor.shape, tensor.dtype, tensor.device):
            raise InputError(f"{name} is {_describe(probe)}; it must be {_describe(tensor)}, like the state.")
    detached = tuple(probe.detach() for probe in given)
    return detached if is_tuple else detached[0]


def _describe(tensor: torch.Tensor) -> str:
    return f"of shape {tuple(tensor.shape)} and dtype {tensor.dtype} on {tensor.device}"
