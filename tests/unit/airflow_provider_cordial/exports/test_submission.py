"""Submit exactly once, against the sandbox: lost answers, kills, clears, and retries."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exceptions import (
    ConnectionFailedError,
    InvalidParameterError,
    RateLimitError,
    RefusedError,
    SubmissionUncertainError,
    TransientError,
)
from airflow_provider_cordial.exports import submission
from airflow_provider_cordial.exports.decision import Record
from airflow_provider_cordial.exports.submission import STATE_KEY
from airflow_provider_cordial.hooks.cordial import CordialHook
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import Store, TaskInstance, run_context
from tests.helpers.operators import export as execute
from tests.helpers.sandbox import SetConnection


class Run:
    """A task run: its tries share a state store."""

    def __init__(self, store: Store | None, *, retries: int = 2, **fields: Any) -> None:
        self.store = store
        self.tries = 0
        self.retries = retries
        self.max_tries = retries
        self.clears = 0
        self.fields = fields

    def attempt(self, *, conf: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        return execute(self.context(conf), **{"settling_time": 0.5, "retries": self.retries, **options})[1]

    def context(self, conf: dict[str, Any] | None = None) -> dict[str, Any]:
        self.tries += 1
        numbers = {"try_number": self.tries, "max_tries": self.max_tries, "clear_number": self.clears}
        context = run_context(conf=conf, **numbers, **self.fields)
        if self.store:
            context["task_state_store"] = self.store
        return context

    def clear(self) -> None:
        self.max_tries = self.tries + self.retries
        self.clears += 1


@pytest.fixture
def run(cordial: SandboxProcess) -> Run:
    cordial.control.behaviour(job_stays_in="Pending")
    return Run(Store())


def names(cordial: SandboxProcess) -> list[str]:
    return sorted(one["name"] for one in cordial.control.jobs())


class KilledError(BaseException):
    """The end of a process."""


def kill_after_the_post(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a try die after its export was accepted, and before the answer is recorded."""
    real = CordialHook.create_export

    def killed(self: CordialHook, *args: Any, **options: Any) -> str:
        real(self, *args, **options)
        raise KilledError

    monkeypatch.setattr(CordialHook, "create_export", killed)


