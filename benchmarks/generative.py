"""The generative model against the VAE that its publication claims to surpass: same data, code length, parameters and
time.

    python benchmarks/generative.py ../shared/data/mnist/t10k-images-idx3-ubyte.gz --preset mnist --seconds 240 --seeds
    0 1 2

Every model gets so many seconds of one processor (time.process_time, compilation counted, so that other work on the
machine changes nothing), and is measured on the held-out fifth by features of one classifier. The VAE has both
networks; its hidden layers are as wide as makes its parameters the encoder variant's within 2 %. Samples are drawn
from the mixture of Gaussians fitted to the codes, from one fitted Gaussian, and, for the VAE, from its prior, which is
its definition. Between pixels: the PSNR of held-out pictures painted at the middles of four pixels, of what Lanczos's
interpolation gives there. Rows go to benchmarks/results/generative.jsonl; rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from recording import machine
from vae import train_vae

from dfmcodec.generative import between, features_of
from dfmcodec.generative.data import PictureSet, read_pictures
from dfmcodec.generative.density import COMPONENTS, fit_density
from dfmcodec.generative.evaluate import evaluate
from dfmcodec.generative.figures import grid
from dfmcodec.generative.model import GenerativeModel
from dfmcodec.generative.recipe import PRESETS
from dfmcodec.generative.train import Trainer
from dfmcodec.metrics import psnr

RESULTS = Path(__file__).parent / "results" / "generative.jsonl"
VARIANTS = ("encoder", "table", "vae")


def vae_width(architecture, with_encoder_parameters: int) -> int:
    """Width of the VAE's two hidden layers that makes its parameters as many."""
    samples, code = architecture.height * architecture.width * architecture.channels, architecture.code_dim

    def parameters(width: int) -> int:
        shared = 2 * (width * width + width)
        return shared + (code + 1) * width + (width + 1) * samples + (samples + 1) * width + (width + 1) * 2 * code

    return min(range(64, 2048, 4), key=lambda width: abs(parameters(width) - with_encoder_parameters))


def between_pixels_psnr(model: GenerativeModel, pictures: np.ndarray) -> float:
    """In dB, of what the pictures' codes paint half a pixel down and right, but for the pictures' edges."""
    arch = model.architecture
    at = (np.arange(arch.height) + 0.5) / arch.height, (np.arange(arch.width) + 0.5) / arch.width
    painted = model.paint_at(model.encode(pictures), *at)
    planes = np.moveaxis(pictures.astype(np.float64), 3, 1)
    expected = np.moveaxis(between.interpolated(planes, 0.5, 0.5, np), 1, 3)
    inner = slice(None), slice(1, -1), slice(1, -1)
    return psnr(np.clip(np.rint(expected), 0, 255).astype(np.uint8)[inner], painted[inner])


def run_model(
    variant: str, preset: str, train: PictureSet, held_out: PictureSet, seconds: float, seed: int, models: Path
):
    """Trains one of ours: the model, samples by density, reconstruction function, figures."""
    chosen = PRESETS[preset].with_variant(variant)
    architecture = chosen.architecture(*train.pictures.shape[1:])
    trainer = Trainer(train.pictures, architecture, replace(chosen.recipe, steps=1 << 30), seed)
    trainer.run(seconds, clock=time.process_time)
    codes = trainer.codes(train.pictures)
    report = {
        "preset": preset,
        "recipe": chosen.recipe.as_dict(),
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
    figures = {"steps": trainer.state.steps, "parameters": count}
    reconstruct = None
    if model.has_encoder:
        reconstruct = lambda pictures: model.paint(model.encode(pictures))  # noqa: E731
        figures["between_pixels_psnr_db"] = between_pixels_psnr(model, held_out.pictures)
    return model.paint, densities, reconstruct, figures


def run_vae(preset: str, train: PictureSet, seconds: float, seed: int):
    """Trains the baseline, as `run_model`."""
    chosen = PRESETS[preset]
    architecture = chosen.architecture(*train.pictures.shape[1:])
    sizes = architecture.encoder_sizes()
    encoder = sum((m + 1) * n for m, n in pairwise(sizes))
    width = vae_width(architecture, architecture.decoder_parameter_count + encoder)
    vae = train_vae(
        train.pictures, (width, width), architecture.code_dim, chosen.recipe.batch, seconds, seed, time.process_time
    )
    codes = vae.encode(train.pictures)
    densities = {"prior": None, "mixture": fit_density(codes), "gaussian": fit_density(codes, 1)}
    figures = {"steps": vae.steps, "parameters": vae.parameter_count, "hidden": width}
    return vae.decode, densities, lambda pictures: vae.decode(vae.encode(pictures)), figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", choices=list(PRESETS), required=True)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--classifier", type=Path, required=True, help="kept there, trained if it is not")
    parser.add_argument("--models", type=Path, required=True, help="folder for models and sample grids")
    arguments = parser.parse_args()
    train, held_out = read_pictures(arguments.data).split()
    source = features_of.classifier(train, held_out, arguments.classifier)
    known = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    for seed in arguments.seeds:
        for variant in arguments.variants:
            recipe = None if variant == "vae" else PRESETS[arguments.preset].with_variant(variant).recipe.as_dict()
            key = {"preset": arguments.preset, "variant": variant, "seed": seed, "train_s": arguments.seconds}
            key |= {"data": train.checksum, "recipe": recipe}
            if any(row.items() >= key.items() for row in known):
                continue
            if variant == "vae":
                paint, densities, reconstruct, figures = run_vae(arguments.preset, train, arguments.seconds, seed)
            else:
                paint, densities, reconstruct, figures = run_model(
                    variant, arguments.preset, train, held_out, arguments.seconds, seed, arguments.models
                )
            rng = np.random.default_rng(seed)
            reconstructions = reconstruct(held_out.pictures) if reconstruct else None
            for name, density in densities.items():
                shape = len(held_out), PRESETS[arguments.preset].code_dim
                codes = density.sample(shape[0], rng) if density else rng.standard_normal(shape).astype(np.float32)
                samples = paint(codes)
                found = evaluate(samples, reconstructions, train, held_out, source.classify)
                about = {"samples_from": name, "components": COMPONENTS, "features": source.description}
                row = {**key, **about, **figures, **found.as_dict()}
                with RESULTS.open("a") as file:
                    file.write(json.dumps(row | {"machine": machine()}) + "\n")
                print(json.dumps(row), flush=True)
                picture = grid(samples[:64], 8)
                target = arguments.models / f"{arguments.preset}-{variant}-{name}-{seed}.png"
                Image.fromarray(picture.squeeze()).save(target)


if __name__ == "__main__":
    main()
