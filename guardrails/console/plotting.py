"""Plots as geometry: where the marks of a chart stand, in the units of an SVG's view box. A template draws them.

A plot carries its title, a sentence that says what it shows, and its numbers as a table, for readers who see no picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Heatmap", "HeatmapCell", "Label", "Mark", "Plot", "bars", "heatmap", "histogram", "stacked"]

_WIDTH = 960.0
_HALF_WIDTH = 440.0
_HEIGHT = 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 8.0, 12.0, 28.0
_BAR_HEIGHT = 26.0
_NAME_WIDTH = 190.0
_MOST_TICKS = 4
_MOST_LABELS = 7
_NAME_CHARACTERS = 26


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle: its place and size, the tone that it is filled with, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    says: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a place; `anchor` is SVG's ``start``, ``middle`` or ``end``."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart.

    Args:
        name: By which it is told apart on its page.
        title: What it shows.
        description: A sentence with what stands out.
        width: Of the view box.
        height: Of the view box.
        marks: What is drawn.
        labels: At the axes.
        rules: Heights of horizontal lines.
        legend: (tone, name) of what is told apart.
        columns: Heads of the table.
        rows: The table.
    """

    name: str
    title: str
    description: str
    width: float
    height: float
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    rules: tuple[float, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.marks


@dataclass(frozen=True, slots=True)
class HeatmapCell:
    """A cell: its count, how dark it is (0 to 4), its tone, and what it says."""

    count: int
    shade: int
    tone: str
    says: str


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A table whose cells are shaded by their numbers; None where there is none."""

    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatmapCell | None, ...]], ...]


def stacked(
    name: str,
    title: str,
    buckets: Sequence[str],
    series: Sequence[tuple[str, str, Sequence[int]]],
    *,
    width: float = _WIDTH,
) -> Plot:
    """Returns bars over time, one a bucket, with the series on top of one another.

    Args:
        name: Of the plot.
        title: What it shows.
        buckets: Labels of the buckets, in order.
        series: Tone, name and counts, as many as buckets.
        width: Of the view box.
    """
    totals = [sum(counts[place] for _, _, counts in series) for place in range(len(buckets))]
    top, ticks = _scale(max(totals, default=0))
    step_width = (width - _LEFT - _RIGHT) / max(1, len(buckets))
    height = _HEIGHT - _TOP - _BOTTOM
    marks = []
    for place, bucket in enumerate(buckets):
        y = _TOP + height
        for tone, label, counts in series:
            tall = height * counts[place] / top
            y -= tall
            if counts[place]:
                x = _LEFT + (place + 0.1) * step_width
                marks.append(_mark(x, y, step_width * 0.8, tall, tone, f"{bucket}: {counts[place]:,} {label}"))
    step = max(1, math.ceil(len(buckets) / _MOST_LABELS))
    labels = [
        Label(round(_LEFT + (place + 0.5) * step_width, 2), _HEIGHT - 8, bucket)
        for place, bucket in enumerate(buckets)
        if place % step == 0
    ]
    sums = [(label, sum(counts)) for _, label, counts in series]
    described = ", ".join(f"{total:,} {label}" for label, total in sums) + f" in {len(buckets)} spans of time"
    return Plot(
        name,
        title,
        f"{described}.",
        width,
        _HEIGHT,
        tuple(marks),
        tuple(labels) + _tick_labels(ticks, top),
        tuple(_y(tick, top) for tick in ticks),
        tuple((tone, label) for tone, label, _ in series),
        ("From", *(label for _, label, _ in series)),
        tuple((bucket, *(f"{counts[n]:,}" for _, _, counts in series)) for n, bucket in enumerate(buckets) if totals[n]),
    )


def bars(name: str, title: str, items: Sequence[tuple[str, int]], *, tone: str, heads: tuple[str, str]) -> Plot:
    """Returns bars to the right, one an item, with their names at the left.

    Args:
        name: Of the plot.
        title: What it shows.
        items: Names and counts, in the order wanted.
        tone: That all are filled with.
        heads: Heads of the table.
    """
    most = max((count for _, count in items), default=0) or 1
    room = _HALF_WIDTH - _NAME_WIDTH - 70
    marks, labels = [], []
    for place, (item, count) in enumerate(items):
        y = 4 + place * _BAR_HEIGHT
        long = room * count / most
        marks.append(_mark(_NAME_WIDTH, y + 3, max(long, 1), _BAR_HEIGHT - 8, tone, f"{item}: {count:,}"))
        labels.append(Label(_NAME_WIDTH - 8, y + 16, _cut(item), "end"))
        labels.append(Label(round(_NAME_WIDTH + long + 6, 2), y + 16, f"{count:,}", "start"))
    first = f"Most: {items[0][0]}, {items[0][1]:,}." if items else "Nothing."
    rows = tuple((item, f"{count:,}") for item, count in items)
    height = 8 + len(items) * _BAR_HEIGHT
    return Plot(name, title, first, _HALF_WIDTH, height, tuple(marks), tuple(labels), columns=heads, rows=rows)


def histogram(
    name: str, title: str, bins: Sequence[tuple[str, str, int]], marked: Sequence[tuple[str, str]], *, heads: tuple[str, ...]
) -> Plot:
    """Returns bars side by side, one a bin.

    Args:
        name: Of the plot.
        title: What it shows.
        bins: Lower bound, upper bound and count, in order.
        marked: Names of values and the values, such as the median's, for the description.
        heads: Heads of the table: from, to, count.
    """
    plot = stacked(
        name, title, [low for low, _, _ in bins], [("info", "outcomes", [count for _, _, count in bins])], width=_HALF_WIDTH
    )
    described = ", ".join(f"{label} {value}" for label, value in marked)
    rows = tuple((low, high, f"{count:,}") for low, high, count in bins if count)
    return Plot(
        name, title, f"{described}.", plot.width, plot.height, plot.marks, plot.labels, plot.rules, (), tuple(heads), rows
    )


def heatmap(title: str, names: Sequence[str], columns: Sequence[str], counts: dict[tuple[str, str], dict[str, int]]) -> Heatmap:
    """Returns a table of names and columns with the number of times that each was shown, darker for more.

    Args:
        title: What it shows.
        names: Of the rows.
        columns: Of the columns.
        counts: For (name, column): how it was shown (``masked``, ``lifted``, ``clear``) and how often.
    """
    most = max((sum(found.values()) for found in counts.values()), default=0)
    rows = []
    for name in names:
        cells: list[HeatmapCell | None] = []
        for column in columns:
            found = counts.get((name, column))
            if not found:
                cells.append(None)
                continue
            total = sum(found.values())
            tone = "lifted" if found.get("lifted") else "clear" if found.get("clear") else "masked"
            says = ", ".join(f"{count:,} {how}" for how, count in sorted(found.items()) if count)
            shade = min(4, int(5 * math.log1p(total) / math.log1p(most + 1)))
            cells.append(HeatmapCell(total, shade, tone, says))
        rows.append((name, tuple(cells)))
    described = f"Principals: {len(names)}, columns: {len(columns)}. The most often: {most:,} times."
    return Heatmap(title, described, tuple(columns), tuple(rows))


def _scale(most: int) -> tuple[float, list[int]]:
    """The top of an axis that begins at 0, and its ticks."""
    if most <= 0:
        return 1.0, [0]
    rough = most / _MOST_TICKS
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = next(int(factor * power) for factor in (1, 2, 5, 10) if factor * power >= rough)
    step = max(1, step)
    count = math.ceil(most / step)
    return float(step * count), [step * tick for tick in range(count + 1)]


def _y(value: float, top: float) -> float:
    return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / top), 2)


def _tick_labels(ticks: Sequence[int], top: float) -> tuple[Label, ...]:
    return tuple(Label(_LEFT - 6, _y(tick, top) + 4, _count(tick), "end") for tick in ticks)


def _count(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= 10 * size or (number >= size and number % size == 0):
            return f"{number / size:g}{unit}"
    return str(number)


def _mark(x: float, y: float, width: float, height: float, tone: str, says: str) -> Mark:
    return Mark(round(x, 2), round(y, 2), round(width, 2), round(height, 2), tone, says)


def _cut(text: str) -> str:
    return text if len(text) <= _NAME_CHARACTERS else text[: _NAME_CHARACTERS - 1] + "…"
