"""Checks that symbols and pixels are equal with the arithmetic of other processors: decodes every
golden file in separate processes.

    python tests/quality/determinism.py        a table, for docs/results/trust.md

OPENBLAS_CORETYPE makes OpenBLAS take the kernels of another processor, NPY_DISABLE_CPU_FEATURES
makes NumPy do without instruction sets; neither can be changed in a running process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
_NUMPY = {"DFMCODEC_KERNELS": "numpy"}
ENVIRONMENTS = {
    "as it is": {},
    "kernels for AVX-512 VNNI": {"DFMCODEC_KERNELS": "avx512-vnni"},
    "kernels for AVX-VNNI": {"DFMCODEC_KERNELS": "avx-vnni"},
    "kernels for AVX2": {"DFMCODEC_KERNELS": "avx2"},
    "NumPy": _NUMPY,
    "NumPy, 1 thread": {**_NUMPY, "OPENBLAS_NUM_THREADS": "1"},
    "NumPy, 2 threads": {**_NUMPY, "OPENBLAS_NUM_THREADS": "2"},
    "NumPy, OpenBLAS for SkylakeX": {**_NUMPY, "OPENBLAS_CORETYPE": "SkylakeX"},
    "NumPy, OpenBLAS for Haswell": {**_NUMPY, "OPENBLAS_CORETYPE": "Haswell"},
    "NumPy, OpenBLAS for Zen": {**_NUMPY, "OPENBLAS_CORETYPE": "Zen"},
    "NumPy, OpenBLAS for Sandybridge": {**_NUMPY, "OPENBLAS_CORETYPE": "Sandybridge"},
    "NumPy, OpenBLAS for Nehalem (no AVX)": {**_NUMPY, "OPENBLAS_CORETYPE": "Nehalem"},
    "NumPy without AVX-512": {
        **_NUMPY,
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR",
    },
    "NumPy without AVX2, OpenBLAS for Nehalem": {
        **_NUMPY,
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR AVX2 FMA3",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
PROGRAM = """
import json, sys, hashlib
from pathlib import Path
from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
found = {}
for path in sorted(Path(sys.argv[1]).glob("*.dfm")):
    data = path.read_bytes()
    model, _ = container.read(data)
    symbols = model.grids if hasattr(model, "grids") else [model.symbols]
    pixels = decode_image(data).pixels
    digest = hashlib.sha256(b"".join(part.tobytes() for part in symbols)).hexdigest()
    found[path.stem] = [digest, pixels.astype(int).ravel().tolist()]
print(json.dumps(found))
"""


def decoded(environment: dict[str, str]) -> dict[str, tuple[str, list[int]]] | None:
    """Hash of the symbols, and the pixels, of each golden file; None where such a process cannot
    run here.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(GOLDEN)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def compare(
    reference: dict[str, tuple[str, list[int]]], other: dict[str, tuple[str, list[int]]]
) -> tuple[int, int, int]:
    """Files whose symbols differ, the largest difference of pixels, and how many pixels differ."""
    different = sum(reference[name][0] != other[name][0] for name in reference)
    differences = [
        abs(x - y) for name in reference for x, y in zip(reference[name][1], other[name][1], strict=True) if x != y
    ]
    return different, max(differences, default=0), len(differences)


def main() -> None:
    reference = decoded({})
    if reference is None:
        sys.exit("determinism: the golden files cannot be decoded here")
    samples = sum(len(pixels) for _, pixels in reference.values())
    digest = hashlib.sha256(json.dumps(reference).encode()).hexdigest()[:12]
    print(f"{len(reference)} files, {samples} samples, {digest}\n")
    print("| environment | files with other symbols | largest difference of a sample | samples that differ |")
    print("|---|---|---|---|")
    for name, environment in ENVIRONMENTS.items():
        other = decoded(environment)
        row = ("not possible here", "", "") if other is None else compare(reference, other)
        print(f"| {name} | " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
