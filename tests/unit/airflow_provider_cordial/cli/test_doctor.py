"""``airflow cordial doctor``."""

from __future__ import annotations

import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_cordial.cli import doctor
from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial, Done
from tests.helpers.sandbox import SetConnection, sftp_connection
from tests.helpers.waits import submit_job

SFTP = ["--destination", "sftp", "conn_id=sftp_default", "path=exports"]
TABLE = ["--warehouse-conn-id", "warehouse", "--table", "trends"]


def checks(done: Done) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in done.json}


def states(done: Done) -> dict[str, str]:
    return {name: check["state"] for name, check in checks(done).items()}


def test_everything_is_in_order(cordial: SandboxProcess, table: str, airflow_cordial: Cordial) -> None:
    submit_job(cordial)
    cordial.control.clear_requests()
    done = airflow_cordial("doctor", *SFTP, *TABLE, "--output", "json")
    assert done.code == 0
    found = checks(done)
    assert {name for name, check in found.items() if check["state"] == "ok"} >= {
        "connection",
        "days",
        "host",
        "API key",
        "list of jobs",
        "destination for Cordial",
        "destination for Airflow",
        "warehouse",
        "table",
        "task state store",
    }
    yesterday = datetime.now(UTC).astimezone(ZoneInfo("America/Los_Angeles")).date() - timedelta(days=1)
    assert found["days"]["result"].endswith(f"the last day is {yesterday}")
    assert found["list of jobs"]["result"].startswith("1 row on the first page, each with an id")
    assert found["warehouse"]["result"] == "warehouse: sqlite, loaded by SqliteTable"
    # Nothing is submitted.
    assert [request["method"] for request in cordial.control.requests()] == ["GET"]
    assert cordial.sftp.password not in done.out + done.err
    shown = airflow_cordial("doctor", *SFTP, *TABLE)
    assert (shown.code, "the folder can be listed" in shown.out) == (0, True)


def test_what_is_not_named_is_not_checked(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    found = states(airflow_cordial("doctor", "--output", "json"))
    assert found["destination for Airflow"] == found["table"] == "not checked"
    assert found["list of jobs"] == "ok"


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("fields", "failed", "not_checked", "text"),
    [
        ({"password": None}, "connection", {"days", "host", "API key", "list of jobs"}, "has no API key"),
        ({"host": "ftp://x"}, "connection", {"days", "host", "API key", "list of jobs"}, "Invalid host"),
        ({"extra": {"timezone": "Mars"}}, "connection", {"days", "host", "API key", "list of jobs"}, "Mars"),
        ({"host": "http://127.0.0.1", "port": closed_port()}, "host", {"API key", "list of jobs"}, "did not reach"),
        ({"password": "a-wrong-api-key"}, "API key", {"list of jobs"}, "answered 401"),
    ],
    ids=["no key", "host", "time zone", "closed", "key"],
)
def test_the_first_cause_is_named(
    fields: dict[str, Any],
    failed: str,
    not_checked: set[str],
    text: str,
    cordial: SandboxProcess,
    airflow_cordial: Cordial,
    set_connection: SetConnection,
) -> None:
    whole = {"conn_type": "cordial", "host": cordial.url, "password": cordial.api_key, **fields}
    set_connection("cordial_default", **{name: value for name, value in whole.items() if value is not None})
    done = airflow_cordial("doctor", "--output", "json")
    assert done.code == 1
    found = checks(done)
    assert {name for name, check in found.items() if check["state"] == "failed"} == {failed}
    assert {name for name in ("days", "host", "API key", "list of jobs") if found[name]["state"] == "not checked"} == (
        not_checked
    )
    assert text in found[failed]["result"] + found[failed]["advice"]
    assert "a-wrong-api-key" not in done.out + done.err


