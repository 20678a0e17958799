"""The measures of quality that codecs are compared by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measure, larger where an image is better.

    Args:
        name: Its attribute of `Figures`, and its name in JSON.
        label: Its name for people.
        unit: The unit of its values; "" for none.
        digits: The number of decimals that are shown.
    """

    name: str
    label: str
    unit: str
    digits: int

    @property
    def heading(self) -> str:
        """The measure with its unit: "PSNR in dB"."""
        return f"{self.label} in {self.unit}" if self.unit else self.label

    def text(self, value: float | None) -> str:
        """Returns a value as tables show it, without its unit; "" for None."""
        return "" if value is None else f"{value:.{self.digits}f}"

    def difference(self, value: float) -> str:
        """Returns a difference with its sign, and its unit if it has one."""
        return f"{value:+.{self.digits}f}{f' {self.unit}' if self.unit else ''}"


PSNR = Measure("psnr_db", "PSNR", "dB", 2)
SSIMULACRA2 = Measure("ssimulacra2", "SSIMULACRA2", "", 1)
OF_TUNE = {"visual": SSIMULACRA2, "psnr": PSNR}
MEASURES = {measure.name: measure for measure in OF_TUNE.values()}
