"""The v2 API.

Source: Cordial, "Audience Trends export API", "Jobs API", and the v2 Swagger document.
"""

from __future__ import annotations

import json
import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cordial_sandbox.auth import Authentication
from cordial_sandbox.control import create_control_router
from cordial_sandbox.faults import Faults
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.pages import create_pages_router
from cordial_sandbox.rate_limit import RateLimit, Windows
from cordial_sandbox.records import build_page, build_record, is_visible, select_fields
from cordial_sandbox.same_origin import SameOrigin
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.store import Store
from cordial_sandbox.validation import ApiError, parse_export_request
from cordial_sandbox.vault import Vault

_MEDIA_TYPES = ("application/json", "application/x-www-form-urlencoded")


def create_app(store: Store, runner: JobRunner, folder: SftpFolder, vault: Vault, *, api_key: str) -> ASGIApp:
    """Return the whole application.

    It has the control API, the pages for people, and the v2 API behind faults, authentication, and rate limits.
    """
    windows = Windows()
    app = FastAPI(title="Cordial sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    _add_api_routes(app, store, runner, vault)
    app.include_router(create_control_router(store, runner, folder, vault, windows))
    app.include_router(create_pages_router(store, folder, vault.data))
    api = Faults(Authentication(RateLimit(app, store, windows), api_key), store)
    local = SameOrigin(app, "/")

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith("/v2/")
        await (api if is_api else local)(scope, receive, send)

    return dispatch


def _add_api_routes(app: FastAPI, store: Store, runner: JobRunner, vault: Vault) -> None:
    @app.exception_handler(ApiError)
    async def refuse(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.post("/v2/audiencetrendsexport")
    async def create_audience_trends_export(request: Request) -> dict[str, str]:
        body = await _read_json(request)
        job = store.add_job(parse_export_request(body, saved_key_exists=vault.has_key))
        runner.start(job)
        return {"jobId": job.id}

    @app.get("/v2/jobs")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        return build_page(store.list_jobs, request.query_params, store.behaviour, time.time())

    @app.get("/v2/jobs/{job_id}")
    async def get_job(job_id: str, fields: str | None = None) -> dict[str, Any]:
        job, behaviour = store.find_job(job_id), store.behaviour
        if job is None or not is_visible(job, behaviour, time.time()):
            raise ApiError(404, "record not found", "RECORD_NOT_FOUND")
        return select_fields(build_record(job, behaviour), fields)


async def _read_json(request: Request) -> Any:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _MEDIA_TYPES:
        msg = f"Unsupported Media Type: Content-Type header must be {' or '.join(_MEDIA_TYPES)}."
        raise ApiError(415, msg, "UNSUPPORTED_MEDIA_TYPE")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        # Cordial documents the key and the message, but not the status.
        raise ApiError(400, "Invalid JSON provided.", "INVALID_JSON_PROVIDED") from None
