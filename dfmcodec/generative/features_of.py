"""Where the features come from that generated pictures are measured by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dfmcodec.arrays import read_arrays, write_arrays
from dfmcodec.errors import ImageError
from dfmcodec.generative import classifier as small_classifier
from dfmcodec.generative.data import PictureSet
from dfmcodec.generative.evaluate import Classify

_TRAINED_ON = "trained_on"  # among the classifier's arrays


@dataclass(frozen=True)
class FeatureSource:
    """A network that gives features, and its description for reports."""

    classify: Classify
    description: str


def classifier(train: PictureSet, held_out: PictureSet, kept: Path | None) -> FeatureSource:
    """The small classifier, trained on the training part or read from where it is kept.

    Raises:
        ImageError: The pictures have no classes, or what is kept is of other pictures or damaged.
    """
    if kept is not None and kept.exists():
        weights = read_arrays(kept)
        if str(weights.pop(_TRAINED_ON, None)) != train.checksum:
            msg = f"{kept} is not a classifier trained on these pictures; name another file"
            raise ImageError(msg)
    else:
        weights = small_classifier.train_classifier(train)
        if kept is not None:
            write_arrays(kept, weights | {_TRAINED_ON: np.array(train.checksum)})
    try:
        share = small_classifier.accuracy(weights, held_out)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{kept} is not a classifier of pictures of this size; name another file"
        raise ImageError(msg) from error
    description = (
        f"{small_classifier.FEATURES} units of a small convolutional classifier, {share:.1%} right on held-out pictures"
    )
    return FeatureSource(partial(small_classifier.classify, weights), description)


def inception(path: Path) -> FeatureSource:
    """Inception-v3 with the user's weights."""
    from dfmcodec.generative.inception import check_weights, classify

    weights = read_arrays(path)
    check_weights(weights, path)
    return FeatureSource(partial(classify, weights), f"2048 pooled units of Inception-v3 ({path.name})")
