"""Trains generative models and measures their samples and reconstructions.

    python benchmarks/generative.py ../shared/data/mnist/t10k-images-idx3-ubyte.gz --preset mnist
    --seconds 240
        --seeds 0 1 2 --classifier CLASSIFIER.npz --models FOLDER

Every model gets the same data and the same seconds of one processor (time.process_time, including
compilation). It is measured on the held-out fifth by features of one classifier. Samples are drawn
from the mixture of Gaussians fitted to the codes, and from one fitted Gaussian. "Between pixels" is
the PSNR of held-out images rendered at the middles of four pixels, against Lanczos interpolation.
Rows that --out holds already are not measured again. benchmarks/vae.py of commit 5f9563e is the
variational autoencoder of docs/results/generative.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from recording import append_row, host, read_rows

from dfmcodec.codecs.generative.density import COMPONENTS, CodeDensity, fit_density
from dfmcodec.codecs.generative.model import GenerativeModel
from dfmcodec.codecs.generative.training import features, subpixel
from dfmcodec.codecs.generative.training.data import ImageSet, read_images
from dfmcodec.codecs.generative.training.evaluate import evaluate
from dfmcodec.codecs.generative.training.grids import grid
from dfmcodec.codecs.generative.training.recipes import PRESETS
from dfmcodec.codecs.generative.training.train import Trainer
from dfmcodec.perception import psnr

UInt8 = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.float32]
RESULTS = Path(__file__).parent / "results" / "generative.jsonl"
VARIANTS = ("encoder", "table")


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Args:
        paint: Renders the images of codes, float32 [N, D] -> uint8 [N, H, W, C].
        densities: The densities to draw codes from, by name.
        reconstruct: Encodes and renders images; None if the model has no encoder.
        figures: Figures of the model for its rows.
    """

    paint: Callable[[Codes], UInt8]
    densities: dict[str, CodeDensity]
    reconstruct: Callable[[UInt8], UInt8] | None
    figures: dict[str, float]


def between_pixels_psnr(model: GenerativeModel, images: UInt8) -> float:
    """Returns the PSNR in dB of images rendered half a pixel down and right, without edges."""
    arch = model.architecture
    at = (np.arange(arch.height) + 0.5) / arch.height, (np.arange(arch.width) + 0.5) / arch.width
    painted = model.paint_at(model.encode(images), *at)
    planes = np.moveaxis(images.astype(np.float64), 3, 1)
    expected = np.moveaxis(subpixel.interpolated(planes, 0.5, 0.5, np), 1, 3)
    inner = slice(None), slice(1, -1), slice(1, -1)
    return psnr(np.clip(np.rint(expected), 0, 255).astype(np.uint8)[inner], painted[inner])


def run_model(
    variant: str, preset: str, train: ImageSet, held_out: ImageSet, seconds: float, seed: int, models: Path
) -> Trained:
    """Trains a variant of the generative model, and writes its file."""
    settings = PRESETS[preset].with_variant(variant)
    architecture = settings.architecture(*train.images.shape[1:])
    trainer = Trainer(train.images, architecture, replace(settings.recipe, steps=1 << 30), seed)
    trainer.run(seconds, clock=time.process_time)
    codes = trainer.codes(train.images)
    report = {
        "preset": preset,
        "recipe": settings.recipe.as_dict(),
        "steps": trainer.state.steps,
        "seconds": seconds,
        "seed": seed,
        "data": train.checksum,
    }
    model = GenerativeModel(architecture, trainer.parameters(), fit_density(codes), report).rounded()
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{preset}-{variant}-{seed}.dfmg").write_bytes(model.file_bytes)
    count = sum(value.size for value in model.parameters.values())
    densities = {"mixture": model.density, "gaussian": fit_density(codes, 1)}
    figures: dict[str, float] = {"steps": trainer.state.steps, "parameters": count}
    if not model.has_encoder:
        return Trained(model.paint, densities, None, figures)
    figures["between_pixels_psnr_db"] = between_pixels_psnr(model, held_out.images)
    return Trained(model.paint, densities, lambda images: model.paint(model.encode(images)), figures)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the set of images")
    parser.add_argument("--preset", choices=list(PRESETS), required=True, help="the preset of the generative model")
    parser.add_argument("--seconds", type=float, default=240, help="seconds of one processor for each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one model is trained for each seed")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="the models to train")
    parser.add_argument("--classifier", type=Path, required=True, help="its file; trained and kept if it is missing")
    parser.add_argument("--models", type=Path, required=True, help="the folder for models and grids of samples")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of JSON lines to append the rows to")
    options = parser.parse_args(arguments)
    train, held_out = read_images(options.data).split()
    source = features.classifier(train, held_out, options.classifier)
    measured = read_rows(options.out)
    for seed in options.seeds:
        for variant in options.variants:
            recipe = PRESETS[options.preset].with_variant(variant).recipe.as_dict()
            key: dict[str, Any] = {"preset": options.preset, "variant": variant, "seed": seed}
            key |= {"train_s": options.seconds, "data": train.checksum, "recipe": recipe}
            if any(row.items() >= key.items() for row in measured):
                continue
            trained = run_model(variant, options.preset, train, held_out, options.seconds, seed, options.models)
            rng = np.random.default_rng(seed)
            reconstructions = trained.reconstruct(held_out.images) if trained.reconstruct else None
            for name, density in trained.densities.items():
                codes = density.sample(len(held_out), rng)
                samples = trained.paint(codes)
                evaluation = evaluate(samples, reconstructions, train, held_out, source.classify)
                about = {"samples_from": name, "components": COMPONENTS, "features": source.description}
                row = {**key, **about, **trained.figures, **vars(evaluation)}
                append_row(row | {"machine": host()}, options.out)
                print(json.dumps(row), flush=True)
                target = options.models / f"{options.preset}-{variant}-{name}-{seed}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(grid(samples[:64], 8).squeeze()).save(target)


if __name__ == "__main__":
    main()
