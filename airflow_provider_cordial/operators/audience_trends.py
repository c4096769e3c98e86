"""AudienceTrendsExportOperator: submit an Audience Trends export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk import BaseOperator

from airflow_provider_cordial._compat import conf, is_trigger_timeout
from airflow_provider_cordial.assets import is_static, tell
from airflow_provider_cordial.destinations import Destination, destination_from_json
from airflow_provider_cordial.exceptions import InvalidExportError, JobFailedError
from airflow_provider_cordial.exports.audience_trends import AudienceTrendsExport, validate_audiences
from airflow_provider_cordial.exports.base import parse_submission, validate_name
from airflow_provider_cordial.exports.identity import Identity, compute_identity, derived_name
from airflow_provider_cordial.exports.submission import SETTLING_TIME, OnUncertainSubmission, submit
from airflow_provider_cordial.exports.timeframe import Timeframe, resolve_timeframe
from airflow_provider_cordial.jobs import waiting
from airflow_provider_cordial.jobs.options import default_poll_interval

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.hooks.cordial import CordialHook

#: The key of the XCom that a loader takes.
EXPORT_KEY = "export"


class AudienceTrendsExportOperator(BaseOperator):
    """Submit an Audience Trends export once, and return the job id.

    The export goes to the XCom ``export`` before anything waits. Killed anywhere, the task stops, but the job goes on:
    Cordial documents no cancel. A retry goes on with that job, and exports again only if it Failed; a clear always
    exports again (see ``exports.submission``).

    Events on its outlets, ``assets.delivery_asset(destination)`` for instance, tell ``job_id``, ``days``, ``audiences``
    and the ``export`` that a loader takes: with ``wait_for_completion`` another DAG can load what was delivered.

    :param audiences: names of saved audiences, each with Audience Trend analytics enabled (templated).
    :param destination: where Cordial delivers the file; its texts are templated. Or what its ``to_json`` gives, which
        the output of another task can be (templated).
    :param name: the export's name, which also names the file: letters, digits and dashes (templated). By default it is
        derived from the run and from what is asked for. Give one that differs from run to run, ``{{ run_id }}`` for
        instance made of such characters: by one that does not, a submission that got no answer cannot be found again.
    :param selected_timeframe_start: the first day: date, datetime or ISO 8601 text (templated).
    :param selected_timeframe_end: the last day, included (templated).
    :param timeframe: both days as one value, what ``Timeframe.to_json`` gives, for mapped tasks (templated). Without
        any of the three, the run decides (see ``exports.timeframe.resolve_timeframe``).
    :param days: how many days to ask for where the run has no data interval.
    :param cordial_conn_id: the Airflow connection (templated).
    :param wait_for_completion: wait until the job is Done; otherwise a ``JobSensor`` can.
    :param deferrable: wait in the triggerer; by default as ``[operators] default_deferrable`` says.
    :param poll_interval: seconds between two looks at the job; by default as ``[cordial] poll_interval`` says.
    :param timeout: seconds after which the wait is given up; ``execution_timeout`` counts too, also while deferred.
    :param settling_time: seconds after which a job that Cordial accepted must be in its list of jobs. So long a try
        looks for the job of a submission that got no answer, before it sends it again.
    :param on_uncertain_submission: ``fail`` where it cannot be told whether Cordial accepted the export, or
        ``resubmit``, which may make a second one.
    :returns: the job id.
    :raises InvalidExportError: something asked for cannot be; nothing was sent.
    :raises RefusedError: Cordial says no.
    :raises SubmissionUncertainError: it cannot be told whether Cordial accepted the export.
    :raises JobFailedError: with ``wait_for_completion``, the job Failed.
    :raises JobTimeoutError: with ``wait_for_completion``, the timeout passed.

    Source: Cordial, "Audience Trends export API".
    """

    template_fields: Sequence[str] = (
        "name",
        "audiences",
        "destination",
        "selected_timeframe_start",
        "selected_timeframe_end",
        "timeframe",
        "cordial_conn_id",
    )
    ui_color = "#d5e8f0"

    def __init__(
        self,
        *,
        audiences: Sequence[str] | XComArg,
        destination: Destination | Mapping[str, Any] | str | XComArg,
        name: str | None = None,
        selected_timeframe_start: date | datetime | str | None = None,
        selected_timeframe_end: date | datetime | str | None = None,
        timeframe: Timeframe | Mapping[str, str] | str | XComArg | None = None,
        days: int = 1,
        cordial_conn_id: str = "cordial_default",
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        timeout: float = 24 * 60 * 60.0,
        settling_time: float = SETTLING_TIME,
        on_uncertain_submission: OnUncertainSubmission = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.audiences = audiences
        self.destination = destination
        self.name = name
        self.selected_timeframe_start = selected_timeframe_start
        self.selected_timeframe_end = selected_timeframe_end
        self.timeframe = timeframe
        self.days = days
        self.cordial_conn_id = cordial_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = default_poll_interval() if poll_interval is None else poll_interval
        self.timeout = timeout
        self.settling_time = settling_time
        self.on_uncertain_submission = on_uncertain_submission
        # A text without a template is the same in all runs.
        self._name_is_constant = is_static(name)

    def execute(self, context: Context) -> str:
        """Submit the export, or find the job of an earlier try, and wait for it where that is asked for."""
        from airflow_provider_cordial.hooks.cordial import CordialHook

        deadline = waiting.compute_deadline(self.timeout, self.execution_timeout)
        hook = CordialHook(self.cordial_conn_id)
        export, identity = self._export(context, hook)
        self._kill_says = f"whether export {export.name} was accepted was not known yet; if it was, its job"
        submitted = submit(
            hook,
            export,
            identity,
            store=context.get("task_state_store"),
            try_number=context["ti"].try_number,
            settling_time=self.settling_time,
            on_uncertain=self.on_uncertain_submission,
        )
        self._kill_says = f"job {submitted.job_id}"
        context["ti"].xcom_push(key=EXPORT_KEY, value=submitted.to_json())
        if self.wait_for_completion:
            with self._naming_the_destination(context):
                self._wait(hook, submitted.job_id, deadline)
        self._tell(context, submitted.to_json())
        return submitted.job_id

    def execute_complete(self, context: Context, event: Any) -> str:
        """Go on after the wait in the triggerer."""
        with self._naming_the_destination(context):
            job = waiting.parse_event(event)
        self.log.info("Job %s is %s", job.id, job.status)
        if self.outlets:
            self._tell(context, self._pushed(context))
        return job.id

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer; where the framework's own timeout ended the wait, look at the job once more."""
        if not is_trigger_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        from airflow_provider_cordial.hooks.cordial import CordialHook

        record = self._pushed(context)
        with self._naming_the_destination(context):
            job_id, _ = parse_submission(record)
            waiting.last_look(CordialHook(self.cordial_conn_id), job_id, log=self.log)
        self._tell(context, record)
        return job_id

    def on_kill(self) -> None:
        """Say that the job goes on."""
        if says := getattr(self, "_kill_says", None):
            self.log.warning("The task was ended, but %s goes on in Cordial, which has no cancel", says)

    def _export(self, context: Context, hook: CordialHook) -> tuple[AudienceTrendsExport, Identity]:
        """Resolve what is asked for into a value; everything is checked here, before anything is sent."""
        audiences = validate_audiences(self.audiences)
        timeframe = resolve_timeframe(
            context,
            timeframe=self.timeframe,
            start=self.selected_timeframe_start,
            end=self.selected_timeframe_end,
            days=self.days,
            timezone=hook.connection.timezone,
        )
        self.log.info("Exporting %d audiences, %s", len(audiences), timeframe)
        if self.on_uncertain_submission not in get_args(OnUncertainSubmission):
            msg = f"on_uncertain_submission {self.on_uncertain_submission!r} is neither 'fail' nor 'resubmit'. Use one."
            raise InvalidExportError(msg)
        destination = self._rendered_destination(context)
        given = validate_name(self.name) if self.name is not None else None
        what = [self.cordial_conn_id, given, audiences, str(timeframe), destination.to_json()]
        identity = compute_identity(context, what, names_the_run=not self._name_is_constant)
        name = given or derived_name(context, identity)
        export = AudienceTrendsExport(name=name, audiences=audiences, timeframe=timeframe, destination=destination)
        return export, identity

    def _rendered_destination(self, context: Context) -> Destination:
        if isinstance(self.destination, Destination):
            return self.destination.rendered(lambda text: str(self.render_template(text, context)))
        if not isinstance(self.destination, Mapping):
            msg = f"destination {self.destination!r} is none. Give one, or the mapping that its to_json gives."
            raise InvalidExportError(msg)
        # Airflow has rendered it already, and what came of that is no template.
        return destination_from_json(self.destination)

    def _pushed(self, context: Context) -> Any:
        """Return the export that this try pushed before it waited."""
        ti = context["ti"]
        return ti.xcom_pull(task_ids=self.task_id, key=EXPORT_KEY, map_indexes=ti.map_index)

    def _tell(self, context: Context, record: Any) -> None:
        """Say on the events of the outlets what was exported."""
        if not self.outlets:
            return
        export = AudienceTrendsExport.from_json(record)
        tell(
            context,
            self.outlets,
            asset_uri=export.destination.asset_uri,
            audiences=export.audiences,
            timeframe=export.timeframe,
            extra={"job_id": record["job_id"], "export": record},
        )

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
