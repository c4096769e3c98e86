"""Write records as the files of the exports of contacts, activity, messages, and logs, and make them up.

Cordial documents neither the columns nor the layout of these files, so both are the sandbox's own.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cordial_sandbox.exports.kind import Content, Rendered

#: How many records a made-up file has at most.
COUNT = 25


def write_records(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str], request: Mapping[str, Any], content: Content
) -> Rendered:
    """Return records in the ``exportType`` of a request, compressed and in parts if it asks for that."""
    size = request.get("limitRecordsPerFile") or max(1, len(records))
    starts = range(0, max(1, len(records)), size)
    parts = [_write_part(records[start : start + size], columns, request) for start in starts]
    return Rendered(tuple(parts), content.behaviour.part_suffix)


def _write_part(records: Sequence[Mapping[str, Any]], columns: Sequence[str], request: Mapping[str, Any]) -> bytes:
    if request["exportType"] == "json":
        text = "".join(json.dumps({column: record.get(column) for column in columns}) + "\n" for record in records)
    else:
        text = _write_rows(records, columns, request)
    return compress(text.encode()) if request.get("compress") else text.encode()


def compress(content: bytes) -> bytes:
    # Without a time, so that a repeated delivery has the same bytes.
    return gzip.compress(content, mtime=0)


def choose_columns(request: Mapping[str, Any], default: Sequence[str]) -> Sequence[str]:
    """Return the names of the ``columnHeaders``, or the default."""
    return [column["name"] for column in request.get("columnHeaders", ())] or default


def _write_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str], request: Mapping[str, Any]) -> str:
    delimiter = request.get("delimiter", ",") if request["exportType"] == "txt" else ","
    labels = {column["name"]: column.get("label", column["name"]) for column in request.get("columnHeaders", ())}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", delimiter=delimiter)
    if request.get("showHeader", False):
        writer.writerow([labels.get(column, column) for column in columns])
    writer.writerows([record.get(column, "") for column in columns] for record in records)
    return text.getvalue()
