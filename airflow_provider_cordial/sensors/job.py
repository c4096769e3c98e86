"""JobSensor: wait for a Cordial job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_cordial._compat import AirflowSensorTimeout, AirflowSkipException, conf, is_trigger_timeout
from airflow_provider_cordial.exceptions import CordialError
from airflow_provider_cordial.jobs import waiting
from airflow_provider_cordial.jobs.options import default_poll_interval

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.client.job import Job
    from airflow_provider_cordial.hooks.cordial import CordialHook


class JobSensor(BaseSensorOperator):
    """Wait until a job is Done, and return its record.

    A retry waits for the same job again. Killed, it only stops waiting: Cordial documents no cancel.

    :param job_id: the job to wait for (templated); ``export.output`` of an export operator.
    :param cordial_conn_id: the Airflow connection (templated).
    :param deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says. Otherwise ``mode``
        counts: ``poke`` or ``reschedule``.
    :param poke_interval: seconds between two looks, in every mode; by default as ``[cordial] poll_interval`` says.
    :param timeout: seconds after which the wait is given up; by default as ``[sensors] default_timeout`` says.
    :param soft_fail: skip the task instead of failing it, whatever the error.
    :returns: the job's last record, with the job id under ``jobId``.
    :raises AwaitedJobFailedError: the job Failed.
    :raises JobNotFoundError: Cordial does not know the job after the connection's grace period.
    :raises SensorJobTimeoutError: the timeout passed; the message has the last status.
    :raises SensorUnknownJobStatusError: the same, with a status that this provider does not know.
    :raises RefusedError: Cordial does not let us look.

    Source: Cordial, "Jobs API".
    """

    template_fields: Sequence[str] = ("job_id", "cordial_conn_id")
    ui_color = "#d5f0e3"

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
        # Until it is rendered it may be the output of another task.
        self.job_id = cast("str", job_id)
        self.cordial_conn_id = cordial_conn_id
        self.deferrable = deferrable
        self._seen: waiting.JobWatcher | None = None

    def execute(self, context: Context) -> Any:
        """Wait in the mode that was chosen."""
        if not self.deferrable:
            try:
                return super().execute(context)
            except AirflowSensorTimeout as timeout:
                raise waiting.for_sensor(self._watch(context).timed_out()) from timeout
        deadline = waiting.compute_deadline(self.timeout, self.execution_timeout)
        # A job that has ended already need not go through the triggerer.
        if found := self.poke(context):
            return found.xcom_value
        from airflow_provider_cordial.triggers.job import deferral

        return self.defer(**deferral(self.cordial_conn_id, self.job_id, self.poke_interval, deadline))  # it raises

    def poke(self, context: Context) -> PokeReturnValue | None:  # type: ignore[override]
        """Look at the job once."""
        watch = self._watch(context)
        try:
            job = watch.saw(waiting.poll_once(self._hook, self.job_id), time.time())
        except CordialError as error:
            raise self._skipped_or(waiting.for_sensor(error)) from error
        return PokeReturnValue(is_done=True, xcom_value=job.to_json()) if job else None

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:  # noqa: ARG002
        """Go on after the wait in the triggerer."""
        try:
            job: Job = waiting.parse_event(event, self.job_id)
        except CordialError as error:
            raise waiting.for_sensor(error) from error
        self.log.info("Job %s is %s", job.id, job.status)
        return job.to_json()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer; where the framework's own timeout ended the wait, look at the job once more."""
        if not is_trigger_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        try:
            return waiting.last_look(self._hook, self.job_id, log=self.log).to_json()
        except CordialError as error:
            raise self._skipped_or(waiting.for_sensor(error)) from error

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        seen = cast("waiting.JobWatcher", self._seen)  # a poke went before
        if self.exponential_backoff:
            return seen.at_least(super()._get_next_poke_interval(started_at, run_duration, poke_count))
        return seen.pause(self.poke_interval, time.time())

    @cached_property
    def _hook(self) -> CordialHook:
        from airflow_provider_cordial.hooks.cordial import CordialHook

        return CordialHook(self.cordial_conn_id)

    def _watch(self, context: Context) -> waiting.JobWatcher:
        if self._seen is None:
            # In reschedule mode each look is a process of its own, and the grace period spans them.
            first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            self._seen = waiting.JobWatcher(
                self.job_id,
                grace=self._hook.connection.not_found_grace,
                since=first.timestamp() if first else time.time(),
                log=self.log,
            )
        return self._seen

    def _skipped_or(self, error: CordialError) -> Exception:
        # The base class skips on some errors only, and not when a deferrable task first looks; here both options mean
        # the same in every mode.
        for option in ("soft_fail", "never_fail"):
            if getattr(self, option, False):
                return AirflowSkipException(f"Skipped, for {option} is set: {error}")
        return error
