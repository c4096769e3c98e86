"""Staging: where a load leaves its file, or its table, for the warehouse to read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

#: Characters of a folder that are safe everywhere.
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staging:
    """Where a load leaves its file, or its table, for the warehouse to read.

    :param location: what it is depends on the warehouse; None for a warehouse that needs none, or for its default.
    :param conn_id: an Airflow connection to the location, if it is not the warehouse's own.
    :param owner: a folder for the tries of one task instance: each try first removes what a killed one left.
    """

    location: str | None = None
    conn_id: str | None = None
    owner: str = "manual"


def owner_of(dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
    """Return the folder of a task instance: readable, and different from that of every other one."""
    identity = hashlib.sha256("\0".join((dag_id, task_id, run_id, str(map_index))).encode()).hexdigest()[:12]
    return "/".join((_UNSAFE.sub("_", dag_id), _UNSAFE.sub("_", task_id), identity))
