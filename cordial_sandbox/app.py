"""The v2 API.

Source: Cordial, "Audience Trends export API", "Jobs API", and the v2 Swagger document.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cordial_sandbox.auth import is_authorized
from cordial_sandbox.control import control_router
from cordial_sandbox.faults import Faults
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.records import is_visible, listed, only, record_of
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.store import Store, now
from cordial_sandbox.validation import ApiError, validated
from cordial_sandbox.vault import Vault

_MEDIA_TYPES = ("application/json", "application/x-www-form-urlencoded")


def create_app(store: Store, runner: JobRunner, folder: SftpFolder, vault: Vault, *, api_key: str) -> Faults:
    """Return the whole application: the API and the control API, with the faults around them."""
    app = FastAPI(title="Cordial sandbox", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(ApiError)
    async def refuse(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.middleware("http")
    async def authenticate(request: Request, call_next: Any) -> Any:
        if request.url.path.startswith("/v2") and not is_authorized(request.headers.get("authorization"), api_key):
            return JSONResponse({"error": "Access Denied: Authentication Failure"}, 401)
        return await call_next(request)

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
        runner.start(job.id)
        return {"jobId": job.id}

    @app.get("/v2/jobs")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        return listed(store.jobs(), request.query_params, store.behaviour, now().timestamp())

    @app.get("/v2/jobs/{job_id}")
    async def get_job(job_id: str, fields: str | None = None) -> dict[str, Any]:
        job, behaviour = store.find_job(job_id), store.behaviour
        if job is None or not is_visible(job, behaviour, now().timestamp()):
            raise ApiError(404, "record not found", "RECORD_NOT_FOUND")
        return only(record_of(job, behaviour), fields)

    app.include_router(control_router(store, runner, folder, vault))
    return Faults(app, store)
