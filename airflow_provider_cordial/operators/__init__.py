"""Operators that submit exports, and one that checks a table."""

from __future__ import annotations

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.audience_trends_freshness import AudienceTrendsFreshnessOperator
from airflow_provider_cordial.operators.export import CordialExportOperator

__all__ = ["AudienceTrendsExportOperator", "AudienceTrendsFreshnessOperator", "CordialExportOperator"]
