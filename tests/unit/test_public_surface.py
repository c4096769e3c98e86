"""The public names, and the class paths that serialized DAGs and trigger rows of earlier versions contain."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest

SURFACE: dict[str, set[str]] = {
    "operators": {
        "AudienceTrendsCoverageOperator",
        "AudienceTrendsExportOperator",
        "AudienceTrendsFreshnessOperator",
        "AudienceTrendsPlanOperator",
        "AudienceTrendsVerifyOperator",
        "CordialExportOperator",
    },
    "sensors": {"JobSensor"},
    "triggers": {"ExportJobTrigger", "JobTrigger"},
    "transfers": {
        "AudienceTrendsReconcileOperator",
        "AudienceTrendsSyncOperator",
        "AudienceTrendsToFileOperator",
        "AudienceTrendsToSqlOperator",
    },
    "destinations": {
        "Address",
        "AzureBlobDestination",
        "DeliveredFile",
        "Destination",
        "FileWait",
        "FtpDestination",
        "GcsDestination",
        "Reader",
        "S3Destination",
        "SftpDestination",
        "UiDestination",
        "destination_from_json",
    },
    "exports": {"AudienceTrendsExport", "Export", "SubmittedExport", "Timeframe"},
    "trends": {
        "Columns",
        "Coverage",
        "CsvFormat",
        "IncompleteTrendsError",
        "LoadResult",
        "PlannedExport",
        "TrendsBatch",
        "TrendsCsvError",
        "TrendsTable",
        "find_holes",
        "plan_exports",
        "read_coverage",
        "register_table",
    },
    "hooks": {"CordialHook"},
}

#: Airflow stores these paths in its database: they never move.
STORED = [
    "deadlines.AccountMidnight",
    "hooks.cordial.CordialHook",
    "operators.audience_trends.AudienceTrendsExportOperator",
    "operators.audience_trends_coverage.AudienceTrendsPlanOperator",
    "operators.audience_trends_coverage.AudienceTrendsVerifyOperator",
    "operators.audience_trends_freshness.AudienceTrendsFreshnessOperator",
    "sensors.job.JobSensor",
    "transfers.audience_trends_reconcile.AudienceTrendsReconcileOperator",
    "transfers.audience_trends_sync.AudienceTrendsSyncOperator",
    "transfers.audience_trends_to_file.AudienceTrendsToFileOperator",
    "transfers.audience_trends_to_sql.AudienceTrendsToSqlOperator",
    "triggers.export_job.ExportJobTrigger",
    "triggers.job.JobTrigger",
]


def load(package: str) -> Any:
    return importlib.import_module(f"airflow_provider_cordial.{package}")


@pytest.mark.parametrize("package", SURFACE)
def test_a_package_exports_its_public_names(package: str) -> None:
    module = load(package)
    assert set(module.__all__) >= SURFACE[package]
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="unknown_name"):
        module.unknown_name  # noqa: B018


@pytest.mark.parametrize("path", STORED)
def test_a_stored_class_path_is_importable_and_unchanged(path: str) -> None:
    module, _, name = path.rpartition(".")
    found = getattr(load(module), name)
    assert f"{found.__module__}.{found.__qualname__}" == f"airflow_provider_cordial.{path}"


def test_importing_the_public_packages_imports_nothing_heavy() -> None:
    code = (
        "import importlib, sys; "
        "from airflow.sdk import DAG, Asset, BaseOperator, BaseOperatorLink, BaseSensorOperator, task_group; "
        "before = set(sys.modules); "
        f"[importlib.import_module(f'airflow_provider_cordial.{{name}}') for name in {sorted(SURFACE)}]; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*(new - set(sys.stdlib_module_names)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(printed.splitlines()[-1].split()) == {"airflow_provider_cordial"}
