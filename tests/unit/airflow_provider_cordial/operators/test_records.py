"""The operators for exports of records: requests, retries and clears, refusals, templates, events, and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial._compat import AirflowFailException
from airflow_provider_cordial.client import api
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.exceptions import (
    DestinationError,
    ExportConfigurationError,
    InvalidExportError,
    JobFailedError,
)
from airflow_provider_cordial.exports import SubmittedExport
from airflow_provider_cordial.operators import (
    CordialAccountMonitorExportOperator,
    CordialContactActivityExportOperator,
    CordialContactsExportOperator,
    CordialMessageAnalyticsExportOperator,
)
from airflow_provider_cordial.operators.records import PeriodExportOperator, RecordsExportOperator
from tests.helpers.kinds import API_KEY, SmallCordial, small_cordial
from tests.helpers.operators import SFTP, Store, run_context
from tests.helpers.sandbox import SetConnection

SFTP_PASSWORD = "the-password-of-the-server"

SENT_DESTINATION = {
    "type": "sftp",
    "server": "127.0.0.1",
    "port": 2222,
    "username": "cordial",
    "password": SFTP_PASSWORD,
    "path": "exports",
}

#: The day before the run of ``run_context``, in the account's time zone.
DAY = {"selected_timeframe_start": "2026-11-11T08:00:00.000Z", "selected_timeframe_end": "2026-11-12T07:59:59.999Z"}

#: An operator of each kind, and what it sends besides the name and the destination.
OPERATORS: list[tuple[type[RecordsExportOperator], dict[str, Any], dict[str, Any]]] = [
    (
        CordialContactsExportOperator,
        {"fields": ["email"], "audience_key": "vip", "show_header": True, "compress": True},
        {"exportType": "csv", "fields": ["email"], "audience-key": "vip", "showHeader": True, "compress": True},
    ),
    (
        CordialContactActivityExportOperator,
        {"selected_action_names": ["open"], "limit_records_per_file": 10, "export_type": "json"},
        {"exportType": "json", "selected_action_names": ["open"], "limitRecordsPerFile": 10, **DAY},
    ),
    (
        CordialMessageAnalyticsExportOperator,
        {"type": "all", "view_mode": "by_message", "confirm_email": "a@b.io"},
        {"exportType": "csv", "type": "all", "viewMode": "by_message", "confirmEmail": "a@b.io", **DAY},
    ),
    (
        CordialAccountMonitorExportOperator,
        {"selected_level": "Error", "options": {"later": 1}},
        {"exportType": "json", "selected_level": "Error", "later": 1, **DAY},
    ),
]
CLASSES = [one[0] for one in OPERATORS]


@pytest.fixture
def server(set_connection: SetConnection) -> Iterator[SmallCordial]:
    with small_cordial() as state:
        extra = {"attempts": 2, "read_timeout": 5}
        set_connection("cordial_default", conn_type="cordial", host=state.url, password=API_KEY, extra=extra)
        fields = {"host": "127.0.0.1", "port": 2222, "login": "cordial", "password": SFTP_PASSWORD}
        set_connection("sftp_default", conn_type="sftp", **fields)
        yield state


def run(
    operator: type[RecordsExportOperator], options: dict[str, Any], context: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Execute an operator, and return the pushed export."""
    context = context or run_context()
    defaults = {"task_id": "export", "destination": SFTP, "settling_time": 0.2, "poll_interval": 0.02}
    job_id = operator(**{**defaults, **options}).execute(context)  # type: ignore[arg-type]
    pushed: dict[str, Any] = context["ti"].xcoms["export"]
    assert pushed["job_id"] == job_id
    return pushed


@pytest.mark.parametrize(("operator", "options", "sent"), OPERATORS)
def test_the_request_is_as_documented(
    server: SmallCordial, operator: type[RecordsExportOperator], options: dict[str, Any], sent: dict[str, Any]
) -> None:
    pushed = run(operator, options)
    ((kind, body),) = server.posts
    name = pushed["name"]
    assert name.startswith("Der-tagliche-DAG-export-")
    file_name = {"fileName": name} if operator is CordialMessageAnalyticsExportOperator else {}
    assert kind == operator.export_class.kind
    assert body == {"name": name, **file_name, **sent, "destination": SENT_DESTINATION}
    submitted = SubmittedExport.from_json(pushed)
    assert type(submitted.export) is operator.export_class
    assert submitted.to_json() == pushed
    assert SFTP_PASSWORD not in str(pushed)
    assert API_KEY not in str(pushed)


