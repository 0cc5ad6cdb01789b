"""Samples that the continuous normalizing flows are fitted to."""

# Scikit-learn comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Literal

import numpy as np
from sklearn import datasets

from lrnde_benchmarks._arrays import Floats

SampleName = Literal["moons", "gaussians", "tabular"]

NUM_SAMPLES = 5000
"""Of the synthetic densities."""

# Radius, texture, smoothness, compactness, symmetry and fractal dimension of the cell nuclei, means over an image each.
# Perimeter and area follow from the radius, and concavity is exactly 0 for some images: no density of these is bounded.
TABULAR_COLUMNS = (0, 1, 4, 5, 8, 9)


def load_samples(name: SampleName) -> Floats:
    """Samples of shape `(num_samples, dimension)`, standardised; the same for every seed.

    - `moons`: scikit-learn's two moons with noise 0.1. `gaussians`: eight of deviation 0.15 on a circle of radius 2.
    - `tabular`: the logarithms of six columns of scikit-learn's `load_breast_cancer` (Wolberg, Street and Mangasarian,
      1995), 569 rows; nothing is downloaded.
    """
    if name == "moons":
        samples = datasets.make_moons(NUM_SAMPLES, noise=0.1, random_state=0)[0]
    elif name == "gaussians":
        samples = _gaussians()
    else:
        samples = np.log(datasets.load_breast_cancer(return_X_y=True)[0][:, TABULAR_COLUMNS])
    samples = np.asarray(samples, np.float64)
    return (samples - samples.mean(0)) / samples.std(0)


def _gaussians() -> Floats:
    generator = np.random.default_rng(0)
    angles = 2 * np.pi * generator.integers(0, 8, NUM_SAMPLES) / 8
    centres = 2.0 * np.stack([np.cos(angles), np.sin(angles)], -1)
    return centres + 0.15 * generator.normal(size=centres.shape)
