"""Archive economics: after how many months smaller files have paid for the electricity of encoding.

    python benchmarks/archive.py
    python benchmarks/archive.py --watts-per-core 8 --eur-per-kwh 0.2 --eur-per-gb-month 0.1
    python benchmarks/archive.py --eur-per-core-hour 0.02

The last one is for a million images on rented cores, whose price is all that counts there.
Seconds and sizes are those of the recorded rows: complete commands for 768x512 on two cores, and
BD-rates by PSNR on Kodak. docs/archive.md and
docs/scale.md have the tables with these prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
import numpy as np
from first_page import fit_minutes, kodak_bd_rates, seconds

CORES = 2
FILE_BYTES = 768 * 512 // 8  # 1 bpp


@dataclass(frozen=True)
class Prices:
    """Power of a busy core, and prices of electricity and storage."""

    watts_per_core: float = 15
    eur_per_kwh: float = 0.30
    eur_per_gb_month: float = 0.02

    def months(self, busy_s: float, saved_bytes: float) -> float:
        """Returns the months until storage savings pay for the electricity of two cores."""
        electricity_eur = busy_s * CORES * self.watts_per_core / 3.6e6 * self.eur_per_kwh
        return electricity_eur / (saved_bytes / 1e9 * self.eur_per_gb_month)


@dataclass(frozen=True)
class Million:
    """Cost of encoding a million images, by the seconds of one.

    Args:
        busy_s: The seconds of all cores for an image.
        eur_per_core_hour: The price of a core.
    """

    busy_s: float
    eur_per_core_hour: float = 0.02

    @property
    def core_hours(self) -> float:
        return self.busy_s * CORES * 1e6 / 3600

    @property
    def eur(self) -> float:
        return self.core_hours * self.eur_per_core_hour

    def months(self, saved_bytes: float, eur_per_gb_month: float = Prices.eur_per_gb_month) -> float:
        """Returns the months until storage savings pay for it."""
        return self.eur / (saved_bytes * 1e6 / 1e9 * eur_per_gb_month)


@dataclass(frozen=True)
class Saving:
    """Cost of an encoding, and bytes that its file saves.

    Args:
        label: What replaces what.
        busy_s: The seconds of the encoding.
        saved_bytes: By how much the file is smaller than the one that it replaces.
        decode_s: The seconds that each decoding takes more.
    """

    label: str
    busy_s: float
    saved_bytes: float
    decode_s: float = 0


def savings() -> list[Saving]:
    """Returns the rows of the table."""
    rates = {codec: _mean_rates(codec) for codec in ("dfm-1", "dfm-5", "overfitted:7")}
    encode_s = {
        "dfm-1": _mean(seconds("dfm encode --effort 1")),
        "dfm-5": _mean(seconds("dfm encode")),
        "overfitted:7": 60 * _mean(fit_minutes(7)),
    }
    decode_s = _mean(seconds("dfm decode"))
    found = []
    for codec, label in (("dfm-1", "effort 1"), ("dfm-5", "the default")):
        for anchor in ("JPEG", "AVIF"):
            saved_bytes = FILE_BYTES / (1 + rates[codec][anchor]) - FILE_BYTES
            found.append(Saving(f"{label} in place of {anchor}", encode_s[codec], saved_bytes, decode_s))
    more_bytes = FILE_BYTES * rates["dfm-1"]["default"]
    found.append(Saving("the default in place of effort 1", encode_s["dfm-5"] - encode_s["dfm-1"], more_bytes))
    fewer_bytes = -FILE_BYTES * rates["overfitted:7"]["default"]
    found.append(Saving("effort 7 in place of the default", encode_s["overfitted:7"] - encode_s["dfm-5"], fewer_bytes))
    return found


def table(prices: Prices) -> str:
    """Returns the savings in Markdown."""
    lines = ["| 768x512, 1 bpp | seconds | bytes saved | months until it pays | months for each decoding |"]
    lines.append("|---|---|---|---|---|")
    for row in savings():
        months = f"{prices.months(row.busy_s, row.saved_bytes):,.0f}"
        decoding = f"{prices.months(row.decode_s, row.saved_bytes):.1f}" if row.decode_s else ""
        saved = round(row.saved_bytes, -2)  # versions of SciPy differ by single bytes
        lines.append(f"| {row.label} | {row.busy_s:,.1f} | {saved:,.0f} | {months} | {decoding} |")
    return "\n".join(lines)


def corpus_table(eur_per_core_hour: float, eur_per_gb_month: float) -> str:
    """Returns a million images in Markdown."""
    by_label = {row.label: row for row in savings()}
    lines = ["| effort | s an image | core-hours per million | EUR | pays in place of JPEG after | of AVIF |"]
    lines.append("|---|---|---|---|---|---|")
    for effort, label in (("1", "effort 1"), ("5", "the default")):
        rows = [by_label[f"{label} in place of {anchor}"] for anchor in ("JPEG", "AVIF")]
        million = Million(rows[0].busy_s, eur_per_core_hour)
        months = [f"{million.months(row.saved_bytes, eur_per_gb_month):,.0f} months" for row in rows]
        lines.append(_corpus_line(effort, million, months))
    million = Million(60 * _mean(fit_minutes(7)), eur_per_core_hour)
    lines.append(_corpus_line("7, the overfitted codec alone", million, ["", ""]))
    return "\n".join(lines)


def _corpus_line(effort: str, million: Million, months: list[str]) -> str:
    cells = [effort, f"{million.busy_s:,.2f}", f"{million.core_hours:,.0f}", f"{million.eur:,.0f}", *months]
    return f"| {' | '.join(cells)} |"


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _mean_rates(codec: str) -> dict[str, float]:
    """Returns the mean BD-rates of a codec, as parts of the anchor's bits."""
    return {anchor: _mean(list(rates.values())) / 100 for anchor, rates in kodak_bd_rates(codec).items()}


@click.command(help=__doc__)
@click.option("--watts-per-core", type=float, default=Prices.watts_per_core, show_default=True)
@click.option("--eur-per-kwh", type=float, default=Prices.eur_per_kwh, show_default=True)
@click.option("--eur-per-gb-month", type=float, default=Prices.eur_per_gb_month, show_default=True)
@click.option("--eur-per-core-hour", type=float, help="Give the table of a million images, by this price.")
def main(watts_per_core: float, eur_per_kwh: float, eur_per_gb_month: float, eur_per_core_hour: float | None) -> None:
    if eur_per_core_hour is None:
        click.echo(table(Prices(watts_per_core, eur_per_kwh, eur_per_gb_month)))
    else:
        click.echo(corpus_table(eur_per_core_hour, eur_per_gb_month))


if __name__ == "__main__":
    main()
