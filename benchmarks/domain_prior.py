"""Held-out pictures as codes of a generative model, against codecs that know nothing of the domain, at equal PSNR.

    python benchmarks/domain_prior.py digits.dfmg ../shared/data/mnist/t10k-images-idx3-ubyte.gz --number 100

Each picture is coded at a few sizes of payload; each other codec's file is the smallest of all its settings and forms
that reaches the same PSNR. All sizes are whole files; `payload` is the code section alone. Rows:
benchmarks/results/domain_prior.jsonl, one a codec and payload limit, means over the pictures. Where a codec does not
reach the PSNR of a picture, its best file counts, which favours it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from recording import machine

from dfmcodec import bitstream
from dfmcodec.bench.codecs import Codec, select
from dfmcodec.encoder import EncoderConfig, encode_image
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.generative.data import read_pictures
from dfmcodec.generative.model import read_model_file
from dfmcodec.image import Image
from dfmcodec.metrics import psnr
from dfmcodec.model import Model

RESULTS = Path(__file__).parent / "results" / "domain_prior.jsonl"
PAYLOADS = 10, 20, 30, 40, 60


def operating_points(codec: Codec, pixels: np.ndarray) -> list[tuple[int, float]]:
    """(bytes, PSNR) of every setting and form."""
    points = []
    for form in codec.forms:
        for setting in codec.settings:
            data = codec.encode(pixels, form, setting)
            decoded = codec.decode(data)[:, :, : pixels.shape[2]]
            points.append((len(data), psnr(pixels, decoded)))
    return points


def smallest(points: list[tuple[int, float]], psnr_db: float) -> int:
    """Of the points that reach a PSNR; of the best one where none does."""
    reaching = [size for size, reached in points if reached >= psnr_db]
    return min(reaching) if reaching else max(points, key=lambda point: point[1])[0]


def latent_bytes(image: Image, psnr_db: float, effort: int) -> int:
    """The size of the latent model's file of a PSNR, the nearest below that it reaches."""
    for lower in (0.0, 0.5, 1.0, 2.0):
        try:
            return len(encode_image(image, EncoderConfig(psnr=psnr_db - lower, effort=effort)).data)
        except TargetUnreachableError:
            continue
    msg = "the latent model has no such file"
    raise AssertionError(msg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--vs", nargs="+", default=["jpeg", "webp", "avif"])
    parser.add_argument("--payloads", type=int, nargs="+", default=PAYLOADS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    model = read_model_file(arguments.model)
    _, held_out = read_pictures(arguments.data).split()
    codecs = select(arguments.vs)
    container = bitstream.CONTAINER_BYTES[Model.GENERATIVE]
    sizes: dict[int, dict[str, list[float]]] = {payload: {} for payload in arguments.payloads}
    for pixels in held_out.pictures[: arguments.number]:
        points = {codec.name: operating_points(codec, pixels) for codec in codecs}
        for payload, found in sizes.items():
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
                "latent": min(latent_bytes(Image(pixels), psnr_db, effort) for effort in (1, 5)),
            }.items():
                found.setdefault(name, []).append(value)
    with arguments.out.open("a") as file:
        for payload, found in sizes.items():
            if not found:
                print(f"no picture has a code of {payload} bytes")
                continue
            row = {"model": f"{model.id:08x}", "data": arguments.data.name, "payload_limit": payload}
            row |= {"pictures": len(found["dfm"]), **{name: float(np.mean(values)) for name, values in found.items()}}
            row |= {"psnr_db_least": float(min(found["psnr_db"])), "psnr_db_most": float(max(found["psnr_db"]))}
            for name in (*arguments.vs, "latent"):
                for of in ("payload", "dfm"):
                    row |= {f"{name}_over_{of}_least": float((np.array(found[name]) / np.array(found[of])).min())}
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row | {"machine": machine()}) + "\n")


if __name__ == "__main__":
    main()
