"""A study for the latent model: how far wavelet latents with learned contexts go before any fitting.

    python benchmarks/wavelet_start.py train    FOLDER --out nets.npz     photographs to learn contexts from
    python benchmarks/wavelet_start.py evaluate nets.npz PICTURE...       rate-distortion against JPEG and AVIF

Latents are the sub-bands of a six-level CDF 9/7 wavelet in an orthonormal luma-chroma basis, one step for all bands
(divided by each band's synthesis gain), rounded with a dead zone. A small network gives the scale of a Laplace
distribution for each symbol from symbols decoded before it: in four passes over the 2x2 phases of a grid, the
earlier phases in a 5x5 window, the coarser band around it, the orientations and colours before it. Rates are the
networks' estimates in float, not files. Nothing here is used by the codec.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import PIL.Image

from dfmcodec.metrics import psnr

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bands = list[list[Ints]]  # coarse to fine; of each level the three orientations [h, w, 3]
Dataset = dict[int, list[tuple[npt.NDArray[np.uint8], Floats, Ints]]]  # by phase: contexts, side, symbols

LEVELS = 6
HIDDEN = 32
LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
LOW_SCALE = 1.230174104914001
LOW_GAIN = 0.8603  # norm of the synthesis of one low-pass step, measured on white noise
BAND_GAINS = (1.0095, 1.0095, 1.191)
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
WINDOW = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy, dx) != (0, 0)]
CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
CONTEXTS = len(WINDOW) + 9 + 4 * len(CROSS)
SIDE = 3 + 3 + LEVELS + 2
_BASIS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=np.float64)
BASIS = (_BASIS / np.linalg.norm(_BASIS, axis=1, keepdims=True)).astype(np.float32)
_OVER_4 = 23 + 9 * np.log2(np.arange(5, 512) / 4)
MAGNITUDES = np.minimum(np.concatenate([[0, 8, 14, 19, 23], np.rint(_OVER_4)]), 127).astype(np.uint8)


def lift(low: Floats, high: Floats, coefficients: tuple[float, ...], first_high: bool) -> None:
    """Lifting steps along axis 0 with mirrored ends, in place; they alternate between high and low."""
    for position, c in enumerate(coefficients):
        if (position % 2 == 0) == first_high:
            after = low[1:] if len(low) > len(high) else np.concatenate([low[1:], low[-1:]])
            high += np.float32(c) * (low[: len(high)] + after[: len(high)])
        else:
            before = np.concatenate([high[:1], high])[: len(low)]
            here = high if len(high) == len(low) else np.concatenate([high, high[-1:]])
            low += np.float32(c) * (before + here)


def split(x: Floats) -> tuple[Floats, Floats]:
    """One 9/7 analysis step along axis 0: [n, ...] -> [ceil(n/2), ...], [n//2, ...]."""
    if len(x) == 1:
        return x.copy(), x[:0].copy()
    low, high = x[0::2].copy(), x[1::2].copy()
    lift(low, high, LIFTING, first_high=True)
    return low * np.float32(LOW_SCALE), high / np.float32(LOW_SCALE)


def join(low: Floats, high: Floats) -> Floats:
    """Inverse of `split`."""
    if len(high) == 0:
        return low.copy()
    low, high = low / np.float32(LOW_SCALE), high * np.float32(LOW_SCALE)
    lift(low, high, tuple(-c for c in reversed(LIFTING)), first_high=False)
    x = np.empty((len(low) + len(high), *low.shape[1:]), dtype=np.float32)
    x[0::2], x[1::2] = low, high
    return x


def _columns(step: Any, *parts: Floats) -> Any:
    result = step(*(part.swapaxes(0, 1) for part in parts))
    return tuple(r.swapaxes(0, 1) for r in result) if isinstance(result, tuple) else result.swapaxes(0, 1)


def analyse(pixels: npt.NDArray[np.uint8]) -> tuple[Floats, list[list[Floats]]]:
    """uint8 [H, W, 3] -> coarsest low-pass band and the bands of each level, coarse to fine."""
    low = (pixels.astype(np.float32) - 128) @ BASIS.T
    levels = []
    for _ in range(LEVELS):
        top, bottom = split(low)
        low, first = _columns(split, top)
        second, third = _columns(split, bottom)
        levels.append([first, second, third])
    return low, levels[::-1]


def synthesise(low: Floats, levels: list[list[Floats]]) -> npt.NDArray[np.uint8]:
    """Inverse of `analyse`, rounded to levels."""
    for first, second, third in levels:
        low = join(_columns(join, low, first), _columns(join, second, third))
    return np.clip(np.rint(low @ BASIS + 128), 0, 255).astype(np.uint8)


def band_step(step: float, level: int, orientation: int) -> float:
    return step / (LOW_GAIN ** (LEVELS - level - 1) * BAND_GAINS[orientation])


def quantise(pixels: npt.NDArray[np.uint8], step: float, offset: float) -> tuple[Ints, Bands]:
    """Symbols sign(x) floor(|x| / step + offset); an offset below 0.5 makes a dead zone."""
    low, levels = analyse(pixels)
    bands = [
        [
            (np.sign(x) * np.floor(np.abs(x) / band_step(step, level, orientation) + offset)).astype(np.int32)
            for orientation, x in enumerate(three)
        ]
        for level, three in enumerate(levels)
    ]
    return np.rint(low / (step / LOW_GAIN**LEVELS)).astype(np.int32), bands


def dequantise(low: Ints, bands: Bands, step: float, pull: float) -> npt.NDArray[np.uint8]:
    """The picture of the symbols; non-zero ones are pulled towards zero by `pull` of their step."""
    levels = [
        [
            ((q - pull * np.sign(q)) * band_step(step, level, orientation)).astype(np.float32)
            for orientation, q in enumerate(three)
        ]
        for level, three in enumerate(bands)
    ]
    return synthesise((low * (step / LOW_GAIN**LEVELS)).astype(np.float32), levels)


def contexts(bands: Bands, step: float) -> Iterator[tuple[int, npt.NDArray[np.uint8], Floats, Ints]]:
    """For every grid and phase: (phase, magnitudes of its contexts uint8 [N, CONTEXTS], side [SIDE], symbols [N])."""
    log_step = np.log2(step / 8) / 2
    for level, three in enumerate(bands):
        for colour in range(3):
            for orientation, band in enumerate(three):
                q = band[:, :, colour]
                side = np.zeros(SIDE, dtype=np.float32)
                side[[orientation, 3 + colour, 6 + level]] = 1
                side[-2:] = log_step, log_step * (level - 3) / 3
                known = [three[k][:, :, colour] for k in range(orientation)]
                known += [np.zeros((1, 1), np.int32)] * (2 - orientation)
                known += [band[:, :, k] for k in range(colour)] + [np.zeros((1, 1), np.int32)] * (2 - colour)
                coarser = bands[level - 1][orientation][:, :, colour] if level else None
                for phase, (y, x) in enumerate(PHASES):
                    symbols = q[y::2, x::2]
                    if symbols.size:
                        found = _contexts_of_phase(q, known, coarser, phase)
                        yield phase, found.reshape(-1, CONTEXTS), side, symbols.ravel()


def _contexts_of_phase(q: Ints, known: list[Ints], coarser: Ints | None, phase: int) -> npt.NDArray[np.uint8]:
    (height, width), (y, x) = q.shape, PHASES[phase]
    rows, columns = np.arange(y, height, 2), np.arange(x, width, 2)
    found = np.zeros((len(rows), len(columns), CONTEXTS), dtype=np.uint8)

    def around(grid: Ints, dy: int, dx: int) -> npt.NDArray[np.uint8]:
        padded = np.zeros((height + 4, width + 4), dtype=np.int32)
        padded[2 : 2 + min(height, grid.shape[0]), 2 : 2 + min(width, grid.shape[1])] = grid[:height, :width]
        return MAGNITUDES[np.minimum(np.abs(padded[np.ix_(rows + 2 + dy, columns + 2 + dx)]), 511)]

    for column, (dy, dx) in enumerate(WINDOW):
        if PHASES.index(((y + dy) % 2, (x + dx) % 2)) < phase:
            found[:, :, column] = around(q, dy, dx)
    column = len(WINDOW)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if coarser is not None and coarser.size:
                parent_rows = np.clip(rows // 2 + dy, 0, coarser.shape[0] - 1)
                parent_columns = np.clip(columns // 2 + dx, 0, coarser.shape[1] - 1)
                near = coarser[np.ix_(parent_rows, parent_columns)]
                found[:, :, column] = MAGNITUDES[np.minimum(np.abs(near), 511)]
            column += 1
    for grid in known:
        for dy, dx in CROSS:
            if grid.size > 1:
                found[:, :, column] = around(grid, dy, dx)
            column += 1
    return found


def forward(net: dict[str, Any], found: Any, side: Any, xp: Any) -> Any:
    """log2 of the Laplace scale in symbols, [N]."""
    h = xp.maximum(found.astype(xp.float32) / 16 @ net["w1"] + side @ net["u1"] + net["b1"], 0)
    h = xp.maximum(h @ net["w2"] + net["b2"], 0)
    return (h @ net["w3"] + side @ net["u3"] + net["b3"])[:, 0]


def cost_bits(log_scale: Any, symbols: Any, offset: float, xp: Any) -> Any:
    """Bits of symbols rounded with a dead zone under Laplace distributions of scale 2^log_scale."""
    scale = 2.0 ** xp.clip(log_scale, -6, 9)
    magnitude = xp.abs(symbols)
    zero = xp.log(xp.maximum(-xp.expm1(-(1 - offset) / scale), 1e-9))
    other = -(magnitude - offset) / scale - np.log(2) + xp.log(-xp.expm1(-1 / scale))
    return -xp.where(magnitude == 0, zero, other) / np.log(2)


def training_pictures(folder: Path, rng: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """Photographs made smaller, which hides their JPEG traces, flipped and turned at random."""
    for path in sorted(folder.iterdir()):
        with PIL.Image.open(path) as picture:
            scale = rng.uniform(0.35, 0.6) * min(1, 900 / max(picture.size))
            size = max(32, int(picture.width * scale)), max(32, int(picture.height * scale))
            pixels = np.asarray(picture.convert("RGB").resize(size, PIL.Image.Resampling.LANCZOS))
        pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        yield pixels.swapaxes(0, 1) if rng.random() < 0.3 else pixels


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=300.0, show_default=True, help="Of training, all four networks.")
@click.option("--offset", type=float, default=0.36, show_default=True)
def train(folder: Path, out: Path, seconds: float, offset: float) -> None:
    """Learns the four context networks, one for each phase."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(0)
    data: Dataset = {phase: [] for phase in range(4)}
    for pixels in training_pictures(folder, rng):
        step = 2 ** rng.uniform(1, 7)
        _, bands = quantise(pixels, step, offset)
        for phase, found, side, symbols in contexts(bands, step):
            kept = rng.random(len(symbols)) < (0.25 if len(symbols) > 200 else 1)
            data[phase].append((found[kept], np.broadcast_to(side, (int(kept.sum()), SIDE)), symbols[kept]))

    def fresh(inputs: int, outputs: int, scale: float = 1.0) -> Any:
        return jnp.asarray(rng.normal(0, scale / np.sqrt(inputs), (inputs, outputs)), jnp.float32)

    @jax.jit
    def many_steps(net: Any, state: Any, found: Any, side: Any, symbols: Any, rate: Any) -> Any:
        def one(carry: Any, batch: Any) -> Any:
            net, state = carry

            def loss(net: Any) -> Any:
                return cost_bits(forward(net, batch[0], batch[1], jnp), batch[2], offset, jnp).mean()

            value, gradient = jax.value_and_grad(loss)(net)
            direction, state = optax.scale_by_adam().update(gradient, state)
            return (jax.tree.map(lambda p, d: p - rate * d, net, direction), state), value

        return jax.lax.scan(one, (net, state), (found, side, symbols))

    nets: dict[str, Any] = {}
    for phase in range(4):
        found, side, symbols = (np.concatenate(column) for column in zip(*data.pop(phase), strict=True))
        net = {
            "w1": fresh(CONTEXTS, HIDDEN), "u1": fresh(SIDE, HIDDEN), "b1": jnp.zeros(HIDDEN),
            "w2": fresh(HIDDEN, HIDDEN), "b2": jnp.zeros(HIDDEN),
            "w3": fresh(HIDDEN, 1), "u3": fresh(SIDE, 1, 0.0), "b3": jnp.zeros(1),
        }  # fmt: skip
        state = optax.scale_by_adam().init(net)
        started, losses = time.perf_counter(), []
        while (part := (time.perf_counter() - started) / (seconds / 4)) < 1:
            chosen = rng.integers(0, len(symbols), (8, 4096))
            rate = 5e-3 * 0.5 * (1 + np.cos(np.pi * part)) + 2e-5
            batch = found[chosen], side[chosen], symbols[chosen].astype(np.float32)
            (net, state), values = many_steps(net, state, *batch, rate)
            losses.append(float(values.mean()))
        click.echo(f"phase {phase}: {len(symbols)} symbols, {8 * len(losses)} steps, {np.mean(losses[-50:]):.4f} bits")
        nets |= {f"{name}_{phase}": np.asarray(value) for name, value in net.items()}
    np.savez(out, offset=offset, **nets)


def bits_of(bands: Bands, low: Ints, step: float, offset: float, nets: list[dict[str, Any]]) -> float:
    """Estimated bits of a picture; the coarsest band by a Laplace distribution of its differences."""
    total = 0.0
    for phase, found, side, symbols in contexts(bands, step):
        log_scale = forward(nets[phase], found, side[None], np).astype(np.float64)
        total += float(cost_bits(log_scale, symbols, offset, np).sum())
    differences = np.abs(np.diff(low.reshape(-1, 3), axis=0)).mean(axis=0) + 0.3
    return total + float((len(low.reshape(-1, 3)) * np.log2(2 * np.e * differences)).sum())


def bd_rate(anchor: list[tuple[float, float]], curve: list[tuple[float, float]]) -> float:
    """Mean difference in rate at equal PSNR, percent (Bjontegaard; PCHIP over log rate)."""
    from scipy.interpolate import PchipInterpolator

    curves = [sorted(points, key=lambda point: point[1]) for points in (anchor, curve)]
    low, high = max(c[0][1] for c in curves), min(c[-1][1] for c in curves)
    grid = np.linspace(low, high, 200)
    logs = [PchipInterpolator([db for _, db in c], np.log([bpp for bpp, _ in c]))(grid) for c in curves]
    return float(100 * np.expm1((logs[1] - logs[0]).mean()))


def anchor_curve(picture: PIL.Image.Image, name: str, qualities: tuple[int, ...], **options: Any) -> list[Any]:
    pixels, points = np.asarray(picture), []
    for quality in qualities:
        buffer = io.BytesIO()
        picture.save(buffer, name, quality=quality, **options)
        decoded = np.asarray(PIL.Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        points.append((8 * len(buffer.getvalue()) / (picture.width * picture.height), psnr(pixels, decoded)))
    return points


@main.command()
@click.argument("networks", type=click.Path(path_type=Path, exists=True))
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--pull", type=float, default=0.06, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON lines, appended.")
def evaluate(networks: Path, pictures: tuple[Path, ...], pull: float, out: Path | None) -> None:
    """Rate-distortion of pictures that were not trained on."""
    stored = np.load(networks)
    offset = float(stored["offset"])
    nets = [{name[:-2]: stored[name] for name in stored.files if name.endswith(f"_{phase}")} for phase in range(4)]
    rows = []
    for path in pictures:
        picture = PIL.Image.open(path).convert("RGB")
        pixels = np.asarray(picture)
        curve = []
        for step in (6, 10, 16, 26, 42, 70, 110):
            low, bands = quantise(pixels, step, offset)
            bits = bits_of(bands, low, step, offset, nets)
            curve.append((bits / (picture.width * picture.height), psnr(pixels, dequantise(low, bands, step, pull))))
        jpeg = anchor_curve(picture, "JPEG", (10, 20, 30, 45, 60, 75, 85, 92, 95), subsampling=2, optimize=True)
        avif = anchor_curve(picture, "AVIF", (20, 30, 40, 50, 60, 70, 80, 88, 94), subsampling="4:4:4", speed=4)
        row = {"picture": path.stem, "vs_jpeg": bd_rate(jpeg, curve), "vs_avif": bd_rate(avif, curve), "curve": curve}
        rows.append(row)
        click.echo(f"{path.stem}: BD-rate {row['vs_jpeg']:.1f} % vs JPEG, {row['vs_avif']:.1f} % vs AVIF")
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    means = [np.mean([row[name] for row in rows]) for name in ("vs_jpeg", "vs_avif")]
    click.echo(f"mean: {means[0]:.1f} % vs JPEG, {means[1]:.1f} % vs AVIF")


if __name__ == "__main__":
    main()
