"""What operators and sensors share of defaults."""

from __future__ import annotations

from airflow_provider_cordial._compat import conf
from airflow_provider_cordial.get_provider_info import DEFAULT_POLL_INTERVAL


def default_poll_interval() -> float:
    """Return the seconds between two looks at a job that the installation has chosen."""
    return float(conf.getfloat("cordial", "poll_interval", fallback=DEFAULT_POLL_INTERVAL))
