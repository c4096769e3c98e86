"""JobSensor: wait for a Cordial job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_cordial._compat import (
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
    forget_earlier_try,
    is_trigger_timeout,
)
from airflow_provider_cordial.exceptions import (
    AwaitedJobFailedError,
    CordialError,
    JobError,
    JobFailedError,
    JobTimeoutError,
    SensorJobTimeoutError,
    SensorUnknownJobStatusError,
    UnknownJobStatusError,
)
from airflow_provider_cordial.jobs.blocking import compute_poll_timeout, poll_last_time, poll_once
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.jobs.options import compute_deadline, default_poll_interval, validate_wait_options
from airflow_provider_cordial.jobs.watcher import JobWatcher, build_watcher
from airflow_provider_cordial.links.job import CordialJobLink, write_job_link

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.client.job import Job
    from airflow_provider_cordial.hooks.cordial import CordialHook


#: Seconds between two polls while the API key is rejected, in reschedule mode.
REJECTION_PAUSE = 2.0


class JobSensor(BaseSensorOperator):
    """Wait until a job is Done, and return its record.

    A retry waits for the same job again. A killed sensor only stops waiting: Cordial jobs cannot be cancelled.

    :param job_id: the job to wait for (templated); ``export.output`` of an export operator.
    :param cordial_conn_id: the Airflow connection (templated).
    :param deferrable: wait in the triggerer; by default ``[operators] default_deferrable``. Otherwise ``mode`` applies:
        ``poke`` or ``reschedule``.
    :param poke_interval: seconds between two polls, in every mode; by default ``[cordial] poll_interval``.
    :param timeout: seconds after which the wait ends; by default ``[sensors] default_timeout``.
    :param soft_fail: skip the task instead of failing it, for any error.
    :returns: the job's last record, with the job id under ``jobId``.
    :raises InvalidParameterError: the poke interval or the timeout is invalid; nothing was sent.
    :raises AwaitedJobFailedError: the job Failed.
    :raises JobNotFoundError: Cordial does not know the job after the connection's grace period.
    :raises SensorJobTimeoutError: the timeout expired; the message has the last status.
    :raises SensorUnknownJobStatusError: the timeout expired, and the last status is unrecognized.
    :raises RefusedError: Cordial rejects the request.

    Source: Cordial, "Jobs API".
    """

    template_fields: Sequence[str] = ("job_id", "cordial_conn_id")
    ui_color = "#d5f0e3"
    operator_extra_links = (CordialJobLink(),)

    def __init__(
        self,
        *,
        job_id: str | XComArg,
        cordial_conn_id: str = "cordial_default",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=default_poll_interval() if poke_interval is None else poke_interval, **kwargs)
        # Until it is rendered, it may be the output of another task.
        self.job_id = cast("str", job_id)
        self.cordial_conn_id = cordial_conn_id
        self.deferrable = deferrable
        self._watcher: JobWatcher | None = None

    def execute(self, context: Context) -> Any:
        """Wait in the chosen mode."""
        validate_wait_options(poll_interval=self.poke_interval, timeout=self.timeout)
        write_job_link(context, self._hook.connection.job_url(self.job_id))
        if not self.deferrable:
            try:
                return super().execute(context)
            except AirflowSensorTimeout as timeout:
                raise for_sensor(self._get_watcher(context).timeout_error()) from timeout
        deadline = compute_deadline(self.timeout, self.execution_timeout)
        # A job that has already ended needs no triggerer.
        if found := self.poke(context):
            return found.xcom_value
        from airflow_provider_cordial.triggers.job import build_deferral

        # It raises TaskDeferred.
        return self.defer(**build_deferral(context, self.cordial_conn_id, self.job_id, self.poke_interval, deadline))

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """Poll the job once."""
        watcher = self._get_watcher(context)
        try:
            job = self._observe(watcher)
            # In reschedule mode each poll is a process of its own, which a grace period would not span.
            while self.reschedule and watcher.is_rejected:
                time.sleep(REJECTION_PAUSE)
                job = self._observe(watcher)
        except CordialError as error:
            raise self._skipped_or(for_sensor(error)) from None
        return PokeReturnValue(is_done=True, xcom_value=job.to_json()) if job else None

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:  # noqa: ARG002
        """Resume after the wait in the triggerer."""
        try:
            job = parse_event(event, self.job_id)
        except CordialError as error:
            # Not the error that it replaces: the log would show the same message twice.
            raise for_sensor(error) from None
        self.log.info("Job %s is %s", job.id, job.status)
        return job.to_json()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the triggerer; if Airflow's own timeout ended the wait, poll the job one last time."""
        is_of_earlier_try, next_kwargs = forget_earlier_try(next_kwargs, context)
        if is_of_earlier_try:
            self.log.info("Airflow has resumed the wait of an earlier try; executing the task instead")
            return self.execute(context)
        if not is_trigger_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        try:
            return poll_last_time(self._hook, self.job_id, log=self.log).to_json()
        except CordialError as error:
            raise self._skipped_or(for_sensor(error)) from error

    def _observe(self, watcher: JobWatcher) -> Job | None:
        timeout = compute_poll_timeout(watcher.since + self.timeout - time.time())
        return watcher.observe(poll_once(self._hook, self.job_id, timeout=timeout), time.time())

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        watcher = cast("JobWatcher", self._watcher)  # poke has created it
        if self.exponential_backoff:
            return watcher.at_least(super()._get_next_poke_interval(started_at, run_duration, poke_count))
        return watcher.pause(self.poke_interval, time.time())

    @cached_property
    def _hook(self) -> CordialHook:
        from airflow_provider_cordial.hooks.cordial import CordialHook

        return CordialHook(self.cordial_conn_id)

    def _get_watcher(self, context: Context) -> JobWatcher:
        if self._watcher is None:
            # In reschedule mode each poll is a process of its own, and the grace period spans them.
            first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            since = first.timestamp() if first else time.time()
            self._watcher = build_watcher(self.job_id, self._hook.connection, since=since, log=self.log)
        return self._watcher

    def _skipped_or(self, error: CordialError) -> Exception:
        # The base class skips on some errors only, and not at the first poll of a deferrable task. Here both options
        # have the same effect in every mode.
        for option in ("soft_fail", "never_fail"):
            if getattr(self, option, False):
                return AirflowSkipException(f"Skipped because {option} is set: {error.message}")
        return error


def for_sensor(error: CordialError) -> CordialError:
    """Return an error as a sensor must raise it: the task is not retried if waiting again cannot help."""
    classes: dict[type[CordialError], type[JobError]] = {
        JobFailedError: AwaitedJobFailedError,
        JobTimeoutError: SensorJobTimeoutError,
        UnknownJobStatusError: SensorUnknownJobStatusError,
    }
    found = classes.get(type(error))
    return found(error.message, job=getattr(error, "job", None)) if found else error
