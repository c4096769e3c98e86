"""FileWait: how long to wait for a delivered file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileWait:
    """How long to wait for a delivered file; everything in seconds.

    :param timeout: until the file must be there and complete.
    :param poll_interval: between two listings.
    :param stable_for: how long its size and time must be unchanged.
    :param incomplete_for: how long a file that lacks something requested must be unchanged before ``on_missing="warn"``
        or ``"ignore"`` accepts it, and a file that only lacks the last newline is accepted; also beyond the timeout.
        With ``"fail"``, a file that lacks something fails the task at the timeout.
    :param read_timeout: for a connection, and for a read that makes no progress.
    :param clock_skew: how far the server's clock may be behind Airflow's. It matters only where the export's name is
        not unique, and a file modified before the submission belongs to an earlier export.
    """

    timeout: float = 600.0
    poll_interval: float = 5.0
    stable_for: float = 2.0
    incomplete_for: float = 60.0
    read_timeout: float = 60.0
    clock_skew: float = 300.0
