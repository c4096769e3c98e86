"""What a person does on the pages of the local Cordial: by mouse, by keyboard, on a phone, in the dark.

It needs no Airflow: the pages belong to the sandbox alone.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cordial_sandbox.control_client import SandboxControl
from tests.browser.conftest import ARTIFACTS, PROJECT

API_KEY = "browser-test-key"
PAGES = ("jobs", "audiences", "trends", "faults", "requests")
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1200, "height": 760}
START_TIMEOUT = 30.0

#: Rules of axe-core for WCAG 2.2, levels A and AA, and its best practices.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@dataclass(frozen=True, slots=True)
class Sandbox:
    url: str
    sftp: dict[str, Any]

    @property
    def control(self) -> SandboxControl:
        return SandboxControl(self.url)

    def export(self, name: str, audiences: list[str], days: int, **destination: Any) -> str:
        """Submit an export of the days until yesterday, and return the id of its job; a rejected one has a blank id."""
        last = datetime.now(UTC).date() - timedelta(days=1)
        body = {
            "name": name,
            "exportType": "csv",
            "selected_timeframe_start": (last - timedelta(days=days - 1)).isoformat(),
            "selected_timeframe_end": last.isoformat(),
            "audiences": audiences,
            "destination": destination or {"type": "aws"},
        }
        return str(self.call("/v2/audiencetrendsexport", body).get("jobId", ""))

    def export_to_sftp(self, name: str, audiences: list[str], days: int) -> str:
        login = {"server": self.sftp["host"], **{each: self.sftp[each] for each in ("port", "username", "password")}}
        return self.export(name, audiences, days, type="sftp", path="exports", **login)

    def call(self, path: str, body: Any = None) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Basic {b64encode(f'{API_KEY}:'.encode()).decode()}",
        }
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=10) as response:
                answer: dict[str, Any] = json.loads(response.read())
        except urllib.error.HTTPError as error:
            answer = json.loads(error.read() or b"{}")
        return answer

    def wait_for(self, job_id: str, status: str) -> None:
        deadline = time.monotonic() + 20
        while self.control.job(job_id)["status"] != status:
            assert time.monotonic() < deadline, self.control.job(job_id)
            time.sleep(0.05)


@contextmanager
def start(data: Path, *options: str) -> Iterator[Sandbox]:
    """Run a sandbox in the project's own environment."""
    command = [str(PROJECT / ".venv" / "bin" / "python"), "-m", "cordial_sandbox", "serve", "--data", str(data)]
    data.mkdir(exist_ok=True)
    with (
        (data / "sandbox.log").open("w") as log,
        subprocess.Popen(
            [*command, "--job-seconds", "0.1", "--stop-on-eof", *options],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        ) as started,
    ):
        deadline = time.monotonic() + START_TIMEOUT
        while not (data / "sandbox.json").exists():
            assert started.poll() is None, (data / "sandbox.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads((data / "sandbox.json").read_text())
        yield Sandbox(address["url"], address["sftp"])
        started.terminate()
        assert started.wait(20) == 0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("cordial"), "--api-key", API_KEY) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(process: Sandbox) -> Sandbox:
    process.control.reset()
    return process


