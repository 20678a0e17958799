"""Sets of images of one size, from IDX files (the format of MNIST), .npz files and folders."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Notify, UInt8
from dfmcodec.errors import ImageError
from dfmcodec.files.arrays import read_arrays
from dfmcodec.image.read_image import IMAGE_SUFFIXES, ignore, read_image
from research.generative.network import MAX_SIDE

Labels = npt.NDArray[np.int64]
MIN_IMAGES = 50  # minimum number of images in a set; a fifth of them is held out
HELD_OUT = 5  # one image in 5 is held out of the training
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_MAX_BYTES = 1 << 31  # of a set, unpacked
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DIMENSIONS = 4
_IDX_UBYTE = b"\0\0\x08"


@dataclass(frozen=True)
class ImageSet:
    """A set of images of one size."""

    images: UInt8  # uint8 [N, H, W, C] with C = 1 or 3
    labels: Labels | None = None  # the class of each image, from 0 without gaps, int64 [N]; None if unknown

    def __len__(self) -> int:
        return len(self.images)

    @property
    def checksum(self) -> str:
        """Returns the CRC-32 of the images in hexadecimal digits, which identifies the set."""
        return f"{zlib.crc32(self.images.tobytes()):08x}"

    def split(self) -> tuple[ImageSet, ImageSet]:
        """Returns the training images and the held-out fifth, both in the order of the set.

        The held-out images are those with the largest fractional parts of number * golden ratio.
        Every run and every regular pattern of the set, such as alternating classes, is therefore
        held out in equal parts.
        """
        fractions = np.arange(len(self)) * _GOLDEN_RATIO % 1
        held_out = np.zeros(len(self), bool)
        held_out[np.argsort(fractions)[len(self) - len(self) // HELD_OUT :]] = True
        return self._selected(~held_out), self._selected(held_out)

    def _selected(self, mask: npt.NDArray[np.bool_]) -> ImageSet:
        return ImageSet(self.images[mask], None if self.labels is None else self.labels[mask])


def read_images(path: Path, notify: Notify = ignore) -> ImageSet:
    """Reads a set of images.

    Args:
        path: An IDX file of uint8 images, .gz or not (a file of labels in the same folder that is
            named as MNIST's is read too); an .npz file with `images` and optionally `labels`; or a
            folder of images of one size, with a subfolder for each class, if any.
        notify: Called with a notice of everything that is converted or omitted when an image file
            is read.

    Raises:
        ImageError: The set cannot be read, or it is too small, or its images are too large.
    """
    if not path.exists():
        msg = f"{path} does not exist"
        raise ImageError(msg)
    if path.is_dir():
        image_set = _read_folder(path, notify)
    elif path.suffix == ".npz":
        image_set = _read_npz(path)
    else:
        image_set = _read_idx_set(path)
    if len(image_set) < MIN_IMAGES:
        msg = f"{path} has {len(image_set)} images; at least {MIN_IMAGES} are needed"
        raise ImageError(msg)
    _check_sides(image_set.images, path)
    return image_set


def _check_sides(images: npt.NDArray[np.generic], path: Path) -> None:
    if max(images.shape[1:3]) > MAX_SIDE:
        msg = f"{path} has images of {_size(images)} pixels; the generative model takes sides of up to {MAX_SIDE}"
        raise ImageError(msg)


def _checked(images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic] | None, path: Path) -> ImageSet:
    """Creates a set from the arrays of a file; raises ImageError for a wrong type or shape."""
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        shape = list(images.shape)
        msg = f"{path}: images are {images.dtype} {shape}; uint8 [N, H, W] or [N, H, W, 1 or 3] is expected"
        raise ImageError(msg)
    if labels is not None and (labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer)):
        msg = f"{path}: labels are {labels.dtype} {list(labels.shape)}; integers [{len(images)}] are expected"
        raise ImageError(msg)
    classes = None if labels is None else np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return ImageSet(images.astype(np.uint8), classes)


def _read_npz(path: Path) -> ImageSet:
    arrays = read_arrays(path, ("images", "labels"), _MAX_BYTES)
    if "images" not in arrays:
        msg = f"{path} has no array `images`; save it with np.savez({path.name!r}, images=...)"
        raise ImageError(msg)
    return _checked(arrays["images"], arrays.get("labels"), path)


def _read_idx_set(path: Path) -> ImageSet:
    images = read_idx(path)
    label_path = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    labels = read_idx(label_path) if label_path != path and label_path.exists() else None
    return _checked(images, labels, path)


def read_idx(path: Path) -> UInt8:
    """Reads the array of an IDX file of bytes, uint8, in its own shape.

    Such a file has 00 00 08, the number of dimensions, each dimension as 4 bytes (big-endian), and
    the bytes of the array. Raises ImageError if the file is not an IDX file, or it is damaged or
    truncated.
    """
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(path) if is_packed else path.open("rb") as file:
            return _read_idx_array(file, path)
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path} cannot be read: {error}"
        raise ImageError(msg) from error


def _read_idx_array(file: BufferedReader | gzip.GzipFile, path: Path) -> UInt8:
    """Reads the array of an IDX file. It unpacks no more than the header declares."""
    head = file.read(4)
    sides = file.read(4 * head[3]) if head[:3] == _IDX_UBYTE and len(head) == 4 else b""
    if not 4 <= len(sides) == 4 * head[3] <= 4 * _MAX_DIMENSIONS:
        msg = f"{path} is neither an IDX file of bytes, an .npz file nor a folder of images"
        raise ImageError(msg)
    shape = tuple(int(side) for side in np.frombuffer(sides, ">u4"))
    expected = prod(shape)
    if expected > _MAX_BYTES:
        msg = (
            f"{path}: its header declares {expected} bytes, more than the limit of {_MAX_BYTES}; use a part of the set"
        )
        raise ImageError(msg)
    data = file.read(expected + 1)
    if len(data) != expected:
        found = f"{len(data)} bytes of data" if len(data) < expected else "more data"
        msg = f"{path} has {found}, but its header declares {expected}; it is damaged"
        raise ImageError(msg)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_folder(path: Path, notify: Notify) -> ImageSet:
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    images, classes = [], []
    for file in files:
        image = read_image(file, notify=notify)
        _check_sides(image.pixels[None], file)
        if not image.is_opaque:
            msg = f"{file} has alpha, which the generative model lacks; flatten it onto a background first"
            raise ImageError(msg)
        if image.bit_depth != 8:
            msg = f"{file} has {image.bit_depth} bits per sample; 8 are expected"
            raise ImageError(msg)
        images.append(image.pixels)
        classes.append(file.parent.name)
        if image.pixels.shape[:2] != images[0].shape[:2]:
            first = _size(images[0][None])
            msg = f"{file} is {_size(image.pixels[None])}, but {files[0]} is {first}; all must have one size"
            raise ImageError(msg)
    if not images:
        msg = f"{path} contains no images"
        raise ImageError(msg)
    channels = max(pixels.shape[2] for pixels in images)
    stacked = np.stack([np.broadcast_to(pixels, (*pixels.shape[:2], channels)) for pixels in images])
    names = sorted(set(classes))
    labels = np.array([names.index(name) for name in classes]) if len(names) > 1 else None
    return _checked(stacked, labels, path)


def _size(images: npt.NDArray[np.generic]) -> str:
    """Returns the size of images [N, H, W, C] for messages, "WxH"."""
    return f"{images.shape[2]}x{images.shape[1]}"
