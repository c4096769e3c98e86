"""Submit an export: from a value to one Cordial job.

Cordial has no idempotency key and no cancel, so the name carries the identity of a submission: dag, task, map index,
run, what is asked for, and Airflow's ``max_tries``. A clear raises ``max_tries`` and a retry does not: so a retry asks
under the same name, and a clear under another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.exports.export import Export, SubmittedExport

if TYPE_CHECKING:
    from airflow_provider_cordial.hooks.cordial import CordialHook

log = logging.getLogger(__name__)

_SLUG_LENGTH = 40
_DIGEST_LENGTH = 12


def derived_name(context: Mapping[str, Any], what: object) -> str:
    """Return a name for the export of a task's run, the same at every retry and another after a clear.

    :param context: the task's context.
    :param what: what is asked for, as JSON: other parameters give another name.
    """
    ti = context["ti"]
    identity = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, getattr(ti, "max_tries", None), what]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}-{digest}"


def submit(hook: CordialHook, export: Export) -> SubmittedExport:
    """Submit an export and return it with its job id.

    The destination's Airflow connection is read here, at the moment of the submission, and nowhere before.

    :raises CordialError: see ``CordialHook.create_export``.
    """
    address = export.destination.address()
    submitted_at = datetime.now(UTC)
    job_id = hook.create_export(export.kind, {**export.body(), "destination": address.body})
    log.info("Submitted export %s as job %s, to %s", export.name, job_id, address.uri)
    return SubmittedExport(export=export, job_id=job_id, uri=address.uri, submitted_at=submitted_at)


def _slug(text: str) -> str:
    """Return a text in the letters, digits and dashes that a name may hold."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-") or "x"
