"""Hints: for a request that was rejected, what would have been right, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

_BY_STATUS = {
    401: "Send the API key as the user name of HTTP Basic authentication, with a blank password.",
    415: "Send the header Content-Type: application/json.",
    429: "Wait for the seconds in the response header Retry-After.",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the API and the account have.

    :param endpoints: method by path.
    :param export_members: the members of the body of an export.
    :param audiences: names of the audiences with analytics.
    :param untracked: names of those without.
    """

    endpoints: Mapping[str, str]
    export_members: Sequence[str]
    destination_members: Sequence[str]
    destination_types: Sequence[str]
    audiences: Sequence[str]
    untracked: Sequence[str]
    job_ids: Sequence[str]


def hint(entry: Mapping[str, Any], known: Known) -> str | None:
    """Return what would have been right instead of a recorded request; None if it was right, or nothing is known."""
    status = entry["status"]
    if entry["fault"] or status is None or not 400 <= status < 500:
        return None
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status in (404, 405):
        return _hint_path(str(entry["path"]), known)
    return _hint_message(entry.get("message") or "", known)


def _hint_path(path: str, known: Known) -> str | None:
    plain = path.rstrip("/")
    if plain in known.endpoints:
        return f"Send {known.endpoints[plain]} {plain}."
    if match := re.fullmatch(r"/v2/jobs/([^/]+)", plain):
        if match[1] in known.job_ids:
            return "The job exists now: it was requested before it was visible (visible_after)."
        return _did_you_mean(match[1], known.job_ids, "The list of jobs, GET /v2/jobs, has the ids.")
    return _did_you_mean(plain, list(known.endpoints), f"Known paths: {', '.join(known.endpoints)}.")


def _hint_message(message: str, known: Known) -> str | None:
    tracked = f"Audiences with analytics: {', '.join(known.audiences)}."
    if match := re.fullmatch(r"Audience '(.*)' does not exist\.", message, re.DOTALL):
        return _did_you_mean(match[1], [*known.audiences, *known.untracked], tracked)
    if re.fullmatch(r"For Audience '.*' analytics disabled\.", message, re.DOTALL):
        return tracked
    if match := re.fullmatch(r"The destination\.(.*) field is not known\.", message, re.DOTALL):
        return _did_you_mean(
            match[1], known.destination_members, f"Known members: {', '.join(known.destination_members)}."
        )
    if match := re.fullmatch(r"Field '(.*)' is not known\.", message, re.DOTALL):
        return _did_you_mean(match[1], known.export_members, f"Known members: {', '.join(known.export_members)}.")
    if "destination.transport" in message:
        return f"Set destination.type to one of {', '.join(known.destination_types)}."
    if "ISO-8601" in message:
        return "Send the days as YYYY-MM-DD."
    return None


def _did_you_mean(given: str, names: Sequence[str], otherwise: str) -> str:
    matches = get_close_matches(given, names, n=1, cutoff=0.7)
    return f"Did you mean '{matches[0]}'?" if matches else otherwise
