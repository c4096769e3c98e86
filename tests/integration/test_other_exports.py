"""Each export of records against the sandbox: submitted, awaited, delivered, found, and copied."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.operators import (
    CordialAccountMonitorExportOperator,
    CordialContactActivityExportOperator,
    CordialContactsExportOperator,
    CordialMessageAnalyticsExportOperator,
)
from airflow_provider_cordial.operators.records import RecordsExportOperator
from airflow_provider_cordial.transfers import DeliveredFileToObjectStorageOperator
from cordial_sandbox.process import SandboxProcess
from tests.helpers.loads import QUICK
from tests.helpers.operators import SFTP, run_context

FIELDS = {"fields": ["channels.email.address"]}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("operator", "options"),
    [
        (CordialContactsExportOperator, {**FIELDS, "show_header": True}),
        (CordialContactsExportOperator, {**FIELDS, "export_type": "json"}),
        (CordialContactsExportOperator, {**FIELDS, "export_type": "txt", "delimiter": ";", "lists": ["news", 7]}),
        (CordialContactActivityExportOperator, {"show_header": True, "selected_action_names": ["open", "click"]}),
        (CordialContactActivityExportOperator, {"export_type": "json", "selected_message_type": "batch"}),
        (CordialMessageAnalyticsExportOperator, {"show_header": True, "type": "all", "include_totals_row": True}),
        (CordialMessageAnalyticsExportOperator, {"export_type": "json", "view_mode": "by_message"}),
        (CordialAccountMonitorExportOperator, {"selected_level": "Error", "limit_records_per_file": 0}),
    ],
)
def test_an_export_is_submitted_awaited_and_copied(
    cordial: SandboxProcess,
    tmp_path: Path,
    operator: type[RecordsExportOperator],
    options: dict[str, Any],
    compress: bool,
) -> None:
    context = run_context()
    export = operator(
        task_id="export",
        destination=SFTP,
        wait_for_completion=True,
        poll_interval=0.05,
        timeout=20,
        compress=compress,
        **options,
    )
    job_id = export.execute(context)  # type: ignore[arg-type]
    pushed = context["ti"].xcoms["export"]
    assert cordial.control.job(job_id)["status"] == "Done"
    copy = DeliveredFileToObjectStorageOperator(
        task_id="copy", export=pushed, path=str(tmp_path), file_wait=QUICK, parts=True
    )
    result = copy.execute({})
    (copied,) = tmp_path.iterdir()
    assert copied.name.startswith(pushed["name"])
    (delivered,) = (cordial.sftp.root / "exports").glob(f"{pushed['name']}*")
    assert copied.read_bytes() == delivered.read_bytes()
    assert result == {"path": str(copied), "bytes": delivered.stat().st_size, "parts": 1}
    assert (copied.read_bytes()[:2] == gzip.compress(b"")[:2]) is compress
