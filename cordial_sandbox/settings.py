"""The settings that are fixed at the start, and the behavior that can change while the sandbox runs."""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_API_KEY = "cordial-sandbox-key"
LOOPBACK = "127.0.0.1"


def check_held_status(name: str, status: str | None) -> str | None:
    """Return a status in which a job can be held.

    :raises ValueError: the status is final.
    """
    if status in ("Done", "Failed"):
        msg = f"Invalid {name} {status!r}: Done and Failed are final. Set {name.replace('stays_in', 'fails_with')}."
        raise ValueError(msg)
    return status


class Behaviour(BaseModel):
    """How the account behaves where Cordial documents nothing, or where a test needs a failure.

    The control API can change every member. Changes survive a restart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    job_seconds: float = Field(2.0, ge=0, description="duration of a job")
    job_stays_in: str | None = Field(None, description="status, documented or not, in which every job stops")
    job_fails_with: str | None = Field(None, description="reason with which every job fails")
    job_name: str = Field("SandboxAudienceTrendsExport", description="jobName of every job; not documented by Cordial")
    visible_after: float = Field(0.0, ge=0, description="seconds until a new job can be found")
    delivery_delay: float = Field(0.0, ge=0, description="seconds between Done and the file")
    write_seconds: float = Field(
        0.0, ge=0, le=30, description="seconds to write a file over SFTP or FTP, under its final name"
    )
    answer_id: Literal["jobId", "jobID", "_id", "id"] | None = Field(
        "jobId", description="member of the answer to an export that has the job's id; documented for the other exports"
    )
    record_id: Literal["_id", "id", "jobId", "jobID"] | None = Field(
        "_id", description="member of a job record that has its id; null for none; not documented by Cordial"
    )
    record_times: Literal["+0000", "+00:00", "Z", "milliseconds", "no_offset"] = Field(
        "+0000", description="how the times of a job record end; all of them are ISO 8601, as Cordial documents"
    )
    empty_members: Literal["null", "absent", "list"] = Field(
        "null",
        description="what a job record has for times and numbers that are not known yet, and for a result that is "
        "empty: null, nothing, or an empty list for the result; not documented by Cordial",
    )
    list_names: bool = Field(True, description="whether a job record has metadata.name")
    list_order: Literal["newest", "oldest"] = Field(
        "newest", description="which job a list begins with; not documented by Cordial"
    )
    list_tells: int | None = Field(None, ge=0, description="how many of the newest jobs can be listed; null for all")
    default_per_page: int = Field(25, ge=1, description="jobs on a page without per_page; not documented by Cordial")
    max_per_page: int | None = Field(None, ge=1, description="upper bound for per_page")
    rate_limit: int | None = Field(
        None, ge=1, description="requests of each kind per period; not documented by Cordial"
    )
    rate_limit_period: float = Field(60.0, gt=0, description="length of a period in seconds")
    rate_limit_headers: Literal["limited", "always"] = Field(
        "limited", description="which responses have the rate limit headers; Cordial documents them for rejections"
    )
    failure_text: bool = Field(True, description="whether a Failed job has a reason; not documented by Cordial")
    file_name: str = Field("{name}.csv", description="pattern with the placeholders {name}, {job_id}, and {timestamp}")
    part_suffix: str = Field(
        "-{number}",
        description="what follows the name of each file of an export in parts, as limitRecordsPerFile makes them, with "
        "the placeholders {number} and {total}; not documented by Cordial",
    )
    csv_parts: int = Field(1, ge=1, le=1000, description="files of an Audience Trends export, at most one per audience")
    csv_gzip: bool = Field(False, description="whether the file of an Audience Trends export is compressed")
    csv_bom: bool = False
    csv_crlf: bool = False
    csv_date_format: str = "%Y-%m-%d"
    csv_audience_column: str = "audience"
    csv_missing: Literal["", "null", "drop_column"] = Field(
        "", description="value of a missing snapshot; drop_column omits days that no audience has a snapshot for"
    )
    future_days: Literal["blank", "omit"] = Field(
        "blank", description="whether days that are not over have a blank column or none; not documented by Cordial"
    )
    csv_override: str | None = Field(None, description="delivered instead of the real CSV")

    @field_validator("job_stays_in")
    @classmethod
    def _validate_status(cls, status: str | None) -> str | None:
        return check_held_status("job_stays_in", status)

    @field_validator("file_name")
    @classmethod
    def _validate_pattern(cls, pattern: str) -> str:
        fields = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
        if not pattern or "/" in pattern or not fields <= {"name", "job_id", "timestamp"}:
            msg = (
                f"Invalid file_name {pattern!r}: expected a file name without slashes, whose only placeholders are "
                "{name}, {job_id}, and {timestamp}."
            )
            raise ValueError(msg)
        return pattern

    @field_validator("part_suffix")
    @classmethod
    def _validate_part_suffix(cls, pattern: str) -> str:
        fields = [name for _, name, _, _ in Formatter().parse(pattern) if name is not None]
        if "/" in pattern or "number" not in fields or not set(fields) <= {"number", "total"}:
            msg = (
                f"Invalid part_suffix {pattern!r}: expected text without slashes, with the placeholder {{number}} and "
                "possibly {total}."
            )
            raise ValueError(msg)
        return pattern


class Settings(BaseModel):
    """The settings of one start.

    :param host: address to listen on.
    :param public_host: name or address under which clients reach the sandbox; by default the one it listens on.
    :param allow_hosts: additional names that clients may use for the sandbox.
    :param deliver_to: hosts that the sandbox may deliver to besides this machine (see ``delivery.Site``).
    :param control_token: required by the control API and the pages; generated by default if the sandbox does not listen
        on loopback only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    seed: Path | None = None
    host: str = LOOPBACK
    port: int = 0
    sftp_port: int = 0
    public_host: str | None = None
    allow_hosts: tuple[str, ...] = ()
    deliver_to: tuple[str, ...] = ()
    tls: bool = False
    api_key: str = DEFAULT_API_KEY
    sftp_password: str | None = None
    control_token: str | None = None
    job_seconds: float = 2.0
    stop_on_eof: bool = False
