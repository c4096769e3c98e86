"""The v2 API.

Source: Cordial, "Audience Trends export API", "Jobs API", and the v2 Swagger document.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cordial_sandbox.auth import Authentication
from cordial_sandbox.control import control_router
from cordial_sandbox.faults import Faults
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import RateLimit, Windows
from cordial_sandbox.records import is_visible, listed, only, record_of
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.store import Store, now
from cordial_sandbox.validation import ApiError, validated
from cordial_sandbox.vault import Vault

_MEDIA_TYPES = ("application/json", "application/x-www-form-urlencoded")


def create_app(store: Store, runner: JobRunner, folder: SftpFolder, vault: Vault, *, api_key: str) -> ASGIApp:
    """Return the whole application: the control API, and the API behind its faults, its key and its rate limits."""
    windows = Windows()
    app = FastAPI(title="Cordial sandbox", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(ApiError)
    async def refuse(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.post("/v2/audiencetrendsexport")
    async def create_audience_trends_export(request: Request) -> dict[str, str]:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _MEDIA_TYPES:
            msg = f"Unsupported Media Type: Content-Type header must be {' or '.join(_MEDIA_TYPES)}."
            raise ApiError(415, msg, "UNSUPPORTED_MEDIA_TYPE")
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError):
            # The key and the message are documented, the status is not.
            raise ApiError(400, "Invalid JSON provided.", "INVALID_JSON_PROVIDED") from None
        job = store.add_job(validated(body, saved_key_exists=lambda name: vault.private_key(name) is not None))
        runner.start(job)
        return {"jobId": job.id}

    @app.get("/v2/jobs")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        return listed(store.list_jobs, request.query_params, store.behaviour, now().timestamp())

    @app.get("/v2/jobs/{job_id}")
    async def get_job(job_id: str, fields: str | None = None) -> dict[str, Any]:
        job, behaviour = store.find_job(job_id), store.behaviour
        if job is None or not is_visible(job, behaviour, now().timestamp()):
            raise ApiError(404, "record not found", "RECORD_NOT_FOUND")
        return only(record_of(job, behaviour), fields)

    app.include_router(control_router(store, runner, folder, vault, windows))
    api = Faults(Authentication(RateLimit(app, store, windows), api_key), store)

    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith("/v2/")
        await (api if is_api else app)(scope, receive, send)

    return whole
