"""The benchmark suite: dfm beside other codecs at equal file size, on the user's own pictures."""

from dfmcodec.bench.codecs import ANCHORS, Codec
from dfmcodec.bench.measurement import Measurement, Target
from dfmcodec.bench.runner import Comparison, Plan, run

__all__ = ["ANCHORS", "Codec", "Comparison", "Measurement", "Plan", "Target", "run"]
