"""CordialExportOperator: submit an export of any kind exactly once, and optionally wait for its job."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

from airflow.sdk import BaseOperator

from airflow_provider_cordial._compat import conf, forget_earlier_try, is_trigger_timeout
from airflow_provider_cordial.assets import publish_event
from airflow_provider_cordial.client import traces
from airflow_provider_cordial.destinations import Destination, destination_from_json
from airflow_provider_cordial.exceptions import InvalidExportError, InvalidParameterError, JobFailedError
from airflow_provider_cordial.exports.base import Export, SubmittedExport, validate_name
from airflow_provider_cordial.exports.identity import Attempt, Identity, compute_identity, default_name
from airflow_provider_cordial.exports.submission import (
    CONF_KEY,
    SETTLING_TIME,
    OnUncertainSubmission,
    Submission,
)
from airflow_provider_cordial.jobs.blocking import poll_last_time, wait_for_job
from airflow_provider_cordial.jobs.events import parse_event
from airflow_provider_cordial.jobs.options import compute_deadline, default_poll_interval, validate_wait_options
from airflow_provider_cordial.links.job import CordialJobLink, write_job_link

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_cordial.hooks.cordial import CordialHook
    from airflow_provider_cordial.lineage import Dataset

#: The key of the XCom that a load takes.
EXPORT_KEY = "export"


class CordialExportOperator(BaseOperator):
    """Submit an export exactly once, and return the job id; a subclass builds the export in ``build_export``.

    The task pushes the export to the XCom ``export`` before it waits. A killed task stops, but its job continues:
    Cordial jobs cannot be cancelled. A retry resumes that job, and exports again only if the job Failed. A clear
    resumes a job that is still live, and otherwise exports again under a new name (see ``exports.submission``).

    Events on the outlets, ``assets.delivery_asset(destination)`` for instance, carry ``job_id``, ``days``, the
    ``export`` that a load takes, and what the kind of export adds. With ``wait_for_completion`` another DAG can load
    what was delivered.

    :param destination: where Cordial delivers the file; its texts are templated. Or the output of its ``to_json``, also
        from another task (templated).
    :param name: the start of the export's name, which also names the file: letters, digits, and dashes (templated); by
        default the dag and the task. A digest of the run and the request follows it, so that a job or a file of that
        name belongs to this submission: ``trends`` becomes ``trends-1f0c9a7b2d3e``.
    :param exact_name: use ``name`` unchanged. Then a submission whose answer was lost cannot be distinguished from that
        of another run: if a job has the name, the task fails with ``SubmissionUncertainError``, and a file of an
        earlier export of the same name may be taken for the new one.
    :param cordial_conn_id: the Airflow connection (templated).
    :param wait_for_completion: wait until the job is Done; otherwise a ``JobSensor`` can.
    :param deferrable: wait in the triggerer; by default ``[operators] default_deferrable``.
    :param poll_interval: seconds between two polls of the job; by default ``[cordial] poll_interval``.
    :param timeout: seconds after which the wait ends; ``execution_timeout`` applies as well, also while deferred.
    :param settling_time: seconds within which a job that Cordial accepted appears in its list of jobs. A try searches
        the list that long for a submission without an answer before it submits again.
    :param on_uncertain_submission: ``fail`` where it is unknown whether Cordial accepted the export, or ``resubmit``,
        which may create a second one.
    :param job_id: resume this job and do not submit an export, once: the way out of a ``SubmissionUncertainError`` if
        the job is on Cordial's Jobs page (templated). The run's conf can name it as well:
        ``{"cordial_job_id": {"<task_id>": "<job id>"}}``, or ``{"<task_id>": {"<map index>": "<job id>"}}`` for a
        mapped task.
    :returns: the job id.
    :raises InvalidParameterError: a parameter is invalid; nothing was sent.
    :raises RefusedError: Cordial rejects the export.
    :raises SubmissionUncertainError: it is unknown whether Cordial accepted the export.
    :raises JobFailedError: with ``wait_for_completion``, the job Failed.
    :raises JobTimeoutError: with ``wait_for_completion``, the timeout expired.
    """

    template_fields: Sequence[str] = ("name", "destination", "cordial_conn_id", "job_id")
    ui_color = "#d5e8f0"
    #: What this process has exported, for lineage.
    _published: SubmittedExport | None = None
    #: What continues in Cordial if this process is killed.
    _still_running: str | None = None
    operator_extra_links = (CordialJobLink(),)

    def __init__(
        self,
        *,
        destination: Destination | Mapping[str, Any] | str | XComArg,
        name: str | None = None,
        exact_name: bool = False,
        cordial_conn_id: str = "cordial_default",
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | None = None,
        timeout: float = 24 * 60 * 60.0,
        settling_time: float = SETTLING_TIME,
        on_uncertain_submission: OnUncertainSubmission = "fail",
        job_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.name = name
        self.exact_name = exact_name
        self.cordial_conn_id = cordial_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = default_poll_interval() if poll_interval is None else poll_interval
        self.timeout = timeout
        self.settling_time = settling_time
        self.on_uncertain_submission = on_uncertain_submission
        self.job_id = job_id

    @abstractmethod
    def build_export(self, context: Context, hook: CordialHook, *, name: str, destination: Destination) -> Export:
        """Return what to export; check every parameter here, before anything is sent.

        :param hook: its ``connection`` has the account's time zone.
        :raises InvalidExportError: a parameter is invalid.
        """

    def complete(self, context: Context, submitted: SubmittedExport) -> Any:
        """Publish the export and return the task's result: the job is Done, or the task does not wait for it."""
        self._publish(context, submitted)
        return submitted.job_id

    @property
    def skips_refused(self) -> bool:
        """Whether to export without the parts of the request that Cordial refuses; a kind of export may permit it."""
        return False

    def execute(self, context: Context) -> Any:
        """Submit the export, or resume the job of an earlier try, and wait for it if requested."""
        from airflow_provider_cordial.hooks.cordial import CordialHook

        self._validate()
        deadline = compute_deadline(self.timeout, self.execution_timeout)
        hook = CordialHook(self.cordial_conn_id)
        export, identity = self._identify(context, hook)
        submission = Submission(
            hook,
            export,
            identity,
            Attempt.of(context, self.retries or 0),
            store=context.get("task_state_store"),
            settling_time=self.settling_time,
            on_uncertain=self.on_uncertain_submission,
            given_job_id=self._given_job_id(context),
            skip_refused=self.skips_refused,
        )
        self._still_running = f"export {submission.name}, whose submission may have been accepted,"
        with traces.span("submit", kind=export.kind):
            submitted = submission.run()
        self._still_running = f"job {submitted.job_id}"
        context["ti"].xcom_push(key=EXPORT_KEY, value=submitted.to_json())
        write_job_link(context, submitted.job_url)
        if self.wait_for_completion and not submission.is_done:
            with self._destination_in_errors(context):
                self._wait(context, hook, submitted.job_id, deadline)
        return self.complete(context, submitted)

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Resume after the wait in the triggerer."""
        submitted = self._submitted(context)
        with self._destination_in_errors(context):
            job = parse_event(event, submitted.job_id)
        self.log.info("Job %s is %s", job.id, job.status)
        return self.complete(context, submitted)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the triggerer; if the framework's own timeout ended the wait, poll the job one last time."""
        is_of_earlier_try, next_kwargs = forget_earlier_try(next_kwargs, context)
        if is_of_earlier_try:
            self.log.info("Airflow has resumed the wait of an earlier try; executing the task instead")
            return self.execute(context)
        if not is_trigger_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        from airflow_provider_cordial.hooks.cordial import CordialHook

        submitted = self._submitted(context)
        with self._destination_in_errors(context):
            poll_last_time(CordialHook(self.cordial_conn_id), submitted.job_id, log=self.log)
        return self.complete(context, submitted)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the audiences that the export read and the file that Cordial delivers, for OpenLineage."""
        from airflow_provider_cordial.lineage import delivered_dataset, operator_lineage

        if self._published is None:
            return None
        export = self._published.export
        return operator_lineage(self.read_datasets(export), [delivered_dataset(self._published.uri, export.name)])

    def read_datasets(self, export: Export) -> list[Dataset]:
        """Return what an export reads in Cordial, for OpenLineage."""
        from airflow_provider_cordial.hooks.cordial import CordialHook
        from airflow_provider_cordial.lineage import audience_datasets

        host = urlsplit(CordialHook(self.cordial_conn_id).connection.base_url).netloc
        return audience_datasets(host, export.reads())

    def on_kill(self) -> None:
        """Log what continues in Cordial."""
        if self._still_running:
            self.log.warning("Task killed, but %s continues: Cordial jobs cannot be cancelled", self._still_running)

    def _validate(self) -> None:
        validate_wait_options(poll_interval=self.poll_interval, timeout=self.timeout)
        if self.on_uncertain_submission not in get_args(OnUncertainSubmission):
            msg = f"Invalid on_uncertain_submission {self.on_uncertain_submission!r}: expected 'fail' or 'resubmit'."
            raise InvalidParameterError(msg)
        if self.exact_name and self.name is None:
            msg = "Invalid exact_name True without a name: set the name, or leave exact_name out."
            raise InvalidParameterError(msg)

    def _identify(self, context: Context, hook: CordialHook) -> tuple[Export, Identity]:
        """Return the export under the author's name, and the identity of its submission."""
        name = validate_name(self.name) if self.name is not None else default_name(context)
        destination = self._rendered_destination(context)
        export = self.build_export(context, hook, name=name, destination=destination)
        request = [self.cordial_conn_id, export.canonical()]
        return export, compute_identity(context, request, names_the_run=not self.exact_name)

    def _given_job_id(self, context: Context) -> str | None:
        """Return the id of the job to resume, from the run's conf or from ``job_id``."""
        ti = context["ti"]
        by_task = (getattr(context.get("dag_run"), "conf", None) or {}).get(CONF_KEY, {})
        if not isinstance(by_task, Mapping):
            msg = f"Invalid {CONF_KEY} {by_task!r} in the run's conf: expected job ids by task id."
            raise InvalidParameterError(msg)
        given = by_task.get(ti.task_id)
        if given is not None and ti.map_index is not None and ti.map_index >= 0:
            if not isinstance(given, Mapping):
                msg = f"Invalid {CONF_KEY} {given!r}: task {ti.task_id} is mapped, so expected job ids by map index."
                raise InvalidParameterError(msg)
            given = given.get(str(ti.map_index))
        given = self.job_id if given is None else given
        if given is not None and not isinstance(given, str):
            msg = f"Invalid job_id {given!r}: expected the id of a job as text."
            raise InvalidParameterError(msg)
        return (given or "").strip() or None

    def _rendered_destination(self, context: Context) -> Destination:
        if isinstance(self.destination, Destination):
            return self.destination.rendered(lambda text: str(self.render_template(text, context)))
        if not isinstance(self.destination, Mapping):
            msg = f"Invalid destination {self.destination!r}: expected a Destination or its to_json()."
            raise InvalidExportError(msg)
        # Airflow has rendered it already; the result of rendering is not a template.
        return destination_from_json(self.destination)

    def _submitted(self, context: Context) -> SubmittedExport:
        """Return the export that this try pushed before it waited."""
        ti = context["ti"]
        return SubmittedExport.from_json(ti.xcom_pull(task_ids=self.task_id, key=EXPORT_KEY, map_indexes=ti.map_index))

    def _publish(self, context: Context, submitted: SubmittedExport) -> None:
        """Add what was exported to the asset events of the outlets."""
        self._published = submitted
        export = submitted.export
        publish_event(
            context,
            self.outlets,
            asset_uris=[uri] if (uri := export.destination.asset_uri) else (),
            days=export.days(),
            extra={**export.event_extra(), "job_id": submitted.job_id, "export": submitted.to_json()},
        )

    @contextmanager
    def _destination_in_errors(self, context: Context) -> Iterator[None]:
        """Name the destination in the error of a Failed job: a wrong destination is the usual cause."""
        try:
            yield
        except JobFailedError as error:
            msg = f"{error.message} Destination: {self._rendered_destination(context)!r}."
            raise JobFailedError(msg, job=error.job) from None

    def _wait(self, context: Context, hook: CordialHook, job_id: str, deadline: float) -> None:
        if not self.deferrable:
            with traces.span("wait", job_id=job_id):
                wait_for_job(hook, job_id, poll_interval=self.poll_interval, deadline=deadline, log=self.log)
            return
        from airflow_provider_cordial.triggers.job import build_deferral

        self.defer(**build_deferral(context, self.cordial_conn_id, job_id, self.poll_interval, deadline))