@pytest.mark.parametrize("operator", CLASSES)
def test_every_member_is_a_parameter_and_every_text_is_a_template(operator: type[RecordsExportOperator]) -> None:
    required: dict[str, Any] = {"fields": ["email"]} if operator is CordialContactsExportOperator else {}
    built = operator(task_id="export", destination=SFTP, **required)
    members = {item.name for item, _ in operator.export_class.members()}
    untemplated = {
        "compress",
        "include_totals_row",
        "limit_records_per_file",
        "rollup_automations",
        "show_all_properties",
        "show_header",
    }
    assert all(hasattr(built, name) for name in (*members, *operator.template_fields))
    assert members - untemplated <= set(operator.template_fields)
    assert not untemplated & set(operator.template_fields)


def test_templates_are_rendered(server: SmallCordial) -> None:
    with DAG("templates", schedule=None):
        operator = CordialContactActivityExportOperator(
            task_id="export",
            destination=SFTP,
            selected_timeframe_start="{{ params.hour }}",
            selected_timeframe_end="2026-11-10T06:00:00Z",
            selected_action_names=["{{ params.action }}"],
            column_headers=[{"name": "{{ params.action }}"}],
            options={"later": "{{ params.action }}"},
        )
    operator.render_template_fields({"params": {"hour": "2026-11-10T05:00:00Z", "action": "open"}})
    operator.execute(run_context())  # type: ignore[arg-type]
    body = server.posts[0][1]
    assert (body["selected_timeframe_start"], body["selected_timeframe_end"]) == (
        "2026-11-10T05:00:00.000Z",
        "2026-11-10T06:00:00.000Z",
    )
    assert (body["selected_action_names"], body["columnHeaders"]) == (["open"], [{"name": "open"}])
    assert body["later"] == "open"


@pytest.mark.parametrize(("operator", "options", "_sent"), OPERATORS)
def test_a_retry_resumes_and_a_clear_exports_again(
    server: SmallCordial, operator: type[RecordsExportOperator], options: dict[str, Any], _sent: dict[str, Any]
) -> None:
    store = Store()

    def attempt(**fields: Any) -> dict[str, Any]:
        return run(operator, options, {**run_context(**fields), "task_state_store": store})

    server.status = "Processing"
    first = attempt(try_number=1)
    assert attempt(try_number=2) == first
    assert len(server.posts) == 1
    server.status = "Failed"
    again = attempt(try_number=3)
    assert again["name"] == f"{first['name']}-2"
    server.status = "Done"
    cleared = attempt(try_number=4, max_tries=5, clear_number=1)
    assert cleared["name"] not in (first["name"], again["name"])
    assert [body["name"] for _, body in server.posts] == [first["name"], again["name"], cleared["name"]]


@pytest.mark.parametrize(("operator", "options", "_sent"), OPERATORS)
def test_a_job_is_found_by_its_name_after_a_lost_answer(
    server: SmallCordial,
    monkeypatch: pytest.MonkeyPatch,
    operator: type[RecordsExportOperator],
    options: dict[str, Any],
    _sent: dict[str, Any],
) -> None:
    real, store = api.parse_job_id, Store()

    def lost(request: api.Request, payload: Any) -> str:
        raise KeyboardInterrupt

    server.status = "Processing"
    monkeypatch.setattr(api, "parse_job_id", lost)
    with pytest.raises(KeyboardInterrupt):
        run(operator, options, {**run_context(), "task_state_store": store})
    monkeypatch.setattr(api, "parse_job_id", real)
    pushed = run(operator, options, {**run_context(try_number=2), "task_state_store": store})
    assert (len(server.posts), pushed["job_id"]) == (1, server.ids[0])


def test_the_order_of_a_filter_is_the_same_submission(server: SmallCordial) -> None:
    def attempt(names: list[str], number: int) -> str:
        context = {**run_context(try_number=number), "task_state_store": store}
        return str(run(CordialContactActivityExportOperator, {"selected_action_names": names}, context)["job_id"])

    store = Store()
    server.status = "Processing"
    assert attempt(["open", "click"], 1) == attempt(["click", "open"], 2)
    assert attempt(["open"], 3) == server.ids[1]


