"""Seconds of decoding, by part, of files of the wavelet and the overfitted codec.

    python benchmarks/decoding.py FILE.dfm...

The seconds of the parts come from a profiler, which slows decoding: `decode_s` is measured without
it, and `profiled_s` with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from cProfile import Profile
from pathlib import Path
from statistics import fmean
from types import CodeType, FunctionType
from typing import Any, cast

import click
from recording import Row, out_option, record

from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture
from dfmcodec.codecs.overfitted.context import GridContext
from dfmcodec.codecs.overfitted.sections.networks import read_networks
from dfmcodec.codecs.overfitted.synthesis import synthesise_grids
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.wavelet.colour import planes_to_pixels
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.filter import MAX_RADIUS, filter_residual, taps
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.quantizer import synthesise_fine
from dfmcodec.codecs.wavelet.sections.latents import SymbolReader
from dfmcodec.codecs.wavelet.synthesis import correction_residual
from dfmcodec.codecs.wavelet.weights import shipped
from dfmcodec.entropy.streams import StreamReader
from dfmcodec.threads import limit_threads, thread_count

COMMAND_RUNS = 3  # the largest number of runs of `dfm decode`, of which the best counts
Functions = tuple[Callable[..., Any], ...]
# The functions of each part, and the functions of other parts that they call.
WAVELET_PARTS: Mapping[str, tuple[Functions, Functions]] = {
    # `coding_passes` prepares the context of each level, and synthesises the level after its last
    # pass.
    "contexts_s": ((CausalContext.coding_passes, CausalContext.accept), (synthesise_fine,)),
    "networks_s": ((ContextModel.choose_tables,), ()),
    "range_coder_s": ((SymbolReader.symbols,), ()),
    "wavelet_s": ((synthesise_fine,), ()),
    "filter_s": ((filter_residual,), ()),
    "correction_s": ((correction_residual,), ()),
    "colour_conversion_s": ((planes_to_pixels,), ()),
}
OVERFITTED_PARTS: Mapping[str, tuple[Functions, Functions]] = {
    "weight_deltas_s": ((read_networks,), ()),
    "contexts_s": ((GridContext.__init__, GridContext.accept), ()),
    "networks_s": ((GridContext.choose_tables,), ()),
    "range_coder_s": ((StreamReader.decode_each,), ()),
    "synthesis_s": ((synthesise_grids,), ()),
}


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", type=int, default=5, show_default=True, help="The best of so many decodings counts.")
@out_option
def main(files: tuple[Path, ...], repeats: int, out: Path | None) -> None:
    measured = record((decoding_row(path, repeats) for path in files), out)
    change = fmean(row["profiled_s"] / row["decode_s"] - 1 for row in measured)
    click.echo(f"one thread and the profiler change the time of decoding by {100 * change:+.1f} %")


def decoding_row(path: Path, repeats: int) -> Row:
    """Returns the seconds of a file in a warm process, those of its parts, and those of `dfm
    decode`.
    """
    data = path.read_bytes()
    header = container.read_header(data)
    pixels = header.width * header.height
    decode_image(data)  # loads the weights
    seconds = min(decoding_seconds(data) for _ in range(repeats))
    if isinstance(header.architecture, OverfittedArchitecture):
        parts, macs = OVERFITTED_PARTS, overfitted_macs(header.architecture)
    else:
        parts, macs = WAVELET_PARTS, wavelet_macs(header.architecture.channels)
    profiled = min((profiled_decoding(data, parts) for _ in range(repeats)), key=lambda run: run[0])
    return {
        "file": path.stem,
        "bpp": 8 * len(data) / pixels,
        "process_s": min(command_seconds(path) for _ in range(min(repeats, COMMAND_RUNS))),
        "decode_s": seconds,
        "profiled_s": profiled[0],
        **profiled[1],
        "megapixels_per_s": pixels / seconds / 1e6,
        **macs,
    }


def wavelet_macs(channels: int) -> Row:
    """Returns the multiply-adds of a pixel in the parts of the wavelet codec."""
    networks = shipped().context.networks
    macs_per_symbol = sum(n.w1.size + n.w2.size + n.w3.size for n in networks) / len(networks)
    return {
        "context_macs_per_pixel": round(macs_per_symbol * channels),
        "correction_macs_per_pixel": round(shipped().correction.macs_per_pixel),
        "filter_macs_per_pixel": 9 * len(taps(MAX_RADIUS)),
    }


def overfitted_macs(architecture: OverfittedArchitecture) -> Row:
    """Returns the multiply-adds of a pixel in the parts of the overfitted codec. The grids together
    have 4/3 symbols for each pixel.
    """
    shipped_weights = overfitted_weights_of(architecture.weights_id)
    network = shipped_weights.network
    weights = (network.w1.size, network.w2.size, network.w3.size, network.bypass.size)
    return {
        "context_macs_per_pixel": round(sum(weights) * 4 / 3),
        "synthesis_macs_per_pixel": round(shipped_weights.synthesis.macs_per_pixel),
    }


def decoding_seconds(data: bytes) -> float:
    """Returns the seconds of a decoding in this process."""
    started = time.perf_counter()
    decode_image(data)
    return time.perf_counter() - started


def profiled_decoding(data: bytes, parts: Mapping[str, tuple[Functions, Functions]]) -> tuple[float, dict[str, float]]:
    """Decodes a file under a profiler, in one thread.

    Args:
        data: The file.
        parts: The functions of each part, and those whose time is taken from it.

    Returns:
        The seconds of the decoding, and those of its parts.
    """
    profile, threads = Profile(), thread_count()
    limit_threads(1)  # a profiler sees one thread
    try:
        started = time.perf_counter()
        profile.runcall(decode_image, data)
        seconds = time.perf_counter() - started
    finally:
        limit_threads(threads)
    spent = {entry.code: entry.totaltime for entry in profile.getstats() if isinstance(entry.code, CodeType)}

    def cumulative(functions: Functions) -> float:
        return sum(spent.get(code, 0.0) for function in functions for code in codes_of(function))

    return seconds, {name: cumulative(own) - cumulative(others) for name, (own, others) in parts.items()}


def codes_of(function: Callable[..., Any]) -> set[CodeType]:
    """Returns the code of a function; for one with a kernel (`by_kernels`), that of both forms."""
    if not hasattr(function, "__wrapped__"):
        return {cast(FunctionType, function).__code__}
    forms = [cell.cell_contents for cell in cast(FunctionType, function).__closure__ or ()]
    return {form.__code__ for form in forms if isinstance(form, FunctionType)}


def command_seconds(path: Path) -> float:
    """Returns the seconds of `dfm decode` to PPM."""
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "decoded.ppm")
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "dfmcodec", "decode", str(path), "-o", target, "-f", "--quiet"], check=True
        )
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
