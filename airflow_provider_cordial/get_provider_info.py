"""The metadata that Airflow discovers.

Airflow calls this in every process, and an error here would break the discovery of all providers, so this module
only imports ``typing`` and the version. It also describes the connection form for all Airflow versions: 3.2 and later
read it from here, earlier ones from the two form methods of the hook.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_cordial import __version__

DEFAULT_HOST = "https://api.cordial.io"
OTHER_HOST = "https://api.usw2.cordial.io"

#: The console of the account, by the host of its API.
CONSOLES = {DEFAULT_HOST: "https://admin.cordial.io", OTHER_HOST: "https://usw2.admin.cordial.io"}

DEFAULT_TIMEZONE = "America/Los_Angeles"

#: Seconds. How long a job takes is not documented.
DEFAULT_POLL_INTERVAL = 30.0

# Not the port: in Airflow 3.3 the button Test sends a hidden port as text, and is rejected. It sends a blank port as 0,
# which is then not the stored port, and is rejected too: so the form asks for a port.
HIDDEN_FIELDS = ["login", "schema"]
RELABELING = {"password": "API key", "host": "Host"}
PLACEHOLDERS = {
    "password": "the raw API key, neither encoded nor followed by a colon",
    "host": f"{DEFAULT_HOST} or {OTHER_HOST}",
    "port": "443, without which Airflow 3.3 cannot test the connection",
}


class ConnectionField(NamedTuple):
    """An extra field of the connection.

    :param json_type: ``string``, ``number``, or ``integer``.
    :param default: applied when the connection is read, and not stored in it: a later default reaches old connections.
    :param description: with the unit.
    """

    name: str
    label: str
    json_type: str
    default: Any
    description: str

    @property
    def help(self) -> str:
        """The description with the default."""
        return self.description if self.default is None else f"{self.description} (default: {self.default})"


CONNECTION_FIELDS = (
    ConnectionField(
        "timezone",
        "Time zone",
        "string",
        DEFAULT_TIMEZONE,
        "Time zone of the account, which defines a day of the trends",
    ),
    ConnectionField(
        "connect_timeout", "Connect timeout (s)", "number", 10, "Seconds to wait for a connection to Cordial"
    ),
    ConnectionField("read_timeout", "Read timeout (s)", "number", 60, "Seconds to wait for the next part of an answer"),
    ConnectionField(
        "export_timeout",
        "Export timeout (s)",
        "number",
        180,
        "Seconds to wait for the answer to the submission of an export",
    ),
    ConnectionField("attempts", "Attempts", "integer", 5, "Maximum number of times a repeatable request is sent"),
    ConnectionField("max_wait", "Longest wait (s)", "number", 120, "Longest Retry-After to honor, in seconds"),
    ConnectionField(
        "not_found_grace",
        "Not-found grace (s)",
        "number",
        60,
        "Seconds during which a new job may be unknown to Cordial",
    ),
    ConnectionField(
        "requests_per_minute",
        "Requests per minute",
        "number",
        600,
        "Maximum status requests per minute, shared by all waits of a triggerer",
    ),
    ConnectionField(
        "rejection_grace",
        "Rejection grace (s)",
        "number",
        30,
        "Seconds during which a wait tolerates 401 and 403, while a key is rotated for instance",
    ),
    ConnectionField(
        "jobs_page",
        "Jobs page",
        "string",
        None,
        "Address that links refer to, with {job_id} for the job; by default the console of the account",
    ),
)


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata."""
    modules = "airflow_provider_cordial"
    integration = "Cordial"
    return {
        "package-name": "airflow-provider-cordial",
        "name": integration,
        "description": "Export Audience Trends from Cordial, wait for the job, load the delivered CSV.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://support.cordial.com/hc/en-us/categories/12092749097741-Developer-resources",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{modules}.hooks.cordial"]}],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    f"{modules}.operators.export",
                    f"{modules}.operators.audience_trends",
                    f"{modules}.operators.audience_trends_freshness",
                ],
            }
        ],
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
                "target-integration-name": "Common SQL",
                "python-module": f"{modules}.transfers.audience_trends_reconcile",
            },
            {
                "source-integration-name": integration,
                "target-integration-name": "Common IO",
                "python-module": f"{modules}.transfers.audience_trends_to_file",
            },
        ],
        # From Airflow 3.2 on; earlier versions ignore it.
        "cli": [f"{modules}.cli.definition.get_commands"],
        "config": {
            "cordial": {
                "description": "Defaults of the Cordial operators and sensors.",
                "options": {
                    "poll_interval": {
                        "description": "Longest pause between two polls of a job, in seconds; a task may override it.",
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
                    field.name: {
                        "label": field.label,
                        "description": field.help,
                        "schema": {"type": [field.json_type, "null"]},
                    }
                    for field in CONNECTION_FIELDS
                },
            }
        ],
    }