def end_jobs(cordial: SandboxProcess) -> None:
    """Let all jobs become Done."""
    cordial.control.behaviour(job_stays_in=None)
    deadline = time.monotonic() + 10
    while any(one["status"] != "Done" for one in cordial.control.jobs()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_retry_resumes_the_job_and_pushes_the_same_export(cordial: SandboxProcess, run: Run) -> None:
    assert run.attempt() == run.attempt() == run.attempt()
    assert len(cordial.control.jobs()) == 1


def test_a_clear_or_other_parameters_export_again(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt()
    end_jobs(cordial)
    run.clear()
    second = run.attempt()
    third = run.attempt(days=2)
    assert run.attempt(days=2) == third
    assert len({one["name"] for one in (first, second, third)}) == 3
    assert names(cordial) == sorted(one["name"] for one in (first, second, third))


#: Cordial accepted the export, and the answer was lost.
LOST = [
    {"effect": "reset", "processed": True},
    {"effect": "truncate", "processed": True},
    {"effect": "delay", "seconds": 3, "processed": True},
    *({"effect": "answer", "status": status, "processed": True} for status in (500, 502, 503, 504, 524)),
    {"effect": "answer", "status": 200, "body": "{}", "processed": True},
]

#: The same, but Cordial did not accept it.
NOT_ARRIVED = [
    {"effect": "reset"},
    *({"effect": "answer", "status": status} for status in (500, 502, 503, 504)),
]


def set_short_timeouts(set_connection: SetConnection, cordial: SandboxProcess) -> None:
    extra = {"attempts": 2, "read_timeout": 5, "export_timeout": 1}
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password=cordial.api_key, extra=extra)


@pytest.mark.parametrize("fault", [*LOST, *NOT_ARRIVED], ids=str)
def test_a_lost_answer_creates_one_job(
    cordial: SandboxProcess, run: Run, set_connection: SetConnection, fault: dict[str, Any]
) -> None:
    set_short_timeouts(set_connection, cordial)
    cordial.control.fault("create_export", times=1, **fault)
    result = run.attempt()
    assert [(one["id"], one["name"]) for one in cordial.control.jobs()] == [(result["job_id"], result["name"])]
    assert run.attempt() == result


def test_a_job_that_is_listed_late_is_found(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.behaviour(visible_after=1)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    result = run.attempt(settling_time=5)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


def test_a_failing_list_is_read_again_while_settling(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    # One more than the attempts of the hook.
    cordial.control.fault("list_jobs", "answer", status=503, times=4)
    run.attempt(settling_time=5)
    assert len(cordial.control.jobs()) == 1


def test_the_settling_time_starts_when_the_post_ends(
    cordial: SandboxProcess, run: Run, set_connection: SetConnection
) -> None:
    set_short_timeouts(set_connection, cordial)
    # The POST times out after a second, longer than the settling time; the job is listed later still.
    cordial.control.behaviour(visible_after=1.2)
    cordial.control.fault("create_export", "delay", seconds=3, processed=True, times=1)
    result = run.attempt(settling_time=0.8)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


@pytest.mark.parametrize("has_store", [True, False])
def test_an_answer_lost_with_its_task_creates_one_job(cordial: SandboxProcess, run: Run, has_store: bool) -> None:
    if not has_store:
        run.store = None
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", status=503)
    with pytest.raises(TransientError):
        run.attempt(settling_time=0.1)
    cordial.control.clear_faults()
    result = run.attempt()
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_failed_job_is_exported_again_under_a_new_name(
    cordial: SandboxProcess, run: Run, has_store: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if not has_store:
        run.store = None
    cordial.control.behaviour(job_stays_in=None, job_fails_with="Login failed.", job_seconds=0.1)
    for _ in range(3):
        with caplog.at_level(logging.WARNING), pytest.raises(Exception, match=r"(?s)Failed.*Login failed\."):
            run.attempt(wait_for_completion=True, poll_interval=0.05, timeout=20)
    name = min(names(cordial), key=len)
    assert names(cordial) == [name, f"{name}-2", f"{name}-3"]
    assert f"exporting again as {name}-3" in caplog.text
    cordial.control.behaviour(job_fails_with=None)
    result = run.attempt(wait_for_completion=True, poll_interval=0.05, timeout=20)
    assert result["name"] == f"{name}-4"
    again = run.attempt(wait_for_completion=True, poll_interval=0.05, timeout=20)
    if has_store:
        assert again == result
    # Without a store only the job's start is known, to the second.
    assert again.pop("submitted_at")[:19] <= datetime.now(UTC).isoformat()
    assert again == {key: value for key, value in result.items() if key != "submitted_at"}


@pytest.mark.parametrize(
    ("behaviour", "fault", "text"),
    [
        ({"list_names": False}, None, r"the list contains jobs without a name \(1\)"),
        ({"record_id": None}, None, "does not contain the job's id"),
        ({}, {"status": 403}, "the list of jobs cannot be read"),
        ({}, {"status": 401}, "the list of jobs cannot be read"),
    ],
)
def test_an_uncertain_submission_is_left_to_a_person(
    cordial: SandboxProcess, run: Run, behaviour: dict[str, Any], fault: dict[str, Any] | None, text: str
) -> None:
    cordial.control.behaviour(**behaviour)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    if fault:
        cordial.control.fault("list_jobs", "answer", **fault)
    for _ in range(2):
        with pytest.raises(SubmissionUncertainError, match=text) as uncertain:
            run.attempt()
        (one,) = cordial.control.jobs()
        assert one["name"] in uncertain.value.message
        assert "Jobs page" in uncertain.value.message
        assert f"{datetime.now(UTC):%Y-%m-%d %H:}" in uncertain.value.message
    result = run.attempt(on_uncertain_submission="resubmit")
    assert names(cordial) == [one["name"], f"{one['name']}-2"]
    assert result["name"] == f"{one['name']}-2"
    assert run.attempt() == result


def test_a_shared_name_does_not_identify_a_job(cordial: SandboxProcess) -> None:
    cordial.control.behaviour(job_stays_in="Pending")
    another = Run(Store())
    another.attempt(name="daily", exact_name=True)
    run = Run(Store())
    cordial.control.fault("create_export", "reset", times=1)
    with pytest.raises(SubmissionUncertainError, match="has its name, but so do the exports of other runs"):
        run.attempt(name="daily", exact_name=True)
    assert len(cordial.control.jobs()) == 1


def test_an_unsent_export_is_submitted_again_at_once(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.fault("create_export", "answer", status=429, headers={"Retry-After": "1"}, times=1)
    run.attempt(settling_time=60)
    assert len(cordial.control.jobs()) == 1
    assert [one["path"] for one in cordial.control.requests() if one["method"] == "GET"] == []


#: As Cordial words its own rejections.
REJECTION = '{"error": true, "errorKey": "GENERIC_ERROR_KEY", "message": "no"}'


@pytest.mark.parametrize("status", [400, 401, 403, 406, 415, 429])
def test_a_rejected_export_is_not_searched_for(cordial: SandboxProcess, run: Run, status: int) -> None:
    cordial.control.fault("create_export", "answer", status=status, body=REJECTION)
    with pytest.raises((RefusedError, RateLimitError)):
        run.attempt()
    assert run.store
    assert run.store.get(STATE_KEY) is None
    cordial.control.clear_faults()
    run.attempt(settling_time=60)
    assert len(cordial.control.jobs()) == 1


def test_a_rejection_keeps_the_record_of_the_failed_job(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.behaviour(job_stays_in=None, job_fails_with="no", job_seconds=0)
    first = run.attempt()
    while cordial.control.job(first["job_id"])["status"] != "Failed":
        pass
    cordial.control.fault("create_export", "answer", status=429, times=3)
    with pytest.raises(RateLimitError):
        run.attempt()
    assert run.attempt()["name"] == f"{first['name']}-2"


def test_an_unreachable_host_is_not_searched(cordial: SandboxProcess, run: Run, set_connection: SetConnection) -> None:
    set_connection(
        "cordial_default", conn_type="cordial", host="http://127.0.0.1:9", password="k", extra={"attempts": 1}
    )
    with pytest.raises(ConnectionFailedError):
        run.attempt(settling_time=60)
    assert run.store
    assert run.store.get(STATE_KEY) is None
    assert cordial.control.jobs() == []


def test_one_try_submits_a_limited_number_of_times(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.fault("create_export", "reset")
    with pytest.raises(ConnectionFailedError):
        run.attempt(settling_time=0.1)
    sent = [one for one in cordial.control.requests() if one["method"] == "POST"]
    assert len(sent) == submission.MAX_SUBMISSIONS
    cordial.control.clear_faults()
    run.attempt(settling_time=0.1)
    assert len(cordial.control.jobs()) == 1


def test_the_state_store_has_no_secret(cordial: SandboxProcess, run: Run) -> None:
    run.attempt(destination=SftpDestination(conn_id="sftp_default", path="exports"))
    assert run.store
    assert set(run.store.get(STATE_KEY)) == {field.name for field in fields(Record)}
    for secret in (cordial.sftp.password, cordial.api_key):
        assert secret not in str(run.store.values)


def test_a_kill_during_the_submission_is_logged(
    cordial: SandboxProcess, set_connection: SetConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

    set_short_timeouts(set_connection, cordial)
    cordial.control.fault("create_export", "answer", status=401, body=REJECTION)
    operator = AudienceTrendsExportOperator(
        task_id="export",
        audiences=["opened_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
    )
    context = run_context()
    assert isinstance(context["ti"], TaskInstance)
    with pytest.raises(RefusedError):
        operator.execute(context)  # type: ignore[arg-type]
    operator.on_kill()
    assert "but export Der-tagliche-DAG-export-" in capsys.readouterr().out


def test_a_set_of_audiences_is_one_submission_in_any_order(cordial: SandboxProcess, run: Run) -> None:
    names = ("opened_last_30_days", "purchased_last_30_days", "new_subscribers")
    first = run.attempt(audiences=set(names))
    assert first["audiences"] == sorted(names)
    assert run.attempt(audiences=frozenset(reversed(names)))["job_id"] == first["job_id"]
    assert run.attempt(audiences=list(reversed(names)))["job_id"] == first["job_id"]
    assert len(cordial.control.jobs()) == 1


def test_a_job_is_resumed_without_the_connection_of_its_destination(
    cordial: SandboxProcess, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.attempt()
    monkeypatch.delenv("AIRFLOW_CONN_SFTP_DEFAULT")
    assert run.attempt() == first
    assert len(cordial.control.jobs()) == 1


#: Answers of a list that prove nothing about a job that it does not contain.
ODD_LISTS: list[dict[str, Any]] = [
    {"status": 307, "headers": {"Location": "https://elsewhere.example/"}},
    {"status": 404, "body": "<html>Not here</html>"},
    {"status": 422, "body": '{"error": true, "message": "no"}'},
    {"status": 403, "body": "<html>Blocked</html>"},
    {"status": 200, "body": "<html>Hello</html>"},
]


@pytest.mark.parametrize("fault", ODD_LISTS, ids=lambda fault: f"{fault['status']}-{fault.get('body', '')[:6]}")
def test_an_odd_list_is_read_again(cordial: SandboxProcess, run: Run, fault: dict[str, Any]) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", times=1, **fault)
    result = run.attempt(settling_time=3)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


@pytest.mark.parametrize("fault", ODD_LISTS[:4], ids=lambda fault: f"{fault['status']}-{fault.get('body', '')[:6]}")
def test_an_odd_list_after_the_settling_time_is_read_again(
    cordial: SandboxProcess, run: Run, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as once:
        kill_after_the_post(once)
        with pytest.raises(KilledError):
            run.attempt()
    cordial.control.fault("list_jobs", "answer", times=submission.MAX_INCONCLUSIVE_LISTINGS - 1, **fault)
    result = run.attempt(settling_time=0.0)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


@pytest.mark.parametrize("fault", ODD_LISTS[:4], ids=lambda fault: f"{fault['status']}-{fault.get('body', '')[:6]}")
def test_a_list_that_stays_odd_is_uncertain_and_never_a_second_post(
    cordial: SandboxProcess, run: Run, fault: dict[str, Any]
) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", **fault)
    with pytest.raises(SubmissionUncertainError, match="the list of jobs cannot be read"):
        run.attempt(settling_time=0.3)
    assert len(cordial.control.jobs()) == 1


def test_a_list_that_is_cut_off_proves_nothing(
    cordial: SandboxProcess, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cordial.client.pages.MAX_PAGES", 2)
    monkeypatch.setattr(JobPages.__init__, "__kwdefaults__", {"max_pages": 2, "stop_at_short_page": False})
    cordial.control.behaviour(list_order="oldest", max_per_page=2)
    cordial.control.add_jobs(6, shortest=60, longest=60)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    with pytest.raises(SubmissionUncertainError, match="the list of jobs was cut off:\\sit is longer than"):
        run.attempt(settling_time=0.3)
    assert len([one for one in cordial.control.requests() if one["method"] == "POST"]) == 1


def test_a_list_that_may_have_moved_by_a_page_proves_nothing(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    # Twice the same page: its number was ignored, or as many jobs were inserted between the two requests.
    page = json.dumps([{"_id": "foreign", "status": "Done", "metadata": {"name": "foreign"}}])
    cordial.control.fault("list_jobs", "answer", status=200, body=page)
    with pytest.raises(SubmissionUncertainError, match="was cut off:\\spage 2 repeats the page before"):
        run.attempt(settling_time=0.3)
    assert len(cordial.control.jobs()) == 1


def test_a_search_among_many_jobs_reads_few_pages(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.add_jobs(2000, shortest=0, longest=0)
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    run.attempt(settling_time=3)
    assert len([one for one in cordial.control.requests() if one["request"] == "list_jobs"]) <= 3


def test_the_settling_time_counts_from_the_last_attempt(
    cordial: SandboxProcess, run: Run, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"attempts": 3, "export_timeout": 0.5, "connect_timeout": 0.1}
    set_connection("cordial_default", conn_type="cordial", host=cordial.url, password=cordial.api_key, extra=extra)
    cordial.control.fault("create_export", "answer", status=429, headers={"Retry-After": "2"}, times=1)

    with monkeypatch.context() as once:
        kill_after_the_post(once)
        with pytest.raises(KilledError):
            run.attempt()
    # The job is listed two seconds after the POST that made it, and four after the intent.
    cordial.control.behaviour(visible_after=2.5)
    result = run.attempt(settling_time=3)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


def test_a_clear_does_not_adopt_the_job_before_it(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt(name="trends-2026-11-11")
    end_jobs(cordial)
    run.clear()
    cordial.control.fault("create_export", "answer", status=503, times=1)
    second = run.attempt(name="trends-2026-11-11", settling_time=0.3)
    assert second["job_id"] != first["job_id"]
    assert len(cordial.control.jobs()) == 2


def test_a_clear_after_lowering_the_retries_exports_again(cordial: SandboxProcess) -> None:
    run = Run(Store(), retries=1)
    first = run.attempt()
    end_jobs(cordial)
    run.retries = 0
    run.clear()
    assert run.max_tries == 1, "the clear left max_tries as it was"
    second = run.attempt()
    assert second["name"] != first["name"]
    assert run.attempt() == second
    assert len(cordial.control.jobs()) == 2


def test_a_clear_after_a_final_error_exports_again(cordial: SandboxProcess) -> None:
    run = Run(Store(), retries=1)
    first = run.attempt()
    end_jobs(cordial)
    cordial.control.fault("create_export", "answer", status=406, body=REJECTION, times=1)
    run.clear()
    with pytest.raises(RefusedError):
        run.attempt()
    run.retries = 0
    run.clear()
    assert run.attempt()["name"] != first["name"]
    assert len(cordial.control.jobs()) == 2


@pytest.mark.parametrize("answer", [{"status": 403, "body": "<html>Blocked</html>"}, {"status": 422, "body": "Odd"}])
def test_a_firewall_does_not_let_a_clear_submit_beside_a_live_job(
    cordial: SandboxProcess, run: Run, answer: dict[str, Any]
) -> None:
    first = run.attempt()
    run.clear()
    cordial.control.fault("get_job", "answer", times=1, **answer)
    with pytest.raises(TransientError, match=r"Blocked|Odd"):
        run.attempt()
    assert run.attempt() == first
    assert len(cordial.control.jobs()) == 1


@pytest.mark.parametrize("status", [301, 403, 404, 422])
@pytest.mark.parametrize("arrives", [True, False])
def test_a_firewall_that_answers_a_submission_leaves_it_to_a_retry(
    cordial: SandboxProcess, run: Run, status: int, *, arrives: bool
) -> None:
    html = "<html>Blocked</html>"
    cordial.control.fault("create_export", "answer", status=status, body=html, processed=arrives, times=1)
    with pytest.raises(TransientError, match="Blocked"):
        run.attempt()
    result = run.attempt(settling_time=0.0)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


def test_a_clear_resumes_a_live_job(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt()
    run.clear()
    assert run.attempt() == first
    # Its retry as well, also once the job has ended.
    end_jobs(cordial)
    assert run.attempt() == first
    run.clear()
    assert run.attempt() != first
    assert len(cordial.control.jobs()) == 2


def test_a_clear_resumes_a_live_job_whose_answer_was_lost(cordial: SandboxProcess, run: Run) -> None:
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", status=503)
    with pytest.raises(TransientError):
        run.attempt(settling_time=0.1)
    cordial.control.clear_faults()
    run.clear()
    result = run.attempt(settling_time=60)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]
    assert run.attempt() == result


def test_a_clear_waits_until_it_can_tell_whether_the_job_is_live(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt()
    run.clear()
    cordial.control.fault("get_job", "answer", status=503, times=3)
    with pytest.raises(TransientError):
        run.attempt()
    assert run.attempt() == first
    assert len(cordial.control.jobs()) == 1


def test_a_clear_of_another_task_before_a_retry_changes_nothing(cordial: SandboxProcess, run: Run) -> None:
    context = run.context()
    with pytest.raises(Exception, match="deadline"):
        execute(context, wait_for_completion=True, poll_interval=0.05, timeout=0.2)
    run.clears += 1
    end_jobs(cordial)
    assert run.attempt(wait_for_completion=True)["job_id"] == context["ti"].xcoms["export"]["job_id"]
    assert len(cordial.control.jobs()) == 1


def lose_the_answer(cordial: SandboxProcess, run: Run) -> str:
    """Submit an export whose job cannot be found, and return its id."""
    cordial.control.fault("create_export", "reset", processed=True, times=1)
    cordial.control.fault("list_jobs", "answer", status=403)
    with pytest.raises(SubmissionUncertainError, match=r"airflow cordial adopt .* JOB_ID .*job_id to its id"):
        run.attempt(settling_time=0.1)
    cordial.control.clear_faults()
    (job,) = cordial.control.jobs()
    return str(job["id"])


@pytest.mark.parametrize("how", ["job_id", "conf", "mapped"])
def test_a_job_that_a_person_found_is_resumed(cordial: SandboxProcess, how: str) -> None:
    cordial.control.behaviour(job_stays_in="Pending")
    run = Run(Store(), map_index=3) if how == "mapped" else Run(Store())
    job_id = lose_the_answer(cordial, run)
    ways: dict[str, dict[str, Any]] = {
        "job_id": {"job_id": job_id},
        "conf": {"conf": {"cordial_job_id": {"export": job_id, "other": "x"}}},
        "mapped": {"conf": {"cordial_job_id": {"export": {"3": job_id}}}},
    }
    options = ways[how]
    run.clear()
    result = run.attempt(**options)
    assert (result["job_id"], [result["name"]]) == (job_id, names(cordial))
    assert run.attempt(**options) == result
    # The id is taken once: a clear exports again as soon as the job has ended.
    end_jobs(cordial)
    run.clear()
    again = run.attempt(**options)
    assert again["job_id"] != job_id
    assert run.attempt(**options) == again
    assert len(cordial.control.jobs()) == 2


def test_another_run_resumes_a_job_that_a_person_found(cordial: SandboxProcess, run: Run) -> None:
    job_id = lose_the_answer(cordial, run)
    other = Run(Store(), run_id="manual__2")
    assert other.attempt(job_id=f" {job_id} ")["name"] == cordial.control.job(job_id)["name"]
    assert len(cordial.control.jobs()) == 1


def test_a_job_without_a_name_is_resumed_under_the_recorded_name(
    cordial: SandboxProcess, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = lose_the_answer(cordial, run)
    cordial.control.behaviour(list_names=False)
    run.clear()
    with caplog.at_level(logging.WARNING):
        result = run.attempt(job_id=job_id)
    assert (result["job_id"], [result["name"]]) == (job_id, names(cordial))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"job_id": "nope"}, "Invalid job_id 'nope': Cordial does not know this job"),
        ({"job_id": "another"}, "it is the job of export 'another-export"),
        ({"conf": {"cordial_job_id": "x"}}, "Invalid cordial_job_id 'x' in the run's conf"),
        ({"conf": {"cordial_job_id": {"export": 5}}}, "Invalid job_id 5"),
    ],
)
def test_an_unusable_job_id_is_rejected_before_sending(
    cordial: SandboxProcess, run: Run, options: dict[str, Any], text: str
) -> None:
    another = Run(Store(), dag_id="another").attempt()
    if options.get("job_id") == "another":
        options = {"job_id": another["job_id"]}
    with pytest.raises(InvalidParameterError, match=text):
        run.attempt(**options)
    assert len(cordial.control.jobs()) == 1


def test_a_mapped_task_needs_a_job_id_by_map_index(cordial: SandboxProcess) -> None:
    run = Run(Store(), map_index=0)
    with pytest.raises(InvalidParameterError, match="is mapped, so expected job ids by map index"):
        run.attempt(conf={"cordial_job_id": {"export": "x"}})
    assert cordial.control.jobs() == []
    run.attempt(conf={"cordial_job_id": {"export": {"1": "x"}}})
    assert len(cordial.control.jobs()) == 1


AUDIENCES = ["opened_last_30_days", "renamed", "vip", "purchased_last_30_days", "disabled"]


def test_a_refused_audience_fails_the_task_and_is_named(cordial: SandboxProcess, run: Run) -> None:
    with pytest.raises(RefusedError, match=r"(?s)'renamed' does not exist.*on_refused_audience=\"skip\""):
        run.attempt(audiences=AUDIENCES[:2])
    assert cordial.control.jobs() == []


@pytest.mark.parametrize("is_killed", [False, True])
def test_refused_audiences_are_skipped_and_named(
    cordial: SandboxProcess,
    run: Run,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_killed: bool,
) -> None:
    options: dict[str, Any] = {"audiences": AUDIENCES, "on_refused_audience": "skip"}
    if is_killed:
        with monkeypatch.context() as once:
            kill_after_the_post(once)
            with pytest.raises(KilledError), caplog.at_level(logging.WARNING):
                run.attempt(**options)
    with caplog.at_level(logging.WARNING):
        result = run.attempt(**options)
    (job,) = cordial.control.jobs()
    assert job["audiences"] == result["audiences"] == ["opened_last_30_days", "purchased_last_30_days"]
    assert result["refused_audiences"] == ["renamed", "vip", "disabled"]
    assert run.attempt(**options) == result
    assert "Exporting without renamed: Audience 'renamed' does not exist." in caplog.text
    assert "Exporting without vip: For Audience 'vip' analytics disabled." in caplog.text


def test_an_export_whose_audiences_are_all_refused_fails(cordial: SandboxProcess, run: Run) -> None:
    with pytest.raises(RefusedError, match="'vip' analytics disabled"):
        run.attempt(audiences=["renamed", "vip"], on_refused_audience="skip")
    assert cordial.control.jobs() == []


@pytest.mark.parametrize("has_store", [True, False])
def test_a_job_of_a_sibling_or_of_a_similar_name_is_not_adopted(cordial: SandboxProcess, has_store: bool) -> None:
    cordial.control.behaviour(job_stays_in="Pending")

    def attempt(name: str, map_index: int, days: int, **fields: Any) -> dict[str, Any]:
        context = run_context(map_index=map_index, **fields)
        if has_store:
            context["task_state_store"] = Store()
        return execute(context, name=name, days=days, settling_time=0.3)[1]

    others = [attempt("trends-2026-01", 1, 2), attempt("trends-2026-01-15", 2, 3)]
    cordial.control.fault("create_export", "reset", times=1)
    ours = attempt("trends-2026-01", 0, 1, try_number=2)
    assert ours["job_id"] not in {one["job_id"] for one in others}
    assert len(cordial.control.jobs()) == 3
