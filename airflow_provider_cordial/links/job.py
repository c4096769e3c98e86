"""CordialJobLink: from a task to its job in Cordial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context


class CordialJobLink(BaseOperatorLink):
    """The Jobs page of the account's Cordial console; the connection's extra ``jobs_page`` sets another address.

    The task writes the address as soon as it knows the job, so the link is there while the task runs, and after it
    failed. Airflow's UI only reads it: it needs no connection.
    """

    name = "Cordial job"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the address that the task has written; empty before it knows its job."""
        # Airflow calls this when a try ends or defers, and stores what is returned in place of what the task wrote.
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")


def write_job_link(context: Context, url: str) -> None:
    """Let the link of the running task refer to a job's page."""
    if url and (ti := context.get("ti")):
        ti.xcom_push(key=CordialJobLink().xcom_key, value=url)
