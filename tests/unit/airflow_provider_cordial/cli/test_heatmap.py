"""The heatmap as characters and as a page."""

from __future__ import annotations

import re
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest
from rich.text import Text

from airflow_provider_cordial.cli.heatmap import (
    BLANK,
    KINDS,
    LOADED,
    MISSING,
    UNEXPECTED,
    draw_page,
    draw_text,
    read_row,
)
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.coverage import Coverage

WEEK = Timeframe(date(2026, 11, 9), date(2026, 11, 15))


def lines(found: Coverage, width: int) -> list[str]:
    text = draw_text(found, "trends", width=width)
    assert isinstance(text, Text)
    return text.plain.splitlines()


def full(timeframe: Timeframe, *audiences: str) -> Coverage:
    bits = (1 << len(timeframe)) - 1
    return Coverage(timeframe, dict.fromkeys(audiences, bits), dict.fromkeys(audiences, bits))


def test_each_kind_has_a_symbol_of_its_own() -> None:
    found = Coverage(WEEK, {"a": 0b1111110}, {"a": 0b0001110}, {"a": 0b0010000})
    assert read_row(found, "a") == [UNEXPECTED, LOADED, LOADED, LOADED, BLANK, MISSING, MISSING]
    assert len({kind.symbol for kind in (*KINDS, UNEXPECTED)}) == 4
    assert lines(found, 80) == [
        "trends",
        "",
        "  2026-11",
        "  9",
        "a  ■■■□××",
        "",
        "■ 3 loaded   □ 1 blank   × 2 missing   ",
    ]


def test_months_that_do_not_fit_come_below() -> None:
    quarter = Timeframe(date(2026, 1, 1), date(2026, 3, 31))
    wide = lines(full(quarter, "a"), 200)
    assert wide[2] == "  2026-01                         2026-02                      2026-03"
    assert wide[3].startswith("  1   5    10   15   20   25   30 1   5    10   15")
    assert wide[4] == f"a {'■' * 31} {'■' * 28} {'■' * 31}"
    narrow = lines(full(quarter, "a"), 70)
    assert [line.strip() for line in narrow if line.strip().startswith("2026")] == [
        "2026-01                         2026-02",
        "2026-03",
    ]
    assert max(map(len, narrow)) <= 70
    # A month is never split, and each one is there in a terminal of any width.
    assert sum(line.count("■") for line in lines(full(quarter, "a"), 1)) == 90 + 1


@pytest.mark.parametrize(("start", "days"), [(date(2026, 11, 28), 9), (date(2026, 2, 26), 2), (date(2026, 12, 31), 1)])
def test_short_months_keep_their_headings_apart(start: date, days: int) -> None:
    found = full(Timeframe(start, start + timedelta(days=days - 1)), "a")
    heading, ticks = lines(found, 100)[2:4]
    assert f"{start:%Y-%m}" in heading
    assert re.fullmatch(r"( +\d{1,2})+", ticks)


def test_names_cannot_control_the_terminal_or_the_page() -> None:
    name = '\x1b[31m<b>&"x"' + "y" * 60
    found = full(WEEK, name)
    assert "\x1b" not in "".join(lines(found, 80))
    assert f"{lines(found, 80)[4].split(' ')[0]}".endswith("…")
    page = draw_page(found, "<title>")
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;&quot;x&quot;" in page
    assert "<title>&lt;title&gt;</title>" in page


def test_wide_characters_do_not_shift_the_cells() -> None:
    rows = lines(full(WEEK, "山田", "a"), 80)[4:6]
    assert rows == ["山田 ■■■■■■■", "a    ■■■■■■■"]


def test_a_page_is_whole_and_small() -> None:
    year = Timeframe(date(2025, 12, 1), date(2026, 11, 30))
    found = full(year, *(f"audience {number}" for number in range(300)))
    page = draw_page(found, "trends")
    # One rectangle for a year without a gap.
    assert len(page) < 100_000
    assert not re.search(r"""(src|href)=|url\((?!#)|@import""", page)
    assert "prefers-color-scheme: dark" in page
    picture = ElementTree.fromstring(re.findall(r"<svg width=.*?</svg>", page, re.DOTALL)[-1])
    assert len(picture.findall("rect")) == 300
    assert picture.findtext("rect/title") == "audience 0, 2025-12-01 to 2026-11-30 (365 days): loaded"
    assert [text.text for text in picture.findall("text")][:2] == ["2025-12", "2026-01"]


def test_a_page_draws_each_range_with_its_kind() -> None:
    found = Coverage(WEEK, {"a": 0b1111110}, {"a": 0b0001110}, {"a": 0b0010000})
    assert MISSING.name in draw_page(found, "trends")
    rectangles = re.findall(
        r'<rect class="(\w+)" x="([\d.]+)" [^>]*width="(\d+)"[^>]*><title>', draw_page(found, "trends")
    )
    assert rectangles == [("loaded", "14.5", "39"), ("blank", "56.5", "11"), ("missing", "70.5", "25")]
