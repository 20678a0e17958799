"""Result of an encoding: the file and its report."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from dfmcodec.container.contents import Architecture
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import EXTENSION, write_atomic
from dfmcodec.files.names import fault_of_path
from dfmcodec.image import Image
from dfmcodec.image.read_image import IMAGE_SUFFIXES
from dfmcodec.search.config import AIM_REACH, LEAST_USED, EncoderConfig


@dataclass(frozen=True)
class EncodeReport:
    """Report of an encoding. Quality is measured on the image decoded from the returned bytes.

    Args:
        file_bytes: File size.
        estimated_bytes: File size predicted by the entropy model. For the overfitted codec it
            includes the exact size of the coded sections.
        section_bytes: Size of each section, by its name in docs/format.md.
        limit_bytes: Size limit; None if the target was not a size.
        rate: File size divided by the size of the raw samples.
        bpp: Bits per pixel.
        psnr_db: PSNR of the decoded image over pixels that are not fully transparent, relative to
            `sample_max` of the settings if given.
        ssimulacra2: SSIMULACRA2 of the decoded image; None with the tune "psnr" or if a side is
            below 8 pixels.
        architecture: Description of the network.
        iterations: Training steps of a fit, iterations of the wavelet codec, or codes tried.
        fit_s: Duration of the fit in seconds, without compilation.
        total_s: Duration of the encoding in seconds.
        stop_reason: Reason why the encoding ended. Wavelet codec: "target met", "converged"
            (the next q_step would be the same, or enough were tried); codes: "done"; all others:
            "iteration limit"; all: "time limit", "interrupted", "diverged".
        restarts: Number of times that the fit diverged and restarted from its best result.
        config: The settings.
        codec: Further figures of the codec, as plain values for JSON. Wavelet codec: `q_step`, the
            quantiser step size in 1/64 code values, as in the header; and `trace`, a list with the
            `iteration`, `q_step`, `file_bytes` (estimated, without ancillary data) and `psnr_db`
            (None if unknown or infinite) of each iteration. Coordinate codec: `float_psnr_db`, the
            PSNR before quantisation; `bits_per_weight` of the range-coded stream; and
            `step_indices`, the step index of the weights of each layer. Overfitted codec: empty.
    """

    file_bytes: int
    estimated_bytes: float
    section_bytes: dict[str, int]
    limit_bytes: int | None
    rate: float
    bpp: float
    psnr_db: float
    architecture: Architecture
    iterations: int
    fit_s: float
    total_s: float
    stop_reason: str
    restarts: int
    config: EncoderConfig
    codec: dict[str, Any]
    ssimulacra2: float | None = None

    @property
    def ended_early(self) -> bool:
        """Indicates whether a time limit, an interruption or divergence ended the encoding."""
        return self.stop_reason in ("time limit", "interrupted", "diverged")

    @property
    def missed_target(self) -> bool:
        """Whether the fit ended early, and the file is below its target: it has less than 97 % of a
        size limit, or a SSIMULACRA2 more than 2 below the quality that was asked for. Any other
        target is met, or the encoding fails.
        """
        if not self.ended_early or self.lossless:
            return False
        if self.limit_bytes is not None:
            return self.file_bytes < LEAST_USED * self.limit_bytes
        aim = self.config.aimed_score
        return aim is not None and self.ssimulacra2 is not None and self.ssimulacra2 < aim - AIM_REACH

    @property
    def lossless(self) -> bool:
        """Indicates whether the file decodes to the same pixels, except for invisible ones."""
        return self.psnr_db == inf

    def _repr_html_(self) -> str:
        """Returns the main figures as an HTML table, for notebooks."""
        figures = {
            "size": f"{self.file_bytes:,} bytes",
            "rate": f"{100 * self.rate:.2f} %, {self.bpp:.3f} bits per pixel",
            "PSNR": f"{self.psnr_db:.2f} dB",
            "time": f"{self.total_s:.1f} s",
            **{f"including {name}": f"{size:,} bytes" for name, size in self.section_bytes.items()},
        }
        rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in figures.items())
        return f"<table>{rows}</table>"

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, with None for an infinite PSNR ("lossless" is true)."""
        return {
            **asdict(self),
            "psnr_db": self.psnr_db if isfinite(self.psnr_db) else None,
            "lossless": self.lossless,
            "architecture": self.architecture.as_dict(),
        }


def check_name(path: Path) -> None:
    """Raises ConfigError if a `.dfm` file would have the extension of another image format."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        msg = f"{path} has the extension of an image, but this is a .dfm file; name it {path.with_suffix(EXTENSION)}"
        raise ConfigError(msg)


def _output_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a file to write. Raises OutputError for a name that no file has."""
    name = os.fspath(path)
    fault = fault_of_path(name, "write")
    if fault is None and (name.endswith((os.sep, os.altsep or os.sep)) or os.path.isdir(name)):
        fault = f"{name} is the name of a folder; name a file"
    if fault is not None:
        raise OutputError(fault)
    return Path(name)


@dataclass(frozen=True, eq=False, repr=False)
class EncodeResult:
    """Encoded `.dfm` file, with its report and decoded image.

    Args:
        data: The bytes of the file.
        report: The figures of the encoding.
        decoded: The image that the file decodes to.
    """

    data: bytes
    report: EncodeReport
    decoded: Image

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the file atomically: completely or not at all.

        Replaces an existing file, like `numpy.save` and Pillow's `save`.

        Args:
            path: The output.
            overwrite: False to refuse to replace an existing file, even if another program creates
                it at the same moment.

        Raises:
            ConfigError: The path has the extension of another image format.
            OutputError: The file cannot be written, or it exists and `overwrite` is False. An
                existing file is unchanged. A path that ends with a slash is that of a folder.
        """
        output = _output_path(path)
        check_name(output)
        try:
            write_atomic(output, self.data, force=overwrite)
        except OutputError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            msg = f"{path} exists; give another name, or overwrite=True to replace it"
            raise OutputError(msg) from error.__cause__

    def __repr__(self) -> str:
        report = self.report
        return f"<EncodeResult {report.file_bytes:,} bytes, {report.bpp:.3f} bpp, {report.psnr_db:.2f} dB>"

    def _repr_png_(self) -> bytes:
        """Returns the decoded image as a PNG, for notebooks."""
        from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

        return image_to_bytes(self.decoded, OUTPUT_FORMATS["png"])
