"""The Brownian trees of a local step, asked once for all that the step needs of them."""

from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp


@final
class KnownNoise(diffrax.AbstractBrownianPath[Any]):
    """A Brownian tree whose values at a few times are known.

    - `tree`: the tree itself, which is still asked for Levy areas. `times`: of shape `(n,)`. `values`: the path there,
      with a leading axis.

    Other times are taken for the nearest of these.
    """

    tree: diffrax.VirtualBrownianTree
    times: Any
    values: Any

    @property
    def t0(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.t0

    @property
    def t1(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.t1

    @property
    def levy_area(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.levy_area

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        if use_levy:
            return self.tree.evaluate(t0, t1, left, use_levy)
        start = self._value(t0)
        return start if t1 is None else jax.tree.map(jnp.subtract, self._value(t1), start)

    def _value(self, time: Any) -> Any:
        index = jnp.argmin(abs(self.times - time))
        return jax.tree.map(lambda leaf: leaf[index], self.values)


def with_known_noise(terms: Any, t: Any, end: Any, *, is_halved: bool) -> Any:
    """`terms` whose Brownian trees know their values at both ends of a step, and in its middle if `is_halved`.

    A tree is dear to compile, and this is one request of it. For solvers that ask for nothing between these times.
    """
    times = jnp.stack([t, t + 0.5 * (end - t), end] if is_halved else [t, end])

    def replace(leaf: Any) -> Any:
        if not _is_tree(leaf):
            return leaf
        return KnownNoise(leaf, times, jax.lax.map(leaf.evaluate, times))  # pyright: ignore[reportCallIssue]

    return jax.tree.map(replace, terms, is_leaf=_is_tree)


def _is_tree(value: Any) -> bool:
    return isinstance(value, diffrax.VirtualBrownianTree)