@pytest.mark.parametrize(
    ("fault", "check", "state"),
    [
        ({"status": 403}, "API key", "failed"),
        ({"status": 404}, "list of jobs", "ok"),
        ({"status": 429}, "list of jobs", "warning"),
        ({"status": 503}, "list of jobs", "failed"),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else None,
)
def test_the_answer_of_the_list_is_checked(
    fault: dict[str, Any], check: str, state: str, cordial: SandboxProcess, airflow_cordial: Cordial
) -> None:
    cordial.control.fault("list_jobs", "answer", **fault)
    assert states(airflow_cordial("doctor", "--output", "json"))[check] == state


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        ({"record_id": None}, "1 without an id"),
        ({"list_names": False}, "1 without the name of an export"),
        ({"job_stays_in": "Sleeping"}, "1 with an unknown status"),
    ],
    ids=["ids", "names", "status"],
)
def test_a_list_that_cannot_find_a_lost_answer_is_a_warning(
    behaviour: dict[str, Any], text: str, cordial: SandboxProcess, airflow_cordial: Cordial
) -> None:
    submit_job(cordial, **behaviour)
    done = airflow_cordial("doctor", "--output", "json")
    found = checks(done)["list of jobs"]
    assert (done.code, found["state"]) == (0, "warning")
    assert text in found["result"]


def test_a_destination_that_cannot_be_read_is_reported(
    cordial: SandboxProcess, airflow_cordial: Cordial, set_connection: SetConnection
) -> None:
    ui = states(airflow_cordial("doctor", "--destination", "aws", "--output", "json"))
    assert (ui["destination for Cordial"], ui["destination for Airflow"]) == ("ok", "warning")
    set_connection("sftp_default", **{**sftp_connection(cordial), "password": "a-wrong-password"})
    wrong = airflow_cordial("doctor", *SFTP, "--output", "json")
    assert (wrong.code, states(wrong)["destination for Airflow"]) == (1, "failed")
    assert "a-wrong-password" not in wrong.out + wrong.err
    missing = airflow_cordial("doctor", "--destination", "sftp", "conn_id=nowhere", "path=x", "--output", "json")
    assert states(missing)["destination for Cordial"] == states(missing)["destination for Airflow"] == "failed"


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("", "no such table: trends"),
        ("CREATE TABLE trends (audience TEXT, snapshot_date TEXT, contacts INT)", "no such column: old.job_id"),
        (
            "CREATE TABLE trends (audience TEXT, snapshot_date TEXT, contacts INT, job_id, loaded_at, account TEXT, "
            "PRIMARY KEY (audience, snapshot_date, account))",
            "Add it to the scope",
        ),
    ],
    ids=["missing", "columns", "key"],
)
def test_a_table_that_does_not_fit_is_reported(
    statement: str, text: str, cordial: SandboxProcess, warehouse: Path, airflow_cordial: Cordial
) -> None:
    with sqlite3.connect(warehouse) as connection:
        connection.execute(statement)
    done = airflow_cordial("doctor", *TABLE, "--output", "json")
    found = checks(done)["table"]
    assert (done.code, found["state"]) == (1, "failed")
    assert text in found["result"] + found["advice"], found


def test_a_warehouse_that_cannot_be_loaded_is_reported(
    cordial: SandboxProcess, airflow_cordial: Cordial, set_connection: SetConnection
) -> None:
    set_connection("warehouse", conn_type="trino", host="x")
    found = states(airflow_cordial("doctor", *TABLE, "--output", "json"))
    assert (found["warehouse"], found["table"]) == ("failed", "not checked")


def test_the_triggerer_is_checked_where_the_database_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Job:
        def __init__(self, alive: bool) -> None:
            self.is_alive = lambda: alive

    def broken() -> None:
        raise OSError("postgres://user:Geheim1@host")

    found = [doctor._check_triggerer(find) for find in (lambda: Job(True), lambda: Job(False), lambda: None, broken)]
    assert [check.state for check in found] == ["ok", "warning", "warning", "not checked"]
    assert "Geheim1" not in str(found)
