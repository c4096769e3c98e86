"""DeliveredFileToObjectStorageOperator: copy the delivered file of any export as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_cordial.assets import publish_event
from airflow_provider_cordial.client import metrics, traces
from airflow_provider_cordial.exceptions import InvalidExportError
from airflow_provider_cordial.lineage import delivered_dataset, file_dataset
from airflow_provider_cordial.transfers.base import DeliveredFileOperator
from airflow_provider_cordial.transfers.object_storage import publish_file, without_connection

if TYPE_CHECKING:
    from airflow.sdk import Context


class DeliveredFileToObjectStorageOperator(DeliveredFileOperator):
    """Copy the delivered file of any export, or its parts, to anything that ObjectStoragePath reaches, byte for byte.

    All parts are on the worker's disk before the first is written. Each appears at its target completely or not at all,
    under the name that it was delivered with: a retry or a clear replaces it. The content is not read, so a file that
    stops growing for ``FileWait.stable_for`` seconds counts as complete.

    Events on the outlets carry what the export's own events carry, and ``path``, ``bytes``, ``parts``, and ``job_id``;
    for partition keys see ``assets.publish_event``.

    More parameters and errors: see ``DeliveredFileOperator``.

    :param path: the target folder: a local path, or a URL such as ``s3://bucket/contacts`` (templated).
    :param path_conn_id: the Airflow connection of the URL, unless the URL contains one (templated).
    :param parts: copy numbered files (``<name>-1.csv``, ``<name>-2.csv``), as ``limit_records_per_file`` creates them;
        otherwise several files are an error.
    :returns: ``path``, that of the copied file or the folder of its parts; ``bytes``, the size of all; and ``parts``,
        the number of files.
    :raises InvalidExportError: a parameter is invalid.
    """

    template_fields: Sequence[str] = (*DeliveredFileOperator.template_fields, "path", "path_conn_id")

    def __init__(self, *, path: str, path_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.path_conn_id = path_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Find the file, wait until it stops growing, and copy it."""
        from airflow.sdk import ObjectStoragePath

        # Imported here to keep DAG parsing fast.
        from airflow_provider_cordial.destinations import FileWait, download_delivered_files
        from airflow_provider_cordial.exports.base import SubmittedExport

        if not isinstance(self.path, str) or not self.path.strip():
            msg = f"Invalid path {self.path!r}: expected the folder to copy to, a local path or a URL."
            raise InvalidExportError(msg)
        self._write_job_link(context)
        submitted = SubmittedExport.from_json(self.export)
        export = submitted.export
        folder = ObjectStoragePath(self.path, conn_id=self.path_conn_id)
        with tempfile.TemporaryDirectory(prefix="cordial-") as local:
            with traces.span("read", export=export.name, job_id=submitted.job_id):
                files = download_delivered_files(
                    export.destination,
                    export.name,
                    Path(local),
                    not_before=submitted.submitted_at,
                    has_unique_name=submitted.has_unique_name,
                    path=self.source_path,
                    file_wait=self.file_wait or FileWait(),
                    parts=self.parts,
                    formats=export.file_formats,
                    may_be_empty=export.may_be_empty,
                )
            for file in files:
                publish_file(Path(local, file.name), folder / file.name)
        path = self.path if len(files) > 1 else f"{self.path.rstrip('/')}/{files[0].name}"
        result = {"path": path, "bytes": sum(file.size or 0 for file in files), "parts": len(files)}
        self.log.info("Copied %(parts)d files of %(bytes)d bytes to %(path)s", result)
        metrics.count("load.completed", operator=type(self).__name__)
        self._lineage = (delivered_dataset(submitted.uri, export.name), file_dataset(without_connection(path)))
        publish_event(
            context,
            self.outlets,
            asset_uris=(),
            days=export.days(),
            extra={**export.event_extra(), **result, "job_id": submitted.job_id},
        )
        return result
