"""The Jobs page, which a link to a job leads to: Cordial has one in its console."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from cordial_sandbox.store import Store
from cordial_sandbox.tables import JobRow

PREFIX = "/jobs"

_SHOWN = 200
_HEADINGS = ("job id", "name", "status", "days", "audiences", "reason", "delivered to", "created", "ended")
_STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2rem} table{border-collapse:collapse} "
    "th,td{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}"
)


def create_jobs_page_router(store: Store) -> APIRouter:
    """Return the routes of the page for people: all jobs, and one job."""
    router = APIRouter(prefix=PREFIX)

    @router.get("", response_class=HTMLResponse)
    def all_jobs() -> str:
        return _page("Jobs", store.jobs()[:_SHOWN])

    @router.get("/{job_id}", response_class=HTMLResponse)
    def one_job(job_id: str) -> str:
        job = store.find_job(job_id)
        if job is None:
            raise HTTPException(404, f"Job {job_id} does not exist.")
        return _page(f"Job {job.id}", [job])

    return router


def _page(title: str, jobs: Iterable[JobRow]) -> str:
    headings = "".join(f"<th>{heading}" for heading in _HEADINGS)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in _cells(job)) for job in jobs)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}: Cordial sandbox</title>"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><table><tr>{headings}{rows}</table>"
        f"<p><a href={PREFIX}>All jobs</a> of this local Cordial</html>"
    )


def _cells(job: JobRow) -> list[str]:
    return [
        job.id,
        job.name,
        job.status,
        f"{job.start} to {job.end}",
        ", ".join(job.audiences),
        job.reason or "",
        job.delivered_to or "",
        _moment(job.created_at),
        _moment(job.ended_at),
    ]


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
