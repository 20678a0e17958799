"""How good generated pictures are: measures on features, and on pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

NEIGHBOURHOOD = 3  # k of precision and recall
_ROWS = 512  # of a distance matrix at a time


def frechet_distance(features_1: npt.ArrayLike, features_2: npt.ArrayLike) -> float:
    """Squared Frechet distance of two Gaussians fitted to features (Heusel et al. 2017, eq. 6).

    Args:
        features_1: float [N, D].
        features_2: float [M, D].

    Returns:
        |mean_1 - mean_2|^2 + tr(cov_1 + cov_2 - 2 (cov_1 cov_2)^(1/2)); 0 or more.
    """
    x, y = np.asarray(features_1, np.float64), np.asarray(features_2, np.float64)
    difference = x.mean(axis=0) - y.mean(axis=0)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # tr (cov_x cov_y)^(1/2) = sum of the roots of the eigenvalues of the symmetric cov_x^(1/2) cov_y cov_x^(1/2)
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_y @ root), 0)).sum()
    return max(0.0, float(difference @ difference + np.trace(cov_x) + np.trace(cov_y) - 2 * roots))


def precision_recall(real: npt.ArrayLike, generated: npt.ArrayLike, k: int = NEIGHBOURHOOD) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019): shares within the other set's k-nearest-neighbour
    balls.

    Args:
        real: Features of real pictures, float [N, D].
        generated: Of generated ones, float [M, D].
        k: Each ball reaches to its centre's k-th neighbour in its own set.

    Returns:
        Share of generated features within a ball of the real ones, and of real ones within a ball of the generated
        ones.
    """
    x, y = np.asarray(real, np.float64), np.asarray(generated, np.float64)
    return _covered(y, x, _radii(x, k)), _covered(x, y, _radii(y, k))


def _radii(x: Float64, k: int) -> Float64:
    return np.concatenate([np.partition(part, k, axis=1)[:, k] for part in _squared_distances(x, x)])  # 0: itself


def _covered(points: Float64, centres: Float64, radii: Float64) -> float:
    return float(np.concatenate([(part <= radii).any(axis=1) for part in _squared_distances(points, centres)]).mean())


def _squared_distances(x: Float64, y: Float64) -> Iterator[Float64]:
    """float [rows, M] for a few rows of x at a time, as all of them would take much memory."""
    norms = (y**2).sum(axis=1)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        yield np.maximum((part**2).sum(axis=1)[:, None] + norms - 2 * part @ y.T, 0)


def classifier_score(probabilities: npt.ArrayLike) -> float:
    """The Inception score (Salimans et al. 2016) of any classifier: exp of the mean KL(p(class | x) || p(class)).

    Args:
        probabilities: float [N, classes].

    Returns:
        1 .. classes.
    """
    p = np.maximum(np.asarray(probabilities, np.float64), 1e-12)
    return float(np.exp((p * np.log(p / p.mean(axis=0))).sum(axis=1).mean()))


def nearest(pictures: npt.NDArray[np.uint8], among: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], Float64]:
    """The nearest of `among` to each picture: indices int64 [N], and mean squared errors of samples in [0, 1]."""
    x, y = (np.asarray(p, np.float64).reshape(len(p), -1) / 255 for p in (pictures, among))
    found = [(part.argmin(axis=1), part.min(axis=1)) for part in _squared_distances(x, y)]
    return np.concatenate([index for index, _ in found]), np.concatenate([least for _, least in found]) / x.shape[1]
