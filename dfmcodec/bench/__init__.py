"""Benchmark suite that compares dfm with other codecs at equal file size."""

from dfmcodec.bench.codecs import Codec

__all__ = ["Codec"]
