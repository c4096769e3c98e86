"""Spans within the trace of a task, where Airflow's traces are on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: The spans, and what each lasts. All have the prefix ``cordial.``.
SPANS = {
    "submit": "the submission of an export, or the search for the job of an earlier try; kind",
    "wait": "the wait for a job in the worker; job_id",
    "read": "the search for the delivered file, and its reading; export, job_id",
    "load": "the load into the table; conn_id, table",
}


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """Measure a block as a span; an error that leaves it is in the span by the name of its class only.

    :param name: a key of ``SPANS``.
    """
    try:
        from opentelemetry import trace
    except ImportError:
        yield
        return
    tracer = trace.get_tracer("airflow_provider_cordial")
    with tracer.start_as_current_span(
        f"cordial.{name}",
        attributes={f"cordial.{key}": value for key, value in attributes.items()},
        # The message of a driver's error may quote a secret.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
            raise
