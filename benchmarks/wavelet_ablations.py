"""Increase of the rate-distortion cost without single components of the wavelet codec.

    python benchmarks/wavelet_ablations.py IMAGE... --out ROWS --plot PLOT

Without images, it only draws the rows that --out holds. It uses a module of training/: set
PYTHONPATH to the clone's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from recording import (
    Row,
    load,
    numbers,
    optional_images_argument,
    out_option,
    plot_option,
    read_rows,
    record,
)

from dfmcodec.codecs.wavelet.correction import CorrectionNetwork
from dfmcodec.codecs.wavelet.encode.efforts import EFFORT_LEVELS, Effort
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.weights import WaveletWeights, shipped
from dfmcodec.image import Image
from dfmcodec.search.quality import BIT_COST

ALL = "all"  # the name of the complete codec among the ablations


@dataclass(frozen=True)
class Ablation:
    """A codec without a component.

    Args:
        effort: How much work an encoding may be.
        weights: The pretrained weights.
        changes: Returns a modified encoding.
        forgets: What an iteration does not take from the one before.
    """

    effort: Effort
    weights: WaveletWeights = field(default_factory=shipped)
    changes: Callable[[Encoding], Encoding] = lambda encoding: encoding
    forget: Callable[[Iterations], None] = lambda state: None

    def cost_bits(self, image: Image, q_step: int, iterations: int) -> float:
        """Returns the smallest cost of an image over iterations: squared error + cost of bits, in
        bits.

        Args:
            image: The image.
            q_step: The quantisation step in 1/64 code values.
            iterations: The number of iterations.
        """
        encoding = self.changes(Encoding.of(image, self.effort, weights=self.weights))
        state, least = Iterations(encoding), inf
        for _ in range(iterations):
            self.forget(state)
            trial = state.iterate(q_step)
            squared_steps = trial.mse * image.pixels.size / (q_step / 64) ** 2
            least = min(least, squared_steps / BIT_COST + 8 * trial.file_bytes)
        return least


def ablations(adaptation_steps: int) -> dict[str, Ablation]:
    """Returns the complete codec at effort 5 and the codec without each component, by name.

    Without contexts, there are Laplace tables, whose scales a file's adaptation gives for each band
    and phase.

    Args:
        adaptation_steps: The gradient steps of each fit of an adaptation. The constants of
            "no contexts" need more than an effort level has.
    """
    from training.contexts import untrained_context

    effort = replace(EFFORT_LEVELS[5], adaptation_steps=adaptation_steps)
    complete = Ablation(effort)
    uncorrected = replace(shipped(), correction=_without_effect(shipped().correction))
    no_contexts = replace(shipped(), context=untrained_context())
    return {
        ALL: complete,
        "no RDO iteration (one pass)": replace(complete, forget=_forget_costs_and_change),
        "no context-dependency costs": replace(complete, forget=_forget_costs),
        "no context adaptation": replace(complete, effort=replace(effort, adapted_after=())),
        "no correction network": replace(complete, weights=uncorrected),
        "no filter": replace(complete, effort=replace(effort, filter_radius=0)),
        "no contexts": replace(complete, weights=no_contexts),
        "no pretrained weights": replace(complete, weights=replace(uncorrected, context=no_contexts.context)),
        "no chroma rotation": replace(
            complete, changes=lambda encoding: replace(encoding, basis=replace(encoding.basis, chroma_angle=0))
        ),
        "4 levels": replace(
            complete, changes=lambda encoding: replace(encoding, tiling=replace(encoding.tiling, levels=4))
        ),
    }


def _forget_costs(state: Iterations) -> None:
    """Removes the context-dependency costs."""
    state.tiles = [replace(tile, dependency_costs=None) for tile in state.tiles]


def _forget_costs_and_change(state: Iterations) -> None:
    """Removes the context-dependency costs, and the outputs of filter and correction network."""
    _forget_costs(state)
    state.change = None


def _without_effect(network: CorrectionNetwork) -> CorrectionNetwork:
    """Returns a correction network that adds nothing."""
    last = network.layers[-1]
    nothing = replace(last, weights=np.zeros_like(last.weights), constants=np.zeros_like(last.constants))
    return replace(network, layers=(*network.layers[:-1], nothing), bypass=np.zeros_like(network.bypass))


@click.command(help=__doc__)
@optional_images_argument
@click.option("--q-steps", default="420,1060,2640", show_default=True, help="In 1/64 code values.")
@click.option("--iterations", type=int, default=5, show_default=True, help="The iterations of each encoding.")
@click.option(
    "--adaptation-steps", type=int, default=400, show_default=True, help="The gradient steps of each adaptation."
)
@out_option
@plot_option
def main(
    images: tuple[str, ...],
    q_steps: str,
    iterations: int,
    adaptation_steps: int,
    out: Path | None,
    plot: Path | None,
) -> None:
    variants = ablations(adaptation_steps)
    parts = [name for name in variants if name != ALL]

    def rows() -> Iterator[Row]:
        for name in images:
            stem, image = load(name)
            for q_step in numbers(q_steps):
                complete = variants[ALL].cost_bits(image, q_step, iterations)
                row: Row = {"picture": stem, "step": q_step / 64, "all_bpp": complete / image.pixel_count}
                for part in parts:
                    row[part + " %"] = 100 * (variants[part].cost_bits(image, q_step, iterations) / complete - 1)
                yield row

    measured = record(rows(), out)
    for part in parts:
        if measured:
            click.echo(f"{part}: {np.mean([row[part + ' %'] for row in measured]):+.2f} %")
    kept = read_rows(out)
    if plot is not None and kept:
        _draw_ablations(kept, plot)


def _draw_ablations(rows: list[Row], path: Path) -> None:
    """Draws a bar for each part left out and each q_step; the axis is logarithmic beyond 1 %."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    parts = [name for name in rows[0] if name.endswith(" %")]
    height = 0.8 / len(rows)
    for at, row in enumerate(rows):
        positions = np.arange(len(parts)) + (at - (len(rows) - 1) / 2) * height
        bars = axes.barh(
            positions, [row[part] for part in parts], height, label=f"{row['picture']}, {row['all_bpp']:.2f} bpp"
        )
        axes.bar_label(bars, fmt="%+.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(parts)), [part.removesuffix(" %") for part in parts])
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-1, 100)
    axes.set_xlabel("more rate-distortion cost without it, percent")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
