"""The published experiments, and measurements of the published network as a codec."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))  # for `recording`
