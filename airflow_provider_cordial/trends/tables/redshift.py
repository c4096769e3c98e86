"""RedshiftTable: COPY of a Parquet file from S3, then one short transaction under a lock of the table."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow_provider_cordial.client.secrets import strike_out
from airflow_provider_cordial.exceptions import InvalidExportError, TableError, TransientTableError
from airflow_provider_cordial.trends.batch import LoadResult, TrendsBatch
from airflow_provider_cordial.trends.tables.errors import error_code, error_text, is_driver_error, table_error
from airflow_provider_cordial.trends.tables.generic import batches
from airflow_provider_cordial.trends.tables.rows import write_parquet
from airflow_provider_cordial.trends.tables.staged import STAGED_COLUMNS, CopiedTable, StagedTable

#: A bucket, and a prefix without what would end a text in SQL.
_LOCATION = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^'\\\x00-\x1f]*))?")

#: The longest audience in bytes, and the longest text of a job.
_AUDIENCE, _JOB = 1024, 256

#: The longest VARCHAR: without a length, a cast cuts at 256 bytes.
_LONGEST = 65_535

#: Rows of an INSERT. The driver binds at most 32,767 values, and a statement has at most 16 MB.
_ROWS_PER_INSERT = 5000

#: Redshift reports a conflict with another transaction as error 1023, under the code of an internal error.
_INTERNAL_ERROR, _SERIALIZATION_FAILURE = "XX000", "40001"
_CONFLICT = re.compile(r"serializable isolation violation|concurrent transaction|deadlock", re.IGNORECASE)

_NO_PRIVILEGE = "42501"

#: Statuses of an answer of S3 that a later request may not have.
_TEMPORARY = (408, 409, 425, 429)


class RedshiftTable(CopiedTable):
    """The table in Amazon Redshift.

    The staging location is ``s3://bucket/prefix``, and its connection one to AWS, by default ``aws_default``. Without a
    location the rows are inserted, which is slow.

    :raises InvalidExportError: the table is in another database, or the staging location is not one in S3.
    """

    types = {  # noqa: RUF012
        "audience": f"VARCHAR({_AUDIENCE})",
        "snapshot_date": "DATE",
        "contacts": "BIGINT",
        "job_id": f"VARCHAR({_JOB})",
        "loaded_at": "TIMESTAMP",
        "scope": f"VARCHAR({_AUDIENCE})",
        "constant": f"VARCHAR({_AUDIENCE})",
    }
    #: Keys are not enforced: a duplicate one is that of the catalog, when two loads create the table at once.
    conflicts = ("40", "23505", "42P07")
    transient = (*conflicts, "08", "53", "57", "OperationalError", "InterfaceError")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._folder = None
        if self.staging.location is not None:
            folder = "/".join(filter(None, (_split(self.staging.location)[1], self.staging.owner)))
            bucket = _split(self.staging.location)[0]
            self._folder = _Folder(self.name, bucket, f"{folder}/", self.staging.conn_id or "aws_default")

    def validate_name(self, name: str) -> None:
        super().validate_name(name)
        if name.count(".") > 1:
            msg = (
                f"Invalid table name {name!r}: expected table or schema.table. A Redshift connection loads only its "
                "own database; set it as the connection's schema."
            )
            raise InvalidExportError(msg)

    @contextmanager
    def connection(self) -> Iterator[Any]:
        try:
            with super().connection() as connection:
                yield connection
        except (ConnectionError, TimeoutError) as error:
            # The driver does not translate those of its socket.
            raise table_error(self.name, self.conn_id, error, is_transient=True) from error
        except TableError as error:
            cause = error.__cause__
            if cause is None or self.code(cause) != _NO_PRIVILEGE or error.table != self.name:
                raise
            advice = self._grants()
            raise table_error(self.name, self.conn_id, cause, is_transient=False, advice=advice) from cause

    def prepare(self, connection: Any) -> None:
        super().prepare(connection)
        with connection.cursor() as cursor:
            # A load time converts to UTC, whether the column has a time zone or not.
            cursor.execute("SET timezone TO 'UTC'")

    def code(self, error: BaseException) -> str:
        code = error_code(error)
        is_conflict = code == _INTERNAL_ERROR and _CONFLICT.search(error_text(error))
        return _SERIALIZATION_FAILURE if is_conflict else code

    def _grants(self) -> str:
        schema = self.name.rpartition(".")[0]
        return (
            f"Grant the user of connection {self.conn_id!r} SELECT, INSERT, and DELETE on the table, which LOCK needs "
            f"too, USAGE on the schema{f' {schema}' if schema else ''}, TEMP on the database, and CREATE on the schema "
            "for create_table=True."
        )

    def lock(self, cursor: Any) -> None:
        # First of all in its transaction: the snapshot that the next statement takes has what other loads committed.
        cursor.execute(f"LOCK TABLE {self.quoted}")

    def unique_keys(self, cursor: Any) -> Iterable[list[str]]:
        # They are not enforced, but the planner trusts them.
        schema, _, table = self.name.lower().rpartition(".")
        cursor.execute(
            "SELECT parts.constraint_name, parts.column_name FROM information_schema.table_constraints AS keys "
            "JOIN information_schema.key_column_usage AS parts ON parts.constraint_name = keys.constraint_name "
            "AND parts.constraint_schema = keys.constraint_schema AND parts.table_name = keys.table_name "
            "WHERE keys.constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND parts.table_name = %s "
            f"AND parts.table_schema = {'%s' if schema else 'current_schema()'} "
            "ORDER BY parts.constraint_name, parts.ordinal_position",
            [table, *([schema] if schema else [])],
        )
        keys: dict[str, list[str]] = {}
        for key, column in cursor.fetchall():
            keys.setdefault(str(key), []).append(str(column))
        return keys.values()

    def _create_temporary(self, cursor: Any, name: str) -> None:
        # The audience compares as in the table; Parquet has to match the types of the others exactly.
        audience, day, contacts = map(self.quote, self.columns.of_table[:STAGED_COLUMNS])
        cursor.execute(
            f"CREATE TEMP TABLE {name} AS SELECT {audience}, CAST({day} AS DATE) AS {day}, "
            f"CAST({contacts} AS BIGINT) AS {contacts} FROM {self.quoted} WHERE 1 = 0"
        )

    def fill(self, cursor: Any, target: str, batch: TrendsBatch, *, whole: bool) -> int:  # noqa: ARG002 - never whole
        # Nothing of the table is locked while the rows travel.
        cursor.execute("COMMIT")
        if self._folder is None:
            self._insert(cursor, target, batch)
        else:
            self._copy(cursor, target, batch, self._folder)
        cursor.execute(f"SELECT COUNT(*) FROM {target}")
        return int(cursor.fetchall()[0][0])

    def _copy(self, cursor: Any, target: str, batch: TrendsBatch, folder: _Folder) -> None:
        folder.clean()
        with tempfile.TemporaryDirectory(prefix="cordial-") as name:
            path = Path(name) / f"{uuid4()}.parquet"
            write_parquet(path, batch)
            with folder.holding(path) as url:
                access, secrets = folder.authorization()
                try:
                    # Without REGION, which COPY of Parquet refuses: the bucket is in the region of the database.
                    cursor.execute(f"COPY {target} FROM {_literal(url)} {access} FORMAT AS PARQUET")
                except Exception as error:
                    _remove_secrets(error, secrets)
                    if not is_driver_error(error) or self.code(error).startswith(self.transient):
                        raise
                    advice = f"Redshift does not copy {url}: {folder.requirements}"
                    raise table_error(self.name, self.conn_id, error, is_transient=False, advice=advice) from error

    def _insert(self, cursor: Any, target: str, batch: TrendsBatch) -> None:
        """Insert the numbers, then the blanks: with texts only, all full statements are the same prepared one."""
        for is_blank in (False, True):
            rows = (
                (row.audience, day.isoformat()) + (() if contacts is None else (str(contacts),))
                for row in batch.rows
                for day, contacts in zip(batch.days, row.contacts, strict=True)
                if (contacts is None) is is_blank
            )
            width = STAGED_COLUMNS - is_blank
            insert, marks = self.insert_into(target, width), f"({', '.join(['%s'] * width)})"
            for some in batches(rows, _ROWS_PER_INSERT):
                cursor.execute(f"{insert} VALUES {', '.join([marks] * len(some))}", [*chain.from_iterable(some)])

    def merge(self, cursor: Any, batch: TrendsBatch) -> LoadResult:
        # As texts in the statements, by which Redshift skips blocks of rows.
        self._between = f"BETWEEN '{min(batch.days).isoformat()}' AND '{max(batch.days).isoformat()}'"
        return super().merge(cursor, batch)

    def _joined(self, batch: TrendsBatch) -> tuple[str, list[Any]]:  # noqa: ARG002 - the days are known
        where = self._matching("new.", "old.")
        return f"FROM {self.staged} AS new LEFT JOIN {self.quoted} AS old ON {where}", [*self.columns.scope.values()]

    def delete_changed(self, source: str) -> tuple[str, list[Any]]:
        # The target of a DELETE has no alias.
        old = f"{self.quote(self.name.rpartition('.')[2])}."
        where = self._matching(f"{source}.", old)
        return f"DELETE FROM {self.quoted} USING {source} WHERE {where}", [*self.columns.scope.values()]

    def _matching(self, new: str, old: str) -> str:
        audience, day = map(self.quote, self.columns.key[:2])
        scope, _ = self.in_scope(old)
        return f"{old}{audience} = {new}{audience} AND {old}{day} = {new}{day} AND {old}{day} {self._between}{scope}"

    def marks(self, values: Sequence[Any]) -> str:
        # A parameter in a SELECT has no type of its own.
        return ", ".join(
            f"CAST(%s AS {'TIMESTAMP' if isinstance(value, datetime) else f'VARCHAR({_LONGEST})'})" for value in values
        )

    def _write(self, cursor: Any, batch: TrendsBatch, *, matched: int, untouched: int) -> None:
        StagedTable._write(self, cursor, batch, matched=matched, untouched=untouched)
        # In one statement: each costs more here than the rows that it counts. No key prevents a second row.
        joined, parameters = self._joined(batch)
        cursor.execute(f"SELECT COUNT(*), COUNT(old.{self.quote(self.columns['audience'])}) {joined}", parameters)
        pairs, found = map(int, cursor.fetchall()[0])
        if (pairs, found) != (batch.cells, batch.cells):
            msg = (
                f"Table {self.name!r} would have {found} rows for {batch.cells} of the file. The rows of the table are "
                "as before. Check its policies for rows."
            )
            raise TableError(msg, table=self.name)

    def bytes_of(self, column: str) -> str:
        # Two names of one table may be equal: a database, or a column, can ignore case.
        return f"MD5({column})"


class _Folder:
    """The folder of a task instance in S3.

    :param table: the table that errors name.
    :param prefix: of the keys, with a slash at its end.
    """

    def __init__(self, table: str, bucket: str, prefix: str, conn_id: str) -> None:
        self.table = table
        self.bucket = bucket
        self.prefix = prefix
        self.conn_id = conn_id

    @cached_property
    def _hook(self) -> Any:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        return S3Hook(aws_conn_id=self.conn_id)

    @property
    def requirements(self) -> str:
        """Return what COPY needs."""
        return (
            "check that the bucket is in the region of the database, that the keys of AWS connection "
            f"{self.conn_id!r}, or the role_arn in its extra, permit s3:GetObject and s3:ListBucket, that the role is "
            "attached to the database, and that the columns of the table fit."
        )

    def clean(self) -> None:
        """Remove what a killed try left."""
        with self._guard("s3:ListBucket and s3:DeleteObject"):
            client = self._hook.get_conn()
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            for key in [item["Key"] for page in pages for item in page.get("Contents", ())]:
                client.delete_object(Bucket=self.bucket, Key=key)

    @contextmanager
    def holding(self, path: Path) -> Iterator[str]:
        """Yield the URL of a file, which is in S3 only as long."""
        key = f"{self.prefix}{path.name}"
        try:
            with self._guard("s3:PutObject"), path.open("rb") as file:
                client, options = self._hook.get_conn(), self._hook.extra_args
                client.put_object(Bucket=self.bucket, Key=key, Body=file, **options)
            yield f"s3://{self.bucket}/{key}"
        except BaseException:
            # What failed first is reported; the next try cleans the folder.
            with suppress(Exception):
                self._remove(key)
            raise
        self._remove(key)

    def _remove(self, key: str) -> None:
        with self._guard("s3:DeleteObject"):
            self._hook.get_conn().delete_object(Bucket=self.bucket, Key=key)

    def authorization(self) -> tuple[str, list[str]]:
        """Return the clause by which Redshift reads the folder, and the secrets in it."""
        from airflow.providers.amazon.aws.utils.redshift import build_credentials_block

        if role := self._hook.conn_config.role_arn:
            return f"IAM_ROLE {_literal(role)}", []
        credentials = self._hook.get_credentials()
        secrets = [text for text in (credentials.access_key, credentials.secret_key, credentials.token) if text]
        return f"CREDENTIALS {_literal(build_credentials_block(credentials))}", secrets

    @contextmanager
    def _guard(self, permissions: str) -> Iterator[None]:
        """Translate the errors of the client."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProfileNotFound,
        )

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 0
            is_final = isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound))
            is_final = is_final or (300 <= status < 500 and status not in _TEMPORARY)
            msg = (
                f"Table {self.table!r} cannot be loaded: no access to s3://{self.bucket}/{self.prefix}: {error}. The "
                "rows of the table are as before. Check the bucket of the staging, and that AWS connection "
                f"{self.conn_id!r} has {permissions} on it."
            )
            raise (TableError if is_final else TransientTableError)(msg, table=self.table) from error


def _split(location: str) -> tuple[str, str]:
    """Return the bucket and the prefix of a staging location.

    :raises InvalidExportError: it is not one in S3.
    """
    match = _LOCATION.fullmatch(location)
    if not match:
        msg = (
            f"Invalid staging {location!r}: expected s3://bucket/prefix. Redshift copies the file from a bucket in its "
            "own region; without a staging the rows are inserted."
        )
        raise InvalidExportError(msg)
    return match["bucket"], (match["prefix"] or "").strip("/")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _remove_secrets(error: BaseException, secrets: Sequence[str]) -> None:
    """Remove the keys of the statement from an error, wherever it is shown."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(text) for key, text in value.items()}
        return strike_out(value, secrets) if isinstance(value, str) else value

    error.args = tuple(map(without, error.args))
    # The driver raises while it handles the KeyError of its cache: that of the whole statement.
    error.__context__ = None
