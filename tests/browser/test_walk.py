"""What a new user does in the UI, from the connection to the assets; in this order."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.browser.conftest import Picture, Playground

#: Milliseconds; a machine that does other things as well needs them.
SLOW = 180_000

#: Characters of a log line that are visible without scrolling, in a window of usual size.
VISIBLE = 120


@pytest.fixture(autouse=True)
def normal_behaviour(playground: Playground) -> Any:
    """Let jobs succeed again after each test."""
    yield
    playground.control.behaviour(job_fails_with=None, job_seconds=5)


def add_connection(page: Any, conn_id: str, *, host: str, port: str, key: str) -> None:
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill(conn_id)
    form.get_by_role("combobox").click()
    page.keyboard.type("Cordial")
    page.keyboard.press("Enter")
    form.locator("input[name=host]").fill(host)
    form.locator("input[name=password]").fill(key)
    form.locator("input[name=port]").fill(port)


def press_test(page: Any, conn_id: str) -> tuple[dict[str, Any], str]:
    """Press the button Test of a connection, and return the answer and the color of the button's icon."""
    button = page.get_by_role("row").filter(has_text=conn_id).get_by_role("button", name="Test Connection")
    with page.expect_response(re.compile("/connections/test$")) as answer:
        button.click()
    page.wait_for_timeout(1000)
    content: dict[str, Any] = answer.value.json()
    return content, button.locator("svg").evaluate("icon => getComputedStyle(icon).color")


def trigger(page: Any, dag_id: str) -> str:
    """Trigger a DAG by its button, and return the address of the run."""
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    return confirm(page)


def confirm(page: Any) -> str:
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/manual__"), timeout=SLOW)
    return str(page.url)


def wait_for_state(page: Any, address: str, state: str) -> None:
    """Open the page of a run or a task, and wait until its heading shows the state."""
    page.goto(address)
    page.get_by_text(state, exact=True).first.wait_for(timeout=SLOW)


def wait_for_run(page: Any, run: str, state: str) -> None:
    """Wait for the state of a run; its page also shows the states of tasks."""
    dag_id, run_id = re.search(r"/dags/([^/]+)/runs/([^/?]+)", run).groups()  # type: ignore[union-attr]
    deadline = time.monotonic() + SLOW / 1000
    while page.request.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"] != state:
        assert time.monotonic() < deadline, (run, state)
        page.wait_for_timeout(500)
    page.goto(run)
    page.get_by_role("table").wait_for(timeout=SLOW)


def test_a_connection_is_added_and_its_test_is_green(page: Any, playground: Playground, picture: Picture) -> None:
    host, _, port = playground.sandbox["url"].rpartition(":")
    add_connection(page, "cordial_by_hand", host=host, port=port, key=playground.sandbox["api_key"])
    picture("connection-form")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    answer, color = press_test(page, "cordial_by_hand")
    assert answer == {"status": True, "message": f"Connected to {host}:{port}; the API key is accepted."}
    red, green, blue = map(int, re.findall(r"\d+", color)[:3])
    assert green > max(red, blue), color
    page.goto("/connections")
    page.get_by_placeholder("Search Connections").fill("cordial")
    page.get_by_text("2 Connections").wait_for()
    press_test(page, "cordial_by_hand")
    picture("connection-tested", shown=True)


def test_a_wrong_key_is_named(page: Any, playground: Playground, picture: Picture) -> None:
    host, _, port = playground.sandbox["url"].rpartition(":")
    add_connection(page, "cordial_wrong_key", host=host, port=port, key="another-key")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    answer, _ = press_test(page, "cordial_wrong_key")
    assert not answer["status"]
    assert "401" in answer["message"]
    assert "allow-list" in answer["message"]
    picture("connection-rejected")


def test_a_deferred_task_has_a_link_to_its_job(page: Any, playground: Playground, picture: Picture) -> None:
    playground.control.behaviour(job_seconds=60)
    run = trigger(page, "example_audience_trends")
    wait_for_state(page, f"{run}/tasks/wait/details", "Deferred")
    link = page.get_by_role("link", name="Cordial job")
    link.wait_for(timeout=SLOW)
    picture("deferred-task", shown=True)
    # The example that keeps a table whole exports at any time.
    exports = (job for job in playground.control.jobs() if job["name"].startswith("example-audience-trends-export"))
    (job,) = (job for job in exports if job["status"] not in ("Done", "Failed"))
    assert link.get_attribute("href") == f"{playground.sandbox['url']}/jobs/{job['id']}"
    page.goto(link.get_attribute("href"))
    page.get_by_role("cell", name=job["name"]).wait_for()
    picture("job-page")
    wait_for_run(page, run, "success")


