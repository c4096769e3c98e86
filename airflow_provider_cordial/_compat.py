"""The names that moved between Airflow 3.0 and 3.3, imported from where this Airflow has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
except ImportError:  # Airflow 3.0 keeps some of them in the core package
    from airflow.exceptions import (  # type: ignore[no-redef,attr-defined,unused-ignore]
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

try:
    from airflow.sdk import conf
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.configuration import conf  # type: ignore[assignment,no-redef,unused-ignore]

try:
    from airflow.sdk import BaseHook
except ImportError:  # Airflow 3.0
    from airflow.hooks.base import BaseHook  # type: ignore[assignment,attr-defined,no-redef,unused-ignore]

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseHook",
    "conf",
    "is_trigger_timeout",
    "mask_secret",
]


def is_trigger_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Tell whether a task is resumed only to hear that Airflow gave up on its trigger."""
    from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

    error = (next_kwargs or {}).get("error")
    return next_method == TRIGGER_FAIL_REPR and error == TriggerFailureReason.TRIGGER_TIMEOUT


def mask_secret(secret: str) -> None:
    """Hide a secret in the logs of the task and of its supervisor."""
    try:
        from airflow.sdk.log import mask_secret as mask
    except ImportError:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import (  # type: ignore[import-not-found,no-redef,unused-ignore]
            mask_secret as mask,
        )
    mask(secret)
