"""Operators that submit exports, and that ask a table which days it has."""

from __future__ import annotations

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.audience_trends_coverage import (
    AudienceTrendsCoverageOperator,
    AudienceTrendsPlanOperator,
    AudienceTrendsVerifyOperator,
)
from airflow_provider_cordial.operators.audience_trends_freshness import AudienceTrendsFreshnessOperator
from airflow_provider_cordial.operators.export import CordialExportOperator

__all__ = [
    "AudienceTrendsCoverageOperator",
    "AudienceTrendsExportOperator",
    "AudienceTrendsFreshnessOperator",
    "AudienceTrendsPlanOperator",
    "AudienceTrendsVerifyOperator",
    "CordialExportOperator",
]
