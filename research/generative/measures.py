"""Measures of generated images, on features and on pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float64

NEIGHBOURHOOD = 3  # k of precision and recall
_ROWS = 512  # rows of a distance matrix that are computed at a time


def frechet_distance(features_1: npt.ArrayLike, features_2: npt.ArrayLike) -> float:
    """Computes the squared Frechet distance of Gaussians fitted to features, float [N, D] and [M,
    D] (Heusel et al. 2017, eq. 6): |mean_1 - mean_2|^2 + tr(cov_1 + cov_2 - 2 (cov_1 cov_2)^(1/2)).
    """
    x, y = np.asarray(features_1, np.float64), np.asarray(features_2, np.float64)
    difference = x.mean(axis=0) - y.mean(axis=0)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # tr (cov_x cov_y)^(1/2) = sum of the roots of the eigenvalues of the symmetric cov_x^(1/2)
    # cov_y cov_x^(1/2)
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_y @ root), 0)).sum()
    return max(0.0, float(difference @ difference + np.trace(cov_x) + np.trace(cov_y) - 2 * roots))


def precision_recall(real: npt.ArrayLike, generated: npt.ArrayLike, k: int = NEIGHBOURHOOD) -> tuple[float, float]:
    """Computes improved precision and recall (Kynkaanniemi et al. 2019) of features, float [N, D]
    and [M, D].

    Each feature has a ball that reaches to its k-th nearest neighbour in its own set.

    Returns:
        The fraction of generated features that are in a ball of a real feature; and the fraction of
        real features that are in a ball of a generated feature.
    """
    x, y = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    return _covered(y, x, _radii(x, k)), _covered(x, y, _radii(y, k))


def _radii(x: Float64, k: int) -> Float64:
    """Returns the squared radius of the ball of each feature, float64 [N]."""
    # Number 0 in the order of distances is the feature itself.
    return np.concatenate([np.partition(squared, k, axis=1)[:, k] for squared in _squared_distances(x, x)])


def _covered(points: Float64, centres: Float64, radii: Float64) -> float:
    """Returns the fraction of points that are in a ball, from the squared radii of the balls."""
    covered = [(squared <= radii).any(axis=1) for squared in _squared_distances(points, centres)]
    return float(np.concatenate(covered).mean())


def _squared_distances(x: Float64, y: Float64) -> Iterator[Float64]:
    """Yields the squared distances between x [N, D] and y [M, D] for a few rows of x at a time."""
    norms = (y**2).sum(axis=1)
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        yield np.maximum((rows**2).sum(axis=1)[:, None] + norms - 2 * rows @ y.T, 0)


def classifier_score(probabilities: npt.ArrayLike) -> float:
    """Computes the Inception score (Salimans et al. 2016) of class probabilities, float [N,
    classes], with any classifier: exp of the mean KL(p(class | x) || p(class)), from 1 to the
    number of classes.
    """
    p = np.maximum(np.asarray(probabilities, np.float64), 1e-12)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


def nearest(images: npt.NDArray[np.uint8], among: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], Float64]:
    """Finds the nearest of `among`, uint8 [M, H, W, C], to each image, uint8 [N, H, W, C].

    Returns:
        The indices of the nearest images, int64 [N]; and the MSE to them, for values in [0, 1],
        float64 [N].
    """
    x = _flat(images)
    indices, least = np.zeros(len(x), np.int64), np.full(len(x), np.inf)
    for start in range(0, len(among), _ROWS):
        squared = np.concatenate(list(_squared_distances(x, _flat(among[start : start + _ROWS]))))
        of_block = squared.argmin(axis=1)
        nearer = squared.min(axis=1) < least
        indices[nearer] = start + of_block[nearer]
        least = np.minimum(least, squared.min(axis=1))
    return indices, least / x.shape[1]


def _flat(images: npt.NDArray[np.uint8]) -> Float64:
    """Returns images as rows of values in [0, 1], float64 [N, H * W * C]."""
    return images.reshape(len(images), -1) / 255.0
