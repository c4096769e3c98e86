"""What makes a submission distinct, and the name under which Cordial knows it.

A submission belongs to a dag, task, map index, run, and request: its identity. A clear starts another round of tries,
whose export has another name; a retry belongs to the same round.
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

    :param task_id: for messages.
    :param digest: of dag, task, map index, run, and the request.
    :param names_the_run: whether the export's name carries a digest: then a job of that name is ours.
    """

    task_id: str
    digest: str
    names_the_run: bool = True


@dataclass(frozen=True, slots=True)
class Round:
    """The tries of a task between two clears, as far as Airflow shows them.

    :param max_tries: of the task; a clear sets it to the tries so far plus ``retries``, so it stays the same if an
        author has lowered ``retries`` by as much. A retry never changes it.
    :param clear_number: of the run; the clear of any of its tasks raises it.
    """

    max_tries: int | None
    clear_number: int | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Round:
        """Return the round that a try belongs to."""
        return cls(getattr(context["ti"], "max_tries", None), getattr(context.get("dag_run"), "clear_number", None))


def compute_identity(context: Mapping[str, Any], request: object, *, names_the_run: bool = True) -> Identity:
    """Return the identity of a task run's submission.

    :param context: the task's context.
    :param request: what is asked for, as JSON: other parameters are another submission.
    """
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, request]
    return Identity(ti.task_id, _digest(parts), names_the_run)


def default_name(context: Mapping[str, Any]) -> str:
    """Return the name of a task's export if its author has set none."""
    ti = context["ti"]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}"


def unique_name(name: str, identity: Identity, this_round: Round) -> str:
    """Return a name that belongs to one submission: the same on every retry, and another after a clear."""
    digest = _digest([identity.digest, this_round.max_tries, this_round.clear_number])
    return f"{name}-{digest[:_DIGEST_LENGTH]}"


def may_be_name_of(job_name: str, name: str) -> bool:
    """Return whether a job's name is an author's name, with or without the digest of any run and a generation."""
    return bool(re.fullmatch(rf"{re.escape(name)}(-[0-9a-f]{{{_DIGEST_LENGTH}}})?(-[1-9][0-9]*)?", job_name))


def generation_name(name: str, generation: int) -> str:
    """Return the name of a generation: the name itself, then ``-2``, ``-3``."""
    return name if generation == 1 else f"{name}-{generation}"


def parse_generation(job_name: str | None, name: str) -> int | None:
    """Return which generation of a name a job's name is, or None if it is another name."""
    match = re.fullmatch(rf"{re.escape(name)}(?:-([2-9]|[1-9][0-9]+))?", job_name or "")
    return int(match[1] or 1) if match else None


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _slug(text: str) -> str:
    """Return a text in the letters, digits, and dashes that a name may have."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:_SLUG_LENGTH].strip("-") or "x"
