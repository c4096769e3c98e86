"""One try of a task: what runs in the process that is killed.

The operator's real ``execute`` sends real requests. What Airflow keeps between the tries of a task, its state store and
its XComs, is kept in files, which are read and written at the same moments.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

#: Where a try can be killed. Only a task that keeps a record, or that defers, reaches those after the first six.
POINTS = (
    "before the POST",
    "POST on the wire",
    "after the answer",
    "before the XCom",
    "after the XCom",
    "before the end",
    "before the intent",
    "after the intent",
    "before the record",
    "after the record",
    "before publishing",
    "after publishing",
    "while listing",
    "before deferring",
    "while resuming",
)

#: The points that every task reaches.
COMMON_POINTS = POINTS[:6]


class TaskSide(Protocol):
    """An operator, in the process of a try."""

    def execute(self, context: dict[str, Any]) -> Any:
        """Run the operator."""

    def resume(self, context: dict[str, Any], event: Any) -> Any:
        """Resume after a deferral."""

    def wait(self, deferred: Any) -> Any:
        """Wait as the triggerer does, and return the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try, as JSON for the process that forks it.

    :param subject: ``module:class`` of a ``TaskSide``.
    :param settings: passed to that class.
    :param folder: where Airflow keeps what outlives the process.
    :param round: how often the task was cleared before.
    :param kill_at: one of ``POINTS``.
    :param kill_nth: at which visit of that point.
    :param kill_after: seconds.
    :param max_pages: of a list of jobs, before it is cut off.
    :param deferred: what the triggerer waits for; then the try is not run.
    :param event: of the triggerer, with which the task resumes.
    """

    subject: str
    folder: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    dag_id: str = "chaos"
    run_id: str = "run"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 8
    clear_number: int | None = 0
    conf: Mapping[str, Any] = field(default_factory=dict)
    has_store: bool = True
    round: int = 0
    kill_at: str | None = None
    kill_nth: int = 1
    kill_after: float | None = None
    max_pages: int | None = None
    deferred: Any = None
    event: Any = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended: ``killed``, ``success``, ``error``, ``refused`` (no retry), or ``deferred``.

    :param events: the asset events of a success.
    """

    how: str
    value: Any = None
    events: list[Any] = field(default_factory=list)


class Files:
    """What outlives a try: the state store, the XComs, and a journal of the requests."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store.json"
        self.xcoms = folder / "xcoms.json"
        self._journal = folder / "journal.jsonl"

    def note(self, **entry: Any) -> None:
        with self._journal.open("a") as file:
            file.write(json.dumps({"time": time.time(), **entry}) + "\n")

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._journal.read_text().splitlines()] if self._journal.exists() else []


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


def write(path: Path, values: Mapping[str, Any]) -> None:
    # Completely or not at all, like a row.
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(values))
    unfinished.replace(path)


def run_try(one: Try) -> Outcome:
    """Run a try in this process, which may not survive it."""
    from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

    logging.disable(logging.CRITICAL)
    if one.kill_after is not None:
        threading.Timer(one.kill_after, kill_this_process).start()
    reach = _Points(one)
    events: list[Any] = []
    try:
        task = _load(one.subject)(one.settings)
        if one.deferred is not None:
            return Outcome("success", task.wait(one.deferred))
        files = Files(Path(one.folder))
        context = _build_context(one, files, reach, events)
        _watch_requests(one, files, reach)
        if one.max_pages is not None:
            _cut_lists_off(one.max_pages)
        if one.event is None:
            value = task.execute(context)
        else:
            reach("while resuming")
            value = task.resume(context, one.event)
        reach("before the end")
    except TaskDeferred as deferred:
        reach("before deferring")
        return Outcome("deferred", deferred.trigger.serialize())
    except AirflowFailException as error:
        return Outcome("refused", f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - the task is retried after every error
        return Outcome("error", f"{type(error).__name__}: {error}")
    return Outcome("success", value, events)


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class _Points:
    """Called with each point that a try reaches; kills the process at one of them."""

    def __init__(self, one: Try) -> None:
        self._kill_at = one.kill_at
        self._left = one.kill_nth

    def __call__(self, point: str) -> None:
        assert point in POINTS, point
        if point == self._kill_at:
            self._left -= 1
            if self._left == 0:
                kill_this_process()

    @property
    def on_the_wire(self) -> bool:
        """Whether the next POST is the one on which the process dies."""
        if self._kill_at == "POST on the wire":
            self._left -= 1
        return self._kill_at == "POST on the wire" and self._left == 0


class _Store:
    """Airflow's task state store, in a file."""

    def __init__(self, path: Path, reach: Callable[[str], None]) -> None:
        self._path = path
        self._reach = reach

    def get(self, key: str, default: Any = None) -> Any:
        return read(self._path).get(key, default)

    def set(self, key: str, value: Any) -> None:
        what = "record" if value.get("job_id") else "intent"
        self._reach(f"before the {what}")
        write(self._path, {**read(self._path), key: value})
        self._reach(f"after the {what}")

    def delete(self, key: str) -> None:
        self._reach("before the intent")
        write(self._path, {name: value for name, value in read(self._path).items() if name != key})
        self._reach("after the intent")


