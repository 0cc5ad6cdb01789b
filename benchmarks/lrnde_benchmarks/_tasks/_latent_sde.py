"""A latent SDE: a posterior distribution of paths, given the first frames of a motion.

Source: Li, Wong, Chen and Duvenaud, "Scalable Gradients for Stochastic Differential Equations", AISTATS 2020, sections
5 and 7.3.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats, Indices
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._data import Fold, random_split, test_batches, training_batches
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._motion import NEEDED, NUM_ANGLES, NUM_FRAMES, load_motion
from lrnde_benchmarks._tasks._task import AbstractProblem, Data, Operations
from lrnde_core import InputError

_LATENTS = 6
_CONTEXT = 3
_SEEN = 3
# Angles are about this large.
_UNIT = 6.0
# A frame is 0.1 of the time in which drift and diffusion are of size 1.
_DURATION = 0.1 * (NUM_FRAMES - 1)
_NUM_VALUES = NUM_FRAMES * NUM_ANGLES
# Training walks begin at these frames. From the first frame alone, 16 examples, the encoder learned them by heart: 2.7
# on them, and on others more than the mean of all frames.
_STARTS = range(0, 101, 10)
# Before training: the encoder's logarithm of the variance, and what goes into the sigmoid of the diffusion. From 0,
# noise drowns what differs between the walks.
_INITIAL_LOGARITHM = -4.0
_INITIAL_DIFFUSION = -3.0
# The noise is at least this large: the divergence of the paths has its square in the denominator.
_SMALLEST_DIFFUSION = 0.02
# What the output layers of the drifts are drawn smaller by. From 1, states grow to 40, and training ends at the mean of
# all frames.
_INITIAL_DRIFT = 0.1


@final
@dataclasses.dataclass(frozen=True)
class LatentSDE(AbstractProblem):
    r"""Three frames are encoded as a state z of 6 channels and a context c of 3; an SDE carries z on, c stays.

    Encoder 150-hidden-15, posterior drift 9-hidden-6, prior drift 6-hidden-6, diffusion a sigmoid of 1-hidden-1 for
    each channel, shared by both, decoder 6-hidden-50, all with softplus.

    The loss is the negative evidence lower bound for each of the 15000 values of a walk, without constants: a normal
    likelihood of deviation 1, the divergence of the encoder's distribution from the standard normal one, and that of
    the posterior's paths from the prior's, which one more channel of the state adds up in training,

    $$\mathrm{d}\ell = \tfrac12 \lVert (f - h) / g \rVert^2 \,\mathrm{d}t.$$

    It is the same after Ito and after Stratonovich, whose correction of the drifts depends on the shared g alone. As in
    torchsde's own `logqp=True`, this channel takes part in step control. Training draws z at the first frame;
    prediction takes its mean, and follows the posterior.

    - `folder`: of the file.
    """

    folder: Path | None

    @property
    def is_stochastic(self) -> bool:
        return True

    @property
    def times(self) -> Sequence[float]:
        return tuple(np.linspace(0.0, 1.0, NUM_FRAMES).tolist())

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """An example is a walk from some frame on: inputs are its first 3 frames, targets values beside mask.

        The split is the published one; folds are of all walks, and validate nothing. Raises `InputError` without a
        folder.
        """
        if self.folder is None:
            raise InputError(f"This task needs recorded motion: give a folder with --data DIR. {NEEDED}.")
        motion = load_motion(self.folder)
        train, validation, test = motion
        if fold is not None:
            everything = np.concatenate(motion)
            split = random_split(len(everything), hyperparameters.test_fraction, seed, fold)
            train, validation, test = everything[split.train], everything[:0], everything[split.test]
        whole = np.concatenate([validation, test])
        walks = np.concatenate([*(_from(train, start) for start in _STARTS), _from(whole, 0)])
        trained, validated, tested = np.split(np.arange(len(walks)), [-len(whole), -len(test)])

        def batches(examples: Indices) -> Indices:
            return np.tile(test_batches(examples, len(examples)), (1, hyperparameters.paths))

        steps, batch = hyperparameters.steps, hyperparameters.batch
        generator = np.random.default_rng([seed, 7])
        return Data(
            inputs=walks[:, :_SEEN, :NUM_ANGLES].reshape(len(walks), -1) / _UNIT,
            targets=walks,
            train_batches=training_batches(trained, batch, steps, seed),
            test_batches=batches(tested),
            num_tested=len(test),
            validation_batches=batches(validated) if len(validated) else None,
            noise=generator.standard_normal((steps, batch, _LATENTS), np.float32),
            divergence_weights=np.ones(steps),
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        hidden = hyperparameters.hidden
        encoder = dict(_network(generator, "encoder", _SEEN * NUM_ANGLES, hidden, 2 * _LATENTS + _CONTEXT))
        encoder["encoder_outer_bias"][_LATENTS : 2 * _LATENTS] += _INITIAL_LOGARITHM
        return {
            **encoder,
            **dict(_network(generator, "posterior", _LATENTS + _CONTEXT, hidden, _LATENTS, scale=_INITIAL_DRIFT)),
            **dict(_network(generator, "prior", _LATENTS, hidden, _LATENTS, scale=_INITIAL_DRIFT)),
            "diffusion_inner_weight": generator.uniform(-1, 1, (_LATENTS, hidden)),
            "diffusion_inner_bias": generator.uniform(-1, 1, (_LATENTS, hidden)),
            "diffusion_outer_weight": generator.uniform(-1, 1, (_LATENTS, hidden)) / hidden**0.5,
            "diffusion_outer_bias": generator.uniform(-1, 1, _LATENTS) / hidden**0.5 + _INITIAL_DIFFUSION,
            **dict(_network(generator, "decoder", _LATENTS, hidden, NUM_ANGLES)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        """Mean of z, and c, shape `(batch, 9)`."""
        mean, _, context = self._encoded(operations, weights, inputs)
        return operations.join([mean, context])

    def drawn_state(
        self, operations: Operations, weights: Mapping[str, Any], inputs: Any, noise: Any
    ) -> tuple[Any, Any]:
        """z as drawn, c, and the divergence of paths, 0 as yet, shape `(batch, 10)`."""
        mean, logarithm, context = self._encoded(operations, weights, inputs)
        z = mean + operations.exp(0.5 * logarithm) * noise
        divergence = 0.5 * (mean**2 + operations.exp(logarithm) - 1 - logarithm).sum(-1)
        return operations.join([z, context, 0.0 * z[:, :1]]), divergence.mean() / _NUM_VALUES

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        z, both = y[:, :_LATENTS], y[:, : _LATENTS + _CONTEXT]
        posterior = _apply_network(operations, weights, "posterior", both)
        parts = [posterior, 0.0 * both[:, _LATENTS:]]
        if y.shape[-1] > _LATENTS + _CONTEXT:
            difference = posterior - _apply_network(operations, weights, "prior", z)
            ratio = difference / self._noise_size(operations, weights, z)
            parts.append(0.5 * (ratio**2).sum(-1)[:, None])
        return _DURATION * operations.join(parts)

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        size = self._noise_size(operations, weights, y[:, :_LATENTS])
        return operations.join([_DURATION**0.5 * size, 0.0 * y[:, _LATENTS:]])

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """The frames, shape `(times, batch, angles)`; in training, behind them, the divergence of the paths so far."""
        z = ys.reshape(-1, ys.shape[-1])[:, :_LATENTS]
        frames = _UNIT * _apply_network(operations, weights, "decoder", z).reshape(*ys.shape[:2], NUM_ANGLES)
        return operations.join([frames, ys[..., _LATENTS + _CONTEXT :]])

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        del operations
        error = masked_error(outputs[..., :NUM_ANGLES], targets[batch])
        return 0.5 * error + outputs[-1, :, NUM_ANGLES:].mean() / _NUM_VALUES

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """Mean squared error of the frames that were not seen, of predictions averaged over paths."""
        predicted = np.concatenate(
            [each.reshape(NUM_FRAMES, hyperparameters.paths, -1, NUM_ANGLES).mean(1) for each in outputs], axis=1
        )
        walks = data.targets[data.test_batches[:, : data.num_tested].flatten()]
        return float(masked_error(predicted[_SEEN:].astype(np.float64), walks[:, _SEEN:]))

    def _encoded(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> tuple[Any, Any, Any]:
        """Mean and logarithm of the variance of z at the first frame, and the context."""
        encoded = _apply_network(operations, weights, "encoder", inputs)
        return encoded[:, :_LATENTS], encoded[:, _LATENTS : 2 * _LATENTS], encoded[:, 2 * _LATENTS :]

    def _noise_size(self, operations: Operations, weights: Mapping[str, Any], z: Any) -> Any:
        """g of each channel, of that channel alone."""
        names = ("inner_weight", "inner_bias", "outer_weight", "outer_bias")
        slope, shift, matrix, bias = (weights[f"diffusion_{name}"][None] for name in names)
        outer = (operations.softplus(z[:, :, None] * slope + shift) * matrix).sum(-1) + bias
        return _SMALLEST_DIFFUSION + 0.5 * (1 + operations.tanh(0.5 * outer))


def masked_error(outputs: Any, walks: Any) -> Any:
    """Mean squared error of the frames there are; outputs `(frames, batch, angles)`, walks `(batch, frames, ...)`."""
    both = walks.swapaxes(0, 1)
    values, mask = both[..., :NUM_ANGLES], both[..., NUM_ANGLES:]
    return (mask * (outputs - values) ** 2).sum() / (NUM_ANGLES * mask.sum())


def _from(sequences: Floats, start: int) -> Floats:
    """The sequences from a frame on, values beside mask, as long as whole ones."""
    walks = np.zeros((len(sequences), NUM_FRAMES, NUM_ANGLES + 1), np.float32)
    walks[:, : NUM_FRAMES - start, :NUM_ANGLES] = sequences[:, start:]
    walks[:, : NUM_FRAMES - start, NUM_ANGLES] = 1.0
    return walks


def _network(
    generator: np.random.Generator, name: str, inputs: int, hidden: int, outputs: int, *, scale: float = 1.0
) -> Iterator[tuple[str, Floats]]:
    """Initial weights of inputs -> hidden -> outputs, those of the last layer times `scale`."""
    yield from layer(generator, f"{name}_inner", inputs, hidden)
    for key, values in layer(generator, f"{name}_outer", hidden, outputs):
        yield key, scale * values


def _apply_network(operations: Operations, weights: Mapping[str, Any], name: str, y: Any) -> Any:
    return apply(
        operations, weights, f"{name}_outer", operations.softplus(apply(operations, weights, f"{name}_inner", y))
    )
