"""The pages for people, over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute
from starlette.requests import Request

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.accounts import default_accounts
from cordial_sandbox.faults import Fault
from cordial_sandbox.pages import create_pages_router
from cordial_sandbox.pages.account import hide_secrets
from cordial_sandbox.pages.charts import describe, draw
from cordial_sandbox.pages.files import find_file, read_preview
from cordial_sandbox.pages.hints import Known, hint
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.servers.sftp import SftpFolder
from tests.helpers.sandbox import export_body, sftp_destination

PAGES = ("/", "/jobs", "/audiences", "/trends", "/faults", "/requests")
SCRIPT = "<script>alert(1)</script>"
UMLAUT = 'Käufer, "Gold"'

Submit = Callable[..., str]


def get(sandbox: SandboxProcess, path: str, **headers: str) -> requests.Response:
    return requests.get(sandbox.url + path, headers=headers, timeout=10)


def post(sandbox: SandboxProcess, path: str, form: dict[str, str], **headers: str) -> requests.Response:
    return requests.post(sandbox.url + path, data=form, headers=headers, timeout=10, allow_redirects=False)


def call(sandbox: SandboxProcess, method: str, path: str, **options: Any) -> requests.Response:
    return requests.request(method, sandbox.url + path, auth=(sandbox.api_key, ""), timeout=10, **options)


@pytest.fixture
def submit(cordial_sandbox: SandboxProcess) -> Submit:
    """Submit an export and return the id of its job; by default the job has ended then."""

    def run(*, wait: bool = True, **changes: Any) -> str:
        answer = call(cordial_sandbox, "POST", "/v2/audiencetrendsexport", json=export_body(**changes))
        job_id = str(answer.json()["jobId"])
        deadline = time.monotonic() + 20
        while wait and cordial_sandbox.control.job(job_id)["ended_at"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return job_id

    return run


# Jobs.


def test_a_link_to_a_job_shows_it_without_a_key(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    job_id = submit(audiences=[UMLAUT])
    page = get(cordial_sandbox, f"/jobs/{job_id}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for text in (
        job_id,
        "<td>trends-1</td>",
        "Käufer, &#34;Gold&#34;",
        "2026-11-10 to 2026-11-11 (2 days)",
        "downloads/",
    ):
        assert text in page.text
    assert UMLAUT not in page.text
    for address in ("/", "/jobs"):
        listed = get(cordial_sandbox, address).text
        assert f'<a href="/jobs/{job_id}">trends-1</a>' in listed
        assert "Käufer, &#34;Gold&#34;" in listed


def test_an_unknown_job_has_a_page_that_repeats_its_id_harmlessly(cordial_sandbox: SandboxProcess) -> None:
    page = get(cordial_sandbox, f"/jobs/{SCRIPT.replace('/', '')}")
    assert page.status_code == 404
    assert "&lt;script&gt;" in page.text
    assert "<script>alert" not in page.text


def test_a_running_job_has_its_progress_and_a_settled_one_is_not_live(
    cordial_sandbox: SandboxProcess, submit: Submit
) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="Processing")
    job_id = submit(wait=False)
    deadline = time.monotonic() + 10
    while cordial_sandbox.control.job(job_id)["status"] != "Processing":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running = get(cordial_sandbox, f"/jobs/{job_id}").text
    assert '<progress aria-label="Progress" max="3" value="2">' in running
    assert "data-live" in running
    assert "1 running" in get(cordial_sandbox, "/jobs").text
    cordial_sandbox.control.behaviour(job_stays_in=None)
    while cordial_sandbox.control.job(job_id)["status"] != "Done":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    settled = get(cordial_sandbox, f"/jobs/{job_id}").text
    assert "<progress" not in settled
    assert "data-live" not in settled


def test_a_status_that_cordial_does_not_document_has_no_number(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    cordial_sandbox.control.behaviour(job_stays_in="<b>Queued</b>")
    job_id = submit(wait=False)
    deadline = time.monotonic() + 10
    while cordial_sandbox.control.job(job_id)["status"] != "<b>Queued</b>":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    page = get(cordial_sandbox, f"/jobs/{job_id}").text
    assert "&lt;b&gt;Queued&lt;/b&gt;" in page
    assert '<progress aria-label="Progress"></progress>' in page


def test_the_reason_of_a_failure_is_shown_and_escaped(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    cordial_sandbox.control.behaviour(job_fails_with=SCRIPT)
    job_id = submit()
    for address in ("/jobs", f"/jobs/{job_id}"):
        page = get(cordial_sandbox, address).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert SCRIPT not in page


def test_jobs_are_listed_in_pages_and_by_status(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.add_jobs(60, shortest=300, longest=300)
    newest_first = [job["id"] for job in cordial_sandbox.control.jobs()]

    def listed(query: str) -> tuple[list[str], str]:
        text = get(cordial_sandbox, f"/jobs{query}").text
        return re.findall(r'<a href="/jobs/([0-9a-f]{24})"', text), text

    first, text = listed("")
    assert first == newest_first[:50]
    assert 'href="/jobs?page=2" rel="next"' in text
    second, text = listed("?page=2&status=Scheduled")
    assert second == newest_first[50:]
    assert 'href="/jobs?status=Scheduled&amp;page=1" rel="prev"' in text
    assert 'rel="next"' not in text
    assert listed("?status=Failed")[0] == []
    for odd in ("0", "-1", "x", "9" * 30, "²"):
        assert get(cordial_sandbox, f"/jobs?page={odd}").status_code == 200


def test_secrets_of_a_destination_are_hidden(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    job_id = submit(destination=sftp_destination(cordial_sandbox))
    page = get(cordial_sandbox, f"/jobs/{job_id}").text
    assert "&#34;password&#34;: &#34;***&#34;" in page
    for address in (*PAGES, f"/jobs/{job_id}"):
        text = get(cordial_sandbox, address).text
        assert cordial_sandbox.sftp.password not in text
        assert cordial_sandbox.api_key not in text


# Files.


@pytest.mark.parametrize("kind", ["aws", "sftp"])
def test_a_delivered_file_is_shown_and_downloaded(cordial_sandbox: SandboxProcess, submit: Submit, kind: str) -> None:
    destination = {"type": "aws"} if kind == "aws" else sftp_destination(cordial_sandbox)
    job_id = submit(destination=destination, audiences=[UMLAUT, "opened_last_30_days"])
    page = get(cordial_sandbox, f"/jobs/{job_id}").text
    assert '<th scope="col">2026-11-10</th>' in page
    assert "<tr><td>Käufer, &#34;Gold&#34;</td><td>" in page
    download = get(cordial_sandbox, f"/jobs/{job_id}/file")
    assert download.status_code == 200
    assert download.headers["content-type"].startswith("text/csv")
    assert download.headers["content-disposition"] == 'attachment; filename="trends-1.csv"'
    assert download.headers["x-content-type-options"] == "nosniff"
    assert download.content.decode().splitlines()[0] == "audience,2026-11-10,2026-11-11"
    assert len(download.content.splitlines()) == 3


def test_the_first_twenty_rows_are_shown_and_escaped(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    rows = [f"row-{number},{SCRIPT}" for number in range(25)]
    cordial_sandbox.control.behaviour(csv_override="\n".join(["audience,2026-11-10", *rows]))
    page = get(cordial_sandbox, f"/jobs/{submit()}").text
    assert "<td>row-19</td><td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert "row-20" not in page
    assert "The beginning of the file" in page
    assert SCRIPT not in page


@pytest.mark.parametrize("content", ["", "\x00\x00", '"' + "x" * 200_000, "a," * 5_000])
def test_an_odd_file_breaks_no_page(cordial_sandbox: SandboxProcess, submit: Submit, content: str) -> None:
    cordial_sandbox.control.behaviour(csv_override=content)
    job_id = submit()
    page = get(cordial_sandbox, f"/jobs/{job_id}")
    assert page.status_code == 200
    assert len(page.text) < 20_000
    assert get(cordial_sandbox, f"/jobs/{job_id}/file").content == content.encode()


def test_a_link_to_outside_is_not_followed(cordial_sandbox: SandboxProcess, submit: Submit, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("audience,2026-11-10\nnot for you,1\n")
    job_id = submit(destination=sftp_destination(cordial_sandbox))
    delivered = cordial_sandbox.sftp.root / "exports" / "trends-1.csv"
    delivered.unlink()
    delivered.symlink_to(secret)
    page = get(cordial_sandbox, f"/jobs/{job_id}")
    assert page.status_code == 200
    assert "not for you" not in page.text
    assert "The file is not in the data folder" in page.text
    assert get(cordial_sandbox, f"/jobs/{job_id}/file").status_code == 404


def test_the_file_of_another_server_is_not_taken_from_the_own_one(
    cordial_sandbox: SandboxProcess, submit: Submit, tmp_path: Path
) -> None:
    own = submit(destination=sftp_destination(cordial_sandbox))
    with SandboxProcess(tmp_path / "other") as other:
        job_id = submit(destination=sftp_destination(other))
        assert (other.sftp.root / "exports" / "trends-1.csv").exists()
    assert cordial_sandbox.control.job(job_id)["delivered_to"] == cordial_sandbox.control.job(own)["delivered_to"]
    assert get(cordial_sandbox, f"/jobs/{own}/file").status_code == 200
    assert get(cordial_sandbox, f"/jobs/{job_id}/file").status_code == 404
    assert "The file is not in the data folder" in get(cordial_sandbox, f"/jobs/{job_id}").text


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2fsandbox.json/file",
        "/jobs/%2e%2e/file",
        "/pages/..%2frouter.py",
        "/pages/%2e%2e/router.py",
        "/pages/..",
        "/pages/style.css%00",
        "/pages//etc/passwd",
    ],
)
def test_no_address_leads_out_of_a_folder(cordial_sandbox: SandboxProcess, path: str) -> None:
    session = requests.Session()
    prepared = session.prepare_request(requests.Request("GET", cordial_sandbox.url + path))
    prepared.url = cordial_sandbox.url + path  # as it is: requests resolves dots
    answer = session.send(prepared, timeout=10)
    assert answer.status_code == 404
    assert "api_key" not in answer.text
    assert "import" not in answer.text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "exports").mkdir(parents=True)
    (root / "exports" / "a.csv").write_text("a")
    (root / "state.json").write_text("{}")
    (tmp_path / "outside.csv").write_text("b")
    (root / "absolute.csv").symlink_to(tmp_path / "outside.csv")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


def test_only_files_inside_a_folder_are_found(folder: Path) -> None:
    expected = folder / "exports" / "a.csv"
    for location in ("exports/a.csv", "/exports/a.csv", "../../exports/a.csv", "exports/../exports//a.csv"):
        assert find_file(folder, location) == expected, location
    for location in (
        "../outside.csv",
        "/../outside.csv",
        str(folder.parent / "outside.csv"),
        "absolute.csv",
        "up/outside.csv",
        "loop",
        "pipe",
        "exports",
        "",
        "a\0b",
        "x" * 5000,
    ):
        assert find_file(folder, location) is None, location
    assert find_file(folder, "exports/a.csv", below="exports") == expected
    assert find_file(folder, "state.json", below="exports") is None
    assert find_file(folder, "exports/../state.json", below="exports") is None


def test_a_preview_has_few_columns(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes("\ufeffaudience{}\r\nä{}\r\n".format(",day" * 400, ",1" * 400).encode())
    preview = read_preview(path)
    assert preview is not None
    assert preview.header[0] == "audience"
    assert (len(preview.header), len(preview.rows[0]), preview.is_whole) == (60, 60, False)


# Audiences and trends.


def test_audiences_have_their_last_snapshot_and_a_line_in_words(cordial_sandbox: SandboxProcess) -> None:
    page = get(cordial_sandbox, "/audiences").text
    contacts, day = re.findall(r"([\d,]+) <small>on ([\d-]+)</small>", page)[0]
    assert timedelta(days=1) <= datetime.now(UTC).date() - date.fromisoformat(day) <= timedelta(days=2)
    (snapshot,) = cordial_sandbox.control.snapshots(audience="opened_last_30_days", start=day, end=day)
    assert contacts == f"{snapshot['contacts']:,}"
    assert "Käufer, &#34;Gold&#34;" in page
    assert 'href="/trends?audience=K%C3%A4ufer%2C%20%22Gold%22"' in page
    rows = re.findall(r'<tr role="row">(.*?)</tr>', page, re.DOTALL)[1:]
    assert len(rows) == 9
    for row in rows:
        tracked = ">on</span>" in row
        assert tracked == ('role="img" aria-label="' in row)
        assert tracked != ("No snapshots" in row)


def test_trends_of_chosen_audiences_have_a_chart_and_a_table(cordial_sandbox: SandboxProcess) -> None:
    query = "audience=opened_last_30_days&audience=K%C3%A4ufer%2C%20%22Gold%22&start=2026-01-01&end=2026-03-31"
    page = get(cordial_sandbox, f"/trends?{query}").text
    cells = re.findall(
        r'<tr><th scope="row">([\d-]+)</th><td class="number">(.*?)</td><td class="number">(.*?)</td>', page
    )
    shown = {day: (first, second) for day, first, second in cells}
    for place, name in enumerate(("opened_last_30_days", UMLAUT)):
        expected = cordial_sandbox.control.snapshots(audience=name, start="2026-01-01", end="2026-03-31")
        assert {day: texts[place] for day, texts in shown.items()} == {
            row["date"]: "blank" if row["contacts"] is None else f"{row['contacts']:,}" for row in expected
        }
    assert "blank" in str(shown)
    assert 'class="line s0" points="' in page
    assert 'class="line s1" points="' in page
    assert 'value="Käufer, &#34;Gold&#34;" checked' in page
    assert 'value="new_subscribers" checked' not in page


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("audience=vip", "Unknown audience &#39;vip&#39;."),
        (f"audience={SCRIPT}", "Unknown audience &#39;&lt;script&gt;"),
        ("start=2026-02-30", "expected YYYY-MM-DD"),
        (f"start={SCRIPT}", "expected YYYY-MM-DD"),
        ("start=2026-03-02&end=2026-03-01", "the last day is before the first"),
        ("start=0001-01-01&end=9999-12-31", "expected at most 1100"),
    ],
)
def test_invalid_choices_are_rejected(cordial_sandbox: SandboxProcess, query: str, problem: str) -> None:
    page = get(cordial_sandbox, f"/trends?{query}")
    assert page.status_code == 400
    assert problem in page.text
    assert SCRIPT not in page.text


def test_days_before_every_snapshot_have_no_chart(cordial_sandbox: SandboxProcess) -> None:
    page = get(cordial_sandbox, "/trends?start=2019-01-01&end=2019-01-31").text
    assert "There are no snapshots on these days." in page


def test_a_chart_has_gaps_dots_and_round_ticks() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(6)]
    chart = draw(days, [[1_010, None, 1_490, 1_200, None, None], [None] * 6], 100, 50)
    assert chart is not None
    assert [tick.text for tick in chart.y_ticks] == ["1,000", "1,100", "1,200", "1,300", "1,400", "1,500"]
    assert chart.lines == [["40.0,1.0 60.0,30.0"], []]
    assert chart.dots == [[(0.0, 49.0)], []]
    assert [tick.text for tick in chart.x_ticks] == [day.isoformat() for day in days]
    assert draw(days, [[None] * 6], 100, 50) is None
    assert draw([], [], 100, 50) is None
    for low, high in ((0, 0), (7, 7), (0, 1), (5, 999), (10, 11), (0, 123_456_789), (99_999, 100_001)):
        alone = draw(days[:2], [[low, high]], 100, 50)
        assert alone is not None
        assert 2 <= len(alone.y_ticks) <= 8
        for points in alone.lines[0]:
            assert all(0 <= float(pair.split(",")[1]) <= 50 for pair in points.split())


def test_a_line_in_words_names_its_ends_and_extremes() -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(4)]
    assert describe(days, [None, 2_000, 1_000, 3_000]) == (
        "2,000 contacts on 2026-01-02, 3,000 on 2026-01-04; lowest 1,000 on 2026-01-03, highest 3,000 on 2026-01-04; "
        "days without a snapshot: 1"
    )
    assert describe(days, [None] * 4) == "No snapshots"


# Faults.


def test_faults_are_switched_on_and_off(cordial_sandbox: SandboxProcess) -> None:
    form = {
        "request": "get_job",
        "effect": "answer",
        "status": "503",
        "times": "2",
        "seconds": "",
        "headers": "Retry-After: 2\r\nX-Note: a:b\r\n",
        "body": SCRIPT,
        "processed": "true",
    }
    answer = post(cordial_sandbox, "/faults", form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/faults")
    added = {
        "request": "get_job",
        "effect": "answer",
        "status": 503,
        "times": 2,
        "seconds": 0.0,
        "headers": {"Retry-After": "2", "X-Note": "a:b"},
        "body": SCRIPT,
        "processed": True,
    }
    assert cordial_sandbox.control.faults() == [{**added, "hits": 0}]
    assert call(cordial_sandbox, "GET", "/v2/jobs/1").status_code == 503
    cordial_sandbox.control.fault("list_jobs", "reset", times=7)
    page = get(cordial_sandbox, "/faults").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert SCRIPT not in page
    assert "<code>Retry-After: 2</code>" in page
    first, second = re.findall(r'name="fault" value="(.*?)"', page, re.DOTALL)
    assert post(cordial_sandbox, "/faults/remove", {"fault": unescape(first)}).status_code == 303
    assert [(each["request"], each["times"]) for each in cordial_sandbox.control.faults()] == [("list_jobs", 7)]
    # Again, as a second press of the button would.
    assert post(cordial_sandbox, "/faults/remove", {"fault": unescape(first)}).status_code == 303
    assert len(cordial_sandbox.control.faults()) == 1
    assert post(cordial_sandbox, "/faults/remove", {"fault": unescape(second)}).status_code == 303
    assert cordial_sandbox.control.faults() == []


def test_a_fault_that_was_used_meanwhile_is_switched_off(cordial_sandbox: SandboxProcess) -> None:
    cordial_sandbox.control.fault("list_jobs", "answer", times=3)
    page = get(cordial_sandbox, "/faults").text
    (shown,) = re.findall(r'name="fault" value="(.*?)"', page, re.DOTALL)
    call(cordial_sandbox, "GET", "/v2/jobs")
    assert json.loads(unescape(shown))["times"] == 3
    post(cordial_sandbox, "/faults/remove", {"fault": unescape(shown)})
    assert cordial_sandbox.control.faults() == []


def test_every_preset_is_a_valid_fault(cordial_sandbox: SandboxProcess) -> None:
    page = get(cordial_sandbox, "/faults").text
    presets = re.findall(r'<li><form method="post" action="/faults">(.*?)</form>', page, re.DOTALL)
    assert len(presets) >= 4
    for preset in presets:
        form = {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="(.*?)"', preset)}
        assert post(cordial_sandbox, "/faults", form).status_code == 303
    assert len(cordial_sandbox.control.faults()) == len(presets)
    assert post(cordial_sandbox, "/faults/clear", {}).status_code == 303
    assert cordial_sandbox.control.faults() == []


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"effect": "explode"}, "effect"),
        ({"effect": "answer", "status": "99"}, "status"),
        ({"effect": "answer", "headers": f"{SCRIPT}: 1"}, "headers"),
        ({"effect": "delay", "seconds": "nan"}, "seconds"),
        ({"effect": "delay", "unknown": "1"}, "unknown"),
        ({}, "effect"),
    ],
)
def test_an_invalid_fault_is_rejected(cordial_sandbox: SandboxProcess, form: dict[str, str], problem: str) -> None:
    answer = post(cordial_sandbox, "/faults", form)
    assert answer.status_code == 422
    assert f"<li>{problem}" in answer.text
    assert SCRIPT not in answer.text
    assert cordial_sandbox.control.faults() == []


@pytest.mark.parametrize("text", ["", "x", "[]", "[" * 100_000])
def test_an_invalid_removal_is_rejected(cordial_sandbox: SandboxProcess, text: str) -> None:
    cordial_sandbox.control.fault("any", "delay")
    assert post(cordial_sandbox, "/faults/remove", {"fault": text}).status_code == 422
    assert len(cordial_sandbox.control.faults()) == 1


@pytest.mark.parametrize("has_hits", [True, False])
def test_a_fault_has_its_hits_if_they_are_counted(tmp_path: Path, has_hits: bool) -> None:
    fault = {**Fault(request="list_jobs", effect="reset").model_dump(), "times": None}
    faults = [{**fault, "hits": hits} for hits in (41, 0)] if has_hits else [fault]
    store = SimpleNamespace(faults=lambda: faults)
    state: Any = SimpleNamespace(account=default_accounts("key")[0], store=store)
    router = create_pages_router(Accounts([state]), SftpFolder(tmp_path), tmp_path)
    (endpoint,) = (
        route.endpoint
        for route in router.routes
        if isinstance(route, APIRoute) and (route.path, route.methods) == ("/faults", {"GET"})
    )
    page = asyncio.run(endpoint(Request({"type": "http", "path_params": {}}))).body.decode()
    assert re.findall(r'data-label="Hits" class="number">(\d+)<', page) == (["41", "0"] if has_hits else [])
    assert ('<th scope="col" role="columnheader">Hits</th>' in page) == has_hits


# Requests.


def test_requests_are_listed_newest_first_and_filtered(cordial_sandbox: SandboxProcess) -> None:
    call(cordial_sandbox, "GET", "/v2/jobs?page=1")
    call(cordial_sandbox, "GET", "/v2/jobs/1")
    cordial_sandbox.control.fault("list_jobs", "answer", status=503, times=1)
    call(cordial_sandbox, "GET", "/v2/jobs?page=2")
    call(cordial_sandbox, "POST", "/v2/audiencetrendsexport", json=export_body())

    def listed(query: str) -> list[str]:
        page = get(cordial_sandbox, f"/requests?{query}").text
        return [unescape(text) for text in re.findall(r'<code class="wrap">(.*?)</code>', page)]

    export, second, missing, first = (
        "POST /v2/audiencetrendsexport",
        "GET /v2/jobs?page=2",
        "GET /v2/jobs/1",
        "GET /v2/jobs?page=1",
    )
    assert listed("") == [export, second, missing, first]
    assert listed("kind=list_jobs") == [second, first]
    assert listed("status=2xx") == [export, first]
    assert listed("status=4xx") == [missing]
    assert listed("status=5xx&kind=list_jobs") == [second]
    assert listed("fault=yes") == [second]
    assert listed("kind=nonsense&status=nonsense&page=nonsense") == [export, second, missing, first]
    assert re.search(r'data-label="Duration" class="number">\d+ ms<', get(cordial_sandbox, "/requests").text)


def test_what_a_request_contains_is_escaped(cordial_sandbox: SandboxProcess) -> None:
    call(cordial_sandbox, "GET", f"/v2/jobs/{SCRIPT.replace('/', '')}", headers={"User-Agent": SCRIPT})
    call(cordial_sandbox, "POST", "/v2/audiencetrendsexport", json=export_body(audiences=[SCRIPT]))
    page = get(cordial_sandbox, "/requests").text
    assert "Audience &#39;&lt;script&gt;alert(1)&lt;/script&gt;&#39; does not exist." in page
    assert "<script>alert" not in page


def test_a_rejected_export_has_a_hint(cordial_sandbox: SandboxProcess) -> None:
    call(cordial_sandbox, "POST", "/v2/audiencetrendsexport", json=export_body(audiences=["Kaufer, Gold"]))
    assert "Did you mean &#39;Käufer, &#34;Gold&#34;&#39;?" in get(cordial_sandbox, "/requests").text
    requests.get(f"{cordial_sandbox.url}/v2/jobs", timeout=10)
    assert "Send the API key as the user name" in get(cordial_sandbox, "/requests").text


def test_the_hint_about_a_job_names_the_closest_one(cordial_sandbox: SandboxProcess, submit: Submit) -> None:
    job_id = submit()
    call(cordial_sandbox, "GET", f"/v2/jobs/{job_id[:-1]}")
    assert f"Did you mean &#39;{job_id}&#39;?" in get(cordial_sandbox, "/requests").text


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"status": 200}, None),
        ({"status": None}, None),
        ({"status": 500}, None),
        ({"status": 404, "fault": "answer"}, None),
        ({"status": 404, "path": "/v2/jobs/a1b2c3"}, "Did you mean 'a1b2c4'?"),
        ({"status": 404, "path": "/v2/jobs/a1b2c4"}, "before it was visible"),
        ({"status": 404, "path": "/v2/jobs/zzz"}, "GET /v2/jobs"),
        ({"status": 404, "path": "/v2/audiencetrendexport"}, "Did you mean '/v2/audiencetrendsexport'?"),
        ({"status": 404, "path": "/v2/"}, "Known paths"),
        ({"status": 405, "path": "/v2/audiencetrendsexport/"}, "Send POST /v2/audiencetrendsexport."),
        ({"status": 415}, "Content-Type"),
        ({"status": 429}, "Retry-After"),
        ({"status": 406, "message": "Audience 'goldd' does not exist."}, "Did you mean 'gold'?"),
        ({"status": 406, "message": "Audience 'x' does not exist."}, "Audiences with analytics: gold"),
        ({"status": 406, "message": "For Audience 'vip' analytics disabled."}, "Audiences with analytics: gold"),
        ({"status": 400, "message": "The destination.pasword field is not known."}, "Did you mean 'password'?"),
        ({"status": 406, "message": "Field 'audience' is not known."}, "Did you mean 'audiences'?"),
        ({"status": 400, "message": "The selected destination.transport is invalid."}, "one of aws, sftp."),
        ({"status": 406, "message": "The 'x' is invalid. ISO-8601 is a recommended format."}, "YYYY-MM-DD"),
        ({"status": 406, "message": "Something else."}, None),
        ({"status": 406, "message": None}, None),
    ],
)
def test_a_hint_says_what_would_have_been_right(entry: dict[str, Any], expected: str | None) -> None:
    known = Known(
        endpoints={"/v2/audiencetrendsexport": "POST", "/v2/jobs": "GET"},
        export_members=("name", "audiences"),
        destination_members=("type", "password"),
        destination_types=("aws", "sftp"),
        audiences=("gold",),
        untracked=("vip",),
        job_ids=("a1b2c4",),
    )
    found = hint({"fault": None, "path": "/v2/jobs", **entry}, known)
    assert (found is None) == (expected is None)
    assert expected is None or (found is not None and expected in found)


def test_members_that_may_be_secrets_are_hidden() -> None:
    entry = {
        "headers": {"Authorization": "Basic abc", "Cookie": "a", "X-Api-Key": "k", "Accept": "a/b"},
        "body": {"destination": {"password": "p", "aws_secret_access_key": "s", "path": "x"}, "list": [{"token": "t"}]},
        "password": None,
    }
    assert hide_secrets(entry) == {
        "headers": {"Authorization": "***", "Cookie": "***", "X-Api-Key": "***", "Accept": "a/b"},
        "body": {
            "destination": {"password": "***", "aws_secret_access_key": "***", "path": "x"},
            "list": [{"token": "***"}],
        },
        "password": None,
    }


# Several accounts.

SEED = """
accounts:
  - {name: retail, keys: [{key: retail-key}]}
  - {name: händler, keys: [{key: haendler-key}], audiences: [{name: gold, sizes: 7}, {name: "<b>", sizes: 1}]}
