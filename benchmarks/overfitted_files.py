"""Real files of the overfitted codec beside those of the default model at the same size.

    python benchmarks/overfitted_files.py ../shared/data/kodak/kodim08.png --lmbda 4e-3 --steps 1000

Each file is written, and decoded again by the package. J is MSE / lmbda + bpp with the MSE of
samples in [0, 1] and the bits of the whole file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
from recording import Row, crop_option, cropped, figures, load, out_option, record

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.overfitted.encode.networks import Networks
from dfmcodec.codecs.overfitted.encode.plan import Plan, prior_and_schedule
from dfmcodec.codecs.overfitted.encode.quantize import prior_networks
from dfmcodec.codecs.overfitted.encode.search import fit_grids
from dfmcodec.codecs.overfitted.encode.windows import colours_of
from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.job import Job, Progress
from dfmcodec.search.target import LmbdaTarget


def _show(progress: Progress) -> None:
    if progress.steps % 100 == 0:
        click.echo(f"{progress.steps} steps, {progress.what}, {progress.psnr_db:.2f} dB", err=True)


def _row(name: str, codec: str, image: Image, data: bytes, lmbda: float) -> Row:
    """The figures of a file."""
    row = figures(image, data)
    return {"picture": name, "codec": codec, **row, "J": round(10 ** (-row["psnr_db"] / 10) / lmbda + row["bpp"], 4)}


@click.command(help=__doc__)
@click.argument("image")
@crop_option
@click.option("--lmbda", type=float, default=1e-3, help="The Lagrange multiplier of bits in the loss.")
@click.option("--steps", type=int, default=1000)
@click.option("--seed", type=int, default=0)
@click.option("--cold", is_flag=True, help="Start from random networks instead of those of the prior.")
@click.option("--uncounted", is_flag=True, help="Leave the bits of the networks out of the loss.")
@click.option("--effort", type=int, default=5, help="Of the default model.")
@click.option("--save", type=click.Path(path_type=Path), help="The file to write the fitted image to.")
@out_option
def main(
    image: str,
    crop: str | None,
    lmbda: float,
    steps: int,
    seed: int,
    cold: bool,
    uncounted: bool,
    effort: int,
    save: Path | None,
    out: Path | None,
) -> None:
    """See the module."""
    name, loaded = load(image)
    whole = cropped(loaded, crop)
    prior, schedule = prior_and_schedule(colours_of(whole), lmbda, steps)

    def rows() -> Iterator[Row]:
        started = time.perf_counter()
        start = Networks.start(seed, prior.width, len(prior.network.w1)) if cold else prior_networks(prior)
        job = Job.of(whole, EncoderConfig(lmbda=lmbda, seed=seed), LmbdaTarget(lmbda), on_progress=_show)
        outcome = fit_grids(job, Plan(prior, start, schedule, lmbda, not (cold or uncounted)))
        data = container.write(outcome.model, {}, checked=False)
        seconds = time.perf_counter() - started
        if save is not None:
            save.write_bytes(data)
        size = {"lmbda": lmbda, "steps": steps, "seed": seed, "start": "random" if cold else "prior"}
        yield {**_row(name, "overfitted", whole, data, lmbda), **size, "encode_s": round(seconds, 1)}
        started = time.perf_counter()
        result = dfmcodec.encode(whole.pixels, lmbda=lmbda, effort=effort)
        seconds = time.perf_counter() - started
        yield {**_row(name, f"dfm effort {effort}", whole, result.data, lmbda), "encode_s": round(seconds, 1)}
        result = dfmcodec.encode(whole.pixels, size=len(data), effort=effort)
        yield _row(name, f"dfm effort {effort}, same size", whole, result.data, lmbda)

    record(rows(), out)


if __name__ == "__main__":
    main()
