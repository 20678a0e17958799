"""Image -> bytes: fit the model to the target, write it, and decode what was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfmcodec import bitstream
from dfmcodec.decoder import decode_image
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.encoder.invisible import fill_invisible
from dfmcodec.encoder.job import Job, Outcome, Progress
from dfmcodec.encoder.latent_fit import fit_latents
from dfmcodec.encoder.network_fit import fit_network
from dfmcodec.errors import DfmError, TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.integrity import CHECK_BYTES, CHECKS_PART
from dfmcodec.latents import Tiling
from dfmcodec.metrics import bits_per_pixel, psnr
from dfmcodec.model import Architecture, CodedPicture, Model, QuantizedNetwork
from dfmcodec.network_coding import side_bytes

if TYPE_CHECKING:
    from dfmcodec.generative.model import GenerativeModel

LEAST_USED = 0.97  # of a size budget, by every effort


@dataclass(frozen=True)
class EncodeReport:
    """Figures of an encoding; those of the picture are of the very bytes that it returned, decoded.

    Args:
        file_bytes: Size of the file.
        estimated_bytes: What the entropy model expected.
        section_bytes: Size of each part of the file.
        budget_bytes: The size limit; None where the target was a PSNR.
        rate: file_bytes / raw bytes.
        bpp: Bits per pixel.
        psnr_db: Of the decoded file, where the picture is not fully transparent.
        float_psnr_db: Of the fitted network before quantisation, decoded to levels alike; None for latents.
        bits_per_weight: Of the range-coded stream; None for latents.
        architecture: The network.
        quantizer_steps: Of each layer its step index, or the step of the latents in 1/64 levels; none for codes.
        steps: Gradient steps.
        fit_s: Seconds of the fit, compilation not counted.
        total_s: Seconds of the whole encoding.
        stop_reason: Why the fit ended: "done", "steps", "time limit", "interrupted", "diverged".
        restarts: How often the fit came to values that are not numbers and went on from the best so far.
        config: The settings.
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
    quantizer_steps: tuple[int, ...]
    steps: int
    fit_s: float
    total_s: float
    stop_reason: str
    restarts: int
    config: EncoderConfig

    def _repr_html_(self) -> str:
        """The main figures as a table, for notebooks."""
        figures = {
            "size": f"{self.file_bytes:,} bytes",
            "rate": f"{100 * self.rate:.2f} %, {self.bpp:.3f} bits per pixel",
            "PSNR": f"{self.psnr_db:.2f} dB",
            "time": f"{self.total_s:.1f} s",
            **{f"of it {name}": f"{size:,} bytes" for name, size in self.section_bytes.items()},
        }
        rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in figures.items())
        return f"<table>{rows}</table>"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **asdict(self),
            "architecture": self.architecture.as_dict(),
            "quantizer_steps": list(self.quantizer_steps),
        }


@dataclass(frozen=True)
class EncodeResult:
    """A `.dfm` file's bytes, the report of how they came about, and the picture that they decode to."""

    data: bytes
    report: EncodeReport
    decoded: Image

    def _repr_png_(self) -> bytes:
        """The decoded picture, for notebooks."""
        from dfmcodec.writing import OUTPUT_FORMATS, image_to_bytes

        return image_to_bytes(self.decoded, OUTPUT_FORMATS["png"])


