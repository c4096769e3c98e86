"""The page of ``airflow cordial heatmap --html``; it needs no playground."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import HEIGHT, PROJECT, WIDTH, take_picture

AUDIENCES = (
    "opened_last_30_days",
    "purchased_last_30_days",
    "new_subscribers",
    "abandoned_cart",
    "vip_customers",
    "inactive_180_days",
)
FIRST, DAYS = date(2026, 8, 20), 85

#: The first tracked day of an audience that is newer than the others.
NEWER = ("vip_customers", 40)

#: Pixels down to below the last row.
PICTURE_HEIGHT = 272


def write_table(path: Path) -> None:
    """Write a table with gaps, blanks, and corrections, the same ones each time."""
    some = random.Random(7)
    with sqlite3.connect(path) as connection:
        columns = "audience TEXT, snapshot_date TEXT, {} job_id TEXT, {} TEXT"
        corrections = columns.format("old_contacts INT, new_contacts INT,", "corrected_at")
        connection.execute(f"CREATE TABLE audience_trends ({columns.format('contacts INT,', 'loaded_at')})")
        connection.execute(f"CREATE TABLE audience_trends_corrections ({corrections})")
        for number, audience in enumerate(AUDIENCES):
            size = some.randrange(2_000, 90_000)
            for place in range(NEWER[1] if audience == NEWER[0] else 0, DAYS):
                size += some.randrange(-200, 260)
                day = FIRST + timedelta(days=place)
                is_missing = 30 <= place < 34 or (number == 2 and 60 <= place < 72) or place >= DAYS - (number == 3)
                if is_missing:
                    continue
                contacts = None if some.random() < 0.02 else size
                connection.execute("INSERT INTO audience_trends VALUES (?, ?, ?, 'j', '')", (audience, day, contacts))
                if contacts and (some.random() < 0.03 or (number < 2 and 50 <= place < 54)):
                    later = f"{day + timedelta(days=3)} 09:00:00"
                    cell = (audience, day, contacts - some.randrange(10, 400), contacts, later)
                    connection.execute("INSERT INTO audience_trends_corrections VALUES (?, ?, ?, ?, 'j', ?)", cell)


@pytest.fixture(scope="module")
def heatmap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as the command writes it."""
    folder = tmp_path_factory.mktemp("heatmap")
    write_table(folder / "trends.db")
    names = folder / "names.json"
    first_days = {audience: str(FIRST) for audience in AUDIENCES}
    names.write_text(json.dumps(first_days | {NEWER[0]: str(FIRST + timedelta(days=NEWER[1]))}))
    options = ["--conn-id", "warehouse", "--audiences-file", names, "--corrections", "--html", folder / "trends.html"]
    days = ["--first-day", FIRST, "--last-day", FIRST + timedelta(days=DAYS - 1)]
    variables = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(folder / "trends.db")}),
    }
    command = [PROJECT / ".venv" / "bin" / "airflow", "cordial", "heatmap", *options, *days]
    subprocess.run([*map(str, command)], env=variables, check=True)
    return folder / "trends.html"


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, heatmap: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=request.param)
    page = context.new_page()
    page.goto(heatmap.as_uri())
    yield page
    context.close()


def test_the_kinds_differ_and_each_cell_has_its_text(page: Any, request: pytest.FixtureRequest) -> None:
    scheme = request.node.callspec.params["page"]
    take_picture(
        page, request.config, f"heatmap{'-dark' * (scheme == 'dark')}", shown=scheme == "light", height=PICTURE_HEIGHT
    )
    strokes = {
        kind: page.locator(f".picture rect.{kind}").first.evaluate("cell => getComputedStyle(cell).stroke")
        for kind in ("loaded", "blank", "missing", "corrected")
    }
    assert len({*strokes.values()}) == 4, strokes
    (first, *_) = page.locator(".picture rect.corrected title").all_text_contents()
    assert first.startswith(f"{AUDIENCES[0]}, 2026-")
    assert ": corrected: " in first
    # Nothing is cut off: the rows are in the picture, and the picture in the window.
    boxes = [page.locator(where).last.bounding_box() for where in (".names div", ".picture svg", "main")]
    assert all(box["y"] + box["height"] <= PICTURE_HEIGHT for box in boxes), boxes
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    assert page.locator(".picture").evaluate("it => it.scrollWidth <= it.clientWidth")
