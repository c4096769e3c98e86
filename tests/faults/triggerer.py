"""Airflow's triggerer without a metadata database: the real ``TriggerRunner`` in a process, and its supervisor here.

The supervisor sends the triggers, receives their events, and answers reads of connections, over the same socket and
with the same messages as Airflow's own. ``python -m tests.faults.triggerer`` is the process of the runner.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
from airflow.triggers.base import BaseTrigger, TriggerEvent

PROJECT = Path(__file__).resolve().parent.parent.parent

#: Seconds; a runner takes some to import Airflow.
START_TIMEOUT = 60.0

#: Seconds in which a broken poller is expected to crash.
CRASH_TIMEOUT = 30.0

LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Fired:
    """An event of a trigger.

    :param at: when the supervisor received it, in seconds since the epoch; the runner sends once a second.
    :param payload: None if the trigger ended without an event.
    """

    at: float
    payload: Any


class Triggerer:
    """A supervisor and its runner; a context manager.

    :param log: the file for the runner's output.
    :param read_connection: returns the fields of a connection; None while the metadata database cannot be reached.
    """

    def __init__(self, log: Path, read_connection: Callable[[], Mapping[str, Any] | None]) -> None:
        self.fired: dict[int, Fired] = {}
        self._log = log
        self._read_connection = read_connection
        self._triggers: dict[int, dict[str, Any]] = {}
        self._to_create: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._is_ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def add(self, trigger_id: int, classpath: str, kwargs: Mapping[str, Any]) -> None:
        """Run a trigger, built from its row as after a deferral."""
        # Airflow accepts unencrypted arguments of old rows, so no key is needed.
        trigger = {"id": trigger_id, "classpath": classpath, "encrypted_kwargs": json.dumps(kwargs)}
        with self._lock:
            self._triggers[trigger_id] = trigger
            self._to_create.append(trigger)

    def start(self) -> None:
        """Start a runner with all triggers that have not fired, and wait until it is ready."""
        with self._lock:
            self._to_create = [trigger for number, trigger in self._triggers.items() if number not in self.fired]
        ours, theirs = socket.socketpair()
        self._is_ready.clear()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_CONN_")}
        with self._log.open("ab") as output, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.triggerer"],
                cwd=PROJECT,
                env={**environment, "NO_PROXY": "127.0.0.1"},
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
            )
        self._thread = threading.Thread(target=self._serve, args=[ours], name="triggerer-supervisor", daemon=True)
        self._thread.start()
        if not self._is_ready.wait(START_TIMEOUT):
            self.kill()
            msg = f"The triggerer did not start: {self._log.read_text()[-2000:]}"
            raise RuntimeError(msg)

    def kill(self) -> None:
        """Kill the runner, as the kernel does when memory is short."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._thread is not None:
            self._thread.join(START_TIMEOUT)

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError, EOFError):
            self._send(connection, 0, {"type": "StartTriggerer"})
            while True:
                length = int.from_bytes(_receive(connection, LENGTH_BYTES), "big")
                request_id, body, *_ = msgspec.msgpack.decode(_receive(connection, length))
                self._send(connection, request_id, *self._answer(body))

    def _answer(self, message: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
        """Return the answer to a message of the runner, and the error."""
        match message["type"]:
            case "TriggerStateChanges":
                self._record(message)
                with self._lock:
                    to_create, self._to_create = self._to_create, []
                self._is_ready.set()
                return {"type": "TriggerStateSync", "to_create": to_create, "to_cancel": []}, None
            case "GetConnection":
                fields = self._read_connection()
                if fields is None:
                    return None, {"type": "ErrorResponse", "error": "API_SERVER_ERROR", "detail": {"status_code": None}}
                empty = {"schema": None, "login": None, "port": None}
                return {"type": "ConnectionResult", "conn_id": message["conn_id"], **empty, **fields}, None
            case _:
                return None, None

    def _record(self, message: Mapping[str, Any]) -> None:
        now = time.time()
        for trigger_id, event, *_ in message.get("events") or ():
            self.fired.setdefault(trigger_id, Fired(now, event["payload"]))
        for trigger_id, _trace in message.get("failures") or ():
            self.fired.setdefault(trigger_id, Fired(now, None))

    def _send(
        self,
        connection: socket.socket,
        request_id: int,
        body: Mapping[str, Any] | None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        frame = msgspec.msgpack.encode([request_id, body, error])
        connection.sendall(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)


def _receive(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        part = connection.recv(length - len(received))
        if not part:
            raise EOFError
        received += part
    return bytes(received)


class PollerKiller(BaseTrigger):
    """Ends the poller in its own event loop, and fires the number of pollers that ended.

    :param how: ``cancelled``, or ``crashed`` by an error in its poll loop.
    """

    def __init__(self, how: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.how = how

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"tests.faults.triggerer.{type(self).__name__}", {"how": self.how}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from unittest import mock

        from airflow_provider_cordial.jobs.schedule import Schedule

        pollers = [task for task in asyncio.all_tasks() if task.get_name().startswith("cordial-poller")]
        if self.how == "cancelled":
            for poller in pollers:
                poller.cancel()
        elif pollers:
            with mock.patch.object(Schedule, "take_due", side_effect=RuntimeError("injected")):
                await asyncio.wait(pollers, timeout=CRASH_TIMEOUT)
        await asyncio.sleep(0)
        ended = sum(poller.done() or poller.cancelling() > 0 for poller in pollers)
        yield TriggerEvent(ended)  # type: ignore[no-untyped-call,unused-ignore]


if __name__ == "__main__":
    from airflow.jobs.triggerer_job_runner import TriggerRunner

    TriggerRunner().run()  # type: ignore[no-untyped-call,unused-ignore]
