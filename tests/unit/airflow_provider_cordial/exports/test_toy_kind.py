"""An export kind of its own, defined here: operator, wait, and delivered file work without a change in the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cordial.destinations import Destination, FileWait, destination_from_json
from airflow_provider_cordial.destinations.finder import open_delivered_file
from airflow_provider_cordial.exceptions import ExportConfigurationError, InvalidExportError
from airflow_provider_cordial.exports import Export, SubmittedExport
from airflow_provider_cordial.operators import CordialExportOperator
from airflow_provider_cordial.transfers import AudienceTrendsToSqlOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.operators import SFTP, run_context
from tests.helpers.sandbox import SetConnection

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.hooks.cordial import CordialHook


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortExport(Export):
    """One cohort on one day."""

    kind = "cohortexport"
    error_hint = "A cohort is a saved audience."

    cohort: str
    day: date

    def body(self) -> dict[str, Any]:
        return {"name": self.name, "cohort": self.cohort, "day": self.day.isoformat()}

    def event_extra(self) -> dict[str, Any]:
        return {"cohort": self.cohort}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CohortExport:
        destination = destination_from_json(record["destination"])
        day = date.fromisoformat(record["day"])
        return cls(name=record["name"], destination=destination, cohort=record["cohort"], day=day)


class CohortExportOperator(CordialExportOperator):
    template_fields = (*CordialExportOperator.template_fields, "cohort")

    def __init__(self, *, cohort: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cohort = cohort

    def build_export(self, context: Context, hook: CordialHook, *, name: str, destination: Destination) -> CohortExport:
        return CohortExport(name=name, destination=destination, cohort=self.cohort, day=date(2026, 11, 1))


@contextmanager
def cohort_api(sandbox: SandboxProcess) -> Iterator[str]:
    """Serve the sandbox's API with one more endpoint, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def _forward(self, path: str, body: Any) -> None:
            headers = {"Authorization": self.headers["Authorization"]}
            answer = requests.request(self.command, sandbox.url + path, json=body, headers=headers, timeout=10)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def do_GET(self) -> None:
            self._forward(self.path, None)

        def do_POST(self) -> None:
            assert self.path == f"/v2/{CohortExport.kind}"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            day = body.pop("day")
            body |= {"exportType": "csv", "audiences": [body.pop("cohort")]}
            body |= {"selected_timeframe_start": day, "selected_timeframe_end": day}
            self._forward("/v2/audiencetrendsexport", body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def cohorts(cordial: SandboxProcess, set_connection: SetConnection) -> Iterator[SandboxProcess]:
    with cohort_api(cordial) as url:
        set_connection("cordial_default", conn_type="cordial", host=url, password=cordial.api_key)
        yield cordial


def run(cohort: str = "opened_last_30_days", **options: Any) -> tuple[dict[str, Any], Any]:
    """Execute the operator; return the pushed export and the event on its outlet."""
    outlet = Asset("x-cohorts://all")
    context = {**run_context(), "outlet_events": OutletEventAccessors(), "dag": SimpleNamespace(timetable=None)}
    operator = CohortExportOperator(
        task_id="export",
        cohort=cohort,
        destination=SFTP,
        wait_for_completion=True,
        poll_interval=0.05,
        timeout=20,
        outlets=[outlet],
        **options,
    )
    operator.execute(context)  # type: ignore[arg-type]
    return context["ti"].xcoms["export"], context["outlet_events"][outlet].extra


def test_a_new_kind_is_submitted_awaited_and_found(cohorts: SandboxProcess) -> None:
    since = datetime.now(UTC)
    pushed, extra = run()
    (job,) = cohorts.control.jobs()
    assert (job["id"], job["status"], job["name"]) == (pushed["job_id"], "Done", pushed["name"])
    assert extra == {"days": [], "cohort": "opened_last_30_days", "job_id": job["id"], "export": pushed}
    submitted = SubmittedExport.from_json(json.loads(json.dumps(pushed)))
    assert isinstance(submitted.export, CohortExport)
    assert submitted.to_json() == pushed
    wait = FileWait(timeout=10, poll_interval=0.1, stable_for=0.1)
    with open_delivered_file(SFTP, submitted.export.name, not_before=since, file_wait=wait) as (_, stream):
        assert b"opened_last_30_days" in stream.read()


def test_a_rejected_export_carries_the_hint_of_its_kind(cohorts: SandboxProcess) -> None:
    with pytest.raises(ExportConfigurationError, match=r"(?s)does not exist.*A cohort is a saved audience\."):
        run("nobody")
    assert cohorts.control.jobs() == []


def test_another_kind_is_not_loaded_as_audience_trends(cohorts: SandboxProcess, warehouse: object) -> None:
    pushed, _ = run()
    with pytest.raises(InvalidExportError, match="Invalid export of kind 'cohortexport'"):
        AudienceTrendsToSqlOperator(task_id="load", export=pushed, conn_id="warehouse").execute({})


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(TypeError, match=r"(?s)Export kind 'cohortexport' is already registered by .*CohortExport"):
        type("Other", (CohortExport,), {"__slots__": (), "kind": CohortExport.kind})
