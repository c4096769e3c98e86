"""The delivered file as rows, and rows as tables and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cordial.trends.batch import LoadResult, OnBlank, TrendsBatch
    from airflow_provider_cordial.trends.columns import Columns
    from airflow_provider_cordial.trends.completeness import ForeignTrendsError, OnMissing
    from airflow_provider_cordial.trends.corrections import Correction
    from airflow_provider_cordial.trends.coverage import Coverage, read_coverage
    from airflow_provider_cordial.trends.csv import AudienceRow, CsvFormat, IncompleteTrendsError, TrendsCsvError
    from airflow_provider_cordial.trends.plan import PlannedExport, find_holes, plan_exports
    from airflow_provider_cordial.trends.tables import TrendsTable, register_table

__all__ = [
    "AudienceRow",
    "Columns",
    "Correction",
    "Coverage",
    "CsvFormat",
    "ForeignTrendsError",
    "IncompleteTrendsError",
    "LoadResult",
    "OnBlank",
    "OnMissing",
    "PlannedExport",
    "TrendsBatch",
    "TrendsCsvError",
    "TrendsTable",
    "find_holes",
    "plan_exports",
    "read_coverage",
    "register_table",
]

_MODULES = {
    "AudienceRow": "csv",
    "Columns": "columns",
    "Correction": "corrections",
    "Coverage": "coverage",
    "CsvFormat": "csv",
    "ForeignTrendsError": "completeness",
    "IncompleteTrendsError": "csv",
    "LoadResult": "batch",
    "OnBlank": "batch",
    "OnMissing": "completeness",
    "PlannedExport": "plan",
    "TrendsBatch": "batch",
    "TrendsCsvError": "csv",
    "TrendsTable": "tables",
    "find_holes": "plan",
    "plan_exports": "plan",
    "read_coverage": "coverage",
    "register_table": "tables",
}


def __getattr__(name: str) -> Any:
    # On demand: a DAG file that loads is parsed without reading any of it.
    from airflow_provider_cordial._compat import lazy_import

    return lazy_import(__name__, name, _MODULES)
