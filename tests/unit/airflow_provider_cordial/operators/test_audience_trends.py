"""The export operator: what it submits, what it rejects before anything is sent, and what it pushes."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferred

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.destinations import (
    SftpDestination,
)
from airflow_provider_cordial.exceptions import (
    BadEventError,
    DestinationAccessError,
    ExportConfigurationError,
    InvalidConnectionError,
    InvalidExportError,
    InvalidParameterError,
    JobFailedError,
    JobTimeoutError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import validate_name
from airflow_provider_cordial.exports.identity import Attempt, compute_identity, default_name, unique_name
from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.triggers.job import JobTrigger
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import SFTP, export, run_context
from tests.helpers.sandbox import SetConnection


def test_one_job_is_submitted_and_the_export_is_pushed(cordial: SandboxProcess) -> None:
    before = datetime.now(UTC)
    job_id, pushed = export(days=3)
    (job,) = cordial.control.jobs()
    assert job["id"] == job_id == pushed["job_id"]
    assert (job["selected_timeframe_start"], job["selected_timeframe_end"]) == ("2026-11-09", "2026-11-11")
    assert job["name"] == pushed["name"]
    assert pushed["destination"] == {"type": "sftp", "conn_id": "sftp_default", "path": "exports"}
    assert pushed["uri"] == f"sftp://{cordial.sftp.host}:{cordial.sftp.port}/exports"
    assert before <= datetime.fromisoformat(pushed["submitted_at"]) <= datetime.now(UTC)
    assert AudienceTrendsExport.from_json(pushed).destination == SFTP
    assert cordial.sftp.password not in str(pushed)


def test_derived_names_are_stable_over_retries_and_distinct() -> None:
    def name(what: str = "audience", **fields: Any) -> str:
        context = run_context(**fields)
        return unique_name(
            default_name(context), compute_identity(context, [what]), Attempt.of(context, 2), has_store=True
        )

    assert validate_name(name()).startswith("Der-tagliche-DAG-export-")
    assert name(try_number=2) == name()
    others = [
        name(max_tries=3),
        name(run_id="scheduled__2"),
        name(map_index=1),
        name(task_id="other"),
        name(dag_id="other"),
        name("other"),
    ]
    assert len({name(), *others}) == 7


def test_the_authors_name_is_made_unique(cordial: SandboxProcess) -> None:
    assert re.fullmatch("Trends-2026-11-11-[0-9a-f]{12}", export(name="Trends-2026-11-11")[1]["name"])
    mapped = [export(run_context(map_index=index), name="Trends")[1]["name"] for index in range(3)]
    cleared = export(run_context(max_tries=9), name="Trends")[1]["name"]
    assert len({*mapped, cleared}) == 4


def test_an_exact_name_is_kept(cordial: SandboxProcess) -> None:
    assert export(name="Trends-2026-11-11", exact_name=True)[1]["name"] == "Trends-2026-11-11"
    assert cordial.control.jobs()[0]["name"] == "Trends-2026-11-11"
    with pytest.raises(InvalidParameterError, match="exact_name True without a name"):
        export(exact_name=True)


def test_days_and_destination_can_come_from_another_task(cordial: SandboxProcess) -> None:
    # The result of rendering is not a template.
    place = {**SFTP.to_json(), "path": "exports/{{ not rendered }}"}
    _, pushed = export(timeframe={"start": "2026-10-01", "end": "2026-10-31"}, destination=place)
    (job,) = cordial.control.jobs()
    assert (job["selected_timeframe_start"], job["selected_timeframe_end"]) == ("2026-10-01", "2026-10-31")
    assert pushed["destination"] == place


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"destination": "sftp"}, "Invalid destination 'sftp': expected a Destination or its to_json()."),
        ({"destination": {"type": "dropbox"}}, "Invalid destination type 'dropbox': expected one of"),
        ({"timeframe": "last week"}, "Invalid timeframe 'last week'"),
        ({"name": "daily trends"}, "Invalid name 'daily trends': expected letters, digits, and dashes"),
        ({"name": "trends.csv"}, "Use 'trends-csv'"),
        ({"name": "a/b"}, "Use 'a-b'"),
        ({"name": "käufer"}, "Invalid name 'käufer'"),
        ({"name": "trends\n"}, "expected letters"),
        ({"name": ""}, "Invalid name '': expected letters, digits, and dashes"),
        ({"audiences": []}, "Invalid audiences: the list is empty"),
        ({"audiences": "opened_last_30_days"}, "Invalid audiences 'opened_last_30_days': expected a list"),
        ({"audiences": ["a", "b", "a"]}, "Duplicate audience 'a'"),
        ({"audiences": ["K\u00e4ufer", "Ka\u0308ufer\u00a0"]}, "Unicode forms do not count"),
        ({"audiences": ["a", ""]}, "Invalid audiences: a name is blank"),
        ({"audiences": ["a", None]}, "Invalid audience None: expected text, got NoneType"),
        ({"days": 0}, "Invalid days 0: expected a whole number above 0"),
        ({"selected_timeframe_start": "2026-11-10"}, "selected_timeframe_end is missing"),
        ({"selected_timeframe_start": "2026-11-10", "selected_timeframe_end": "2026-11-01"}, "is before the start"),
        ({"selected_timeframe_start": "", "selected_timeframe_end": ""}, "Invalid selected_timeframe_start ''"),
        ({"selected_timeframe_start": "x", "selected_timeframe_end": "2026-11-01"}, "'x': expected a date"),
        ({"destination": SftpDestination(conn_id="sftp_default", path="")}, "Invalid path '' of the destination"),
    ],
)
def test_invalid_parameters_are_rejected_before_sending(
    cordial: SandboxProcess, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        export(**options)
    assert text in rejected.value.message
    assert isinstance(rejected.value, AirflowFailException)
    assert cordial.control.requests() == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"login": "u", "password": "p"}, "has no host: set the server's name"),
        ({"host": "h", "password": "p"}, "has no login: set the user that Cordial writes as"),
        ({"host": "h", "login": "u"}, "has no password, and Cordial cannot use a private key"),
        ({"host": "h", "login": "u", "extra": {"private_key": "---"}}, "saved_key: the name of a key pair"),
    ],
)
def test_an_incomplete_destination_is_rejected_before_sending(
    cordial: SandboxProcess, set_connection: SetConnection, fields: dict[str, Any], text: str
) -> None:
    set_connection("sftp_other", conn_type="sftp", **fields)
    with pytest.raises(InvalidConnectionError) as rejected:
        export(destination=SftpDestination(conn_id="sftp_other", path="exports"))
    assert text in rejected.value.message
    assert "'sftp_other'" in rejected.value.message
    assert cordial.control.requests() == []


@pytest.mark.parametrize("name", ["2024", "1e5", "None", "(1, 2)"])
def test_native_templates_keep_audience_names_or_are_rejected(cordial: SandboxProcess, name: str) -> None:
    def rendered(audiences: Any) -> AudienceTrendsExportOperator:
        with DAG("native", schedule=None, render_template_as_native_obj=True):
            operator = AudienceTrendsExportOperator(task_id="export", audiences=audiences, destination=SFTP)
        operator.render_template_fields({"params": {"name": name, "names": [name]}})
        return operator

    # The two recipes of docs/operators.md.
    assert rendered("{{ params.names }}").audiences == [name]
    assert rendered(["{{ params.name | tojson }}"]).audiences == [name]
    with pytest.raises(InvalidExportError, match=r"(?s)expected text, got .* quote the value: .* tojson"):
        rendered(["{{ params.name }}"]).execute(run_context())  # type: ignore[arg-type]
    assert cordial.control.requests() == []


def test_an_audience_without_analytics_fails_the_task_at_once(cordial: SandboxProcess) -> None:
    for audience, text in (("nobody", "does not exist"), ("vip", "analytics disabled")):
        with pytest.raises(ExportConfigurationError, match=text) as rejected:
            export(audiences=[audience])
        assert isinstance(rejected.value, AirflowFailException)
    assert cordial.control.jobs() == []


def test_wait_in_the_task(cordial: SandboxProcess) -> None:
    job_id, _ = export(wait_for_completion=True, poll_interval=0.02)
    assert cordial.control.job(job_id)["status"] == "Done"


def test_wait_in_the_triggerer(cordial: SandboxProcess) -> None:
    context = run_context()
    started = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        export(context, wait_for_completion=True, deferrable=True, poll_interval=0.5, timeout=60)
    trigger = deferred.value.trigger
    assert isinstance(trigger, JobTrigger)
    assert trigger.job_id == cordial.control.jobs()[0]["id"] == context["ti"].xcoms["export"]["job_id"]
    assert trigger.poll_interval == 0.5
    assert started + 60 <= trigger.deadline <= time.time() + 60
    assert deferred.value.timeout is not None
    assert timedelta(seconds=60) < deferred.value.timeout < timedelta(seconds=600)


@pytest.mark.parametrize(("limit", "expected"), [(50, 45), (1000, 990), (None, 3600)])
def test_the_deadline_precedes_the_execution_timeout(
    cordial: SandboxProcess, limit: int | None, expected: float
) -> None:
    execution_timeout = timedelta(seconds=limit) if limit else None
    started = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        export(wait_for_completion=True, deferrable=True, timeout=3600, execution_timeout=execution_timeout)
    trigger = deferred.value.trigger
    assert isinstance(trigger, JobTrigger)
    assert started + expected <= trigger.deadline <= time.time() + expected
    cordial.control.behaviour(job_stays_in="Processing")
    with pytest.raises(JobTimeoutError, match="last status was Processing"):
        export(wait_for_completion=True, poll_interval=0.05, execution_timeout=timedelta(seconds=0.5))


def test_a_trigger_timeout_polls_the_job_one_last_time(cordial: SandboxProcess) -> None:
    context = run_context()
    cordial.control.behaviour(job_stays_in="Processing")
    operator = AudienceTrendsExportOperator(
        task_id="export", audiences=["opened_last_30_days"], destination=SFTP, wait_for_completion=True, deferrable=True
    )
    with pytest.raises(TaskDeferred):
        operator.execute(context)  # type: ignore[arg-type]
    timed_out = {"error": "Trigger timeout"}
    with pytest.raises(JobTimeoutError, match="last status was Processing"):
        operator.resume_execution("__fail__", timed_out, context)  # type: ignore[arg-type]
    cordial.control.behaviour(job_stays_in=None, job_fails_with="The storage is full.", job_seconds=0)
    (job,) = cordial.control.jobs()
    while cordial.control.job(job["id"])["status"] != "Failed":
        time.sleep(0.02)
    with pytest.raises(JobFailedError, match="The storage is full"):
        operator.resume_execution("__fail__", timed_out, context)  # type: ignore[arg-type]


def test_a_done_job_at_the_trigger_timeout_is_a_success(cordial: SandboxProcess) -> None:
    context = run_context()
    cordial.control.behaviour(job_seconds=0)
    operator = AudienceTrendsExportOperator(
        task_id="export", audiences=["opened_last_30_days"], destination=SFTP, wait_for_completion=True, deferrable=True
    )
    with pytest.raises(TaskDeferred):
        operator.execute(context)  # type: ignore[arg-type]
    (job,) = cordial.control.jobs()
    while cordial.control.job(job["id"])["status"] != "Done":
        time.sleep(0.02)
    assert operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context) == job["id"]  # type: ignore[arg-type]
    with pytest.raises(TaskDeferralError):
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, context)  # type: ignore[arg-type]


def test_a_retry_executes_although_airflow_resumes_it_with_an_old_event(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(job_fails_with="The storage is full.", job_seconds=0)
    operator = AudienceTrendsExportOperator(
        task_id="export", audiences=["opened_last_30_days"], destination=SFTP, wait_for_completion=True, deferrable=True
    )
    context = run_context(try_number=1)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)  # type: ignore[arg-type]
    (job,) = cordial.control.jobs()
    event = {"status": "success", "job_id": job["id"], "job": {"status": "Done"}, "error": None}
    kwargs = {**(deferred.value.kwargs or {}), "event": event}
    assert operator.resume_execution("execute_complete", kwargs, context) == job["id"]  # type: ignore[arg-type]
    while cordial.control.job(job["id"])["status"] != "Failed":
        time.sleep(0.02)
    with pytest.raises(TaskDeferred):
        operator.resume_execution("execute_complete", kwargs, run_context(try_number=2))  # type: ignore[arg-type]
    assert len(cordial.control.jobs()) == 2


def test_the_event_of_another_job_is_never_a_success(cordial: SandboxProcess) -> None:
    context = run_context()
    operator = AudienceTrendsExportOperator(
        task_id="export", audiences=["opened_last_30_days"], destination=SFTP, wait_for_completion=True, deferrable=True
    )
    with pytest.raises(TaskDeferred):
        operator.execute(context)  # type: ignore[arg-type]
    event = {"status": "success", "job_id": "another", "job": {"status": "Done"}, "error": None}
    with pytest.raises(BadEventError, match="belongs to job another, but the task waits for job"):
        operator.execute_complete(context, event)  # type: ignore[arg-type]
    (job,) = cordial.control.jobs()
    own = {**event, "job_id": job["id"]}
    assert operator.execute_complete(context, own) == job["id"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{"poll_interval": 0}, {"poll_interval": -1}, {"timeout": 0}, {"timeout": "1h"}], ids=str
)
def test_invalid_wait_options_are_rejected_before_sending(cordial: SandboxProcess, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="expected a number of seconds above 0"):
        export(**options)
    assert cordial.control.requests() == []


def test_a_failed_job_fails_the_wait_with_its_record(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(job_fails_with="The storage is full.")
    with pytest.raises(JobFailedError, match=r"(?s)Failed.*The storage is full\.") as failed:
        export(wait_for_completion=True, poll_interval=0.02)
    assert not isinstance(failed.value, AirflowFailException)
    assert failed.value.retry_helps


@pytest.mark.parametrize(("status", "error"), [("Throttled", JobTimeoutError), ("Reticulating", UnknownJobStatusError)])
def test_an_expired_wait_reports_the_last_status(
    cordial: SandboxProcess, status: str, error: type[JobTimeoutError]
) -> None:
    cordial.control.behaviour(job_stays_in=status)
    started = time.monotonic()
    with pytest.raises(error, match=status) as late:
        export(wait_for_completion=True, poll_interval=0.05, timeout=0.5)
    assert type(late.value) is error
    assert 0.4 < time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        pytest.param({"password": "wrong-password"}, "exports", "Login failed.", id="password"),
        pytest.param({"login": "nobody"}, "exports", "Login failed.", id="user"),
        pytest.param({"port": 9}, "exports", "Unable to open connection to 127.0.0.1 : 9", id="port"),
        pytest.param({"host": "sftp.invalid"}, "exports", "The sandbox may not connect to 'sftp.invalid'", id="host"),
        pytest.param({}, "nowhere", "Invalid file path 'nowhere'.", id="path"),
    ],
)
def test_a_wrong_destination_fails_the_job_with_a_reason(
    cordial: SandboxProcess, set_connection: SetConnection, changes: dict[str, Any], path: str, reason: str
) -> None:
    sftp = cordial.sftp
    fields = {"host": sftp.host, "port": sftp.port, "login": sftp.username, "password": sftp.password, **changes}
    set_connection("sftp_wrong", conn_type="sftp", **fields)
    with pytest.raises(JobFailedError) as failed:
        export(
            destination=SftpDestination(conn_id="sftp_wrong", path=path),
            wait_for_completion=True,
            poll_interval=0.05,
            timeout=30,
        )
    assert reason in failed.value.message
    assert str(fields["password"]) not in failed.value.message


def test_killing_the_task_logs_that_the_job_continues(
    cordial: SandboxProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = AudienceTrendsExportOperator(task_id="export", audiences=["opened_last_30_days"], destination=SFTP)
    operator.on_kill()
    assert "continues" not in capsys.readouterr().out
    job_id = operator.execute(run_context())  # type: ignore[arg-type]
    operator.on_kill()
    assert f"job {job_id} continues: Cordial jobs cannot be cancelled" in capsys.readouterr().out


def test_a_rejected_login_is_final(cordial: SandboxProcess, set_connection: SetConnection) -> None:
    sftp = cordial.sftp
    fields = {"host": sftp.host, "port": sftp.port, "login": sftp.username, "password": "wrong-password"}
    set_connection("sftp_wrong", conn_type="sftp", **fields, extra={"no_host_key_check": "true"})
    destination = SftpDestination(conn_id="sftp_wrong", path="exports")
    with (
        pytest.raises(DestinationAccessError, match="(?s)'sftp_wrong'.*Authentication") as rejected,
        destination.reader(timeout=5),
    ):
        pass
    assert "wrong-password" not in rejected.value.message
