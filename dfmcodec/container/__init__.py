"""The `.dfm` container: contents <-> bytes of a file. docs/format.md specifies every byte.

`write` and `read` are inverses. `read_header` reads the header alone and decodes nothing.
"""

from dfmcodec.container.checks import checks_file_bytes
from dfmcodec.container.contents import Ancillary
from dfmcodec.container.header import Header, read_header
from dfmcodec.container.layout import Section, container_bytes, section_file_bytes, sections_file_bytes
from dfmcodec.container.read_write import ancillary_sections, read, read_ancillary, read_model, read_region, write

__all__ = [
    "Ancillary",
    "Header",
    "Section",
    "ancillary_sections",
    "checks_file_bytes",
    "container_bytes",
    "read",
    "read_ancillary",
    "read_header",
    "read_model",
    "read_region",
    "section_file_bytes",
    "sections_file_bytes",
    "write",
]
