"""The density of the training pictures' codes: a mixture of Gaussians, to draw new codes from and to code codes
under."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfmcodec.generative.painting import Float32

COMPONENTS = 100
_COMMON_PICTURES = 5  # what the common covariance weighs in each component's
_ITERATIONS = 30


@dataclass(frozen=True)
class CodeDensity:
    """A mixture of K Gaussians in D dimensions, each by the principal axes of its covariance.

    Args:
        weights: Of the components, float32 [K]; their sum is 1.
        means: float32 [K, D].
        axes: Orthonormal, one in each column, float32 [K, D, D].
        deviations: Standard deviation along each axis, falling, float32 [K, D].
    """

    weights: Float32
    means: Float32
    axes: Float32
    deviations: Float32

    def sample(self, count: int, rng: np.random.Generator, temperature: float = 1.0) -> Float32:
        """Draws codes.

        Args:
            count: Number of codes.
            rng: Where chance comes from.
            temperature: Factor of the deviations; 0 gives the components' means.

        Returns:
            float32 [count, D].
        """
        chances = self.weights.astype(np.float64)
        picked = rng.choice(len(chances), count, p=chances / chances.sum())
        along = rng.standard_normal((count, self.means.shape[1])) * self.deviations[picked] * temperature
        found = self.means[picked].astype(np.float64)
        for component in np.unique(picked):
            rows = picked == component
            found[rows] += along[rows] @ self.axes[component].T.astype(np.float64)
        return found.astype(np.float32)


def fit_density(codes: Float32, components: int = COMPONENTS, seed: int = 0) -> CodeDensity:
    """Fits the mixture: clusters by k-means, and each one's covariance, drawn to the common one of all clusters.

    A Gaussian fitted to codes afterwards paints better pictures than the one that training asked codes to be like
    (Ghosh et al. 2020, section 4); one component is their first choice, more are their second.

    Args:
        codes: float32 [N, D].
        components: Most components; few codes get fewer.
        seed: Of the clusters' starts.
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
        common_weight = _COMMON_PICTURES if components > 1 else 0
        covariance = (own.T @ own + common_weight * common) / (len(own) + common_weight)
        values, vectors = np.linalg.eigh(covariance)
        axes.append(vectors[:, ::-1])
        deviations.append(np.sqrt(np.maximum(values[::-1], 1e-8)))
    stacked = sizes / count, means, np.stack(axes), np.stack(deviations)
    return CodeDensity(*(values.astype(np.float32) for values in stacked))


def _clusters(x: npt.NDArray[np.float64], components: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The cluster of each point, int64 [N]: Lloyd's k-means from k-means++ starts, no cluster empty."""
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
    """Gives each empty cluster a point of the largest one."""
    for k in np.flatnonzero(np.bincount(nearest, minlength=components) == 0):
        largest = np.bincount(nearest, minlength=components).argmax()
        nearest[np.flatnonzero(nearest == largest)[0]] = k
    return nearest
