"""Held-out images as codes of a generative model, against general codecs at equal PSNR.

    python benchmarks/domain_prior.py digits.dfmg ../shared/data/mnist/t10k-images-idx3-ubyte.gz
    --number 100

Each image is coded at a few sizes of payload. The file of each other codec is the smallest of all
its settings and forms that reaches the same PSNR. If a codec does not reach the PSNR of an image,
its best file counts, which favours it. All sizes are those of whole files; `payload` is the code
section alone. Each row is the mean over the images for one payload limit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recording import Pixels, append_row, decoded_like, host

from dfmcodec import container as bitstream
from dfmcodec.bench.codecs import Codec, select
from dfmcodec.codecs.encode import encode_image
from dfmcodec.codecs.generative.contents import CodeArchitecture
from dfmcodec.codecs.generative.model import read_model_file
from dfmcodec.codecs.generative.training.data import read_images
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.image import Image
from dfmcodec.metrics import psnr
from dfmcodec.search.config import EncoderConfig

RESULTS = Path(__file__).parent / "results" / "domain_prior.jsonl"
PAYLOADS = 10, 20, 30, 40, 60


def operating_points(codec: Codec, pixels: Pixels) -> list[tuple[int, float]]:
    """The (bytes, PSNR in dB) of every setting and form of a codec."""
    points = []
    for form in codec.forms:
        for setting in codec.settings:
            data = codec.encode(pixels, form, setting)
            points.append((len(data), psnr(pixels, decoded_like(codec, data, pixels))))
    return points


def smallest(points: list[tuple[int, float]], psnr_db: float) -> int:
    """The bytes of the smallest file that reaches a PSNR; those of the best file if none does."""
    reaching = [size for size, reached_db in points if reached_db >= psnr_db]
    return min(reaching) if reaching else max(points, key=lambda point: point[1])[0]


def wavelet_bytes(image: Image, psnr_db: float, effort: int) -> int:
    """The bytes of the wavelet codec's file at a PSNR, or at the nearest PSNR below that it
    reaches.
    """
    for lower in (0.0, 0.5, 1.0, 2.0):
        try:
            return len(encode_image(image, EncoderConfig(psnr=psnr_db - lower, effort=effort)).data)
        except TargetUnreachableError:
            continue
    msg = "the wavelet codec has no such file"
    raise AssertionError(msg)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the .dfmg file of the generative model")
    parser.add_argument("data", type=Path, help="the set of images, of which the held-out ones are coded")
    parser.add_argument("--number", type=int, default=100, help="the number of images")
    parser.add_argument("--vs", nargs="+", default=["jpeg", "webp", "avif"], help="the other codecs")
    parser.add_argument("--payloads", type=int, nargs="+", default=PAYLOADS, help="the payload limits in bytes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of JSON lines to append the rows to")
    options = parser.parse_args(arguments)
    model = read_model_file(options.model)
    _, held_out = read_images(options.data).split()
    codecs = select(options.vs)
    container = bitstream.container_bytes(CodeArchitecture.model)
    figures: dict[int, dict[str, list[float]]] = {payload: {} for payload in options.payloads}
    for pixels in held_out.images[: options.number]:
        points = {codec.name: operating_points(codec, pixels) for codec in codecs}
        for payload, by_name in figures.items():
            try:
                result = encode_image(Image(pixels), EncoderConfig(size=container + payload), generator=model)
            except TargetUnreachableError:
                continue
            psnr_db = result.report.psnr_db
            for name, value in {
                "payload": result.report.section_bytes["code"],
                "dfm": len(result.data),
                "psnr_db": psnr_db,
                **{name: smallest(reached, psnr_db) for name, reached in points.items()},
                "wavelet": min(wavelet_bytes(Image(pixels), psnr_db, effort) for effort in (1, 5)),
            }.items():
                by_name.setdefault(name, []).append(value)
    for payload, by_name in figures.items():
        if not by_name:
            print(f"no image has a code of {payload} bytes")
            continue
        row = {"model": f"{model.id:08x}", "data": options.data.name, "payload_limit": payload}
        row |= {"pictures": len(by_name["dfm"]), **{name: float(np.mean(values)) for name, values in by_name.items()}}
        row |= {"psnr_db_least": float(min(by_name["psnr_db"])), "psnr_db_most": float(max(by_name["psnr_db"]))}
        for name in (*options.vs, "wavelet"):
            for base in ("payload", "dfm"):
                ratios = np.array(by_name[name]) / np.array(by_name[base])
                row |= {f"{name}_over_{base}_least": float(ratios.min())}
        print(json.dumps(row), flush=True)
        append_row(row | {"machine": host()}, options.out)


if __name__ == "__main__":
    main()
