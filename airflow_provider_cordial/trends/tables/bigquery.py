"""BigQueryTable: a load job into an expiring staging table, and one atomic MERGE."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_cordial._compat import AirflowException
from airflow_provider_cordial.exceptions import (
    InvalidConnectionError,
    InvalidExportError,
    TableError,
    UnsuitableTableError,
)
from airflow_provider_cordial.exports.timeframe import Timeframe
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.columns import DATA_COLUMNS, Columns, validate_identifier
from airflow_provider_cordial.trends.corrections import (
    SHOWN,
    KnownCell,
    bounded,
    change_sums,
    corrections_columns,
    corrections_table,
    count_corrected,
    difference,
    is_corrected,
)
from airflow_provider_cordial.trends.tables.base import Cell, TrendsTable
from airflow_provider_cordial.trends.tables.errors import ADVICE, corrections_error, table_error
from airflow_provider_cordial.trends.tables.generic import again_after_conflicts, day_ranges
from airflow_provider_cordial.trends.tables.rows import write_parquet
from airflow_provider_cordial.trends.tables.staging import Staging

if TYPE_CHECKING:
    from google.cloud import bigquery

log = logging.getLogger(__name__)

#: When BigQuery deletes the staging table of a load that was killed.
STAGING_EXPIRES = timedelta(hours=6)

#: Seconds to try to delete it.
_DELETE_TIMEOUT = 30.0

#: On each job: what it cost is found by it.
LABELS = {"airflow-provider": "cordial"}

#: The id of a project, which may begin with a domain.
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*")

#: The types of the columns: the first is that of a new table.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "audience": ("STRING",),
    "snapshot_date": ("DATE",),
    "contacts": ("INTEGER", "INT64", "NUMERIC", "BIGNUMERIC", "FLOAT", "FLOAT64"),
    "job_id": ("STRING",),
    "loaded_at": ("TIMESTAMP", "DATETIME"),
}
_TEXT = ("STRING",)

#: The most columns that a table is clustered by.
_CLUSTERED = 4

#: What BigQuery writes if it ended a statement for another one.
_CONFLICTS = ("due to concurrent update", "too many dml statements outstanding")

#: Reasons that a later load may not meet, whatever the status.
_TRANSIENT = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "quotaExceeded",
        "rateLimitExceeded",
        "resourceInUse",
        "tableUnavailable",
    }
)


class BigQueryTable(TrendsTable):
    """The table in BigQuery.

    :param name: ``dataset.table`` or ``project.dataset.table``; ``table`` if the connection has a default dataset.
    :param staging: its location is the dataset of the staging table, by default that of the table.
    """

    supports_corrections = True

    def __init__(
        self, conn_id: str, name: str, columns: Columns, *, create: bool = False, staging: Staging | None = None
    ) -> None:
        super().__init__(conn_id, name, columns, create=create, staging=staging)
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        if self.staging.conn_id is not None:
            msg = (
                f"Invalid staging connection {self.staging.conn_id!r}: BigQuery reads the staging table through "
                f"{conn_id!r}. Remove staging_conn_id."
            )
            raise InvalidExportError(msg)
        if self.staging.location is not None:
            _validate_dataset("staging dataset", self.staging.location, expected="dataset or project.dataset")
        # Built here: the connection may belong to Google Cloud as a whole.
        self.hook: Any = BigQueryHook(gcp_conn_id=conn_id, use_legacy_sql=False)
        if "." not in name and not self._default_dataset:
            msg = (
                f"Invalid table name {name!r}: connection {conn_id!r} has no default dataset. Write dataset.{name}, or "
                f"project.dataset.{name}."
            )
            raise InvalidExportError(msg)

    def validate_name(self, name: str) -> None:
        """Reject the name of a table that nobody can type; only a project may have dashes.

        :raises InvalidExportError: a part of it is not an identifier, or the project not an id.
        """
        dataset, dot, table = name.rpartition(".")
        expected = "dataset.table or project.dataset.table"
        if dot:
            _validate_dataset("table name", dataset, whole=name, expected=expected)
        validate_identifier("table", table, whole=name)

    def load(self, batch: TrendsBatch) -> LoadResult:
        with self._errors():
            table = self._open()
            corrections = self._open_corrections() if batch.corrections else None
            if not batch.cells:
                return LoadResult.of_new(batch)
            with self._staged(batch, table.location) as staging:
                return again_after_conflicts(
                    lambda: self._replace(batch, table, corrections, staging),
                    _is_conflict,
                    f"Another load of {self.name} was first; merging again",
                )

    def cells(self, audiences: Sequence[str], timeframe: Timeframe) -> Iterator[Cell]:
        with self._errors():
            table = self._open()
            # Nothing but what a range needs.
            batch = TrendsBatch(
                audiences=tuple(audiences),
                days=tuple(timeframe),
                rows=(),
                blanks=0,
                job_id="",
                loaded_at=datetime.now(UTC),
            )
            audience, day, contacts = map(_quote, self.columns.of_table[:3])
            statement = (
                f"SELECT {audience}, {day}, {contacts} FROM {_quote(self.whole_name)} WHERE {self._range(batch)}"
            )
            for row in self._query(statement, self._parameters(batch), table.location):
                yield row[0], row[1], None if row[2] is None else int(row[2])

    # What the table is.

    @cached_property
    def _client(self) -> Any:
        return self.hook.get_client(project_id=self._project)

    @cached_property
    def _project(self) -> str:
        """The project that runs the jobs, and pays for them."""
        from requests.exceptions import RequestException

        try:
            project = self.hook.project_id or self.name.rpartition(".")[0].rpartition(".")[0]
        except RequestException:
            raise
        except (AirflowException, OSError, ValueError) as error:
            # The text of the error may quote the key.
            msg = (
                f"Connection {self.conn_id!r} has no usable Google Cloud credentials ({type(error).__name__}). Check "
                "key_path and keyfile_dict in its extra; without both, Application Default Credentials are used."
            )
            raise InvalidConnectionError(msg) from error
        if not project:
            msg = f"Connection {self.conn_id!r} has no Google Cloud project. Set project in its extra."
            raise InvalidConnectionError(msg)
        return str(project)

    @property
    def _default_dataset(self) -> str:
        """The dataset of a table without one, if the configuration of the connection's queries has it."""
        found = (_mapping(self.hook.api_resource_configs).get("query") or {}).get("defaultDataset") or {}
        parts = (found.get("projectId"), found.get("datasetId"))
        return ".".join(part for part in parts if part)

    @cached_property
    def whole_name(self) -> str:
        """The name with project and dataset."""
        return self._in_project(self.name if "." in self.name else f"{self._default_dataset}.{self.name}", parts=3)

    @cached_property
    def staging_dataset(self) -> str:
        """The dataset of the staging table, with its project."""
        location = self.staging.location
        return self._in_project(location, parts=2) if location else self.whole_name.rpartition(".")[0]

    def _in_project(self, name: str, *, parts: int) -> str:
        return name if len(name.rsplit(".", parts - 1)) == parts else f"{self._project}.{name}"

    def _open(self) -> bigquery.Table:
        """Return the table, which is created if it is missing and shall be.

        :raises UnsuitableTableError: its columns do not fit the load.
        """
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        try:
            table: bigquery.Table = self._client.get_table(self.whole_name)
        except NotFound:
            if not self.create_if_missing:
                raise
            table = bigquery.Table(self.whole_name, self._new_schema())
            table.time_partitioning = bigquery.TimePartitioning(field=self.columns["snapshot_date"])
            table.clustering_fields = [*self.columns.scope, self.columns["audience"]][-_CLUSTERED:]
            table = self._client.create_table(table, exists_ok=True)
        self._check(table)
        return table

    def _open_corrections(self) -> bigquery.Table:
        """Return the corrections table, which is created if it is missing and shall be.

        :raises TableError: it is missing, or its columns do not fit.
        """
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        fields = {field.name: field for field in self._new_schema()}
        mine = corrections_columns(self.columns)
        schema = [bigquery.SchemaField(name, fields[like].field_type, fields[like].mode) for name, like in mine.items()]
        name = corrections_table(self.whole_name)
        try:
            table: bigquery.Table = self._client.get_table(name)
        except NotFound as error:
            if not self.create_if_missing:
                columns = ", ".join(
                    f"{_quote(field.name)} {_sql_type(field)}{' NOT NULL' * (field.mode == 'REQUIRED')}"
                    for field in schema
                )
                statement = f"CREATE TABLE {_quote(name)} ({columns})"
                raise corrections_error(self.name, self.conn_id, error, statement, text=_text(error)) from error
            table = self._client.create_table(bigquery.Table(name, schema), exists_ok=True)
        self._check_types(
            corrections_table(self.name),
            table,
            {column: self._expected_types[like] for column, like in mine.items()},
        )
        return table

    def _new_schema(self) -> list[bigquery.SchemaField]:
        from google.cloud import bigquery

        mode = {self.columns["contacts"]: "NULLABLE"}
        return [
            bigquery.SchemaField(name, types[0], mode.get(name, "REQUIRED"))
            for name, types in self._expected_types.items()
        ]

    @property
    def _expected_types(self) -> dict[str, tuple[str, ...]]:
        names = {self.columns[column]: types for column, types in _TYPES.items()}
        return names | dict.fromkeys(self.columns.shared, _TEXT)

    def _check(self, table: bigquery.Table) -> None:
        self._check_types(self.name, table, self._expected_types)

    def _check_types(self, shown: str, table: bigquery.Table, expected: Mapping[str, tuple[str, ...]]) -> None:
        fields = {field.name.lower(): field for field in table.schema}
        for name, types in expected.items():
            field = fields.get(name.lower())
            if field is None:
                reason = "which it does not have. Add the column, or rename it in the Columns of the load."
            elif field.field_type not in types:
                reason = f"which is of type {field.field_type}: expected {types[0]}."
            elif _is_case_insensitive(field) and name in self.columns.key:
                reason = "whose collation ignores case. Load into a table without a collation."
            else:
                continue
            raise UnsuitableTableError(f"Table {shown!r} needs column {name!r}, {reason}", table=shown)

    # The staging table.

    @contextmanager
    def _staged(self, batch: TrendsBatch, location: str | None) -> Iterator[str]:
        """Yield the name of a table of the file's audiences, days, and numbers.

        :raises TableError: BigQuery did not load all rows of the file.
        """
        from google.cloud import bigquery
        from google.cloud.bigquery.retry import DEFAULT_RETRY

        staging = bigquery.Table(f"{self.staging_dataset}.cordial_staging_{uuid4().hex}", self._staging_schema())
        # A load job cannot set it.
        staging.expires = datetime.now(UTC) + STAGING_EXPIRES
        try:
            self._client.create_table(staging)
            count = self._fill(staging.reference, batch, location)
            if count != batch.cells:
                msg = (
                    f"Table {self.name!r} would have {count} of {batch.cells} rows of the file: BigQuery did not load "
                    "the others. The rows of the table are as before. Retry the task."
                )
                raise TableError(msg, table=self.name)
            yield str(staging)
        finally:
            # It expires, and must not hide the error that ended the load.
            with suppress(Exception):
                retry = DEFAULT_RETRY.with_timeout(_DELETE_TIMEOUT)
                self._client.delete_table(staging, retry=retry, timeout=_DELETE_TIMEOUT, not_found_ok=True)

    def _staging_schema(self) -> list[bigquery.SchemaField]:
        from google.cloud import bigquery

        # As the file has them, whatever the columns of the table are named.
        return [bigquery.SchemaField(column, _TYPES[column][0]) for column in DATA_COLUMNS]

    def _fill(self, staging: bigquery.TableReference, batch: TrendsBatch, location: str | None) -> int:
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            schema=self._staging_schema(),
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            # A job that is run twice by mistake does not double the rows.
            write_disposition=bigquery.WriteDisposition.WRITE_EMPTY,
            labels=self._labels,
        )
        with tempfile.TemporaryDirectory(prefix="cordial-") as folder:
            path = Path(folder) / "trends.parquet"
            write_parquet(path, batch)
            with path.open("rb") as file:
                job = self._client.load_table_from_file(file, staging, job_config=config, location=location)
            return int(job.result().output_rows or 0)

    @property
    def _labels(self) -> dict[str, str]:
        return {**_mapping(self.hook.labels), **LABELS}

    # The statements.

    def _replace(
        self, batch: TrendsBatch, table: bigquery.Table, corrections: bigquery.Table | None, staging: str
    ) -> LoadResult:
        source, parameters = self._source(batch, staging), self._parameters(batch)
        result, found = self._compare(batch, source, parameters, table.location)
        result = bounded(
            self.name, result, found, batch, lambda: self._find_largest(source, parameters, table.location)
        )
        if found["untouched"] < batch.cells or found["rows"] > batch.cells:
            statement, parameters = self._merge(batch, table, source, parameters)
            if corrections is not None and count_corrected(found, batch):
                insert, more = self._record(batch, corrections, source)
                # One job, which BigQuery rolls back unless it comes to its end.
                statement = f"BEGIN TRANSACTION; {insert}; {statement}; COMMIT TRANSACTION"
                parameters = [*parameters, *more]
            self._query(statement, parameters, table.location)
        return result

    def _find_largest(self, source: str, parameters: list[Any], location: str | None) -> list[KnownCell]:
        new, old = "cordial_contacts", _quote(self.columns["contacts"])
        statement = (
            f"SELECT cordial_audience, cordial_day, {old}, {new} FROM ({source}) WHERE {new} <> {old} "
            f"ORDER BY {difference(new, old)} DESC, cordial_audience, cordial_day LIMIT {SHOWN}"
        )
        rows = self._query(statement, parameters, location)
        return [KnownCell(row[0], row[1], int(row[2]), int(row[3])) for row in rows]

    def _record(self, batch: TrendsBatch, corrections: bigquery.Table, source: str) -> tuple[str, list[Any]]:
        """Return the statement that inserts a row for each cell that the load corrects, and its own parameter."""
        from google.cloud import bigquery

        names = [*corrections_columns(self.columns)]
        fields = {field.name.lower(): field for field in corrections.schema}
        # No number is converted from a type to another without a CAST.
        new, old = "cordial_contacts", _quote(self.columns["contacts"])
        numbers = [
            f"CAST({number} AS {_sql_type(fields[name.lower()])})"
            for number, name in zip((old, new), names[2:4], strict=True)
        ]
        scope = [f"@shared_{n}" for n, name in enumerate(self.columns.shared) if name in self.columns.scope]
        values = ["cordial_audience", "cordial_day", *numbers, "@job_id", "@corrected_at", *scope]
        statement = (
            f"INSERT INTO {_quote(corrections_table(self.whole_name))} ({', '.join(map(_quote, names))}) "
            f"SELECT {', '.join(values)} FROM ({source}) WHERE {is_corrected(new, old, batch.on_blank)}"
        )
        kind = fields["corrected_at"].field_type
        return statement, [bigquery.ScalarQueryParameter("corrected_at", kind, batch.loaded_at.astimezone(UTC))]

    def _compare(
        self, batch: TrendsBatch, source: str, parameters: list[Any], location: str | None
    ) -> tuple[LoadResult, dict[str, int]]:
        """Count in one query what the file changes.

        :raises TableError: the staging table has not exactly the rows of the file.
        """
        new, old = "cordial_contacts", _quote(self.columns["contacts"])
        counts = {
            "new": f"{new} IS NOT NULL AND {old} IS NULL",
            "same": f"{new} = {old}",
            "corrected": f"{new} <> {old}",
            "blank": f"{new} IS NULL AND {old} IS NULL",
            "lost": f"{new} IS NULL AND {old} IS NOT NULL",
            "untouched": "cordial_stays",
            "cells": "TRUE",
        }
        columns = {name: f"COUNTIF({condition})" for name, condition in counts.items()}
        columns["rows"] = f"(SELECT COUNT(*) FROM {_quote(self.whole_name)} WHERE {self._range(batch)})"
        columns |= change_sums(new, old, batch)
        selected = ", ".join(f"{column} AS cordial_{name}" for name, column in columns.items())
        row = self._query(f"SELECT {selected} FROM ({source})", parameters, location)[0]
        found = {name: int(row[f"cordial_{name}"]) for name in columns}
        if found["cells"] != batch.cells:
            msg = (
                f"Table {self.name!r} would have {found['cells']} of {batch.cells} rows of the file: another process "
                "writes to its staging table. The rows of the table are as before. Retry the task."
            )
            raise TableError(msg, table=self.name)
        return LoadResult.of_counts(found, batch.on_blank), found

    def _merge(
        self, batch: TrendsBatch, table: bigquery.Table, source: str, parameters: list[Any]
    ) -> tuple[str, list[Any]]:
        """Return the statement that replaces the range, and its parameters."""
        from google.cloud import bigquery

        shared = [f"@shared_{n}" for n, _ in enumerate(self.columns.shared)]
        values = ["new.cordial_audience", "new.cordial_day", "new.cordial_contacts", "@job_id", "@loaded_at", *shared]
        columns = ", ".join(map(_quote, self.columns.of_table))
        # A row that stays is inserted with all of its columns, also those that the load does not know.
        names = [_quote(field.name) for field in table.schema]
        all_columns, old_values = ", ".join(names), ", ".join(f"new.{name}" for name in names)
        # ON FALSE: rows that a table has twice are replaced as well.
        statement = (
            f"MERGE {_quote(self.whole_name)} AS old USING ({source}) AS new ON FALSE "
            f"WHEN NOT MATCHED BY TARGET AND new.cordial_stays THEN INSERT ({all_columns}) VALUES ({old_values}) "
            f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({', '.join(values)}) "
            f"WHEN NOT MATCHED BY SOURCE AND {self._range(batch, 'old.')} THEN DELETE"
        )
        types = {field.name.lower(): field.field_type for field in table.schema}
        kind = types[self.columns["loaded_at"].lower()]
        # A DATETIME has no zone: the client leaves that of the moment out.
        moment = batch.loaded_at.astimezone(UTC)
        return statement, [*parameters, bigquery.ScalarQueryParameter("loaded_at", kind, moment)]

    def _source(self, batch: TrendsBatch, staging: str) -> str:
        """Return the query for the file beside the one row that the table keeps of each cell."""
        audience, day, contacts, job_id, loaded_at = map(_quote, self.columns.of_table[:5])
        constants = "".join(
            f" AND old.{_quote(name)} = @shared_{n}"
            for n, name in enumerate(self.columns.shared)
            if name in self.columns.constants
        )
        is_equal = f"(new.contacts = old.{contacts} OR (new.contacts IS NULL AND old.{contacts} IS NULL))"
        # A different load time alone is not a reason to write.
        stays = f"(old.{audience} IS NOT NULL AND {is_equal} AND old.{job_id} = @job_id{constants})"
        if batch.on_blank == "keep":
            stays += f" OR (new.contacts IS NULL AND old.{contacts} IS NOT NULL)"
        return (
            "SELECT new.audience AS cordial_audience, new.snapshot_date AS cordial_day, "
            f"new.contacts AS cordial_contacts, IFNULL({stays}, FALSE) AS cordial_stays, old.* "
            f"FROM {_quote(staging)} AS new LEFT JOIN ("
            f"SELECT * FROM {_quote(self.whole_name)} WHERE {self._range(batch)} QUALIFY ROW_NUMBER() OVER "
            f"(PARTITION BY {audience}, {day} ORDER BY {contacts} IS NULL, {loaded_at} DESC) = 1"
            f") AS old ON old.{audience} = new.audience AND old.{day} = new.snapshot_date"
        )

    def _range(self, batch: TrendsBatch, prefix: str = "") -> str:
        """Return the condition for the rows that the load replaces.

        :param prefix: of the columns: the alias of the table, and a dot.
        """
        audience, day = (prefix + _quote(self.columns[column]) for column in ("audience", "snapshot_date"))
        # Literals: BigQuery reads only these partitions.
        days = " OR ".join(
            f"{day} BETWEEN DATE '{first.isoformat()}' AND DATE '{last.isoformat()}'"
            for first, last in day_ranges(batch.days)
        )
        scope = "".join(
            f" AND {prefix}{_quote(name)} = @shared_{n}"
            for n, name in enumerate(self.columns.shared)
            if name in self.columns.scope
        )
        return f"({days}) AND {audience} IN UNNEST(@audiences){scope}"

    def _parameters(self, batch: TrendsBatch) -> list[Any]:
        from google.cloud import bigquery

        texts = {"job_id": batch.job_id}
        texts |= {f"shared_{n}": text for n, text in enumerate(self.columns.shared.values())}
        return [
            bigquery.ArrayQueryParameter("audiences", "STRING", [*batch.audiences]),
            *(bigquery.ScalarQueryParameter(name, "STRING", text) for name, text in texts.items()),
        ]

    def _query(self, statement: str, parameters: list[Any], location: str | None) -> list[Any]:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(query_parameters=parameters, labels=self._labels, use_query_cache=False)
        return list(self._client.query(statement, job_config=config, location=location).result())

    # Errors.

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise the errors of Google's clients as those of this provider."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        try:
            yield
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            # The client retried for minutes, and wraps what it got.
            cause = getattr(error, "cause", None) or error
            raise table_error(
                self.name,
                self.conn_id,
                cause,
                is_transient=_is_transient(cause),
                text=_text(cause),
                advice=self._advice(cause),
            ) from error

    def _advice(self, error: Exception) -> str:
        from google.auth.exceptions import GoogleAuthError

        status = getattr(error, "code", None)
        if isinstance(error, GoogleAuthError) or status == HTTPStatus.UNAUTHORIZED:
            return f"Check the credentials of connection {self.conn_id!r}."
        if status == HTTPStatus.FORBIDDEN and not _reasons(error) - {"accessDenied", "forbidden"}:
            datasets = dict.fromkeys((self.whole_name.rpartition(".")[0], self.staging_dataset))
            return (
                f"Grant the account of the connection roles/bigquery.dataEditor on dataset {' and '.join(datasets)}, "
                f"and roles/bigquery.jobUser on project {self._project}."
            )
        if status == HTTPStatus.NOT_FOUND:
            return "Correct the name; create_table=True creates a missing table, but no dataset."
        return ADVICE


