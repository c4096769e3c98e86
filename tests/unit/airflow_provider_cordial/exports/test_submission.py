"""Submit exactly once, against the sandbox: lost answers, kills, clears, and retries."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cordial.client.pages import JobPages
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.exceptions import (
    ConnectionFailedError,
    RateLimitError,
    RefusedError,
    SubmissionUncertainError,
    TransientError,
)
from airflow_provider_cordial.exports import submission
from airflow_provider_cordial.exports.submission import STATE_KEY
from airflow_provider_cordial.hooks.cordial import CordialHook
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import TaskInstance, run_context
from tests.helpers.operators import export as execute
from tests.helpers.sandbox import SetConnection


class Store:
    """The part of the task state store that is used; values pass through JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Run:
    """A task run: its tries share a state store."""

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.tries = 0
        self.max_tries = 2

    def attempt(self, **options: Any) -> dict[str, Any]:
        self.tries += 1
        context = run_context(try_number=self.tries, max_tries=self.max_tries)
        if self.store:
            context["task_state_store"] = self.store
        return execute(context, **{"settling_time": 0.5, **options})[1]

    def clear(self) -> None:
        self.max_tries = self.tries + 2


@pytest.fixture
def run(cordial: SandboxProcess) -> Run:
    cordial.control.behaviour(job_stays_in="Pending")
    return Run(Store())


def names(cordial: SandboxProcess) -> list[str]:
    return sorted(one["name"] for one in cordial.control.jobs())


def test_a_retry_resumes_the_job_and_pushes_the_same_export(cordial: SandboxProcess, run: Run) -> None:
    assert run.attempt() == run.attempt() == run.attempt()
    assert len(cordial.control.jobs()) == 1


def test_a_clear_or_other_parameters_export_again(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt()
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
        with caplog.at_level(logging.WARNING), pytest.raises(Exception, match=r"Failed.*Login failed\."):
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
        ({"list_ids": False}, None, "does not contain the job's id"),
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
        assert one["name"] in str(uncertain.value)
        assert "Jobs page" in str(uncertain.value)
        assert f"{datetime.now(UTC):%Y-%m-%d %H:}" in str(uncertain.value)
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


@pytest.mark.parametrize("status", [400, 401, 403, 406, 415, 429])
def test_a_rejected_export_is_not_searched_for(cordial: SandboxProcess, run: Run, status: int) -> None:
    cordial.control.fault("create_export", "answer", status=status)
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
    assert set(run.store.get(STATE_KEY)) == {"digest", "generation", "intended_at", "job_id", "sent_at", "uri"}
    for secret in (cordial.sftp.password, cordial.api_key):
        assert secret not in str(run.store.values)


def test_a_kill_during_the_submission_is_logged(
    cordial: SandboxProcess, set_connection: SetConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

    set_short_timeouts(set_connection, cordial)
    cordial.control.fault("create_export", "answer", status=401)
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
    with pytest.raises(SubmissionUncertainError, match="the list of jobs is longer than"):
        run.attempt(settling_time=0.3)
    assert len([one for one in cordial.control.requests() if one["method"] == "POST"]) == 1


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

    class KilledError(BaseException):
        pass

    real = CordialHook.create_export

    def killed(self: CordialHook, *args: Any, **options: Any) -> str:
        real(self, *args, **options)
        raise KilledError

    with monkeypatch.context() as once:
        once.setattr(CordialHook, "create_export", killed)
        with pytest.raises(KilledError):
            run.attempt()
    # The job is listed two seconds after the POST that made it, and four after the intent.
    cordial.control.behaviour(visible_after=2.5)
    result = run.attempt(settling_time=3)
    assert [one["id"] for one in cordial.control.jobs()] == [result["job_id"]]


def test_a_clear_does_not_adopt_the_job_before_it(cordial: SandboxProcess, run: Run) -> None:
    first = run.attempt(name="trends-2026-11-11")
    run.clear()
    cordial.control.fault("create_export", "answer", status=503, times=1)
    second = run.attempt(name="trends-2026-11-11", settling_time=0.3)
    assert second["job_id"] != first["job_id"]
    assert len(cordial.control.jobs()) == 2


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
