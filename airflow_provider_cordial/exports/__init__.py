"""What is exported, as values, and how an export is submitted exactly once."""

from __future__ import annotations

from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import Export, SubmittedExport
from airflow_provider_cordial.exports.timeframe import Timeframe

__all__ = ["AudienceTrendsExport", "Export", "SubmittedExport", "Timeframe"]
