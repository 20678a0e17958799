"""Evaluation of a generative model: samples and reconstructions, compared with held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Array, Float32, UInt8
from dfmcodec.perception import psnr_of_mse
from research.generative import measures
from research.generative.data import ImageSet

Classify = Callable[[UInt8], tuple[Float32, Float32]]  # images -> features, class probabilities
_PEAK = 255.0


@dataclass(frozen=True)
class Evaluation:
    """The measures of a model."""

    samples: int  # the number of samples, and of the held-out images that they are compared with
    frechet_distance: float  # the Frechet distance between the features of both; lower is better
    precision: float  # the fraction of samples that are near held-out images
    recall: float  # the fraction of held-out images that are near samples
    classifier_score: float  # the Inception score, computed with the classifier
    neighbor_mse: float  # the MSE between generated images and their nearest training images, for values in [0, 1]
    held_out_neighbor_mse: float  # the same for held-out images: the value expected of a model that does not copy
    reconstruction_psnr_db: float | None  # of held-out images, rendered from their codes; None without these
    reconstruction_frechet_distance: float | None  # of these reconstructions


def in_batches(evaluate: Callable[[UInt8], tuple[Array, Array]], images: UInt8, size: int) -> tuple[Float32, Float32]:
    """Computes features and class probabilities in batches of one size, to compile once."""
    results = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0), (0, 0)])
        results.append([np.asarray(values)[: len(batch)] for values in evaluate(padded)])
    features, probabilities = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return features, probabilities


def evaluate(
    samples: UInt8, reconstructions: UInt8 | None, train: ImageSet, held_out: ImageSet, classify: Classify
) -> Evaluation:
    """Measures samples, as many as there are held-out images, and the held-out images rendered from
    their codes (or None), uint8 [N, H, W, C]. `train` are the images on which the model was
    trained, and `classify` returns the features and class probabilities of images.
    """
    real, _ = classify(held_out.images)
    features, probabilities = classify(samples)
    precision, recall = measures.precision_recall(real, features)
    psnr_db = distance = None
    if reconstructions is not None:
        mse = float(((reconstructions.astype(np.float64) - held_out.images) ** 2).mean())
        psnr_db = psnr_of_mse(mse, _PEAK)
        distance = measures.frechet_distance(real, classify(reconstructions)[0])
    return Evaluation(
        len(samples),
        measures.frechet_distance(real, features),
        precision,
        recall,
        measures.classifier_score(probabilities),
        float(measures.nearest(samples, train.images)[1].mean()),
        float(measures.nearest(held_out.images, train.images)[1].mean()),
        psnr_db,
        distance,
    )
