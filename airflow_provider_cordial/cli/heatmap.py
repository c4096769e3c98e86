"""Heatmap: what a table has, as characters or as a page. No I/O.

A cell is recognized by its shape as well as by its color.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from string import Template
from typing import Any

from airflow_provider_cordial.cli.output import printable
from airflow_provider_cordial.exports.timeframe import ONE_DAY, Timeframe
from airflow_provider_cordial.trends.coverage import Coverage

#: Characters of an audience in the terminal, and of the heading of a month.
LONGEST_NAME = 40
_MONTH = len("2026-01")

#: Days with a number above them.
_TICKS = (5, 10, 15, 20, 25, 30)

#: Pixels of the page: of a row, of the height of a cell, and of the headings above the rows.
_ROW = 20
_HEIGHT = 14
_HEADING = 36

#: The width of a cell and of the gap after it, by the number of days; the last one is for more days.
_WIDTHS = ((62, 14, 2), (124, 10, 1))
_NARROW = (6, 1)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a cell can be.

    :param symbol: in the terminal.
    :param style: rich's, of the symbol.
    """

    name: str
    symbol: str
    style: str
    meaning: str


LOADED = Kind("loaded", "■", "green", "a number")
BLANK = Kind("blank", "□", "yellow", "exported, and no snapshot of the day")
MISSING = Kind("missing", "×", "bold red", "never loaded")

#: In the order of the legend.
KINDS = (LOADED, BLANK, MISSING)

#: A day before the audience was tracked.
UNEXPECTED = Kind("unexpected", " ", "", "not expected")


def read_row(found: Coverage, audience: str) -> list[Kind]:
    """Return what the table has of an audience, day by day."""
    expected, loaded, blank = (bits.get(audience, 0) for bits in (found.expected, found.loaded, found.blank))

    def kind_of(bit: int) -> Kind:
        if not expected & bit:
            return UNEXPECTED
        return LOADED if loaded & bit else BLANK if blank & bit else MISSING

    return [kind_of(1 << place) for place in range(len(found.timeframe))]


def to_json(found: Coverage) -> dict[str, Any]:
    """Return the rows as JSON: a symbol per day."""
    return {
        "timeframe": found.timeframe.to_json(),
        "symbols": {kind.name: kind.symbol for kind in (*KINDS, UNEXPECTED)},
        "counts": found.counts(),
        "audiences": {
            audience: "".join(kind.symbol for kind in read_row(found, audience)) for audience in found.expected
        },
    }


def split_months(timeframe: Timeframe) -> list[Timeframe]:
    """Return the days of each month."""
    months = (list(days) for _, days in groupby(timeframe, lambda day: (day.year, day.month)))
    return [Timeframe(days[0], days[-1]) for days in months]


def draw_text(found: Coverage, title: str, *, width: int) -> Any:
    """Return the heatmap as rich's text: the months that fit beside each other, then the next ones below.

    :param width: columns of the terminal.
    """
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    names = {audience: _shorten(audience) for audience in found.expected}
    # Some characters take two columns.
    longest = min(max(map(cell_len, names.values()), default=0), LONGEST_NAME)
    text = Text(no_wrap=True, overflow="ignore")
    text.append(f"{title}\n")
    for months in _group_months(split_months(found.timeframe), width - longest - 1):
        text.append(f"\n{_headings(months, longest)}\n", style="dim")
        for audience, name in names.items():
            row = read_row(found, audience)
            text.append(set_cell_size(name, longest))
            for month in months:
                start = (month.start - found.timeframe.start).days
                some = row[start : start + len(month)]
                text.append(" ")
                for kind in some:
                    text.append(kind.symbol, style=kind.style)
                text.append(" " * (_MONTH - len(some)))
            text.append("\n")
    text.append("\n")
    counts = found.counts()
    for kind in KINDS:
        text.append(kind.symbol, style=kind.style)
        text.append(f" {counts[kind.name]} {kind.name}   ")
    return text


def _shorten(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 1]}…"


def _group_months(months: Sequence[Timeframe], width: int) -> Iterator[list[Timeframe]]:
    """Yield the months that fit beside each other."""
    group: list[Timeframe] = []
    used = 0
    for month in months:
        needed = max(_MONTH, len(month)) + 1
        if group and used + needed > width:
            yield group
            group, used = [], 0
        group.append(month)
        used += needed
    if group:
        yield group


def _headings(months: Sequence[Timeframe], longest: int) -> str:
    """Return the months, and below them the numbers of some days."""
    widths = [max(_MONTH, len(month)) for month in months]
    names = " ".join(f"{month.start:%Y-%m}".ljust(width) for month, width in zip(months, widths, strict=True))
    ticks = " ".join(_ticks(month).ljust(width) for month, width in zip(months, widths, strict=True))
    margin = " " * (longest + 1)
    return f"{margin}{names.rstrip()}\n{margin}{ticks.rstrip()}"


def _ticks(month: Timeframe) -> str:
    line = str(month.start.day)
    for place, day in enumerate(month):
        # With a blank before the number, and within the month.
        if day.day in _TICKS and place > len(line) and place + len(str(day.day)) <= len(month):
            line = line.ljust(place) + str(day.day)
    return line