@pytest.fixture
def populated(sandbox: Sandbox) -> Sandbox:
    """A sandbox with jobs, faults, and requests of every kind; its newest job runs."""
    ids = [
        sandbox.export_to_sftp("daily-2f9c1e", ["opened_last_30_days", "purchased_last_30_days"], 1),
        sandbox.export_to_sftp("backfill-b07d44", ["opened_last_30_days", 'Käufer, "Gold"', "new_subscribers"], 90),
        sandbox.export("audience-check", ['Käufer, "Gold"', "clicked_last_30_days", "lapsed_customers"], 31),
    ]
    for job_id in ids:
        sandbox.wait_for(job_id, "Done")
    sandbox.control.behaviour(job_fails_with="Permission denied: /exports")
    sandbox.wait_for(sandbox.export_to_sftp("daily-77ab30", ["opened_last_30_days"], 1), "Failed")
    sandbox.control.behaviour(job_fails_with=None, job_stays_in="Processing")
    sandbox.wait_for(
        sandbox.export_to_sftp("daily-5d1f08", ["opened_last_30_days", "purchased_last_30_days"], 1), "Processing"
    )
    assert sandbox.export("daily-typo", ["opend_last_30_days"], 1) == ""
    sandbox.call("/v2/jobs?page=1&per_page=25")
    sandbox.call(f"/v2/jobs/{ids[0][:-1]}")
    sandbox.control.fault("get_job", "answer", status=503, headers={"Retry-After": "2"}, times=2)
    sandbox.control.fault("create_export", "delay", seconds=1.5, processed=True)
    sandbox.call(f"/v2/jobs/{ids[0]}")
    return sandbox


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, process: Sandbox, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Open a page in a window of its own; a message in its console is an error, and so is a foreign request.

    Chromium also reports the status of the answer to a rejected form, which is as it should be.
    """
    contexts: list[Any] = []
    messages: list[str] = []
    urls: list[str] = []

    def run(path: str, **options: Any) -> Any:
        settings = {"viewport": DESKTOP, "locale": "en-US", **options}
        contexts.append(browser.new_context(base_url=process.url, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda sent: urls.append(sent.url))
        page.goto(path)
        return page

    yield run
    for context in contexts:
        context.close()
    assert [message for message in messages if "status of 422" not in message] == []
    assert [url for url in urls if not url.startswith(f"{process.url}/")] == []


def take_picture(page: Any, name: str, request: pytest.FixtureRequest, *, shown: bool = False) -> None:
    """Take a screenshot of a whole page as an artifact, and for the documentation if it is shown there."""
    pictures = request.config.getoption("--pictures") if shown else None
    for folder in filter(None, (ARTIFACTS, pictures)):
        folder.mkdir(exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


def addresses(sandbox: Sandbox) -> dict[str, str]:
    """Return the address of every page by its name."""
    done = next(job for job in sandbox.control.jobs() if job["name"] == "backfill-b07d44")
    trends = "/trends?audience=opened_last_30_days&audience=clicked_last_30_days&audience=new_subscribers"
    return {**{name: f"/{name}" for name in PAGES}, "trends": trends, "job": f"/jobs/{done['id']}"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_every_page_is_accessible_and_fits(
    populated: Sandbox, open_page: OpenPage, request: pytest.FixtureRequest, window: str, scheme: str
) -> None:
    size = PHONE if window == "phone" else DESKTOP
    page = open_page("/", color_scheme=scheme, viewport=size)
    for name, address in addresses(populated).items():
        page.goto(address)
        shown = (window, scheme) == ("desktop", "light") and name in ("jobs", "trends")
        take_picture(page, f"sandbox-{name}" if shown else f"sandbox-{name}-{window}-{scheme}", request, shown=shown)
        for details in page.locator("details").all():
            details.evaluate("each => { each.open = true }")
        violations = Axe().run(page, options=RULES).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == [], name
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], (name, width)


def test_a_job_is_followed_until_its_file_is_there(sandbox: Sandbox, open_page: OpenPage, tmp_path: Path) -> None:
    sandbox.control.behaviour(job_stays_in="Processing")
    job_id = sandbox.export_to_sftp("trends-1", ['Käufer, "Gold"'], 2)
    sandbox.wait_for(job_id, "Processing")
    page = open_page("/")
    row = page.get_by_role("row").filter(has_text="trends-1")
    expect(row.get_by_role("cell", name="Processing")).to_be_visible()
    expect(row.get_by_role("progressbar", name="Progress")).to_be_visible()
    row.get_by_role("link", name="trends-1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Job {job_id}")
    expect(page.get_by_role("cell", name="trends-1")).to_have_count(1)
    sandbox.control.behaviour(job_stays_in=None)
    expect(page.get_by_role("status")).to_have_text(f"Job {job_id} is Done")
    expect(page.get_by_role("cell", name='Käufer, "Gold"').last).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download trends-1.csv").click()
    path = tmp_path / "file.csv"
    download.value.save_as(path)
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith('"Käufer, ""Gold""",')
    assert download.value.suggested_filename == "trends-1.csv"