def _mapping(setting: Any) -> dict[str, Any]:
    """Return a setting of a connection's extra, which Airflow's form saves as JSON in a text."""
    found = json.loads(setting) if isinstance(setting, str) and setting.strip() else setting
    return found if isinstance(found, dict) else {}


def _quote(name: str) -> str:
    return f"`{name}`"


def _sql_type(field: bigquery.SchemaField) -> str:
    """Return the type of a column as SQL names it; the API has older names."""
    return {"INTEGER": "INT64", "FLOAT": "FLOAT64"}.get(field.field_type, field.field_type)


def _validate_dataset(what: str, name: str, *, expected: str, whole: str | None = None) -> None:
    project, _, dataset = name.rpartition(".")
    if (project and not _PROJECT.fullmatch(project)) or not re.fullmatch(r"\w+", dataset, re.ASCII):
        msg = (
            f"Invalid {what} {whole or name!r}: expected {expected}. Letters, digits, and underscores are allowed; in "
            "the project lower-case letters, digits, and dashes."
        )
        raise InvalidExportError(msg)


def _is_case_insensitive(field: bigquery.SchemaField) -> bool:
    return bool(field.to_api_repr().get("collation"))


def _reasons(error: Exception) -> set[str]:
    """Return how BigQuery classifies an error; the status is that of the request, or made up for a job."""
    return {str(one.get("reason")) for one in getattr(error, "errors", None) or () if isinstance(one, dict)}


def _text(error: Exception) -> str:
    """Return what BigQuery reports, without the address of the request."""
    details = [one.get("message") for one in getattr(error, "errors", None) or () if isinstance(one, dict)]
    return str(next(filter(None, details), error))


def _is_conflict(error: BaseException) -> bool:
    return any(text in str(error).lower() for text in _CONFLICTS)


def _is_transient(error: Exception) -> bool:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError, TransportError

    if isinstance(error, GoogleAuthError):
        return isinstance(error, TransportError) or bool(error.retryable)
    if not isinstance(error, GoogleAPICallError):
        # No answer arrived.
        return True
    is_status = error.code in (HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS) or (
        (error.code or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR and error.code != HTTPStatus.NOT_IMPLEMENTED
    )
    return is_status or bool(_reasons(error) & _TRANSIENT) or _is_conflict(error)
