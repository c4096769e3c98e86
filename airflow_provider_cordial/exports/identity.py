"""What makes a submission distinct, and the name under which Cordial knows it.

A submission belongs to a dag, task, map index, run, request, and to Airflow's ``max_tries``, which a clear raises and a
retry does not. So a retry has the same identity, and a clear has another.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SLUG_LENGTH = 40
_DIGEST_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a submission distinct.

    :param digest: of dag, task, map index, run, ``max_tries``, and the request.
    :param names_the_run: whether the export's name carries the digest: then a job of that name is ours.
    """

    digest: str
    names_the_run: bool = True


def compute_identity(context: Mapping[str, Any], request: object, *, names_the_run: bool = True) -> Identity:
    """Return the identity of a task run's submission.

    :param context: the task's context.
    :param request: what is asked for, as JSON: other parameters are another submission.
    """
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, getattr(ti, "max_tries", None), request]
    return Identity(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(), names_the_run)


def default_name(context: Mapping[str, Any]) -> str:
    """Return the name of a task's export if its author has set none."""
    ti = context["ti"]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}"


def unique_name(name: str, identity: Identity) -> str:
    """Return a name that belongs to one submission: the same on every retry, and another after a clear."""
    return f"{name}-{identity.digest[:_DIGEST_LENGTH]}"


def generation_name(name: str, generation: int) -> str:
    """Return the name of a generation: the name itself, then ``-2``, ``-3``."""
    return name if generation == 1 else f"{name}-{generation}"


def parse_generation(job_name: str | None, name: str) -> int | None:
    """Return which generation of a name a job's name is, or None if it is another name."""
    match = re.fullmatch(rf"{re.escape(name)}(?:-([2-9]|[1-9][0-9]+))?", job_name or "")
    return int(match[1] or 1) if match else None


def _slug(text: str) -> str:
    """Return a text in the letters, digits, and dashes that a name may have."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-") or "x"