def draw_page(found: Coverage, title: str) -> str:
    """Return the heatmap as an HTML page that needs no other file."""
    counts = found.counts()
    return _PAGE.substitute(
        title=escape(title),
        row=_ROW,
        heading=_HEADING,
        legend="".join(
            f'<li><svg width="{_HEIGHT}" height="{_HEIGHT}" aria-hidden="true">{_rectangle(kind, 0, 0, _HEIGHT)}</svg> '
            f"<b>{counts[kind.name]:,}</b> {kind.name}: {kind.meaning}</li>"
            for kind in KINDS
        ),
        names="".join(f'<div title="{escape(name)}">{escape(printable(name))}</div>' for name in found.expected),
        picture=_draw_picture(found, title),
    )


def _draw_picture(found: Coverage, title: str) -> str:
    days = len(found.timeframe)
    cell, gap = next(((cell, gap) for limit, cell, gap in _WIDTHS if days <= limit), _NARROW)
    height = _HEADING + len(found.expected) * _ROW
    parts = [
        f'<svg width="{days * cell + 1}" height="{height}" role="img" aria-label="{escape(title)}">',
        *_draw_headings(found, cell),
    ]
    for number, audience in enumerate(found.expected):
        top = _HEADING + number * _ROW + (_ROW - _HEIGHT) // 2
        parts += _draw_row(found, audience, top, cell, gap)
    # The days of a range are told apart by lines in the color of the page.
    lines = "".join(f"M{place * cell - gap / 2} {_HEADING}V{height}" for place in range(1, days))
    days_apart = f'<path class="days" stroke-width="{gap}" d="{lines}"/>'
    return "".join([*parts, days_apart, *_draw_months(found, cell, height), "</svg>"])


def _draw_row(found: Coverage, audience: str, top: int, cell: int, gap: int) -> Iterator[str]:
    """Yield a rectangle per range of equal cells: a page of years and thousands of audiences stays small."""
    place = 0
    for kind, cells in groupby(read_row(found, audience)):
        count = len(list(cells))
        if kind is not UNEXPECTED:
            text = f"{audience}, {_describe(found, place, count)}: {kind.name}"
            title = f"<title>{escape(text)}</title>"
            yield _rectangle(kind, place * cell, top, count * cell - gap, title)
        place += count


def _describe(found: Coverage, place: int, count: int) -> str:
    start = found.timeframe.start + place * ONE_DAY
    return f"{start}" if count == 1 else f"{Timeframe(start, start + (count - 1) * ONE_DAY)} ({count} days)"


def _rectangle(kind: Kind, left: int, top: int, width: int, content: str = "") -> str:
    # The outline is inside.
    return (
        f'<rect class="{kind.name}" x="{left + 0.5}" y="{top + 0.5}" width="{width - 1}" height="{_HEIGHT - 1}">'
        f"{content}</rect>"
    )


def _draw_headings(found: Coverage, cell: int) -> Iterator[str]:
    for month in split_months(found.timeframe):
        left = (month.start - found.timeframe.start).days * cell
        if len(month) * cell >= _MONTH * 8:
            yield f'<text x="{left + 3}" y="13">{month.start:%Y-%m}</text>'
    for place, day in enumerate(found.timeframe) if cell > _NARROW[0] else ():
        is_beside_the_first = (day + ONE_DAY).day == 1 and day < found.timeframe.end
        if day.day == 1 or ((day.day in _TICKS or not place) and not is_beside_the_first):
            yield f'<text class="day" x="{place * cell + 1}" y="29">{day.day}</text>'


def _draw_months(found: Coverage, cell: int, height: int) -> Iterator[str]:
    for month in split_months(found.timeframe):
        left = (month.start - found.timeframe.start).days * cell + 0.5
        yield f'<path class="month" d="M{left} 0V{height}"/>'


_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --page: #fff; --text: #1f2328; --faint: #656d76; --line: #d0d7de;
  --loaded: #1a7f5a; --blank: #b58105; --missing: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #3d444d;
  --loaded: #3fb98a; --blank: #d9a633; --missing: #ff7b72; } }
body { margin: 24px; background: var(--page); color: var(--text); font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 18px; margin: 0 0 4px; }
ul { list-style: none; margin: 0 0 16px; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 24px; }
li svg { vertical-align: -2px; }
main { display: flex; }
.names { flex: none; max-width: 320px; padding: ${heading}px 12px 0 0; }
.names div { height: ${row}px; line-height: ${row}px; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
.picture { overflow-x: auto; }
svg { display: block; }
li svg { display: inline-block; }
text { font: 12px system-ui, sans-serif; fill: var(--text); }
text.day { font-size: 10px; fill: var(--faint); }
.loaded { fill: var(--loaded); stroke: var(--loaded); }
.blank { fill: var(--page); stroke: var(--blank); }
.missing { fill: url(#hatch); stroke: var(--missing); }
#hatch rect { fill: var(--missing); opacity: 0.25; }
#hatch path { stroke: var(--missing); stroke-width: 4; }
.days { stroke: var(--page); pointer-events: none; }
.month { stroke: var(--line); pointer-events: none; }
</style>
</head>
<body>
<svg width="0" height="0" aria-hidden="true" style="position: absolute"><defs><pattern id="hatch" width="5" height="5"
patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="5"
height="5"/><path d="M0 0V5"/></pattern></defs></svg>
<h1>$title</h1>
<ul>$legend</ul>
<main>
<div class="names">$names</div>
<div class="picture">$picture</div>
</main>
</body>
</html>
""")
