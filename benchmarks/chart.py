"""Draws the runs of `python -m benchmarks --json FILE` as an SVG: `python -m benchmarks.chart FILE.json FILE.svg`."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from benchmarks.rows import ROWS

WIDTH, LABEL, FULL = 760, 170, 430  # pixels: of all, of the names, of the longest bar of a row
BAR, TITLE, GAP, MARGIN = 24, 30, 16, 20  # pixels: heights
OURS, PEER = "#2f6fb3", "#9aa5b1"
_NAMES = {row.name: row.about for row in ROWS}

Runs = dict[str, dict[str, list[dict[str, float]]]]  # row, contender, runs


@dataclass(frozen=True, slots=True)
class Mark:
    """A contender's bar: seconds by the clock, and bytes of peak memory."""

    label: str
    seconds: float
    peak: float


def marks(contenders: dict[str, list[dict[str, float]]]) -> list[Mark]:
    """A row's bars: medians of time, the most memory."""
    return [
        Mark(label, median(run["seconds"] for run in runs), max(run["peak"] for run in runs))
        for label, runs in contenders.items()
    ]


def svg(runs: Runs) -> str:
    """The chart; each row has a scale of its own."""
    lines, top = [], MARGIN
    for name, contenders in runs.items():
        lines += _row(name, marks(contenders), top)
        top += TITLE + BAR * len(contenders) + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        'font-family="sans-serif" font-size="13">'
    )
    about = "<title>Seconds of a whole load, dsload beside other tools; shorter is better</title>"
    return "\n".join([head, about, f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>', *lines, "</svg>", ""])


def _row(name: str, bars: list[Mark], top: int) -> Iterator[str]:
    yield _text(MARGIN, top + 14, _NAMES[name], 'font-weight="bold"')
    longest = max(bar.seconds for bar in bars)
    for number, bar in enumerate(bars):
        y, width = top + TITLE + BAR * number, max(1, round(FULL * bar.seconds / longest))
        colour = OURS if bar.label.startswith("dsload") else PEER
        yield _text(LABEL, y + 13, bar.label, 'text-anchor="end"')
        yield f'<rect x="{LABEL + 10}" y="{y}" width="{width}" height="{BAR - 6}" fill="{colour}"/>'
        yield _text(LABEL + width + 16, y + 13, f"{bar.seconds:.2f} s, {bar.peak / 1e6:.0f} MB")


def _text(x: int, y: int, words: str, attributes: str = "") -> str:
    return f'<text x="{x}" y="{y}" {attributes}>{escape(words)}</text>'.replace(" >", ">")


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(svg(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")
