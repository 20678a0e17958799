"""Checks the smallest installation: working commands, error messages of the others, and size.

    python tests/supply/light_check.py

The wheel is built as wheel_check.py builds it and installed with --no-deps into a new environment
that holds the packages of `NEEDED` and nothing else, from the package index. There, away from the
tree, the commands of `WORKS` end well, those of `LACKING` name what to install, and `PROGRAM` uses
the Python API and Pillow. test_light.py does the same in the tests' own environment with the other
packages hidden.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from wheel_check import ROOT, built_wheel, command

NEEDED = ("numpy", "pillow", "click", "msgpack")  # as docs/install.md says
HIDDEN = frozenset(("jax", "jaxlib", "optax", "scipy", "skimage", "tqdm", "threadpoolctl", "pyarrow"))
GOLDEN = ROOT / "tests" / "golden" / "v1"
FILES = {"overfitted": "overfitted-small", "coordinate": "coordinate", "wavelet": "wavelet-rgb"}

IMAGES = """
import numpy, PIL.Image
y, x = numpy.mgrid[:48, :64]
planes = [128 + 90 * numpy.sin(x / 9 + y / 15), 2 * x + y, 200 - 3 * y]
pixels = numpy.clip(numpy.stack(planes, axis=-1), 0, 255)
image = PIL.Image.fromarray(pixels.astype("uint8"))
for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
    image.save(name)
for name in ("deep.png", "deep.tif"):
    PIL.Image.fromarray((pixels[:, :, 0] * 257).astype("uint16")).save(name)
"""

WORKS = (
    "--help",
    "encode --help",
    "bench --help",
    "encode a.png -o a.dfm --size 1500 --effort 1",
    "encode a.jpg -o jpeg.dfm --quality 60 --effort 5",
    "encode a.webp -o webp.dfm --quality 30 --effort 1",
    "encode a.tif -o tiff.dfm --quality 30 --effort 3",
    "encode deep.png -o deep.dfm --bpp 2 --effort 1",
    "encode deep.tif -o deep2.dfm --bpp 2 --effort 1",
    "decode a.dfm -o back.png",
    "decode a.dfm -o back.tif",
    "decode a.dfm -o back.jpg",
    "decode a.dfm -o back.webp",
    "decode a.dfm -o back.ppm",
    "decode a.dfm -o back.npy",
    "decode a.dfm -o region.png --region 8,4,24,16",
    "decode a.dfm -o half.png --resize 50%",
    "decode deep.dfm -o deep_back.png",
    "decode deep.dfm -o deep_back.tif",
    "decode overfitted.dfm -o overfitted_back.png",
    "decode coordinate.dfm -o coordinate_back.png",
    "decode wavelet.dfm -o wavelet_back.png",
    "info a.dfm",
    "info --json overfitted.dfm",
    "verify a.dfm overfitted.dfm coordinate.dfm wavelet.dfm",
    "view -o viewer.html",
    "compare a.png a.dfm",
    "encode a.png -o fit.dfm --model overfitted --training-steps 8",
)
MORE_WORKS = (  # only from the wheel: processes, and what takes seconds
    "encode a.png a.jpg --keep-extension -O two -j 2 --effort 1",
    *(f"encode a.png -o effort{effort}.dfm --effort {effort}" for effort in (3, 7)),
    "demo -O page",
)

_FITTING = "pip install jax optax; or encode with the wavelet codec"
LACKING = {  # the end of the message that each gives
    "encode a.png -o x.dfm --model coordinate": f"the coordinate codec needs JAX and optax; install them: {_FITTING}",
    "corpus a.png -O store --format parquet": "Parquet needs pyarrow; install it: pip install pyarrow",
    "bench a.png --effort 1": "dfm bench needs SciPy; install it: pip install scipy",
}

PROGRAM = f"""
import sys, numpy, PIL.Image
import dfmcodec, dfmcodec.kernels, dfmcodec.perception, dfmcodec.pillow

pixels = numpy.asarray(PIL.Image.open("a.png"))
result = dfmcodec.encode(pixels, rate=0.15, effort=1)
decoded = dfmcodec.decode(result.data)
assert result.report.psnr_db > 30 and decoded.pixels.shape == pixels.shape, result.report.psnr_db
assert dfmcodec.perception.psnr(pixels, decoded.pixels) == result.report.psnr_db
corner = dfmcodec.decode(result.data, region=(8, 4, 24, 16)).pixels
assert numpy.array_equal(corner, decoded.pixels[4:20, 8:32])
assert dfmcodec.decode(result.data, resize=(32, 24)).pixels.shape == (24, 32, 3)
assert dfmcodec.read_info(result.data).width == 64
assert dfmcodec.decode(result.data[:-40], best_effort=True).losses

with PIL.Image.open("a.dfm") as image:
    assert image.format == "DFM" and numpy.array_equal(numpy.asarray(image), dfmcodec.decode("a.dfm"))
    image.save("again.dfm", bpp=1, effort=1)
for name in {tuple(FILES)}:
    with PIL.Image.open(name + ".png") as image:
        assert numpy.array_equal(dfmcodec.decode(name + ".dfm").pixels, numpy.asarray(image.convert("RGB"))), name

def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except dfmcodec.MissingPackageError as error:
        assert "install" in str(error) and "jax" in str(error), error
    else:
        raise AssertionError(options)

assert dfmcodec.encode(pixels, model="overfitted", training_steps=4).report.iterations == 4
refused(dfmcodec.encode, pixels, model="coordinate")
assert not {HIDDEN} & {{name.partition(".")[0] for name in sys.modules}}
"""


def copy_golden(folder: Path) -> None:
    """Puts the golden files of `FILES`, their images, and a code with its model into a folder."""
    for name, golden in FILES.items():
        for extension in (".dfm", ".png"):
            shutil.copyfile(GOLDEN / f"{golden}{extension}", folder / f"{name}{extension}")


def refused(dfm: Path, words: str, cwd: Path) -> str:
    """What a command that has to end with exit code 1 prints.

    Raises:
        SystemExit: It ends in another way.
    """
    done = subprocess.run([dfm, *shlex.split(words)], capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode != 1 or len(done.stderr.splitlines()) != 1:
        sys.exit(f"light_check: dfm {words}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return done.stderr


def main() -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dfm-light-") as temporary:
        work = Path(temporary)
        away, environment = work / "away", work / "environment"
        away.mkdir()
        wheel = built_wheel(work)
        venv.create(environment, with_pip=True)
        python, dfm = environment / "bin" / "python", environment / "bin" / "dfm"
        empty = int(command("du", "-sm", environment, cwd=work).split()[0])
        command(python, "-m", "pip", "install", "--quiet", *NEEDED, cwd=away)
        command(python, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=away)
        size = int(command("du", "-sm", environment, cwd=work).split()[0])
        versions = command(python, "-m", "pip", "freeze", cwd=away).split()

        copy_golden(away)
        command(python, "-c", IMAGES, cwd=away)
        for words in (*WORKS, *MORE_WORKS):
            command(dfm, *shlex.split(words), cwd=away)
        for words, message in LACKING.items():
            if message not in (found := refused(dfm, words, away)):
                sys.exit(f"light_check: dfm {words}: {found}")
        command(python, "-c", PROGRAM, cwd=away)
        print(" ".join(version for version in versions if "==" in version))
        print(
            f"light_check: {size} MB by du -sm, {empty} of them an empty environment; {len(WORKS + MORE_WORKS)} "
            f"commands, the Python API and Pillow work, {len(LACKING)} commands name what to install, "
            f"{time.perf_counter() - started:.0f} s"
        )


if __name__ == "__main__":
    main()
