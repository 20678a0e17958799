"""What an encoding came to: the file, the figures, and how they came about."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

from dfmcodec.container.contents import Architecture
from dfmcodec.errors import ConfigError, OutputError
from dfmcodec.files.atomic import EXTENSION, write_atomic
from dfmcodec.image import Image
from dfmcodec.image.read_image import IMAGE_SUFFIXES
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import TracePoint
from dfmcodec.search.target import AIM_REACH, LEAST_USED


@dataclass(frozen=True)
class EncodeReport:
    """The figures of an encoding. Those of the image are measured on the very bytes returned,
    decoded.

    Args:
        file_bytes: Size of the file.
        estimated_bytes: Size that the entropy model expected; for the overfitted codec, with the
            exact size of its coded sections.
        section_bytes: Size of each part of the file, by the names of docs/format.md.
        budget_bytes: The size limit; None where the target was not a size.
        rate: File bytes over raw bytes.
        bpp: Bits per pixel.
        psnr_db: PSNR of the decoded file, where the image is not fully transparent; relative to
            `sample_max` of the settings, if there is one.
        ssimulacra2: SSIMULACRA2 of the decoded file; None with the tune "psnr", and where a side is
            below 8 pixels.
        float_psnr_db: PSNR of the fitted network before quantisation; None for other models than
            `coordinate`.
        bits_per_weight: Bits of the range-coded stream per weight; None for other models than
            `coordinate`.
        architecture: The network.
        q_step: The quantisation step of the latents in 1/64 code values, as in the header; None for
            other models.
        step_indices: The step index of the weights of each layer of the coordinate codec; empty for
            other models.
        steps: Gradient steps, or iterations of the wavelet codec.
        fit_s: Seconds of the fit, compilation not counted.
        total_s: Seconds of the whole encoding.
        stop_reason: Why the fit ended. Wavelet codec: "target met", "settled" (the next q_step
            would be the same, or enough were tried), "iteration limit"; coordinate and overfitted
            codecs: "steps"; codes: "done"; all: "time limit", "interrupted", "diverged".
        restarts: How often the fit diverged and continued from the best so
            far.
        config: The settings.
        trace: The iterations of the wavelet codec, in order; empty for other models.
    """

    file_bytes: int
    estimated_bytes: float
    section_bytes: dict[str, int]
    budget_bytes: int | None
    rate: float
    bpp: float
    psnr_db: float
    float_psnr_db: float | None
    bits_per_weight: float | None
    architecture: Architecture
    q_step: int | None
    step_indices: tuple[int, ...]
    steps: int
    fit_s: float
    total_s: float
    stop_reason: str
    restarts: int
    config: EncoderConfig
    trace: tuple[TracePoint, ...] = ()
    ssimulacra2: float | None = None

    @property
    def ended_early(self) -> bool:
        """Whether something ended the fit that is not part of it."""
        return self.stop_reason in ("time limit", "interrupted", "diverged")

    @property
    def missed_target(self) -> bool:
        """Whether the fit ended early, and the file is below its target: it has less than 97 % of a
        size limit, or a SSIMULACRA2 more than 2 below the quality that was asked for. Any other
        target is met, or the encoding fails.
        """
        if not self.ended_early or self.lossless:
            return False
        if self.budget_bytes is not None:
            return self.file_bytes < LEAST_USED * self.budget_bytes
        aim = self.config.aimed_score
        return aim is not None and self.ssimulacra2 is not None and self.ssimulacra2 < aim - AIM_REACH

    @property
    def lossless(self) -> bool:
        """Whether the file decodes to exactly the pixels of the image, where it is not fully
        transparent.
        """
        return self.psnr_db == inf

    def _repr_html_(self) -> str:
        """The main figures as a table, for notebooks."""
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
        """Plain values, for JSON, which has no infinite ones: the PSNR of an exact image is None,
        and "lossless" true.
        """
        return {
            **asdict(self),
            "psnr_db": self.psnr_db if isfinite(self.psnr_db) else None,
            "lossless": self.lossless,
            "architecture": self.architecture.as_dict(),
            "step_indices": list(self.step_indices),
            "trace": [asdict(point) for point in self.trace],
        }


def check_name(path: Path) -> None:
    """Refuses the name of an image of another format for a `.dfm` file.

    Raises:
        ConfigError: The name is one.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        msg = f"{path} has the name of an image, but this is a .dfm file; name it {path.with_suffix(EXTENSION)}"
        raise ConfigError(msg)


@dataclass(frozen=True, repr=False)
class EncodeResult:
    """A `.dfm` file, the report of how it came about, and the image that it decodes to.

    Args:
        data: The bytes of the file.
        report: The figures of the encoding.
        decoded: The image.
    """

    data: bytes
    report: EncodeReport
    decoded: Image

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Writes the file, in one piece or not at all.

        An existing file is replaced, as by `numpy.save` and by `save` of Pillow.

        Args:
            path: Where to.
            overwrite: False to refuse to replace an existing file, even one that another program
                makes at the same moment.

        Raises:
            ConfigError: The name is that of an image of another format.
            OutputError: The file cannot be written, or exists and `overwrite` is False. An existing
                file is as it was.
        """
        check_name(Path(path))
        try:
            write_atomic(Path(path), self.data, force=overwrite)
        except OutputError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            msg = f"{path} exists; give another name, or overwrite=True to replace it"
            raise OutputError(msg) from error.__cause__

    def __repr__(self) -> str:
        report = self.report
        return f"<EncodeResult {report.file_bytes:,} bytes, {report.bpp:.3f} bpp, {report.psnr_db:.2f} dB>"

    def _repr_png_(self) -> bytes:
        """The decoded image, for notebooks."""
        from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes

        return image_to_bytes(self.decoded, OUTPUT_FORMATS["png"])
