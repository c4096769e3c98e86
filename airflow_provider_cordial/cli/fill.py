"""``airflow cordial fill``: run the exports of a plan."""

from __future__ import annotations

import logging
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_cordial.cli.command import FAILED, command
from airflow_provider_cordial.cli.coverage import describe_counts, gaps_to_json, make_plan, write_gaps
from airflow_provider_cordial.cli.export import submit
from airflow_provider_cordial.cli.inputs import ask_table, read_columns, read_destination, read_staging
from airflow_provider_cordial.cli.output import write_json
from airflow_provider_cordial.client.wording import count_of
from airflow_provider_cordial.exceptions import CordialError, ExportConfigurationError, InvalidParameterError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport
from airflow_provider_cordial.exports.base import SubmittedExport, validate_name
from airflow_provider_cordial.hooks.cordial import CordialHook
from airflow_provider_cordial.jobs.blocking import compute_poll_timeout, poll_once
from airflow_provider_cordial.jobs.options import default_poll_interval
from airflow_provider_cordial.jobs.watcher import JobWatcher, build_watcher
from airflow_provider_cordial.trends.delivery import open_delivered_trends
from airflow_provider_cordial.trends.plan import PlannedExport
from airflow_provider_cordial.trends.tables import build_table
from airflow_provider_cordial.trends.tables.staging import owner_of

log = logging.getLogger(__name__)

#: Exports that a call runs without asking.
UNASKED = 10


@command
def fill(args: Namespace) -> int:
    """Run the plan; 1 if something is still missing."""
    run = _Fill(args)
    found = ask_table(args)
    exports = make_plan(args, found)
    log.info("%s: %s; %s", args.table, describe_counts(found), count_of(len(exports), "export"))
    if len(exports) > UNASKED and not args.yes:
        _confirm(len(exports))
    run.run(exports)
    after = ask_table(args) if exports else found
    if args.output == "json":
        write_json({"exports": run.results, "table": gaps_to_json(after)})
    else:
        write_gaps(after, args.table)
    return 0 if after.is_complete and not run.has_failed else FAILED


def _confirm(count: int) -> None:
    """Ask before many exports.

    :raises InvalidParameterError: nobody answers, or not with yes.
    """
    if not sys.stdin.isatty():
        msg = f"The plan has {count} exports, and nobody can be asked: add --yes, or set fewer days."
        raise InvalidParameterError(msg)
    sys.stderr.write(f"Submit {count} exports? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        msg = "Nothing was submitted."
        raise InvalidParameterError(msg)


@dataclass(slots=True)
class _Running:
    """An export whose job is awaited.

    :param deadline: of the wait, as seconds since the epoch.
    :param next_poll: the same.
    """

    planned: PlannedExport
    submitted: SubmittedExport
    watcher: JobWatcher
    deadline: float
    next_poll: float


class _Fill:
    """Runs exports, some at a time, in one thread: what Cordial does at the same time is only awaited here."""

    def __init__(self, args: Namespace) -> None:
        self._args = args
        self._hook = CordialHook(args.cordial_conn_id)
        self._timezone = self._hook.connection.timezone.key
        self._name = validate_name(args.name)
        self._destination = read_destination(args.destination)
        self._columns = read_columns(args)
        self._poll_interval = default_poll_interval()
        self._queue: deque[PlannedExport] = deque()
        self._running: list[_Running] = []
        #: What became of each export, as JSON, in the order of their ends.
        self.results: list[dict[str, Any]] = []
        self._count = 0

    @property
    def has_failed(self) -> bool:
        return any("error" in result for result in self.results)

    def run(self, exports: Sequence[PlannedExport]) -> None:
        """Run the exports. After an error that a retry cannot help, no other export is submitted.

        If this process is killed, the jobs continue in Cordial, and the table has the loads that have ended.
        """
        self._queue.extend(exports)
        self._count = len(exports)
        try:
            while self._queue or self._running:
                while self._queue and len(self._running) < self._args.at_a_time:
                    self._submit(self._queue.popleft())
                self._await_next()
        except KeyboardInterrupt:
            jobs = ", ".join(one.submitted.job_id for one in self._running)
            log.warning("Interrupted; jobs that continue in Cordial: %s", jobs or "none")
            raise

    def _submit(self, planned: PlannedExport) -> None:
        export = AudienceTrendsExport(
            name=self._name,
            audiences=planned.audiences,
            timeframe=planned.timeframe,
            destination=self._destination,
            timezone=self._timezone,
        )
        try:
            submitted = submit(self._hook, export, skip_refused=self._args.skip_refused)
        except CordialError as error:
            self._fail(planned, error)
            return
        now = time.time()
        watcher = build_watcher(submitted.job_id, self._hook.connection, since=now, log=log)
        self._running.append(_Running(planned, submitted, watcher, now + self._args.timeout, now))

    def _await_next(self) -> None:
        """Poll the job whose turn it is, and load its file once it is Done."""
        if not self._running:
            return
        one = min(self._running, key=lambda each: each.next_poll)
        time.sleep(max(0.0, one.next_poll - time.time()))
        try:
            is_done = self._poll(one)
            if is_done:
                self._load(one)
        except CordialError as error:
            self._running.remove(one)
            self._fail(one.planned, error, one.submitted.job_id)
        else:
            if is_done:
                self._running.remove(one)

    def _poll(self, one: _Running) -> bool:
        """Return whether the job is Done.

        :raises CordialError: it Failed, or has not ended at the deadline.
        """
        timeout = compute_poll_timeout(one.deadline - time.time())
        if one.watcher.observe(poll_once(self._hook, one.submitted.job_id, timeout=timeout), time.time()):
            return True
        now = time.time()
        if now >= one.deadline:
            raise one.watcher.timeout_error()
        one.next_poll = min(now + one.watcher.pause(self._poll_interval, now), one.deadline)
        return False

    def _load(self, one: _Running) -> None:
        args, submitted = self._args, one.submitted
        table = build_table(
            args.conn_id,
            args.table,
            self._columns,
            create=args.create_table,
            staging=read_staging(args, owner=owner_of("command", "fill", submitted.export.name, -1)),
        )
        with open_delivered_trends(submitted.to_json()) as trends:
            loaded = table.load(trends.batch(datetime.now(UTC), on_blank=args.on_blank))
            counts = {**trends.counts(loaded), **trends.export.refusals()}
        self.results.append({**one.planned.to_json(), "job_id": submitted.job_id, "load": counts})
        log.info(
            "%d of %d: loaded %s, %s: %s, %d new, %d corrected",
            len(self.results),
            self._count,
            one.planned.timeframe,
            count_of(len(one.planned.audiences), "audience"),
            count_of(counts["rows"], "row"),
            counts.get("new", 0),
            counts.get("corrected", 0),
        )

    def _fail(self, planned: PlannedExport, error: CordialError, job_id: str | None = None) -> None:
        self.results.append({**planned.to_json(), "job_id": job_id, "error": error.message})
        audiences = count_of(len(planned.audiences), "audience")
        log.warning("%d of %d: failed %s, %s: %s", len(self.results), self._count, planned.timeframe, audiences, error)
        # Cordial may refuse the audiences of this export only.
        if not error.retry_helps and not isinstance(error, ExportConfigurationError) and self._queue:
            text = "Not submitted: %s. Correct the error, and run the command again"
            log.warning(text, count_of(len(self._queue), "export"))
            self._queue.clear()
