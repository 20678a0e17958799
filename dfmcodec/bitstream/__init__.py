"""The `.dfm` file: contents <-> bytes. docs/format.md specifies every byte.

`write` and `read` are the two directions. `read_header` reads the header alone and decodes nothing.
"""

from dfmcodec.bitstream.container import ancillary_sections, read, read_ancillary, read_model, read_region, write
from dfmcodec.bitstream.contents import Ancillary, tiling_of
from dfmcodec.bitstream.header import Header, read_header
from dfmcodec.bitstream.layout import MAGIC, VERSION, Section, container_bytes
from dfmcodec.bitstream.sizes import (
    checks_file_bytes,
    code_file_bytes,
    estimate_network_bytes,
    latent_file_bytes,
    network_file_bytes,
    section_file_bytes,
    sections_file_bytes,
    tiling_checks,
)

__all__ = [
    "MAGIC",
    "VERSION",
    "Ancillary",
    "Header",
    "Section",
    "ancillary_sections",
    "checks_file_bytes",
    "code_file_bytes",
    "container_bytes",
    "estimate_network_bytes",
    "latent_file_bytes",
    "network_file_bytes",
    "read",
    "read_ancillary",
    "read_header",
    "read_model",
    "read_region",
    "section_file_bytes",
    "sections_file_bytes",
    "tiling_checks",
    "tiling_of",
    "write",
]