def encode_image(
    image: Image,
    config: EncoderConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
    generator: GenerativeModel | None = None,
) -> EncodeResult:
    """Encodes a picture.

    Args:
        image: The picture.
        config: Target, network, recipe.
        on_progress: Called many times during the fit.
        should_stop: Asked between chunks of steps; True ends the fit and the best so far is written.
        generator: A generative model, under which the picture becomes a code; None for a model of its own.

    Raises:
        ImageError: The generative model is of other pictures.
        TargetUnreachableError: The target cannot be met.
        DivergedError: The fit came to values that are not numbers again and again.
    """
    started = time.perf_counter()
    if generator is not None:
        from dfmcodec.generative.code_fit import check_picture

        check_picture(image, generator)
    coded_channels = generator.architecture.channels if generator is not None else 1
    gray_as_rgb = image.channels > coded_channels and image.is_gray
    beside = bitstream.Beside(image.metadata, image.alpha, gray_as_rgb).sections()
    coded, budget = _as_coded(image, fill=generator is None), config.budget_bytes(image)
    is_latent = generator is None and config.model == Model.LATENT.value
    checks_bytes = _bytes_for_checks(coded, is_latent, len(beside), budget)
    beside_bytes = bitstream.sections_file_bytes(beside) + checks_bytes
    job = Job(coded, config, beside_bytes, on_progress, should_stop, budget, has_checks=checks_bytes > 0)
    outcome = _fit(job, generator)

    data = bitstream.write(outcome.model, beside, checked=budget is None or job.has_checks)
    if budget is not None and len(data) > budget:
        msg = f"the file came out at {len(data)} bytes, above the limit of {budget}; please report this"
        raise DfmError(msg)
    decoded = decode_image(data, max_pixels=image.pixel_count, generator=generator)
    if not _same_alpha(image, decoded):
        msg = "the opacity did not survive; please report this"
        raise DfmError(msg)
    decoded_psnr = psnr(image.pixels, decoded.pixels, image.visible)
    if config.psnr is not None and decoded_psnr < config.psnr:
        msg = f"the decoded file reaches {decoded_psnr:.2f} dB, not {config.psnr:.2f}"
        raise TargetUnreachableError(msg)

    header = bitstream.read_header(data, image.pixel_count)
    report = EncodeReport(
        file_bytes=len(data),
        estimated_bytes=outcome.estimated_bytes + job.beside_bytes,
        section_bytes=header.section_bytes(),
        budget_bytes=budget,
        rate=len(data) / image.raw_bytes,
        bpp=bits_per_pixel(len(data), image.pixel_count),
        psnr_db=decoded_psnr,
        float_psnr_db=outcome.float_psnr_db,
        bits_per_weight=_bits_per_weight(outcome, header.section_bytes()),
        architecture=header.architecture,
        quantizer_steps=_quantizer_steps(outcome),
        steps=outcome.steps,
        fit_s=outcome.fit_s,
        total_s=time.perf_counter() - started,
        stop_reason=outcome.stop_reason,
        restarts=outcome.restarts,
        config=config,
    )
    return EncodeResult(data, report, decoded)


def _fit(job: Job, generator: GenerativeModel | None) -> Outcome:
    if generator is not None:
        from dfmcodec.generative.code_fit import fit_code

        return fit_code(job, generator)
    return fit_latents(job) if job.config.model == Model.LATENT.value else fit_network(job)


def _bytes_for_checks(coded: Image, is_latent: bool, beside: int, budget: int | None) -> int:
    """What of a size budget is set aside for checks, without those of filter and corrections.

    0 where the target is none of size, or checks may be too large a part of the file to be written.
    """
    tiling = Tiling.default(coded.height, coded.width, coded.channels) if is_latent else None
    needed = bitstream.checks_file_bytes(1 + beside, tiling)
    largest = needed + 2 * CHECK_BYTES if is_latent else needed
    return needed if budget is not None and largest <= CHECKS_PART * LEAST_USED * budget else 0


def _as_coded(image: Image, fill: bool) -> Image:
    """What the model is fitted to: gray pictures in one channel; to fill, colours that nobody sees smooth as can be."""
    pixels = image.pixels[:, :, :1] if image.is_gray else image.pixels
    if fill and image.visible is not None:
        pixels = fill_invisible(pixels, image.visible)
    if pixels is image.pixels and not image.metadata:
        return image
    return Image(np.ascontiguousarray(pixels), alpha=image.alpha)


def _same_alpha(image: Image, decoded: Image) -> bool:
    if image.alpha is None or decoded.alpha is None:
        return image.alpha is decoded.alpha
    return np.array_equal(image.alpha, decoded.alpha)


def _bits_per_weight(outcome: Outcome, section_bytes: dict[str, int]) -> float | None:
    model = outcome.model
    if not isinstance(model, QuantizedNetwork):
        return None
    stream_bytes = section_bytes["weights"] - side_bytes(model.architecture)
    return 8 * stream_bytes / model.architecture.weight_count


def _quantizer_steps(outcome: Outcome) -> tuple[int, ...]:
    model = outcome.model
    if isinstance(model, CodedPicture):
        return ()
    return model.step_indices if isinstance(model, QuantizedNetwork) else (model.step,)
