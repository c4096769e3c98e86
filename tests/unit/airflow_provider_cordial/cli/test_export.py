"""``airflow cordial export``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.exports.base import SubmittedExport
from airflow_provider_cordial.exports.submission import Submission
from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial
from tests.helpers.loads import load
from tests.unit.airflow_provider_cordial.cli.conftest import AUDIENCES

DAYS = ["--start", "2026-11-10", "--end", "2026-11-11"]
SFTP = ["--destination", "sftp", "conn_id=sftp_default", "path=exports"]
ONE = ["--audience", AUDIENCES[0]]


def test_a_load_takes_what_an_export_prints(cordial: SandboxProcess, airflow_cordial: Cordial, warehouse: Path) -> None:
    done = airflow_cordial("export", *ONE, "--audience", AUDIENCES[1], *DAYS, *SFTP, "--wait")
    assert done.code == 0
    submitted = SubmittedExport.from_json(done.json)
    assert re.fullmatch(r"audience-trends-[0-9a-f]{12}", submitted.export.name)
    assert submitted.has_unique_name
    assert cordial.sftp.password not in done.out + done.err
    assert (load(done.json)["rows"], load(done.json)["same"]) == (4, 4)


def test_each_call_is_another_export(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    names = {airflow_cordial("export", *ONE, *DAYS, *SFTP, "--name", "by-hand").json["name"] for _ in range(2)}
    assert {job["name"] for job in cordial.control.jobs()} == names
    assert len(names) == 2


def test_a_lost_answer_is_found_by_its_name(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    done = airflow_cordial("export", *ONE, *DAYS, *SFTP)
    (job,) = cordial.control.jobs()
    assert (done.code, done.json["job_id"]) == (0, job["id"])


def test_an_uncertain_export_is_reported(
    cordial: SandboxProcess, airflow_cordial: Cordial, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = Submission.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "settling_time", 2.0)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", status=403)
    done = airflow_cordial("export", *ONE, *DAYS, *SFTP)
    (job,) = cordial.control.jobs()
    assert (done.code, done.out) == (1, "")
    assert f"Unknown whether Cordial accepted export {job['name']}" in done.err
    assert "If it is not there, run the command again, which exports again." in done.err
    assert "task" not in done.err


def test_the_record_is_printed_before_the_wait(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    cordial.control.behaviour(job_stays_in="Pending")
    done = airflow_cordial("export", *ONE, *DAYS, *SFTP, "--wait", "--timeout", "0.3")
    (job,) = cordial.control.jobs()
    assert (done.code, done.json["job_id"]) == (1, job["id"])
    assert "did not end before the deadline" in done.err


def test_refused_audiences_can_be_skipped(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    refused = airflow_cordial("export", *ONE, "--audience", "gone", *DAYS, *SFTP)
    assert (refused.code, "Audience 'gone' does not exist" in refused.err) == (1, True)
    done = airflow_cordial("export", *ONE, "--audience", "gone", *DAYS, *SFTP, "--skip-refused")
    assert (done.json["audiences"], done.json["refused_audiences"]) == ([AUDIENCES[0]], ["gone"])
    assert "Exporting without gone" in done.err


def test_audiences_come_from_a_file_and_the_destination_from_json(
    cordial: SandboxProcess, airflow_cordial: Cordial, tmp_path: Path
) -> None:
    destination = json.dumps({"type": "sftp", "conn_id": "sftp_default", "path": "exports"})
    lines, names = tmp_path / "names.txt", tmp_path / "names.json"
    lines.write_text("\n".join(AUDIENCES) + "\n\n", encoding="utf-8-sig")
    names.write_text(json.dumps(AUDIENCES))
    for path in (lines, names):
        done = airflow_cordial("export", "--audiences-file", path, *DAYS, "--destination", destination)
        assert (done.code, done.json["audiences"]) == (0, list(AUDIENCES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*DAYS, *SFTP], "Missing audiences: name each with --audience"),
        ([*ONE, *DAYS], "Missing destination: set it"),
        ([*ONE, *DAYS, "--destination", "sftp", "Geheim1"], "Invalid member of destination 'sftp': expected KEY=VALUE"),
        ([*ONE, *DAYS, "--destination", "sftp", "password=Geheim1"], "Unknown members of destination 'sftp': password"),
        ([*ONE, *DAYS, "--destination", "{"], "the JSON cannot be read"),
        ([*ONE, *DAYS, "--destination", "tape"], "Invalid destination type 'tape': expected one of"),
        ([*ONE, *DAYS, *SFTP, "--name", "a b"], "Use 'a-b'"),
        ([*ONE, *ONE, *DAYS, *SFTP], "Duplicate audience"),
        ([*ONE, "--start", "2026-11-11", "--end", "2026-11-10", *SFTP], "is before the start"),
        ([*ONE, "--start", "2026-11-11", "--end", "2999-01-01", *SFTP], "is not over in America/Los_Angeles"),
        (["--audiences-file", "nowhere.txt", *DAYS, *SFTP], "Cannot read the audiences from 'nowhere.txt'"),
        ([*ONE, "--audiences-file", "x", *DAYS, *SFTP], "Both --audience and --audiences-file are set"),
    ],
)
def test_invalid_input_exits_with_2_and_sends_nothing(
    arguments: list[Any], message: str, cordial: SandboxProcess, airflow_cordial: Cordial
) -> None:
    done = airflow_cordial("export", *arguments)
    assert (done.code, done.out, message in done.err) == (2, "", True), done
    assert "Geheim1" not in done.err
    assert cordial.control.requests() == []
