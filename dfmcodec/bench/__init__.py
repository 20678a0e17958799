"""Benchmark suite that compares dfm with other codecs at equal file size, on the user's own
images.
"""

from dfmcodec.bench.codecs import Codec

__all__ = ["Codec"]