class _OutletEvents:
    """The asset events of a try; Airflow sends them with its success."""

    def __init__(self, reach: Callable[[str], None], events: list[Any]) -> None:
        self._reach = reach
        self._events = events

    def __getitem__(self, _outlet: object) -> _OutletEvents:
        return self

    @property
    def extra(self) -> dict[str, Any]:
        return {}

    @extra.setter
    def extra(self, extra: Mapping[str, Any]) -> None:
        self._reach("before publishing")
        self._events.append(dict(extra))
        self._reach("after publishing")


def _build_context(one: Try, files: Files, reach: Callable[[str], None], events: list[Any]) -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id=one.dag_id,
        task_id="export",
        run_id=one.run_id,
        map_index=one.map_index,
        try_number=one.try_number,
        max_tries=one.max_tries,
    )

    def xcom_push(key: str, value: Any) -> None:
        reach("before the XCom")
        write(files.xcoms, {**read(files.xcoms), key: value})
        reach("after the XCom")

    ti.xcom_push = xcom_push
    ti.xcom_pull = lambda *, key, **_: read(files.xcoms)[key]
    dag_run = SimpleNamespace(run_id=one.run_id, conf=dict(one.conf))
    context: dict[str, Any] = {
        "ti": ti,
        "dag_run": dag_run,
        "dag": SimpleNamespace(timetable=None),
        "outlet_events": _OutletEvents(reach, events),
    }
    # Below Airflow 3.3 there is neither.
    if one.has_store:
        context["task_state_store"] = _Store(files.store, reach)
    if one.clear_number is not None:
        dag_run.clear_number = one.clear_number
    return context


def _watch_requests(one: Try, files: Files, reach: _Points) -> None:
    import requests

    send = requests.Session.send

    def watched(session: Any, request: Any, **options: Any) -> Any:
        if request.method != "POST":
            reach("while listing")
            return send(session, request, **options)
        reach("before the POST")
        name = json.loads(request.body or b"{}").get("name")
        files.note(post=name, round=one.round)
        if reach.on_the_wire:
            threading.Timer(0.05, kill_this_process).start()
        answer = send(session, request, **options)
        reach("after the answer")
        if answer.status_code == 200:
            files.note(answered=name)
        return answer

    requests.Session.send = watched  # type: ignore[assignment,method-assign]


def _cut_lists_off(max_pages: int) -> None:
    from airflow_provider_cordial.client.pages import JobPages

    defaults = JobPages.__init__.__kwdefaults__
    assert defaults is not None
    defaults["max_pages"] = max_pages


def _load(subject: str) -> Any:
    module, _, name = subject.partition(":")
    return getattr(importlib.import_module(module), name)
