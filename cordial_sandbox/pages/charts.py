"""Charts as points and ticks for an inline SVG, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

Values = Sequence[int | None]

_MAX_DATES = 6


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines in a box of ``width`` by ``height``, whose origin is at the top left.

    :param lines: for each series the pieces of its line, as the attribute ``points`` of a polyline; a gap where a value
        is missing.
    :param dots: for each series the values without a neighbor, which no line shows.
    """

    width: int
    height: int
    lines: Sequence[Sequence[str]]
    dots: Sequence[Sequence[tuple[float, float]]]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def draw(days: Sequence[date], series: Sequence[Values], width: int, height: int) -> Chart | None:
    """Return the chart of series that have a value for each day; None without any value."""
    known = [value for values in series for value in values if value is not None]
    if not known:
        return None
    ticks = _round_values(min(known), max(known))
    low, high = ticks[0], ticks[-1]

    def x(index: int) -> float:
        return round(width * (index / (len(days) - 1) if len(days) > 1 else 0.5), 1)

    def y(value: float) -> float:
        return round(height * (high - value) / (high - low), 1)

    pieces = [[[(x(n), y(value)) for n, value in piece] for piece in _split(values)] for values in series]
    step = max(1, math.ceil(len(days) / _MAX_DATES))
    return Chart(
        width,
        height,
        [[" ".join(f"{px},{py}" for px, py in piece) for piece in line if len(piece) > 1] for line in pieces],
        [[piece[0] for piece in line if len(piece) == 1] for line in pieces],
        [Tick(x(n), days[n].isoformat()) for n in range(0, len(days), step)],
        [Tick(y(value), f"{value:,}") for value in ticks],
    )


def describe(days: Sequence[date], values: Values) -> str:
    """Return a line in words, for those who do not see it."""
    known = [(value, day) for day, value in zip(days, values, strict=True) if value is not None]
    if not known:
        return "No snapshots"
    (first, first_day), (last, last_day) = known[0], known[-1]
    (low, low_day), (high, high_day) = min(known), max(known)
    missing = len(days) - len(known)
    text = (
        f"{first:,} contacts on {first_day}, {last:,} on {last_day}; "
        f"lowest {low:,} on {low_day}, highest {high:,} on {high_day}"
    )
    return f"{text}; days without a snapshot: {missing}" if missing else text


def _split(values: Values) -> list[list[tuple[int, int]]]:
    """Return the pieces without a missing value, each as indexes and values."""
    pieces: list[list[tuple[int, int]]] = [[]]
    for index, value in enumerate(values):
        if value is not None:
            pieces[-1].append((index, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _round_values(low: int, high: int) -> list[int]:
    """Return three to seven evenly spaced round values that enclose two others."""
    spread = max(1, high - low)
    magnitude = 10 ** math.floor(math.log10(spread))
    step = max(1, int(next(factor * magnitude / 5 for factor in (1, 2, 5, 10) if spread / (factor * magnitude) <= 1)))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * n for n in range(first, max(last, first + 1) + 1)]
