"""What makes a submission distinct, and the name under which Cordial knows it.

A submission belongs to a dag, task, map index, run, and request: its identity. After a clear, an export of the same
identity has another name.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, NamedTuple

_SLUG_LENGTH = 40
_DIGEST_LENGTH = 12


class TaskKey(NamedTuple):
    """Which task instance submits.

    :param map_index: -1 if the task is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a submission distinct.

    :param task: for messages; None if no task submits, but a command.
    :param digest: of dag, task, map index, run, and the request.
    :param names_the_run: whether the export's name carries a digest: then a job of that name is ours.
    """

    task: TaskKey | None
    digest: str
    names_the_run: bool = True

    @classmethod
    def without_task(cls) -> Identity:
        """Return an identity that no other submission has: that of a command, which is not retried."""
        return cls(None, token_hex())


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try of a task, as Airflow numbers it.

    :param try_number: of the task; neither a retry nor a clear resets it.
    :param max_tries: of the task: a clear sets it to the tries so far plus ``retries``, and a retry does not change it.
    :param retries: of the task; an author may have edited it since ``max_tries`` was set.
    :param clear_number: of the run: the clear of any of its tasks raises it.
    """

    try_number: int
    max_tries: int | None = None
    retries: int = 0
    clear_number: int | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any], retries: int) -> Attempt:
        """Return the try that a context belongs to."""
        ti = context["ti"]
        clear_number = getattr(context.get("dag_run"), "clear_number", None)
        return cls(ti.try_number, getattr(ti, "max_tries", None), retries, clear_number)

    def is_after_clear_since(self, earlier: Attempt) -> bool:
        """Return whether the task was cleared after an earlier try.

        A clear usually changes ``max_tries``. It does not if the author has lowered ``retries`` by as many as there
        were tries; then the run was cleared, and the tries that ``max_tries`` implies include the earlier one. The
        clear of another task changes the run's number only, and implies no try since this task was last cleared.
        """
        if self.max_tries is None or self.max_tries != earlier.max_tries:
            return self.max_tries != earlier.max_tries
        is_run_cleared = self.clear_number != earlier.clear_number
        return is_run_cleared and self.max_tries - self.retries >= earlier.try_number


def compute_identity(context: Mapping[str, Any], request: object, *, names_the_run: bool = True) -> Identity:
    """Return the identity of a task run's submission.

    :param context: the task's context.
    :param request: what is asked for, as JSON: other parameters are another submission.
    """
    ti = context["ti"]
    parts = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, request]
    key = TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
    return Identity(key, _digest(parts), names_the_run)


def default_name(context: Mapping[str, Any]) -> str:
    """Return the name of a task's export if its author has set none."""
    ti = context["ti"]
    return f"{_slug(ti.dag_id)}-{_slug(ti.task_id)}"


def unique_name(name: str, identity: Identity, attempt: Attempt, *, has_store: bool) -> str:
    """Return a name that belongs to one submission, and that is another after a clear.

    :param attempt: the first try of the submission.
    :param has_store: whether Airflow keeps the name for the retries. If not, it must be the same on each of them.
    """
    digest = _digest([identity.digest, attempt.max_tries, attempt.clear_number if has_store else None])
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
