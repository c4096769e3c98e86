"""Deliver a file and load it, without an export before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from airflow_provider_cordial.destinations.file_wait import FileWait
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator
from airflow_provider_cordial.trends import AudienceRow, OnBlank, TrendsBatch
from cordial_sandbox.process import SandboxProcess

QUICK = FileWait(timeout=2, poll_interval=0.05, stable_for=0.05, incomplete_for=0.3, read_timeout=5)


GOLD = 'Käufer, "Gold"'


PLAIN = 'audience,2026-11-10,2026-11-11\na,1,2\n"Käufer, ""Gold""",3,\n'


ODD = ["tab\there", "back\\slash", r"\N", 'quote"', "two\nlines", "Käufer 山田", "it's; DROP TABLE x; --", r"\."]


def export(**changes: Any) -> dict[str, Any]:
    """An export as the operator pushes it."""
    return {
        "kind": "audiencetrendsexport",
        "name": "trends",
        "exportType": "csv",
        "audiences": ["a", GOLD],
        "selected_timeframe_start": "2026-11-10",
        "selected_timeframe_end": "2026-11-11",
        "destination": {"type": "sftp", "conn_id": "sftp_default", "path": "exports"},
        "job_id": "j1",
        "uri": "sftp://x/exports",
        "submitted_at": datetime.now(UTC).isoformat(),
        **changes,
    }


def deliver(sandbox: SandboxProcess, content: str | bytes, name: str = "trends.csv") -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (sandbox.sftp.root / "exports" / name).write_bytes(raw)


TEN, ELEVEN = date(2026, 11, 10), date(2026, 11, 11)


def batch(
    rows: Mapping[str, Sequence[int | None]],
    *,
    days: Sequence[date] = (TEN, ELEVEN),
    job_id: str = "j1",
    on_blank: OnBlank = "keep",
    corrections: bool = False,
    max_change: float | None = None,
) -> TrendsBatch:
    """What a table loads: the sizes of each audience by day."""
    return TrendsBatch(
        audiences=tuple(rows),
        days=tuple(days),
        rows=[AudienceRow(name, list(sizes)) for name, sizes in rows.items()],
        blanks=sum(list(sizes).count(None) for sizes in rows.values()),
        job_id=job_id,
        loaded_at=datetime.now(UTC),
        on_blank=on_blank,
        corrections=corrections,
        max_change=max_change,
    )


def load(
    record: dict[str, Any] | None = None, *, context: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    defaults = {"task_id": "load", "conn_id": "warehouse", "create_table": True, "file_wait": QUICK}
    operator = AudienceTrendsToSqlOperator(export=export() if record is None else record, **{**defaults, **options})
    return operator.execute(context or {})  # type: ignore[arg-type]