@pytest.mark.parametrize("operator", [one for one in CLASSES if issubclass(one, PeriodExportOperator)])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"selected_timeframe_start": "2026-11-10"}, "selected_timeframe_end is missing"),
        ({"selected_timeframe_start": "2026-11-10", "selected_timeframe_end": "2026-11-09"}, "it is before the start"),
        ({"timeframe": "last week"}, "Invalid timeframe 'last week'"),
        ({"export_type": "parquet"}, "Invalid export_type 'parquet'"),
        ({"confirm_email": "me"}, "Invalid confirm_email 'me'"),
        ({"limit_records_per_file": 1.5}, "Invalid limit_records_per_file 1.5"),
        ({"options": {"limitRecordsPerFile": 5}}, "Set limit_records_per_file."),
    ],
)
def test_invalid_parameters_are_rejected_before_sending(
    server: SmallCordial, operator: type[RecordsExportOperator], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        run(operator, options)
    assert text in rejected.value.message
    assert isinstance(rejected.value, AirflowFailException)
    assert server.posts == []


def test_fields_are_required(server: SmallCordial) -> None:
    with pytest.raises(InvalidExportError, match="Invalid fields None"):
        run(CordialContactsExportOperator, {"fields": None})
    assert server.posts == []


@pytest.mark.parametrize(
    ("status", "message", "error", "advice"),
    [
        (400, "Audience with name: 'vip' does not exist.", ExportConfigurationError, "Check that the audience"),
        (400, "SSH key with such Name/ID: wrong does not exist.", DestinationError, "Correct the destination"),
        (400, f"Unable to log in with {SFTP_PASSWORD}.", DestinationError, "Correct the destination"),
    ],
)
def test_a_refusal_fails_the_task_at_once_without_a_secret(
    server: SmallCordial, status: int, message: str, error: type[Exception], advice: str
) -> None:
    server.refusal = (status, message)
    with pytest.raises(error, match=advice) as refused:
        run(CordialContactsExportOperator, {"fields": ["email"], "audience_key": "vip"})
    assert isinstance(refused.value, AirflowFailException)
    assert SFTP_PASSWORD not in str(refused.value)


def test_an_export_waits_and_publishes_its_days(server: SmallCordial) -> None:
    outlet = Asset("x-activity://all")
    context = {**run_context(), "outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    pushed = run(CordialContactActivityExportOperator, {"wait_for_completion": True, "outlets": [outlet]}, context)
    extra = context["outlet_events"][outlet].extra
    assert extra == {"days": ["2026-11-11"], "job_id": pushed["job_id"], "export": pushed}


def test_a_failed_job_fails_the_wait(server: SmallCordial) -> None:
    server.status = "Failed"
    with pytest.raises(JobFailedError, match="sftp_default"):
        run(CordialAccountMonitorExportOperator, {"wait_for_completion": True})


def test_an_export_waits_in_the_triggerer(server: SmallCordial) -> None:
    server.status = "Processing"
    with pytest.raises(TaskDeferred) as deferred:
        run(CordialMessageAnalyticsExportOperator, {"wait_for_completion": True, "deferrable": True})
    assert deferred.value.trigger.job_id == server.ids[0]
    assert SFTP_PASSWORD not in str(deferred.value.trigger.serialize())


def test_jobs_of_every_kind_are_exports(server: SmallCordial) -> None:
    for operator, options, _ in OPERATORS:
        run(operator, options)
    assert all(Job.from_record(server.job(number)).may_be_export for number in range(len(OPERATORS)))


def test_an_exports_moments_are_those_of_its_run(server: SmallCordial) -> None:
    pushed = run(CordialAccountMonitorExportOperator, {"timeframe": {"start": "2026-10-01", "end": "2026-10-02"}})
    export: Any = SubmittedExport.from_json(pushed).export
    assert export.selected_timeframe_start == datetime(2026, 10, 1, 7, tzinfo=UTC)
    assert [str(day) for day in export.days()] == ["2026-10-01", "2026-10-02"]
