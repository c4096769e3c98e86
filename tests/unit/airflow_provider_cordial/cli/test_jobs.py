"""``airflow cordial jobs``."""

from __future__ import annotations

import pytest

from cordial_sandbox.process import SandboxProcess
from tests.helpers.cli import Cordial
from tests.helpers.sandbox import SetConnection
from tests.helpers.waits import submit_job


def test_jobs_are_listed_newest_first_and_filtered(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    done = submit_job(cordial)
    assert airflow_cordial("jobs", "wait", done).code == 0
    pending = submit_job(cordial, job_stays_in="Pending")
    assert [job["jobId"] for job in airflow_cordial.json("jobs", "list")] == [pending, done]
    assert [job["jobId"] for job in airflow_cordial.json("jobs", "list", "--limit", 1)] == [pending]
    assert [job["jobId"] for job in airflow_cordial.json("jobs", "list", "--status", "done")] == [done]
    assert airflow_cordial.json("jobs", "list", "--name", "another") == []
    shown = airflow_cordial("jobs", "list", "--name", "trends")
    assert shown.out.splitlines()[0].split() == ["job", "id", "status", "export", "started", "ended"]
    assert pending in shown.out
    assert "Pending" in shown.out


def test_a_job_is_shown(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    job_id = submit_job(cordial)
    record = airflow_cordial.json("jobs", "show", job_id)
    assert (record["jobId"], record["metadata"]["name"]) == (job_id, "trends-1")
    assert job_id in airflow_cordial("jobs", "show", job_id).out
    unknown = airflow_cordial("jobs", "show", "unknown")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("GET /v2/jobs/unknown: Cordial answered 404")
    assert "Traceback" not in unknown.err


def test_a_wait_reports_each_status_on_stderr(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    done = airflow_cordial("jobs", "wait", submit_job(cordial), "--output", "json")
    assert (done.code, done.json["status"]) == (0, "Done")
    assert "is Done" in done.err


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"job_stays_in": "Pending"}, "did not end before the deadline"),
        ({"job_fails_with": "disk full"}, "Failed: disk full."),
    ],
)
def test_a_wait_without_success_exits_with_1(
    behaviour: dict[str, object], message: str, cordial: SandboxProcess, airflow_cordial: Cordial
) -> None:
    done = airflow_cordial("jobs", "wait", submit_job(cordial, **behaviour), "--timeout", "0.5")
    assert (done.code, done.out, message in done.err) == (1, "", True), done


def test_an_error_is_printed_without_a_traceback_or_a_secret(
    cordial: SandboxProcess, airflow_cordial: Cordial, set_connection: SetConnection
) -> None:
    missing = airflow_cordial("jobs", "list", "--cordial-conn-id", "nowhere")
    assert missing.code == 1
    assert missing.err.startswith("Airflow connection 'nowhere' does not exist.\nCreate it: airflow connections add")
    set_connection("wrong", conn_type="cordial", host=cordial.url, password="a-wrong-api-key")
    rejected = airflow_cordial("jobs", "list", "--cordial-conn-id", "wrong")
    assert rejected.code == 1
    assert "Cordial answered 401" in rejected.err
    assert "a-wrong-api-key" not in rejected.err


def test_no_answer_controls_the_terminal(cordial: SandboxProcess, airflow_cordial: Cordial) -> None:
    cordial.control.behaviour(job_fails_with="\x1b[31mred")
    job_id = submit_job(cordial)
    assert "\x1b" not in airflow_cordial("jobs", "wait", job_id).err.replace("\\u001b", "")
    assert "\x1b" not in airflow_cordial("jobs", "show", job_id).out
