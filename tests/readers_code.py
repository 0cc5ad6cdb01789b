"""Code of pages, scripts and notebooks, run in this process as a reader runs it."""

import contextlib
import io
import re
import sys
from collections.abc import Generator, Sequence
from typing import Any

import pytest

_OPTIONAL = (
    "diffrax",
    "equinox",
    "jax",
    "lightning",
    "lineax",
    "matplotlib",
    "onnxruntime",
    "optax",
    "sklearn",
    "torch",
    "torchcde",
    "torchdiffeq",
    "torchsde",
)


@contextlib.contextmanager
def _usual_settings() -> Generator[None]:
    """JAX as a user has it, without the strictness of the other tests."""
    import jax

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def run(blocks: Sequence[str], name: str, *, whole: bool) -> str:
    """What blocks of code print, one after the other in one namespace; without a library that they need, skips.

    - `name`: of the file, for tracebacks. `whole`: do not cut trainings of `NUM_ITERATIONS` to two.
    """
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join(blocks), re.MULTILINE))
    for library in imported.intersection(_OPTIONAL):
        pytest.importorskip(library)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    settings = _usual_settings() if "jax" in imported else contextlib.nullcontext()
    with contextlib.redirect_stdout(printed), settings:
        for code in blocks:
            short = re.sub(r"^NUM_ITERATIONS = \d+$", "NUM_ITERATIONS = 2", code, flags=re.MULTILINE)
            exec(compile(code if whole else short, name, "exec"), namespace)
    if whole:
        sys.stdout.write(f"\n{name}\n{printed.getvalue()}")
    return printed.getvalue()
