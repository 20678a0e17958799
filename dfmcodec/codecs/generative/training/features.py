"""Networks whose features measure generated images: the small classifier, or Inception-v3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from dfmcodec.codecs.generative.training import classifier as small_classifier
from dfmcodec.codecs.generative.training.data import ImageSet
from dfmcodec.codecs.generative.training.evaluate import Classify
from dfmcodec.errors import ImageError
from dfmcodec.files.arrays import read_arrays, write_arrays

_TRAINED_ON = "trained_on"  # the array of a classifier's file that identifies its training images and their classes


@dataclass(frozen=True)
class FeatureSource:
    """A network that computes features."""

    classify: Classify
    description: str  # of the network, for reports


def classifier(train: ImageSet, held_out: ImageSet, path: Path | None) -> FeatureSource:
    """Returns the small classifier, read from a file or trained on the training images. A file that
    does not exist is written. Raises ImageError if the images have no classes, or the file has a
    classifier of other images or classes, and DfmError if the file cannot be read or written.
    """
    trained_on = train.checksum if train.labels is None else f"{train.checksum}-{crc32(train.labels.tobytes()):08x}"
    if path is not None and path.exists():
        weights = read_arrays(path)
        if str(weights.pop(_TRAINED_ON, None)) != trained_on:
            msg = f"{path} is not a classifier trained on these images and classes; name another file"
            raise ImageError(msg)
    else:
        weights = small_classifier.train_classifier(train)
        if path is not None:
            write_arrays(path, weights | {_TRAINED_ON: np.array(trained_on)})
    try:
        share = small_classifier.accuracy(weights, held_out)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not a classifier of images of this size; name another file"
        raise ImageError(msg) from error
    description = (
        f"{small_classifier.FEATURES} units of a small convolutional classifier, {share:.1%} right on held-out images"
    )
    return FeatureSource(partial(small_classifier.classify, weights), description)


def inception(path: Path) -> FeatureSource:
    """Returns Inception-v3 with weights from a file. Raises DfmError if the file cannot be read,
    and ImageError if the file does not contain the weights of the network.
    """
    from dfmcodec.codecs.generative.training.inception import check_weights, classify

    weights = read_arrays(path)
    check_weights(weights, path)
    return FeatureSource(partial(classify, weights), f"2048 pooled units of Inception-v3 ({path.name})")
