"""`import dfmcodec.pillow` registers `.dfm` files with Pillow; see `dfmcodec.plugins.pillow`."""

from dfmcodec.plugins.pillow import DfmImageFile, register

__all__ = ["DfmImageFile", "register"]

register()
