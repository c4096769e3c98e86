"""The v2 API.

Source: Cordial, "Audience Trends export API", "Jobs API", "Audience count API", and the v2 Swagger document.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.auth import Authentication
from cordial_sandbox.body import BodyLimit, read_body
from cordial_sandbox.call import get_call
from cordial_sandbox.clock import Clock
from cordial_sandbox.contract import read_contract
from cordial_sandbox.control import create_control_router
from cordial_sandbox.exports import KINDS, ExportKind, parse_request
from cordial_sandbox.faults import Faults
from cordial_sandbox.journal import Journal
from cordial_sandbox.pages import create_pages_router
from cordial_sandbox.rate_limit import RateLimit
from cordial_sandbox.records import build_answer, build_page, build_record, check_parameters, is_visible, select_fields
from cordial_sandbox.same_origin import SameOrigin
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.trends import contacts_until, days_between
from cordial_sandbox.validation import ApiError
from cordial_sandbox.vault import Vault

_CONTRACT_PATHS = ("/openapi.json", "/v2/openapi.json")


def create_app(accounts: Accounts, clock: Clock, folder: SftpFolder, vault: Vault, data: Path) -> ASGIApp:
    """Return the whole application.

    It has the control API, the pages for people, the contract, and the v2 API behind keys, faults, and limits.
    """
    app = FastAPI(title="Cordial sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    _add_error_handlers(app)
    _add_api_routes(app, clock, vault)
    for path in _CONTRACT_PATHS:
        app.get(path)(read_contract)
    app.include_router(create_control_router(accounts, clock, folder, vault, data))
    app.include_router(create_pages_router(accounts.first, folder, data))
    # A foreign page can send a key as well: the default one is public, and a browser can remember another.
    api = SameOrigin(Journal(BodyLimit(Authentication(Faults(RateLimit(app)), accounts)), accounts), "/")
    local = SameOrigin(BodyLimit(app), "/")

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith("/v2/") and scope["path"] not in _CONTRACT_PATHS
        await (api if is_api else local)(scope, receive, send)

    return dispatch


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refuse(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.exception_handler(HTTPException)
    async def answer(request: Request, error: HTTPException) -> Response:
        if not request.url.path.startswith("/v2/"):
            return await http_exception_handler(request, error)
        return JSONResponse({"error": True, "message": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input, which may be no text that can be encoded.
        detail = [{"loc": [str(part) for part in one["loc"]], "msg": str(one["msg"])} for one in error.errors()]
        return JSONResponse({"detail": _encodable(detail)}, 422)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return {key: _encodable(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _get_state(request: Request) -> AccountState:
    return get_call(request.scope).account


def _add_api_routes(app: FastAPI, clock: Clock, vault: Vault) -> None:
    for kind in KINDS.values():
        _add_export_route(app, kind, vault)

    @app.post("/v2/audiencecount")
    async def count_audience(request: Request) -> dict[str, int]:
        state, body = _get_state(request), await read_body(request)
        audience_id = body.get("id") if isinstance(body, Mapping) else None
        audience = state.account.find_audience_by_id(audience_id) if isinstance(audience_id, str) else None
        if audience is None:
            # Documented for a missing criterion; that it also answers an unknown id is inferred.
            raise ApiError(422, "Audience criteria is not specified.", "INVALID_AUDIENCE_RULES")
        today = state.account.today(clock.now())
        recent = days_between(max(audience.since, _days_before(today, 60)), today) if audience.since <= today else []
        sizes = (contacts_until(audience, day, today) for day in reversed(recent))
        # The newest snapshot stands in for a live count.
        return {"count": next((size for size in sizes if size is not None), 0)}

    @app.get("/v2/jobs")
    async def list_jobs(request: Request) -> list[dict[str, Any]]:
        store = _get_state(request).store
        return build_page(store.list_jobs, request.query_params, store.behaviour, clock.now())

    @app.get("/v2/jobs/{job_id}")
    async def get_job(request: Request, job_id: str) -> dict[str, Any]:
        store = _get_state(request).store
        check_parameters(request.query_params)
        job, behaviour = store.find_job(job_id), store.behaviour
        if job is None or not is_visible(job, behaviour, clock.now()):
            raise ApiError(404, "record not found", "RECORD_NOT_FOUND")
        return select_fields(build_record(job, behaviour), request.query_params.get("fields"))


def _days_before(day: date, count: int) -> date:
    return date.fromordinal(max(1, day.toordinal() - count))


def _add_export_route(app: FastAPI, kind: ExportKind, vault: Vault) -> None:
    @app.post(f"/v2/{kind.path}", name=kind.path)
    async def create_export(request: Request) -> dict[str, str]:
        state, body = _get_state(request), await read_body(request)
        job = state.store.add_job(parse_request(kind, body, state.account, saved_key_exists=vault.has_key))
        state.runner.start(job)
        return build_answer(job.id, state.store.behaviour)
