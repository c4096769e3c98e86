"""Names that moved between Airflow 3.0 and 3.3, imported from their place in the installed version."""

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
    from airflow.sdk.exceptions import AirflowNotFoundException
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import (  # type: ignore[assignment,attr-defined,no-redef,unused-ignore]
        AirflowNotFoundException,
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
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "BaseHook",
    "command_line",
    "conf",
    "forget_earlier_try",
    "is_trigger_timeout",
    "mask_secret",
]


def is_trigger_timeout(next_method: str, next_kwargs: Mapping[str, Any] | None) -> bool:
    """Return whether a task is resumed only because Airflow's own timeout ended its trigger."""
    from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

    error = (next_kwargs or {}).get("error")
    return next_method == TRIGGER_FAIL_REPR and error == TriggerFailureReason.TRIGGER_TIMEOUT


#: The argument of a deferral with the number of its try.
DEFERRED_TRY = "deferred_try"


def forget_earlier_try(
    next_kwargs: Mapping[str, Any] | None, context: Mapping[str, Any]
) -> tuple[bool, dict[str, Any] | None]:
    """Return whether a retry was given the event of an earlier try, and the arguments without the number of the try.

    Airflow 3.0 resumes every retry of a task that was deferred once, with its old event, instead of executing it.
    """
    if next_kwargs is None:
        return False, None
    rest = dict(next_kwargs)
    deferred_try = rest.pop(DEFERRED_TRY, None)
    return deferred_try not in (None, getattr(context.get("ti"), "try_number", None)), rest


def command_line() -> list[str]:
    """Return what precedes the name of a command: Airflow has commands of providers since 3.2."""
    from airflow import __version__

    has_commands = tuple(map(int, __version__.split(".")[:2])) >= (3, 2)
    return ["airflow", "cordial"] if has_commands else ["python", "-m", "airflow_provider_cordial.cli"]


def mask_secret(secret: str) -> None:
    """Mask a secret in the logs of the task and of its supervisor."""
    try:
        from airflow.sdk.log import mask_secret as mask
    except ImportError:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import (  # type: ignore[import-not-found,no-redef,unused-ignore]
            mask_secret as mask,
        )
    mask(secret)


def lazy_import(package: str, name: str, modules: Mapping[str, str]) -> Any:
    """Return a public name of a package from the module that defines it; for the package's ``__getattr__``.

    :param modules: the module of each name, relative to the package.
    """
    from importlib import import_module

    if name not in modules:
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{package}.{modules[name]}"), name)
