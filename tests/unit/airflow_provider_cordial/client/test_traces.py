"""Spans of an export and a load are children of the task's span, and tell nothing secret."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_cordial.client import traces
from airflow_provider_cordial.destinations import SftpDestination
from airflow_provider_cordial.transfers import AudienceTrendsSyncOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import QUICK
from tests.helpers.operators import run_context


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Turn traces on, as Airflow does in a worker."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def test_a_task_has_spans_of_its_steps(
    exported: InMemorySpanExporter, cordial: SandboxProcess, warehouse: Path
) -> None:
    operator = AudienceTrendsSyncOperator(
        task_id="sync",
        audiences=["opened_last_30_days"],
        destination=SftpDestination(conn_id="sftp_default", path="exports"),
        conn_id="warehouse",
        create_table=True,
        file_wait=QUICK,
        deferrable=False,
    )
    with trace.get_tracer("airflow").start_as_current_span("task_run"):
        operator.execute(run_context())  # type: ignore[arg-type]
    *spans, task = exported.get_finished_spans()
    assert [span.name for span in spans] == [f"cordial.{name}" for name in traces.SPANS]
    assert {span.parent.span_id for span in spans if span.parent} == {task.context.span_id}
    told = {key: value for span in spans for key, value in (span.attributes or {}).items()}
    (job,) = cordial.control.jobs()
    assert told == {
        "cordial.kind": "audiencetrendsexport",
        "cordial.job_id": job["id"],
        "cordial.export": job["name"],
        "cordial.conn_id": "warehouse",
        "cordial.table": "audience_trends",
    }


def test_an_error_is_in_its_span_without_its_message(exported: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), traces.span("load", table="t"):
        raise ValueError("secret")
    (span,) = exported.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "ValueError")
    assert "secret" not in span.to_json()


def test_without_the_library_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    done = []
    with traces.span("load"):
        done.append(True)
    assert done == [True]
