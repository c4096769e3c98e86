"""The operations of the API, by the names that faults, permissions, and the journal use."""

from __future__ import annotations

from typing import Literal, get_args

Export = Literal[
    "audiencetrendsexport", "contactexports", "contactactivityexport", "messageanalyticsexport", "accountmonitorexport"
]
Operation = Literal[Export, "audiencecount", "list_jobs", "get_job"]

EXPORTS: tuple[str, ...] = get_args(Export)
OPERATIONS: tuple[str, ...] = get_args(Operation)


def find_operation(method: str, path: str) -> str | None:
    """Return the operation that a request calls, or None."""
    resource = path.removeprefix("/v2/").rstrip("/")
    if method == "POST":
        return resource if resource in (*EXPORTS, "audiencecount") else None
    if resource == "jobs":
        return "list_jobs"
    return "get_job" if resource.startswith("jobs/") else None


def classify_request(method: str, path: str) -> str:
    """Return the kind of a request in the journal: exports share one, whichever kind of export they create."""
    if method == "POST":
        return "audiencecount" if find_operation(method, path) == "audiencecount" else "create_export"
    return "list_jobs" if path.rstrip("/") == "/v2/jobs" else "get_job"
