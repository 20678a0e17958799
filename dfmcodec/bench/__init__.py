"""Benchmark suite that compares dfm with other codecs at equal file size, on the user's own
images.
"""

from dfmcodec.bench.codecs import ANCHORS, Codec
from dfmcodec.bench.measurement import Measurement, Target
from dfmcodec.bench.runner import Comparison, Plan, run

__all__ = ["ANCHORS", "Codec", "Comparison", "Measurement", "Plan", "Target", "run"]
