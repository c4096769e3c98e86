"""Operators that submit exports."""

from __future__ import annotations

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.operators.export import CordialExportOperator

__all__ = ["AudienceTrendsExportOperator", "CordialExportOperator"]
