"""AudienceTrendsExportOperator: submit an Audience Trends export."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf

from airflow_provider_cordial import waiting
from airflow_provider_cordial._config import default_poll_interval
from airflow_provider_cordial.exceptions import JobFailedError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport, checked_audiences
from airflow_provider_cordial.exports.export import checked_name
from airflow_provider_cordial.exports.submission import derived_name, submit
from airflow_provider_cordial.exports.timeframe import resolve_timeframe

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.destinations import Destination
    from airflow_provider_cordial.hooks.cordial import CordialHook

#: The key of the XCom that a loader takes.
EXPORT_KEY = "export"


class AudienceTrendsExportOperator(BaseOperator):
    """Submit an Audience Trends export, and return the job id.

    The export goes to the XCom ``export`` before anything waits. Killed, the task stops, but the job goes on: Cordial
    documents no cancel.

    :param audiences: names of saved audiences, each with Audience Trend analytics enabled (templated).
    :param destination: where Cordial delivers the file; its texts are templated.
    :param name: the export's name, which also names the file: letters, digits and dashes (templated). By default it is
        derived from the run and from what is asked for.
    :param selected_timeframe_start: the first day: date, datetime or ISO 8601 text (templated).
    :param selected_timeframe_end: the last day, included (templated). Without the two, the run decides (see
        ``exports.timeframe.resolve_timeframe``).
    :param days: how many days to ask for where the run has no data interval.
    :param cordial_conn_id: the Airflow connection (templated).
    :param wait_for_completion: wait until the job is Done; otherwise a ``JobSensor`` can.
    :param deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two looks at the job; by default as ``[cordial] poll_interval`` says.
    :param timeout: seconds after which the wait is given up.
    :returns: the job id.
    :raises InvalidExportError: something asked for cannot be; nothing was sent.
    :raises RefusedError: Cordial says no.
    :raises JobFailedError: with ``wait_for_completion``, the job Failed.
    :raises JobTimeoutError: with ``wait_for_completion``, the timeout passed.

    Source: Cordial, "Audience Trends export API".
    """

    template_fields: Sequence[str] = (
        "name",
        "audiences",
        "selected_timeframe_start",
        "selected_timeframe_end",
        "cordial_conn_id",
    )
    ui_color = "#d5e8f0"

    def __init__(
        self,
        *,
        audiences: Sequence[str],
        destination: Destination,
        name: str | None = None,
        selected_timeframe_start: date | datetime | str | None = None,
        selected_timeframe_end: date | datetime | str | None = None,
        days: int = 1,
        cordial_conn_id: str = "cordial_default",
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        timeout: float = 24 * 60 * 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audiences = audiences
        self.destination = destination
        self.name = name
        self.selected_timeframe_start = selected_timeframe_start
        self.selected_timeframe_end = selected_timeframe_end
        self.days = days
        self.cordial_conn_id = cordial_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = default_poll_interval() if poll_interval is None else poll_interval
        self.timeout = timeout

    def execute(self, context: Context) -> str:
        """Submit the export, and wait for the job where that is asked for."""
        from airflow_provider_cordial.hooks.cordial import CordialHook

        deadline = time.time() + self.timeout
        hook = CordialHook(self.cordial_conn_id)
        submitted = submit(hook, self._export(context, hook))
        context["ti"].xcom_push(key=EXPORT_KEY, value=submitted.to_json())
        self._job_id = submitted.job_id
        if self.wait_for_completion:
            with self._naming_the_destination(context):
                self._wait(hook, submitted.job_id, deadline)
        return submitted.job_id

    def execute_complete(self, context: Context, event: Any) -> str:
        """Go on after the wait in the triggerer."""
        with self._naming_the_destination(context):
            job = waiting.job_of_event(event)
        self.log.info("Job %s is %s", job.id, job.status)
        return job.id

    def on_kill(self) -> None:
        """Say that the job goes on."""
        if job_id := getattr(self, "_job_id", None):
            self.log.warning("The task was ended, but job %s goes on in Cordial, which has no cancel", job_id)

    def _export(self, context: Context, hook: CordialHook) -> AudienceTrendsExport:
        """Resolve what is asked for into a value; everything is checked here, before anything is sent."""
        audiences = checked_audiences(self.audiences)
        timeframe = resolve_timeframe(
            context,
            start=self.selected_timeframe_start,
            end=self.selected_timeframe_end,
            days=self.days,
            timezone=hook.connection.timezone,
        )
        self.log.info("Exporting %d audiences, %s", len(audiences), timeframe)
        destination = self._rendered_destination(context)
        if self.name is not None:
            name = checked_name(self.name)
        else:
            what = [self.cordial_conn_id, audiences, str(timeframe), destination.to_json()]
            name = derived_name(context, what)
        return AudienceTrendsExport(name=name, audiences=audiences, timeframe=timeframe, destination=destination)

    def _rendered_destination(self, context: Context) -> Destination:
        return self.destination.rendered(lambda text: str(self.render_template(text, context)))

    @contextmanager
    def _naming_the_destination(self, context: Context) -> Iterator[None]:
        try:
            yield
        except JobFailedError as error:
            msg = f"{error.message} The file was to go to {self._rendered_destination(context)!r}."
            raise JobFailedError(msg, job=error.job) from None

    def _wait(self, hook: CordialHook, job_id: str, deadline: float) -> None:
        if not self.deferrable:
            waiting.wait(hook, job_id, poll_interval=self.poll_interval, deadline=deadline, log=self.log)
            return
        from airflow_provider_cordial.triggers.job import deferral

        self.defer(**deferral(self.cordial_conn_id, job_id, self.poll_interval, deadline))