def test_the_list_updates_itself_until_it_is_paused(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.control.add_jobs(1, shortest=300, longest=300)
    page = open_page("/jobs")
    link = page.get_by_role("link", name="bulk")
    link.focus()
    sandbox.export("after-the-first", ["opened_last_30_days"], 1)
    expect(page.get_by_role("link", name="after-the-first")).to_be_visible()
    expect(link).to_be_focused()
    page.get_by_role("button", name="Pause updates").press("Enter")
    expect(page.get_by_role("button", name="Pause updates", pressed=True)).to_be_visible()
    sandbox.export("after-the-pause", ["opened_last_30_days"], 1)
    page.wait_for_timeout(5_000)
    expect(page.get_by_role("link", name="after-the-pause")).to_have_count(0)
    page.get_by_role("button", name="Pause updates").press("Space")
    expect(page.get_by_role("link", name="after-the-pause")).to_be_visible()


def test_an_update_keeps_open_details_and_the_focus(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.call("/v2/jobs?page=1")
    page = open_page("/requests")
    summary = page.get_by_text("Details of request 1")
    summary.press("Enter")
    expect(page.get_by_text('"query": "page=1"')).to_be_visible()
    sandbox.call("/v2/jobs?page=2")
    expect(page.get_by_text("page=2")).to_have_count(2)
    expect(page.get_by_text('"query": "page=1"')).to_be_visible()
    expect(summary).to_be_focused()


def test_faults_are_switched_by_keyboard(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page("/faults")
    page.get_by_role("button", name="Two status polls get 503").press("Enter")
    expect(page.get_by_role("table", name="Active faults").get_by_role("row")).to_have_count(2)
    assert [(each["status"], each["times"]) for each in sandbox.control.faults()] == [(503, 2)]
    page.get_by_label("Effect", exact=True).select_option("Delay")
    page.get_by_label("Delay in seconds").fill("nan")
    page.get_by_role("button", name="Switch on", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("seconds")
    page.get_by_label("Delay in seconds").fill("0.5")
    page.get_by_role("button", name="Switch on", exact=True).press("Enter")
    expect(page.get_by_role("table", name="Active faults").get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Switch off fault 1").press("Enter")
    expect(page.get_by_role("table", name="Active faults").get_by_role("row")).to_have_count(2)
    assert [each["effect"] for each in sandbox.control.faults()] == ["delay"]
    page.get_by_role("button", name="Switch all off").press("Enter")
    expect(page.get_by_text("No fault is active.")).to_be_visible()
    assert sandbox.control.faults() == []


def test_a_mistake_and_its_correction_are_in_the_requests(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.export("typo", ["opend_last_30_days"], 1)
    page = open_page("/jobs")
    page.get_by_role("link", name="Requests").click()
    page.get_by_label("Status").select_option("4xx")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("Did you mean 'opened_last_30_days'?")).to_be_visible()
    expect(page.get_by_role("cell", name="406")).to_be_visible()


def test_a_trend_is_chosen(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page("/audiences")
    page.get_by_role("link", name='Käufer, "Gold"').click()
    expect(page.get_by_role("heading", name="Trends")).to_be_visible()
    page.get_by_label("new_subscribers").check()
    page.get_by_label("First day").fill("2026-03-01")
    page.get_by_label("Last day").fill("2026-03-31")
    page.get_by_role("button", name="Show").press("Enter")
    expect(page.get_by_role("img", name="Contacts per day")).to_be_visible()
    page.get_by_text("The numbers as a table").press("Enter")
    expect(page.get_by_role("rowheader")).to_have_count(31)


def test_an_account_is_chosen_by_keyboard(browser: Any, tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("accounts: [{name: retail, keys: [{key: a}]}, {name: händler, keys: [{key: b}]}]", encoding="utf-8")
    with start(tmp_path / "data", "--seed", str(seed)) as sandbox:
        context = browser.new_context(base_url=sandbox.url, viewport=PHONE, locale="en-US")
        try:
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.goto("/faults")
            accounts = page.get_by_role("navigation", name="Account")
            expect(accounts.locator("[aria-current]")).to_have_text("retail")
            accounts.get_by_role("link", name="händler").press("Enter")
            expect(page).to_have_title("Faults, händler: Cordial sandbox")
            expect(accounts.locator("[aria-current]")).to_have_text("händler")
            page.get_by_role("button", name="Two status polls get 503").press("Enter")
            expect(page.get_by_role("table", name="Active faults")).to_be_visible()
            second = SandboxControl(sandbox.url, "händler")
            assert (len(sandbox.control.faults()), len(second.faults())) == (0, 1)
            page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").press("Enter")
            expect(page).to_have_title("Jobs, händler: Cordial sandbox")
            sandbox.control.add_jobs(1, shortest=300, longest=300)
            second.add_jobs(2, shortest=300, longest=300)
            # Without another request of the person.
            expect(page.get_by_role("link", name="bulk")).to_have_count(2)
            for name in PAGES:
                page.goto(f"/accounts/händler/{name}")
                violations = Axe().run(page, options=RULES).response["violations"]
                assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == [], name
                assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        finally:
            context.close()


def test_the_first_tab_skips_to_the_content(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page("/jobs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_every_page_works_without_a_script(populated: Sandbox, open_page: OpenPage) -> None:
    page = open_page("/", java_script_enabled=False)
    expect(page.get_by_role("link", name="backfill-b07d44")).to_be_visible()
    page.goto("/faults")
    page.get_by_role("button", name="Switch off fault 1").click()
    assert [each["effect"] for each in populated.control.faults()] == ["delay"]


def test_a_foreign_page_neither_reads_nor_changes(sandbox: Sandbox, browser: Any) -> None:
    sandbox.control.fault("any", "delay", seconds=0)
    context = browser.new_context()
    try:
        page = context.new_page()
        context.route(
            "http://attacker.example/**", lambda route: route.fulfill(body="<h1>foreign</h1>", content_type="text/html")
        )
        page.goto("http://attacker.example/")
        reads = page.evaluate("url => fetch(url).then(() => 'read', () => 'refused')", f"{sandbox.url}/jobs")
        assert reads == "refused"
        with page.expect_navigation():
            page.evaluate(
                """url => {
                    const form = Object.assign(document.createElement("form"), {method: "post", action: url});
                    document.body.append(form);
                    form.submit();
                }""",
                f"{sandbox.url}/faults/clear",
            )
        assert len(sandbox.control.faults()) == 1
    finally:
        context.close()
