"""What a generative model is worth: measures of its samples and reconstructions on pictures that it was not trained
on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dfmcodec.generative import measures
from dfmcodec.generative.data import PictureSet, UInt8
from dfmcodec.generative.painting import Float32
from dfmcodec.metrics import psnr_of_mse

Classify = Callable[[UInt8], tuple[Float32, Float32]]  # pictures -> features, class probabilities

_PEAK = 255.0


@dataclass(frozen=True)
class Evaluation:
    """Measures of a model.

    Args:
        samples: Number of samples, and of held-out pictures that they are compared with.
        frechet_distance: Between features of both; lower is better.
        precision: Share of samples that are like held-out pictures.
        recall: Share of held-out pictures that are like samples.
        classifier_score: The Inception score, of the classifier.
        neighbour_mse: Mean squared error, of samples in [0, 1], to the nearest training picture.
        held_out_neighbour_mse: The same of held-out pictures: what a model that does not copy comes to.
        reconstruction_psnr_db: Of held-out pictures from their codes; None where they were not reconstructed.
        reconstruction_frechet_distance: Of those reconstructions.
    """

    samples: int
    frechet_distance: float
    precision: float
    recall: float
    classifier_score: float
    neighbour_mse: float
    held_out_neighbour_mse: float
    reconstruction_psnr_db: float | None
    reconstruction_frechet_distance: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for reports."""
        return asdict(self)


def evaluate(
    samples: UInt8, reconstructions: UInt8 | None, train: PictureSet, held_out: PictureSet, classify: Classify
) -> Evaluation:
    """Measures samples and reconstructions.

    Args:
        samples: As many as there are held-out pictures, uint8 [N, H, W, C].
        reconstructions: Of the held-out pictures, or None.
        train: What the model was trained on.
        held_out: What it was not.
        classify: Gives features and class probabilities.
    """
    real, _ = classify(held_out.pictures)
    features, probabilities = classify(samples)
    precision, recall = measures.precision_recall(real, features)
    psnr_db = distance = None
    if reconstructions is not None:
        mse = float(((reconstructions.astype(np.float64) - held_out.pictures) ** 2).mean())
        psnr_db = psnr_of_mse(mse, _PEAK)
        distance = measures.frechet_distance(real, classify(reconstructions)[0])
    return Evaluation(
        len(samples),
        measures.frechet_distance(real, features),
        precision,
        recall,
        measures.classifier_score(probabilities),
        float(measures.nearest(samples, train.pictures)[1].mean()),
        float(measures.nearest(held_out.pictures, train.pictures)[1].mean()),
        psnr_db,
        distance,
    )
