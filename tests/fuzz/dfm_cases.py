"""`.dfm` files for fuzzing, with valid checksums: generated from the header forms of
the codecs, or golden files with changed fields, sections and lengths.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import fuzzing
import msgpack
import numpy as np
from mutation import below, chance, changed_bytes, edge, scattered

from dfmcodec.codecs.coordinate.sections import side_bytes
from dfmcodec.container.checks import CHECK, CHECK_BYTES, write_checks
from dfmcodec.container.header import read_header
from dfmcodec.container.layout import (
    FIRST_FIELDS,
    MODELS,
    SECTION_ENTRY,
    Field,
    Section,
    header_form,
    present_fields,
    read_fields,
)
from dfmcodec.entropy import LAPLACE_COUNT
from dfmcodec.entropy.streams import check_of
from dfmcodec.errors import ConfigError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.fourier.network import CoordinateArchitecture
from dfmcodec.image import Metadata
from dfmcodec.image.tiles import TILE_GRID, default_tiles
from dfmcodec.models import Model

MAX_SIDE = 400  # of images that are meant to be decoded
MAX_WEBP_SIDE = 16383
DERIVED = ("section_count",)  # fields that say what follows in the file


@dataclass(eq=False)
class Part:
    """A section of a draft.

    Args:
        section: Its id.
        body: Its bytes.
        length: What the section table says; None for the truth.
    """

    section: int
    body: bytes
    length: int | None = None


@dataclass
class Draft:
    """A file as it is to be written.

    Args:
        values: The fields of the header that describe the image.
        parts: The sections, in order.
        wrong: Fields with other values than those that follow from the rest.
        is_checked: Whether a checks section gets right checks of header and sections.
        tail: Bytes after the sections.
    """

    values: dict[str, int]
    parts: list[Part]
    wrong: dict[str, int] = field(default_factory=dict)
    is_checked: bool = True
    tail: bytes = b""

    @property
    def model(self) -> Model | None:
        """The model that the header names; None for an unknown one."""
        return MODELS.get(self.values["model"])

    def to_bytes(self) -> bytes:
        """The file, with a right CRC-32."""
        values = dict(self.values)
        values |= {"section_count": len(self.parts), **self.wrong}
        head = bytearray(MAGIC)
        for item in fields_of(values):
            head += stored(item, values.setdefault(item.name, item.less))
        for part in self.parts:
            length = len(part.body) if part.length is None else part.length
            head += SECTION_ENTRY.pack(part.section & 255, length & 0xFFFFFFFF)
        bodies = b"".join(self._mended(part, bytes(head), self.parts) for part in self.parts)
        return fuzzing.with_crc(bytes(head) + bodies + self.tail)

    def _mended(self, part: Part, head: bytes, parts: list[Part]) -> bytes:
        """The body of a section; that of a checks section with right checks, but of the symbols."""
        if part.section != Section.CHECKS or not self.is_checked:
            return part.body
        right = write_checks(head, [other.body for other in parts if other.section != Section.CHECKS], [])
        content = (right[:-CHECK_BYTES] + part.body[len(right) - CHECK_BYTES :])[: len(part.body) - CHECK_BYTES]
        return content + CHECK.pack(check_of(content))


def fields_of(values: dict[str, int]) -> list[Field]:
    """The fields of a header, in order; the first ones for an unknown model."""
    return list(present_fields({"further_bytes": 0, **values}) if values["model"] in MODELS else FIRST_FIELDS)


def stored(item: Field, value: int) -> bytes:
    """The bytes of a value of a field, also of one that is not allowed."""
    return ((value - item.less) % (1 << 8 * item.size)).to_bytes(item.size, "little")


def drawn(item: Field, rng: np.random.Generator, is_legal: bool) -> int:
    """A value of a field: any that is allowed, its ends more often; or any that is not."""
    allowed: Any = item.allowed
    if is_legal:
        if chance(rng, 0.3):
            return int(allowed[(0, -1)[below(rng, 2)]])
        if isinstance(allowed, range):
            return (
                allowed[0] + scattered(rng, len(allowed) - 1) if chance(rng, 0.5) else allowed[below(rng, len(allowed))]
            )
        return int(allowed[below(rng, len(allowed))])
    near = (allowed[0] - 1, allowed[-1] + 1, item.less, item.less + (1 << 8 * item.size) - 1)
    return int(near[below(rng, 4)]) if chance(rng, 0.6) else item.less + below(rng, 1 << 8 * item.size)


@lru_cache(maxsize=1)
def golden_drafts() -> list[Draft]:
    """The golden files in parts."""
    return [parsed(data) for data in fuzzing.seeds()]


def parsed(data: bytes) -> Draft:
    """An intact file in parts."""
    values, _ = read_fields(data)
    sections = read_header(data).sections
    parts = [Part(int(section), data[start : start + length]) for section, (start, length) in sections.items()]
    return Draft({name: value for name, value in values.items() if name not in DERIVED}, parts)


@lru_cache(maxsize=1)
def golden_bodies() -> dict[int, list[bytes]]:
    """The bodies of all sections of the golden files, by id."""
    bodies: dict[int, list[bytes]] = {}
    for draft in golden_drafts():
        for part in draft.parts:
            bodies.setdefault(part.section, []).append(part.body)
    return bodies


def golden_values(name: str, model: int) -> list[int]:
    """The values that the golden files of a model have in a field."""
    return [draft.values[name] for draft in golden_drafts() if draft.values["model"] == model and name in draft.values]


def dfm_case(rng: np.random.Generator) -> bytes:
    """A `.dfm` file that is generated or mutated."""
    draft = generated(rng) if chance(rng, 0.4) else mutated(rng)
    data = draft.to_bytes()
    if chance(rng, 0.06):  # damage that a checksum shows
        return changed_bytes(data, rng, 1)
    return data


# --------------------------------------------------------------------- generated from nothing


def generated(rng: np.random.Generator) -> Draft:
    """A file of random fields, each allowed but for a few, and of random sections."""
    values: dict[str, int] = {}
    for item in present_fields(values):
        values[item.name] = drawn(item, rng, True)
        if item.name == "further_bytes" and chance(rng, 0.7):
            values[item.name] = item.allowed[0]
    make_plausible(values, rng)
    for name in DERIVED:
        values.pop(name, None)
    model = MODELS[values["model"]]
    form = header_form(model)
    main = form.main_section
    chosen = [int(main)] if chance(rng, 0.97) else []
    optional = sorted(int(section) for section in form.sections if section != main)
    chosen += [section for section in optional if chance(rng, 0.2)]
    if chance(rng, 0.05):
        chosen.append(below(rng, 16) if chance(rng, 0.7) else below(rng, 256))
    ranks = [int(section) for section in Section]
    chosen.sort(key=lambda section: ranks.index(section) if section in ranks else 99)
    if chance(rng, 0.2):
        chosen = [chosen[at] for at in rng.permutation(len(chosen))]
    draft = Draft(values, [Part(section, body_of(section, values, rng)) for section in chosen])
    if chance(rng, 0.25):
        make_wrong(draft, rng)
    return draft


def make_plausible(values: dict[str, int], rng: np.random.Generator) -> None:
    """Makes fields agree, in most files, with each other and with what is installed."""
    model = values["model"]
    if "further_bytes" in values and chance(rng, 0.9):
        for name in ("width", "height"):
            values[name] = 1 + scattered(rng, MAX_SIDE - 1)
        if "tile_rows" in values and chance(rng, 0.8):
            values["width"], values["height"] = (TILE_GRID * (1 + below(rng, 5)) + below(rng, 9) for _ in range(2))
            for name, side in (("tile_rows", "height"), ("tile_columns", "width")):
                values[name] = 1 + below(rng, values[side] // TILE_GRID)
    if "weights_id" in values and chance(rng, 0.95):
        ids = golden_values("weights_id", model)
        values["weights_id"] = ids[below(rng, len(ids))]
    if MODELS[model] is Model.COORDINATE and chance(rng, 0.8):
        values |= {name: 1 + scattered(rng, top - 1) for name, top in (("depth", 6), ("layer_width", 12), ("order", 6))}


def make_wrong(draft: Draft, rng: np.random.Generator) -> None:
    """Makes a field, a length or the order of sections what a file may not have."""
    kind = below(rng, 6)
    present = fields_of(draft.values)
    if kind <= 2:
        item = present[below(rng, len(present))]
        draft.wrong[item.name] = drawn(item, rng, chance(rng, 0.4))
    elif kind == 3 and draft.parts:
        part = draft.parts[below(rng, len(draft.parts))]
        part.length = (len(part.body) + below(rng, 9) - 4, edge(rng, 4), 0)[below(rng, 3)]
    elif kind == 4 and draft.parts:
        part = draft.parts[below(rng, len(draft.parts))]
        draft.parts.insert(below(rng, len(draft.parts) + 1), replace(part))
    else:
        draft.tail = rng.bytes(1 + scattered(rng, 40))


# ------------------------------------------------------------------------------ bodies of sections


def stream(rng: np.random.Generator, largest: int = 400) -> bytes:
    """A range-coded stream: noise, or bytes that give likely symbols, or many unlikely ones."""
    size = scattered(rng, largest) // 4 * 4 if chance(rng, 0.9) else scattered(rng, largest)
    if chance(rng, 0.5):
        return rng.bytes(size)
    return bytes([(0, 1, 127, 128, 255)[below(rng, 5)]]) * size


def body_of(section: int, values: dict[str, int], rng: np.random.Generator) -> bytes:
    """A body of a section: a golden one, changed or not, of this section or another; noise; or one
    that is laid out as docs/format.md says, around numbers at random.
    """
    kind = below(rng, 10)
    pool = golden_bodies().get(section) or [b""]
    if kind == 0:
        return stream(rng)
    if kind == 1:
        pool = [body for bodies in golden_bodies().values() for body in bodies]
    if kind <= 3:
        body = pool[below(rng, len(pool))]
        return body if chance(rng, 0.5) else changed_bytes(body, rng)
    laid_out = LAYOUTS.get(section)
    return stream(rng) if laid_out is None else laid_out(values, rng)


def index(rng: np.random.Generator) -> int:
    """A Laplace index, sometimes one that does not exist."""
    return below(rng, LAPLACE_COUNT) if chance(rng, 0.97) else below(rng, 256)


def weights_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    names = ("channels", "depth", "layer_width", "order")
    try:
        size = side_bytes(CoordinateArchitecture(*(values[name] for name in names)))
    except (ConfigError, KeyError):
        size = below(rng, 40)
    return bytes(index(rng) for _ in range(size)) + stream(rng)


def latents_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    tiles = values.get("tile_rows", 1) * values.get("tile_columns", 1)
    streams = [bytes(index(rng) for _ in range(values.get("channels", 1))) + stream(rng) for _ in range(tiles)]
    lengths = [len(body) for body in streams]
    if chance(rng, 0.05):
        lengths[below(rng, tiles)] = edge(rng, 4)
    table = b"".join(length.to_bytes(4, "little") for length in lengths) if tiles > 1 else b""
    return table + b"".join(streams)


def filter_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    radius = below(rng, 10)
    return bytes([radius, below(rng, 256), *(index(rng) for _ in range(radius + below(rng, 2)))]) + stream(rng)


def alpha_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    height, width = values.get("height", 1), values.get("width", 1)
    tiles = min(64, default_tiles(height) * default_tiles(width))
    entries, bodies = [], []
    for _ in range(tiles):
        kind = below(rng, 2) if chance(rng, 0.95) else below(rng, 256)
        value = edge(rng, 4) if chance(rng, 0.1) else below(rng, 256)
        if kind == 1:
            bodies.append(webp(height, width, rng) if height * width <= 1 << 16 else rng.bytes(20))
            value = len(bodies[-1]) if chance(rng, 0.9) else value
        entries.append(bytes([kind]) + value.to_bytes(4, "little"))
    return b"".join([*entries, *bodies])


def webp(height: int, width: int, rng: np.random.Generator) -> bytes:
    """A WebP file: of the right size and kind, or not, whole or not."""
    import PIL.Image

    if chance(rng, 0.2):
        height, width = 1 + scattered(rng, 300), 1 + scattered(rng, 300)
    mode = "RGB" if chance(rng, 0.9) else "RGBA"
    shape = (*(min(max(side, 1), MAX_WEBP_SIDE) for side in (height, width)), len(mode))
    buffer = io.BytesIO()
    pixels = np.full(shape, below(rng, 256), np.uint8) if chance(rng, 0.7) else rng.integers(0, 256, shape, np.uint8)
    PIL.Image.fromarray(pixels, mode).save(buffer, "WEBP", lossless=chance(rng, 0.9), method=0)
    return buffer.getvalue() if chance(rng, 0.7) else changed_bytes(buffer.getvalue(), rng)


def metadata_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    names = [*Metadata.__dataclass_fields__, "icc ", ""]
    entries: Any = {names[below(rng, 3) if chance(rng, 0.9) else below(rng, 5)]: rng.bytes(scattered(rng, 60))}
    entries |= {names[below(rng, 3)]: any_value(rng) for _ in range(below(rng, 3)) if chance(rng, 0.5)}
    packed: bytes = msgpack.packb(entries if chance(rng, 0.9) else any_value(rng))
    return packed if chance(rng, 0.7) else changed_bytes(packed, rng, 1)


def any_value(rng: np.random.Generator, depth: int = 0) -> Any:
    """A value that msgpack can hold."""
    simple = (
        None,
        True,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**63),
        0.5,
        float("nan"),
        float("inf"),
        "",
        "x" * 9,
        b"",
        b"\0\xff",
    )
    kind = below(rng, len(simple) + 5)
    if kind < len(simple):
        return simple[kind]
    if depth > 3:
        return []
    if kind == len(simple):
        return msgpack.ExtType(below(rng, 128), rng.bytes(below(rng, 20)))
    inner = [any_value(rng, depth + 1) for _ in range(below(rng, 4))]
    return {str(at): value for at, value in enumerate(inner)} if kind % 2 else inner


MOST_CHECK_BYTES = 1 << 20  # also of a header whose numbers of tiles are mutated


def checks_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    tiles = values.get("tile_rows", 1) * values.get("tile_columns", 1)
    model = MODELS.get(values["model"])  # mutated ones are none
    symbols = {Model.WAVELET: tiles * (values.get("levels", 1) + 1), Model.OVERFITTED: 7}.get(model, 0)
    return rng.bytes(min(2 * (2 + symbols + 1 + below(rng, 3)), MOST_CHECK_BYTES))


def networks_body(values: dict[str, int], rng: np.random.Generator) -> bytes:
    kinds = [136 + below(rng, 8) if chance(rng, 0.7) else below(rng, 256) for _ in range(15)]
    return bytes(kinds) + stream(rng)


LAYOUTS = {
    Section.WEIGHTS: weights_body,
    Section.METADATA: metadata_body,
    Section.LATENTS: latents_body,
    Section.FILTER: filter_body,
    Section.ALPHA: alpha_body,
    Section.RGB: lambda values, rng: b"" if chance(rng, 0.9) else rng.bytes(3),
    Section.CHECKS: checks_body,
    Section.NETWORKS: networks_body,
}


# ----------------------------------------------------------------------------------- golden files


def mutated(rng: np.random.Generator) -> Draft:
    """A golden file with one thing changed, or a few."""
    drafts = golden_drafts()
    source = drafts[below(rng, len(drafts))]
    draft = Draft(dict(source.values), [replace(part) for part in source.parts], is_checked=chance(rng, 0.7))
    for _ in range(1 + scattered(rng, 3)):
        _mutate(draft, rng)
    return draft


def _mutate(draft: Draft, rng: np.random.Generator) -> None:
    kind = below(rng, 12)
    if kind <= 2:
        present = [item for item in fields_of(draft.values) if item.name in draft.values]
        item = present[below(rng, len(present))]
        draft.values[item.name] = drawn(item, rng, chance(rng, 0.7))
    elif kind == 3:
        make_wrong(draft, rng)
    elif kind == 4:
        draft.parts = [draft.parts[at] for at in rng.permutation(len(draft.parts))]
    elif kind == 5 and len(draft.parts) > 1:
        del draft.parts[below(rng, len(draft.parts))]
    elif kind <= 7:
        section = int(list(Section)[below(rng, len(Section))])
        others = [part for part in draft.parts if part.section != section]
        others.insert(below(rng, len(others) + 1), Part(section, body_of(section, draft.values, rng)))
        draft.parts = others
    elif draft.parts:
        part = draft.parts[below(rng, len(draft.parts))]
        part.body = changed_bytes(part.body, rng)
