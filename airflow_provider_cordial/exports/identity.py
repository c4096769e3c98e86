"""What makes a submission another one, and the name that carries it to Cordial.

A submission is that of a dag, task, map index, run, what is asked for, and Airflow's ``max_tries``, which a clear
raises and a retry does not. So a retry has the same identity, and a clear has another.
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
    """What makes a submission another one.

    :param digest: of dag, task, map index, run, ``max_tries`` and what is asked for.
    :param names_the_run: whether the export's name is of this run alone: a job of that name is ours then.
    """

    digest: str
    names_the_run: bool = True


def compute_identity(context: Mapping[str, Any], what: object, *, names_the_run: bool = True) -> Identity:
    """Return the identity of the submission of a task's run.

    :param context: the task's context.
    :param what: what is asked for, as JSON: other parameters make another submission.
    """
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, getattr(ti, "max_tries", None), what]
    return Identity(hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(), names_the_run)


def derived_name(context: Mapping[str, Any], identity: Identity) -> str:
    """Return a name for the export of a task's run, the same at every retry and another after a clear."""
    ti = context["ti"]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}-{identity.digest[:_DIGEST_LENGTH]}"


def generation_name(name: str, generation: int) -> str:
    """Return the name of a generation: the name itself, and then ``-2``, ``-3``."""
    return name if generation == 1 else f"{name}-{generation}"


def parse_generation(job_name: str | None, name: str) -> int | None:
    """Return which generation of a name a job's name is, or None if it is of none."""
    match = re.fullmatch(rf"{re.escape(name)}(?:-([2-9]|[1-9][0-9]+))?", job_name or "")
    return int(match[1] or 1) if match else None


def _slug(text: str) -> str:
    """Return a text in the letters, digits and dashes that a name may hold."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-") or "x"
