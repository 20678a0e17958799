"""The density of the training images' codes: a mixture of Gaussians.

New codes are drawn from it, and the codes of images are coded under it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32

COMPONENTS = 100
_COMMON_IMAGES = 5  # the weight of the common covariance in the covariance of each component, in images
_ITERATIONS = 30


@dataclass(frozen=True)
class CodeDensity:
    """A mixture of K Gaussians in D dimensions, with the principal axes of each covariance."""

    weights: Float32  # of the components, float32 [K]; they sum to 1
    means: Float32  # of the components, float32 [K, D]
    axes: Float32  # the principal axes of the components, orthonormal and in columns, float32 [K, D, D]
    deviations: Float32  # the standard deviation along each axis, in descending order, float32 [K, D]

    def sample(self, count: int, rng: np.random.Generator, temperature: float = 1.0) -> Float32:
        """Draws `count` codes, float32 [count, D].

        `temperature` is a factor on the deviations; 0 returns the means of the components.
        """
        chances = self.weights.astype(np.float64)
        picked = rng.choice(len(chances), count, p=chances / chances.sum())
        along = rng.standard_normal((count, self.means.shape[1])) * self.deviations[picked] * temperature
        codes = self.means[picked].astype(np.float64)
        for component in np.unique(picked):
            rows = picked == component
            codes[rows] += along[rows] @ self.axes[component].T.astype(np.float64)
        return codes.astype(np.float32)


def fit_density(codes: Float32, components: int = COMPONENTS, seed: int = 0) -> CodeDensity:
    """Fits the mixture to codes, float32 [N, D]: clusters by k-means, each with its covariance,
    shrunk towards the common covariance. Few codes get fewer components.

    A density that is fitted to the codes after training generates better images than the Gaussian
    prior of the training (Ghosh et al. 2020, section 4, with one or more components).
    """
    count, dim = codes.shape
    components = max(1, min(components, count // 20))
    x = codes.astype(np.float64)
    nearest = _clusters(x, components, np.random.default_rng(seed))
    means = np.stack([x[nearest == k].mean(axis=0) for k in range(components)])
    residuals = x - means[nearest]
    common = residuals.T @ residuals / count + 1e-6 * np.eye(dim)
    sizes = np.bincount(nearest, minlength=components)
    axes, deviations = [], []
    for k in range(components):
        own = residuals[nearest == k]
        common_weight = _COMMON_IMAGES if components > 1 else 0
        covariance = (own.T @ own + common_weight * common) / (len(own) + common_weight)
        values, vectors = np.linalg.eigh(covariance)
        axes.append(vectors[:, ::-1])
        deviations.append(np.sqrt(np.maximum(values[::-1], 1e-8)))
    stacked = sizes / count, means, np.stack(axes), np.stack(deviations)
    return CodeDensity(*(values.astype(np.float32) for values in stacked))


def _clusters(x: npt.NDArray[np.float64], components: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Computes k-means from k-means++ starts: a cluster for each point, int64 [N], none empty."""
    norms = (x**2).sum(axis=1)
    centres = x[[rng.integers(len(x))]]
    nearest_squared = norms + (centres[0] ** 2).sum() - 2 * x @ centres[0]
    while len(centres) < components:
        chances = np.maximum(nearest_squared, 0) + 1e-12
        new = x[rng.choice(len(x), p=chances / chances.sum())]
        centres = np.concatenate([centres, new[None]])
        nearest_squared = np.minimum(nearest_squared, norms + (new**2).sum() - 2 * x @ new)
    for _ in range(_ITERATIONS):
        squared = norms[:, None] + (centres**2).sum(axis=1) - 2 * x @ centres.T
        nearest = _without_empty(squared.argmin(axis=1), components)
        centres = np.stack([x[nearest == k].mean(axis=0) for k in range(components)])
    return nearest


def _without_empty(nearest: npt.NDArray[np.int64], components: int) -> npt.NDArray[np.int64]:
    """Assigns one point of the largest cluster to each empty cluster. int64 [N]."""
    for k in np.flatnonzero(np.bincount(nearest, minlength=components) == 0):
        largest = np.bincount(nearest, minlength=components).argmax()
        nearest[np.flatnonzero(nearest == largest)[0]] = k
    return nearest
