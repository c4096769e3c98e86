"""The exports of records as values: the body as Cordial documents it, the JSON, the identity, and what is rejected."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.exports import (
    AccountMonitorExport,
    ContactActivityExport,
    ContactsExport,
    Export,
    MessageAnalyticsExport,
    SubmittedExport,
)
from airflow_provider_cordial.exports.records import RecordsExport
from tests.helpers.operators import SFTP

START, END = datetime(2026, 11, 10, 8, tzinfo=UTC), datetime(2026, 11, 11, 7, 59, 59, 999_000, tzinfo=UTC)
PERIOD: dict[str, Any] = {"selected_timeframe_start": START, "selected_timeframe_end": END}
PERIOD_SENT = {
    "selected_timeframe_start": "2026-11-10T08:00:00.000Z",
    "selected_timeframe_end": "2026-11-11T07:59:59.999Z",
}
COLUMNS = [{"name": "email", "label": "Email"}, {"name": "action"}]

CONTACTS = ContactsExport(name="x", destination=SFTP, fields=["channels.email.address"])
ACTIVITY = ContactActivityExport(name="x", destination=SFTP, **PERIOD)
ANALYTICS = MessageAnalyticsExport(name="x", destination=SFTP, **PERIOD)
MONITOR = AccountMonitorExport(name="x", destination=SFTP, **PERIOD)

#: Every member that Cordial documents.
FULL: list[tuple[RecordsExport, dict[str, Any]]] = [
    (
        replace(
            CONTACTS,
            export_type="txt",
            fields=["b", "a"],
            audience_key="vip",
            lists=["news", 7],
            show_header=True,
            delimiter="\t",
            compress=True,
            confirm_email="a@b.io",
        ),
        {
            "name": "x",
            "exportType": "txt",
            "fields": ["b", "a"],
            "audience-key": "vip",
            "lists": ["news", 7],
            "showHeader": True,
            "delimiter": "\t",
            "compress": True,
            "confirmEmail": "a@b.io",
        },
    ),
    (
        replace(
            ACTIVITY,
            selected_action_names=["open", "click"],
            selected_message_type="batch",
            selected_message_id="m1",
            selected_channel="email",
            send_type="mms",
            selected_audience_key="vip",
            show_all_properties=False,
            contact_fields=["id"],
            additional_jsonl_fields=["url"],
            column_headers=COLUMNS,
            show_header=True,
            limit_records_per_file=1000,
        ),
        {
            "name": "x",
            "exportType": "csv",
            **PERIOD_SENT,
            "selected_action_names": ["open", "click"],
            "selected_message_type": "batch",
            "selected_message_id": "m1",
            "selected_channel": "email",
            "sendType": "mms",
            "selected_audience_key": "vip",
            "showAllProperties": False,
            "contactFields": ["id"],
            "additionalJsonlFields": ["url"],
            "columnHeaders": COLUMNS,
            "showHeader": True,
            "limitRecordsPerFile": 1000,
        },
    ),
    (
        replace(
            ANALYTICS,
            export_type="json",
            type="orchestration",
            selected_channel="email",
            selected_message_name="hello",
            selected_message_tags=["a", "b"],
            selected_message_tags_operator="all",
            selected_orchestration_name="welcome",
            selected_orchestration_id="o1",
            selected_audience_names=["vip"],
            selected_audience_ids=["5f"],
            view_mode="as_total",
            rollup_automations=True,
            include_totals_row=True,
            column_headers=COLUMNS,
            show_header=False,
            limit_records_per_file=0,
            compress=False,
        ),
        {
            "name": "x",
            "fileName": "x",
            "exportType": "json",
            **PERIOD_SENT,
            "type": "orchestration",
            "selected_channel": "email",
            "selected_message_name": "hello",
            "selected_message_tags": ["a", "b"],
            "selected_message_tags_operator": "all",
            "selected_orchestration_name": "welcome",
            "selected_orchestration_id": "o1",
            "selected_audience_names": ["vip"],
            "selected_audience_ids": ["5f"],
            "viewMode": "as_total",
            "rollupAutomations": True,
            "includeTotalsRow": True,
            "columnHeaders": COLUMNS,
            "showHeader": False,
            "limitRecordsPerFile": 0,
            "compress": False,
        },
    ),
    (
        replace(MONITOR, selected_category="Exports", selected_level="Error", options={"later": [1]}),
        {
            "name": "x",
            "exportType": "json",
            **PERIOD_SENT,
            "selected_category": "Exports",
            "selected_level": "Error",
            "later": [1],
        },
    ),
]


def kind_of(one: Any) -> str:
    return one.kind if isinstance(one, Export) else ""


@pytest.mark.parametrize(("export", "body"), FULL, ids=kind_of)
def test_the_body_is_as_documented(export: RecordsExport, body: dict[str, Any]) -> None:
    assert export.body() == body


@pytest.mark.parametrize(
    ("export", "body"),
    [
        (CONTACTS, {"name": "x", "exportType": "csv", "fields": ["channels.email.address"]}),
        (ACTIVITY, {"name": "x", "exportType": "csv", **PERIOD_SENT}),
        (ANALYTICS, {"name": "x", "fileName": "x", "exportType": "csv", **PERIOD_SENT}),
        (MONITOR, {"name": "x", "exportType": "json", **PERIOD_SENT}),
    ],
    ids=kind_of,
)
def test_what_is_not_set_is_not_sent(export: RecordsExport, body: dict[str, Any]) -> None:
    assert export.body() == body


@pytest.mark.parametrize("export", [*(export for export, _ in FULL), replace(MONITOR, timezone="UTC")], ids=kind_of)
def test_an_export_survives_json_as_what_a_load_takes(export: RecordsExport) -> None:
    submitted = SubmittedExport(export, "j1", "sftp://x/exports", START, True, "https://jobs")
    assert SubmittedExport.from_json(json.loads(json.dumps(submitted.to_json()))) == submitted


def test_a_file_is_found_under_the_name_of_a_later_generation() -> None:
    assert ANALYTICS.named("x-2").body()["fileName"] == "x-2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (replace(CONTACTS, lists=["b", 1, "a"]), replace(CONTACTS, lists=("a", "b", 1))),
        (replace(CONTACTS, lists={"b", "a"}), replace(CONTACTS, lists=["a", "b"])),  # type: ignore[arg-type]
        (replace(ACTIVITY, selected_action_names=["b", "a"]), replace(ACTIVITY, selected_action_names=["a", "b"])),
        (replace(ANALYTICS, selected_message_tags=["b", "a"]), replace(ANALYTICS, selected_message_tags=["a", "b"])),
        (replace(ANALYTICS, selected_audience_ids=["b", "a"]), replace(ANALYTICS, selected_audience_ids=["a", "b"])),
        (replace(MONITOR, timezone="Europe/Berlin"), MONITOR),
        (replace(MONITOR, selected_timeframe_start=START.astimezone()), MONITOR),
    ],
)
def test_requests_that_mean_the_same_are_the_same_submission(one: Export, other: Export) -> None:
    assert json.dumps(one.canonical(), sort_keys=True) == json.dumps(other.canonical(), sort_keys=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (replace(CONTACTS, fields=["a", "b"]), replace(CONTACTS, fields=["b", "a"])),
        (replace(ACTIVITY, column_headers=COLUMNS), replace(ACTIVITY, column_headers=COLUMNS[::-1])),
        (replace(MONITOR, options={"a": 1}), MONITOR),
        (replace(MONITOR, selected_timeframe_end=datetime(2026, 11, 12, tzinfo=UTC)), MONITOR),
        (ACTIVITY, replace(ACTIVITY, limit_records_per_file=0)),
        (ACTIVITY, ANALYTICS),
    ],
)
def test_other_requests_are_another_submission(one: Export, other: Export) -> None:
    assert one.canonical() != other.canonical()


@pytest.mark.parametrize(
    ("export", "changes", "text"),
    [
        (CONTACTS, {"fields": []}, "Invalid fields []: expected at least one value."),
        (CONTACTS, {"fields": None}, "Invalid fields None: expected a list"),
        (CONTACTS, {"fields": "email"}, "Invalid fields 'email': expected a list, also for a single value."),
        (CONTACTS, {"fields": ["a", " "]}, "Invalid value of fields ' ': expected a text that is not blank."),
        (CONTACTS, {"fields": ["a", 1]}, "Invalid value of fields 1: expected a text"),
        (CONTACTS, {"lists": [True]}, "Invalid value of lists True"),
        (CONTACTS, {"export_type": "xml"}, "Invalid export_type 'xml': expected one of csv, json, txt."),
        (CONTACTS, {"audience_key": ""}, "Invalid audience_key ''"),
        (CONTACTS, {"delimiter": ";"}, "Invalid delimiter for export_type 'csv': it applies to txt only."),
        (CONTACTS, {"delimiter": "", "export_type": "txt"}, "Invalid delimiter ''"),
        (CONTACTS, {"compress": "yes"}, "Invalid compress 'yes': expected True or False."),
        (CONTACTS, {"name": "a b"}, "Invalid name 'a b'"),
        *((CONTACTS, {"confirm_email": one}, "expected an email address") for one in ("me", "@b", "a@", "a b@c", 1)),
        (CONTACTS, {"options": ["accountId"]}, "Invalid options ['accountId']: expected a mapping"),
        (
            CONTACTS,
            {"options": {"audience-key": "vip"}},
            "'audience-key' has a parameter of its own. Set audience_key.",
        ),
        (CONTACTS, {"options": {"destination": {}}}, "Set destination."),
        (ACTIVITY, {"selected_action_name": "a", "selected_action_names": ["a"]}, "Both selected_action_name and"),
        (ACTIVITY, {"selected_audience_key": "a", "selected_contact": "b"}, "Both selected_audience_key and"),
        (ACTIVITY, {"selected_message_type": "all"}, "expected one of batch, automation."),
        (ACTIVITY, {"send_type": "email"}, "expected one of sms, mms."),
        (ACTIVITY, {"limit_records_per_file": -1}, "Invalid limit_records_per_file -1: expected a whole number"),
        (ACTIVITY, {"column_headers": ["email"]}, "Invalid value of column_headers 'email': expected a mapping"),
        (ACTIVITY, {"column_headers": [{"label": "x"}]}, "Invalid name in column_headers None"),
        (ACTIVITY, {"column_headers": [{"name": "x", "label": 1}]}, "Invalid label in column_headers 1"),
        (ACTIVITY, {"selected_timeframe_end": date(2026, 11, 11)}, "expected a datetime with a time zone"),
        (ACTIVITY, {"selected_timeframe_end": datetime(2026, 11, 11)}, "expected a datetime with a time zone"),  # noqa: DTZ001
        (ACTIVITY, {"selected_timeframe_end": datetime(2026, 11, 1, tzinfo=UTC)}, "it is before the start"),
        (ANALYTICS, {"export_type": "txt"}, "expected one of csv, json."),
        (ANALYTICS, {"type": "push"}, "expected one of all, batch, automation, orchestration, both."),
        (ANALYTICS, {"view_mode": "daily"}, "expected one of by_message, by_message_type, as_total."),
        (ANALYTICS, {"selected_message_tags_operator": "none"}, "expected one of any, all."),
        (ANALYTICS, {"options": {"fileName": "march"}}, "'fileName' is the export's name"),
        (MONITOR, {"export_type": "csv"}, "Invalid export_type 'csv': expected json."),
        (MONITOR, {"selected_level": "error"}, "expected one of Debug, Info, Warning, Error."),
    ],
)
def test_what_cordial_does_not_document_is_rejected(export: Export, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidExportError) as rejected:
        replace(export, **changes)
    assert text in rejected.value.message


def test_an_unknown_category_is_sent() -> None:
    assert replace(MONITOR, selected_category="Webhooks").body()["selected_category"] == "Webhooks"


@pytest.mark.parametrize("missing", ["name", "destination", "selected_timeframe_end"])
def test_a_record_without_a_member_is_rejected(missing: str) -> None:
    record = SubmittedExport(MONITOR, "j1", "sftp://x/exports", START).to_json()
    del record[missing]
    with pytest.raises(InvalidExportError, match="Invalid accountmonitorexport"):
        SubmittedExport.from_json(record)


def test_the_days_are_those_of_the_account() -> None:
    assert list(replace(ACTIVITY, timezone="America/Los_Angeles").days()) == [date(2026, 11, 10)]
    assert list(ACTIVITY.days()) == [date(2026, 11, 10), date(2026, 11, 11)]
    assert list(CONTACTS.days()) == []


def test_audiences_are_what_an_export_reads() -> None:
    assert [list(one.reads()) for one, _ in FULL] == [["vip"], ["vip"], ["vip"], []]


def test_a_file_without_a_header_may_be_empty() -> None:
    assert [one.may_be_empty for one, _ in FULL] == [False, False, True, True]
    assert [one.file_formats[0] for one, _ in FULL] == ["csv", "csv", "json", "json"]
