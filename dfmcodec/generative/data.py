"""Sets of equal-sized pictures: IDX files as MNIST is distributed in, .npz files, folders."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfmcodec.arrays import read_arrays
from dfmcodec.errors import ImageError
from dfmcodec.generative.painting import MAX_SIDE

UInt8 = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

MIN_PICTURES = 50  # of a set; a fifth is held out
HELD_OUT = 5  # one picture in so many is never trained on
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_MAX_BYTES = 1 << 32
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_IDX_UBYTE = b"\0\0\x08"


@dataclass(frozen=True)
class PictureSet:
    """Pictures, uint8 [N, H, W, C] with C = 1 or 3, and the class of each, int64 [N], where it is known."""

    pictures: UInt8
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def checksum(self) -> str:
        """Of the pictures, CRC-32 in hexadecimal digits: what is trained on a part of a set tells which it was."""
        return f"{zlib.crc32(self.pictures.tobytes()):08x}"

    def split(self) -> tuple[PictureSet, PictureSet]:
        """The set to train on and the held-out fifth, both in the set's order.

        Pictures of every run and of every regular pattern of the set (its classes one after the other, or in turns) are
        held out in equal parts: those with the largest fractions of their numbers' multiples of the golden ratio.
        """
        fractions = np.arange(len(self)) * _GOLDEN_RATIO % 1
        held_out = np.zeros(len(self), bool)
        held_out[np.argsort(fractions)[len(self) - len(self) // HELD_OUT :]] = True
        return self._part(~held_out), self._part(held_out)

    def _part(self, part: npt.NDArray[np.bool_]) -> PictureSet:
        return PictureSet(self.pictures[part], None if self.labels is None else self.labels[part])


def read_pictures(path: Path) -> PictureSet:
    """Reads a set.

    Args:
        path: An IDX file of uint8 pictures (.gz or not; a file of labels beside it, named as MNIST's are, is read
            too), an .npz file with `images` and perhaps `labels`, or a folder of pictures of one size (a subfolder a
            class, if any).

    Raises:
        ImageError: What is wrong with it.
    """
    if not path.exists():
        msg = f"{path} does not exist"
        raise ImageError(msg)
    if path.is_dir():
        found = _read_folder(path)
    elif path.suffix == ".npz":
        found = _read_npz(path)
    else:
        found = _read_idx_set(path)
    if len(found) < MIN_PICTURES:
        msg = f"{path} has {len(found)} pictures; at least {MIN_PICTURES} are needed"
        raise ImageError(msg)
    if max(found.pictures.shape[1:3]) > MAX_SIDE:
        msg = f"pictures of {_size(found.pictures)}; the generative model takes sides up to {MAX_SIDE}"
        raise ImageError(msg)
    return found


def _checked(pictures: npt.NDArray[np.generic], labels: npt.NDArray[np.generic] | None, path: Path) -> PictureSet:
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3) or 0 in pictures.shape:
        shape = list(pictures.shape)
        msg = f"{path}: pictures are {pictures.dtype} {shape}; uint8 [N, H, W] or [N, H, W, 1 or 3] is expected"
        raise ImageError(msg)
    if labels is not None and (labels.shape != pictures.shape[:1] or not np.issubdtype(labels.dtype, np.integer)):
        msg = f"{path}: {len(pictures)} pictures but labels {labels.dtype} {list(labels.shape)}"
        raise ImageError(msg)
    return PictureSet(pictures.astype(np.uint8), None if labels is None else labels.astype(np.int64))


def _read_npz(path: Path) -> PictureSet:
    arrays = read_arrays(path)
    if "images" not in arrays:
        msg = f"{path} has no array `images`; it has {', '.join(arrays) or 'none'}"
        raise ImageError(msg)
    return _checked(arrays["images"], arrays.get("labels"), path)


def _read_idx_set(path: Path) -> PictureSet:
    pictures = read_idx(path)
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    labels = read_idx(beside) if beside != path and beside.exists() else None
    return _checked(pictures, labels, path)


def read_idx(path: Path) -> UInt8:
    """Reads an IDX file of bytes (magic 00 00 08 and the number of sides, then each side, big-endian; then the bytes).

    Raises:
        ImageError: It is not one, or is cut.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path} cannot be read: {error}"
        raise ImageError(msg) from error
    sides = data[3] if len(data) > 3 else 0
    if data[:3] != _IDX_UBYTE or not 1 <= sides <= 4 or len(data) < 4 + 4 * sides:
        msg = f"{path} is neither an IDX file of bytes, an .npz file nor a folder of pictures"
        raise ImageError(msg)
    shape = tuple(int(side) for side in np.frombuffer(data, ">u4", sides, 4))
    expected = int(np.prod([float(side) for side in shape])) if shape else 0
    if expected > _MAX_BYTES or len(data) - 4 - 4 * sides != expected:
        msg = f"{path} holds {len(data) - 4 - 4 * sides} bytes of the {expected} that its header says; it is damaged"
        raise ImageError(msg)
    return np.frombuffer(data, np.uint8, expected, 4 + 4 * sides).reshape(shape)


def _read_folder(path: Path) -> PictureSet:
    from dfmcodec.reading import read_image

    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    pictures, classes = [], []
    for file in files:
        image = read_image(file, MAX_SIDE * MAX_SIDE)
        if image.bit_depth != 8:
            msg = f"{file} has {image.bit_depth} bits a sample; 8 are expected"
            raise ImageError(msg)
        pictures.append(image.pixels)
        classes.append(file.parent.name)
        if image.pixels.shape[:2] != pictures[0].shape[:2]:
            first = _size(pictures[0][None])
            msg = f"{file} is {_size(image.pixels[None])} but {files[0]} is {first}; all must have one size"
            raise ImageError(msg)
    if not pictures:
        msg = f"{path} holds no pictures"
        raise ImageError(msg)
    channels = max(picture.shape[2] for picture in pictures)
    stacked = np.stack([np.broadcast_to(picture, (*picture.shape[:2], channels)) for picture in pictures])
    names = sorted(set(classes))
    labels = np.array([names.index(name) for name in classes]) if len(names) > 1 else None
    return _checked(stacked, labels, path)


def _size(pictures: npt.NDArray[np.generic]) -> str:
    return f"{pictures.shape[2]}x{pictures.shape[1]}"