def test_a_failed_task_states_why_on_the_first_line(page: Any, playground: Playground, picture: Picture) -> None:
    playground.control.behaviour(job_fails_with="Permission denied: /exports", job_seconds=0.1)
    run = trigger(page, "example_audience_trends")
    wait_for_state(page, f"{run}/tasks/wait", "Failed")
    lines = log_lines(page, "AwaitedJobFailedError")
    job = playground.control.jobs()[0]
    assert lines[0].endswith(f"AwaitedJobFailedError: Job {job['id']} Failed: Permission denied: /exports.")
    assert len(lines[0]) <= VISIBLE
    assert "Check Cordial's Jobs page" in lines[1]
    # Below are the paths of this machine.
    picture("failed-task", shown=True, height=432)
    page.goto(f"{run}/tasks/wait/details")
    page.get_by_role("link", name="Cordial job").wait_for(timeout=SLOW)


def test_a_missing_connection_states_the_command_that_creates_it(
    page: Any, playground: Playground, picture: Picture
) -> None:
    # Cloud storage is not part of the playground, so this DAG is paused.
    page.goto("/dags/example_s3_to_postgres")
    run = trigger(page, "example_s3_to_postgres")
    wait_for_state(page, f"{run}/tasks/export", "Failed")
    lines = log_lines(page, "does not exist.")
    assert len(lines[0]) <= VISIBLE
    assert "airflow connections add aws_default" in lines[1]
    picture("missing-connection")


def log_lines(page: Any, text: str) -> list[str]:
    """Return the lines of the log from the first one with a text."""
    page.get_by_text(text).first.wait_for(timeout=SLOW)
    lines: list[str] = page.get_by_test_id("virtualized-list").inner_text().splitlines()
    first = next(number for number, line in enumerate(lines) if text in line)
    return lines[first:]


def open_range_form(page: Any, **values: str) -> None:
    page.goto("/dags/example_range_backfill")
    page.get_by_role("button", name="Trigger Dag").click()
    for name, value in values.items():
        page.locator(f"[name=element_{name}]").fill(value)


def test_a_range_is_exported_in_parts(page: Any, playground: Playground, picture: Picture) -> None:
    open_range_form(page, first_day="2026-09-01", last_day="2026-09-30", days_per_export="10")
    picture("range-form", shown=True)
    run = confirm(page)
    wait_for_run(page, run, "success")
    picture("range-run")
    parts = {(job["selected_timeframe_start"], job["selected_timeframe_end"]) for job in playground.control.jobs()}
    assert {("2026-09-01", "2026-09-10"), ("2026-09-11", "2026-09-20"), ("2026-09-21", "2026-09-30")} <= parts


def test_reversed_days_are_refused_before_an_export(page: Any, playground: Playground, picture: Picture) -> None:
    before = len(playground.control.jobs())
    open_range_form(page, first_day="2026-09-30", last_day="2026-09-01")
    run = confirm(page)
    wait_for_state(page, f"{run}/tasks/ranges", "Failed")
    lines = log_lines(page, "Invalid timeframe: the end")
    assert len(lines[0]) <= VISIBLE
    picture("range-refused")
    assert len(playground.control.jobs()) == before


def test_a_blank_line_is_refused_by_the_form(page: Any, playground: Playground, picture: Picture) -> None:
    before = len(playground.control.jobs())
    open_range_form(page, audiences="opened_last_30_days\n\npurchased_last_30_days")
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.get_by_text("Failed to Trigger Dag").first.wait_for()
    picture("blank-line")
    assert len(playground.control.jobs()) == before


def test_the_page_of_an_example_explains_it(page: Any, picture: Picture) -> None:
    page.goto("/dags/example_daily_backfill")
    page.get_by_role("button", name="Dag Docs").click()
    page.get_by_text("Export and wait in one task").wait_for()
    page.get_by_role("code").filter(has_text="airflow backfill create --dag-id").wait_for()
    picture("dag-docs")


def test_the_assets_page_lists_tables_and_deliveries(page: Any, picture: Picture) -> None:
    page.goto("/assets")
    for name in ("x-airflow-sql://warehouse/audience_trends", "x-airflow-sftp://sftp_default/exports"):
        page.get_by_role("link", name=name).wait_for()
    picture("assets", shown=True)
