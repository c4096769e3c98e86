"""What is fixed when the sandbox starts, and what can be switched while it runs."""

from __future__ import annotations

from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_API_KEY = "cordial-sandbox-key"


class Behaviour(BaseModel):
    """How the account behaves where Cordial documents nothing, or where a test wants trouble.

    Everything here can be switched through the control API, and is kept over a restart.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    job_seconds: float = Field(2.0, ge=0, description="how long a job takes")
    job_stays_in: str | None = Field(None, description="a status, documented or not, that no job leaves")
    job_fails_with: str | None = Field(None, description="a reason for which every job fails")
    job_name: str = Field("SandboxAudienceTrendsExport", description="jobName; Cordial's is not documented")
    visible_after: float = Field(0.0, ge=0, description="seconds for which a new job is not found")
    delivery_delay: float = Field(0.0, ge=0, description="seconds between Done and the file")
    write_seconds: float = Field(
        0.0, ge=0, le=30, description="how long a file is written to SFTP and FTP, under its own name from the start"
    )
    list_ids: bool = Field(True, description="whether a job record carries _id, which Cordial does not document")
    list_names: bool = Field(True, description="whether a job record carries metadata.name")
    list_order: Literal["newest", "oldest"] = Field("newest", description="what a list begins with; not documented")
    list_tells: int | None = Field(None, ge=0, description="of how many of the newest jobs a list tells")
    max_per_page: int | None = Field(None, ge=1, description="how long a page is at most, however long it is asked for")
    rate_limit: int | None = Field(
        None, ge=1, description="how many requests of each kind a period takes; Cordial's numbers are not documented"
    )
    rate_limit_period: float = Field(60.0, gt=0, description="how many seconds a period has")
    rate_limit_headers: Literal["limited", "always"] = Field(
        "limited", description="which answers tell of the limit; Cordial promises it of those that refuse"
    )
    failure_text: bool = Field(True, description="whether a Failed job says why; Cordial documents no such text")
    file_name: str = Field("{name}.csv", description="may hold {name}, {job_id} and {timestamp}")
    csv_bom: bool = False
    csv_crlf: bool = False
    csv_date_format: str = "%Y-%m-%d"
    csv_audience_column: str = "audience"
    csv_missing: Literal["", "null", "drop_column"] = Field(
        "", description="how a day without a snapshot is written; drop_column: none for a day that nobody has"
    )
    csv_override: str | None = Field(None, description="delivered in the place of the real CSV")

    @field_validator("job_stays_in")
    @classmethod
    def _is_left_otherwise(cls, status: str | None) -> str | None:
        if status in ("Done", "Failed"):
            msg = "no job leaves Done or Failed; to make jobs fail, set job_fails_with"
            raise ValueError(msg)
        return status

    @field_validator("file_name")
    @classmethod
    def _names_a_file(cls, pattern: str) -> str:
        held = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
        if not pattern or "/" in pattern or not held <= {"name", "job_id", "timestamp"}:
            msg = "may hold {name}, {job_id} and {timestamp}, and no other braces or slashes"
            raise ValueError(msg)
        return pattern


class Settings(BaseModel):
    """How the sandbox is started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    port: int = 0
    sftp_port: int = 0
    api_key: str = DEFAULT_API_KEY
    sftp_password: str | None = None
    job_seconds: float = 2.0
    stop_on_eof: bool = False