"""
SECOND = "/accounts/h%C3%A4ndler"


@pytest.fixture(scope="module")
def two_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    folder = tmp_path_factory.mktemp("two-accounts")
    (folder / "seed.yaml").write_text(SEED, encoding="utf-8")
    with SandboxProcess(folder / "data", seed=folder / "seed.yaml", job_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def several(two_accounts: SandboxProcess) -> SandboxProcess:
    two_accounts.control.reset()
    return two_accounts


def export_gold(sandbox: SandboxProcess) -> str:
    """Export from the second account, and return the id of the job once it has ended."""
    body = export_body(audiences=["gold"])
    url = f"{sandbox.url}/v2/audiencetrendsexport"
    job_id = str(requests.post(url, json=body, auth=("haendler-key", ""), timeout=10).json()["jobId"])
    deadline = time.monotonic() + 20
    while sandbox.control_of("händler").job(job_id)["ended_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job_id


def account_links(text: str) -> list[tuple[str, str, str]]:
    """Return the address, the mark, and the name of each account that a page offers."""
    navigation = re.search(r'<nav class="accounts".*?</nav>', text, re.DOTALL)
    return re.findall(r'<a href="(.*?)"(.*?)>(.*?)</a>', navigation[0]) if navigation else []


def test_one_account_is_not_a_choice(cordial_sandbox: SandboxProcess) -> None:
    for path in PAGES:
        text = get(cordial_sandbox, path).text
        assert account_links(text) == []
        assert ": Cordial sandbox</title>" in text
        assert "default:" not in text


@pytest.mark.parametrize("section", ["jobs", "audiences", "trends", "faults", "requests"])
def test_every_page_shows_and_offers_the_accounts(several: SandboxProcess, section: str) -> None:
    pairs = [(f"/{section}", "retail"), (f"{SECOND}/{section}", "händler")]
    for path, name in pairs:
        text = get(several, path).text
        assert f"<title>{section.title()}, {name}: Cordial sandbox</title>" in text
        assert account_links(text) == [
            (link, ' aria-current="true"' if each == name else "", each) for link, each in pairs
        ]


def test_links_and_forms_keep_the_account(several: SandboxProcess) -> None:
    job_id = export_gold(several)
    several.control_of("händler").fault("list_jobs", "reset")
    several.control_of("händler").add_jobs(60, shortest=0, longest=0)
    pages = ("", "/jobs", "/jobs?page=2", f"/jobs/{job_id}", "/audiences", "/trends", "/faults", "/requests", "/jobs/1")
    for path in pages:
        text = re.sub(r'<nav class="accounts".*?</nav>', "", get(several, SECOND + path).text, flags=re.DOTALL)
        addresses = re.findall(r'(?:href|action)="(.*?)"', text)
        foreign = [each for each in addresses if not re.match(rf"{SECOND}/|/pages/|#", each)]
        assert foreign == [], path
    assert f'href="{SECOND}/jobs?page=2" rel="next"' in get(several, f"{SECOND}/jobs").text
    assert get(several, f"{SECOND}/jobs/{job_id}/file").content.startswith(b"audience,")


def test_each_account_has_its_own_pages(several: SandboxProcess) -> None:
    export_gold(several)
    assert "trends-1" in get(several, f"{SECOND}/jobs").text
    assert "trends-1" not in get(several, "/jobs").text
    assert "POST /v2/audiencetrendsexport" in get(several, f"{SECOND}/requests").text
    assert "There are no such requests." in get(several, "/requests").text
    audiences = get(several, f"{SECOND}/audiences").text
    assert "gold" in audiences
    assert "&lt;b&gt;" in audiences
    assert "gold" not in get(several, "/audiences").text
    assert get(several, f"{SECOND}/trends?audience=gold").status_code == 200
    assert get(several, "/trends?audience=gold").status_code == 400


def test_faults_are_switched_for_their_account_only(several: SandboxProcess) -> None:
    first, second = several.control, several.control_of("händler")
    answer = post(several, f"{SECOND}/faults", {"effect": "delay", "seconds": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SECOND}/faults")
    assert (len(first.faults()), len(second.faults())) == (0, 1)
    first.fault("any", "delay")
    page = get(several, f"{SECOND}/faults").text
    (shown,) = re.findall(r'name="fault" value="(.*?)"', page, re.DOTALL)
    answer = post(several, f"{SECOND}/faults/remove", {"fault": unescape(shown)})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SECOND}/faults")
    assert (len(first.faults()), len(second.faults())) == (1, 0)
    second.fault("any", "delay")
    answer = post(several, f"{SECOND}/faults/clear", {})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{SECOND}/faults")
    assert (len(first.faults()), len(second.faults())) == (1, 0)
    rejected = post(several, f"{SECOND}/faults", {"effect": "explode"})
    assert rejected.status_code == 422
    assert f'<form class="card" method="post" action="{SECOND}/faults">' in rejected.text
    for path in ("faults", "faults/remove", "faults/clear"):
        form = {"effect": "delay"}
        assert post(several, f"{SECOND}/{path}", form, Origin="http://attacker.example").status_code == 403


def test_an_unknown_account_is_not_found(several: SandboxProcess) -> None:
    name = SCRIPT.replace("/", "")
    for path in ("", "/jobs", "/jobs/1", "/jobs/1/file", "/audiences", "/trends", "/faults", "/requests"):
        page = get(several, f"/accounts/{name}{path}")
        assert page.status_code == 404, path
        assert "Account &lt;script&gt;alert(1)&lt;script&gt; does not exist." in page.text
        assert "<script>alert" not in page.text
    for path in ("faults", "faults/remove", "faults/clear"):
        assert post(several, f"/accounts/nobody/{path}", {"effect": "delay"}).status_code == 404
    assert several.control.faults() == []


def test_a_plain_link_leads_to_the_job_of_any_account(several: SandboxProcess) -> None:
    job_id = export_gold(several)
    page = get(several, f"/jobs/{job_id}")
    assert page.url == f"{several.url}{SECOND}/jobs/{job_id}"
    assert page.status_code == 200
    assert get(several, "/jobs/1").status_code == 404


def test_the_first_account_also_has_a_path_of_its_name(several: SandboxProcess) -> None:
    assert get(several, "/accounts/retail/audiences").text == get(several, "/audiences").text


# Other web pages.


@pytest.mark.parametrize("path", [*PAGES, "/jobs/1", "/jobs/1/file", "/pages/style.css", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "attacker.example"}, {"Origin": "http://attacker.example"}, {"Origin": "null"}],
    ids=str,
)
def test_pages_are_kept_from_other_web_pages(
    cordial_sandbox: SandboxProcess, path: str, headers: dict[str, str]
) -> None:
    answer = get(cordial_sandbox, path, **headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/faults", "/faults/remove", "/faults/clear"])
def test_other_web_pages_switch_no_fault(cordial_sandbox: SandboxProcess, path: str) -> None:
    cordial_sandbox.control.fault("any", "delay")
    before = cordial_sandbox.control.faults()
    form = {"fault": json.dumps(before[0])} if path == "/faults/remove" else {"effect": "delay"}
    assert post(cordial_sandbox, path, form, Origin="http://attacker.example").status_code == 403
    assert post(cordial_sandbox, path, form, Host="attacker.example").status_code == 403
    assert cordial_sandbox.control.faults() == before
    assert post(cordial_sandbox, path, form, Origin=cordial_sandbox.url).status_code == 303
    assert cordial_sandbox.control.faults() != before


def test_every_answer_has_the_policy_and_no_page_refers_to_elsewhere(
    cordial_sandbox: SandboxProcess, submit: Submit
) -> None:
    job_id = submit(audiences=[UMLAUT])
    static = ("/pages/style.css", "/pages/live.js", "/pages/icon.svg")
    for path in (*PAGES, f"/jobs/{job_id}", "/jobs/unknown", *static):
        answer = get(cordial_sandbox, path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        text = answer.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|url\(|@import", text), path
        # A strict policy would ignore them.
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src)", text), path
        if path not in static:
            addresses = re.findall(r'(?:href|src|action)="(.*?)"', text)
            assert addresses
            assert all(re.match(r"/(?!/)|#", address) for address in addresses), path
