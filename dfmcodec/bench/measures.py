"""Quality measures by which codecs are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """Quality measure."""

    name: str  # attribute of `Figures`, also the name in JSON
    label: str  # displayed name
    unit: str  # "" for none
    digits: int  # displayed decimals
    is_lower_better: bool = False

    @property
    def heading(self) -> str:
        """Returns the label with the unit: "PSNR in dB"."""
        return f"{self.label} in {self.unit}" if self.unit else self.label

    def quality(self, value: float) -> float:
        """Returns a number that is higher for better images."""
        return -value if self.is_lower_better else value

    def text(self, value: float | None) -> str:
        """Formats a value without its unit; "" for None."""
        return number_text(value, self.digits)

    def difference(self, value: float) -> str:
        """Formats a difference with its sign, and its unit if there is one."""
        return f"{value:+.{self.digits}f}{f' {self.unit}' if self.unit else ''}"


def number_text(value: float | None, digits: int) -> str:
    """Formats a number; "" for None."""
    return "" if value is None else f"{value:.{digits}f}"


PSNR = Measure("psnr_db", "PSNR", "dB", 2)
SSIMULACRA2 = Measure("ssimulacra2", "SSIMULACRA2", "", 1)
BUTTERAUGLI = Measure("butteraugli", "Butteraugli", "", 2, is_lower_better=True)
OF_TUNE = {"visual": SSIMULACRA2, "psnr": PSNR}  # of files of equal size
EQUAL_QUALITY = {"visual": (SSIMULACRA2, BUTTERAUGLI), "psnr": (PSNR,)}  # bits are compared at equal values of these
MEASURES = {measure.name: measure for measure in (PSNR, SSIMULACRA2, BUTTERAUGLI)}
