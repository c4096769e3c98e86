"""What Airflow discovers of this provider.

Airflow calls this in every process, and an error here would break the discovery of all providers: so this module
imports nothing. It is also where the connection form is described, once, for all Airflow versions: Airflow 3.2 and
later read it from here, earlier ones through the two methods of the hook that render it.
"""

from __future__ import annotations

from typing import Any

DEFAULT_HOST = "https://api.cordial.io"
OTHER_HOST = "https://api.usw2.cordial.io"
DEFAULT_TIMEZONE = "America/Los_Angeles"

#: Seconds. How long a job takes is not documented.
DEFAULT_POLL_INTERVAL = 30.0

HIDDEN_FIELDS = ["login", "port", "schema"]
RELABELING = {"password": "API key", "host": "Host"}
PLACEHOLDERS = {
    "password": "the raw API key, neither encoded nor followed by a colon",
    "host": f"{DEFAULT_HOST} or {OTHER_HOST}",
}

#: name: (label, JSON type, default, description)
EXTRA_FIELDS: dict[str, tuple[str, str, Any, str]] = {
    "timezone": (
        "Time zone",
        "string",
        DEFAULT_TIMEZONE,
        "The account's time zone, in which a day of the trends begins and ends",
    ),
    "connect_timeout": ("Connect timeout (s)", "number", 10, "Seconds to wait for a connection to Cordial"),
    "read_timeout": ("Read timeout (s)", "number", 60, "Seconds to wait for the next piece of an answer"),
    "export_timeout": (
        "Export timeout (s)",
        "number",
        180,
        "Seconds to wait for the answer to the submission of an export",
    ),
    "attempts": ("Attempts", "integer", 5, "How often a request is sent at most, where sending it again is safe"),
    "max_wait": ("Longest wait (s)", "number", 120, "The longest wait before sending again that is kept"),
    "not_found_grace": (
        "Not-found grace (s)",
        "number",
        60,
        "Seconds in which a job that was just submitted may still be unknown",
    ),
    "requests_per_minute": (
        "Requests per minute",
        "number",
        600,
        "How many looks at jobs a triggerer sends in a minute at most, for all waits together",
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    modules = "airflow_provider_cordial"
    integration = "Cordial"
    return {
        "package-name": "airflow-provider-cordial",
        "name": integration,
        "description": "Export Audience Trends from Cordial, wait for the job, load the delivered CSV.",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://support.cordial.com/hc/en-us/categories/12092749097741-Developer-resources",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{modules}.hooks.cordial"]}],
        "operators": [{"integration-name": integration, "python-modules": [f"{modules}.operators.audience_trends"]}],
        "sensors": [{"integration-name": integration, "python-modules": [f"{modules}.sensors.job"]}],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [f"{modules}.triggers.job", f"{modules}.triggers.export_job"],
            }
        ],
        "transfers": [
            {
                "source-integration-name": integration,
                "target-integration-name": "Common SQL",
                "python-module": f"{modules}.transfers.audience_trends_to_sql",
            },
            {
                "source-integration-name": integration,
                "target-integration-name": "Common IO",
                "python-module": f"{modules}.transfers.audience_trends_to_file",
            },
        ],
        "config": {
            "cordial": {
                "description": "Defaults of the Cordial operators and sensors.",
                "options": {
                    "poll_interval": {
                        "description": "Seconds between two looks at a job, where a task does not say otherwise.",
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": str(DEFAULT_POLL_INTERVAL),
                    }
                },
            }
        },
        "connection-types": [
            {
                "connection-type": "cordial",
                "hook-class-name": f"{modules}.hooks.cordial.CordialHook",
                "hook-name": integration,
                "ui-field-behaviour": {
                    "hidden-fields": HIDDEN_FIELDS,
                    "relabeling": RELABELING,
                    "placeholders": PLACEHOLDERS,
                },
                "conn-fields": {
                    name: {
                        "label": label,
                        "description": description,
                        "schema": {"type": [kind, "null"], "default": default},
                    }
                    for name, (label, kind, default, description) in EXTRA_FIELDS.items()
                },
            }
        ],
    }
