"""AudienceTrendsSyncOperator: export, wait, and load in one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator
from airflow_provider_cordial.transfers.audience_trends_to_sql import AudienceTrendsToSqlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cordial.exports.base import SubmittedExport


class AudienceTrendsSyncOperator(AudienceTrendsToSqlOperator, AudienceTrendsExportOperator):
    """Export Audience Trends exactly once, wait for the job in the triggerer, and load the file into a table.

    The parameters are those of ``AudienceTrendsExportOperator`` and ``AudienceTrendsToSqlOperator``. One task takes two
    worker processes, an export, a wait, and a load take three or four; and a limit on the task limits the jobs that run
    in Cordial.

    A retry resumes the job: after a failed load it loads the file of the Done job and exports nothing. A killed task
    leaves the table as it was, or loaded. A clear exports again, unless the job is still live.

    Its events are those of the load. The XCom ``export`` contains what was exported, for other loads of the same file.

    :param deferrable: wait in the triggerer.
    :returns: the result of the load (see ``AudienceTrendsToSqlOperator``), and the ``job_id``.
    :raises CordialError: see both operators.
    """

    template_fields: Sequence[str] = (
        *AudienceTrendsExportOperator.template_fields,
        # The export is this task's own.
        *(field for field in AudienceTrendsToSqlOperator.template_fields if field != "export"),
    )
    ui_color = "#dcecd8"

    def __init__(self, *, deferrable: bool = True, **kwargs: Any) -> None:
        super().__init__(export=None, wait_for_completion=True, deferrable=deferrable, **kwargs)

    def execute(self, context: Context) -> Any:
        """Submit the export, or resume the job of an earlier try; wait for it, and load its file."""
        self.validate_load()
        return AudienceTrendsExportOperator.execute(self, context)

    def complete(self, context: Context, submitted: SubmittedExport) -> dict[str, Any]:
        """Load the file of the Done job."""
        self._published = submitted
        self._still_running = None
        self.export = submitted.to_json()
        return {**self.load(context), "job_id": submitted.job_id}

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return the audiences that were read, and the file and the table that were written, for OpenLineage."""
        from airflow_provider_cordial.lineage import operator_lineage

        if self._published is None or self._lineage is None:
            return None
        return operator_lineage(self.read_datasets(self._published.export), self._lineage)
