"""The routes of the pages for people.

The pages need no API key (see ``access``). Every page is complete without a script, and loads nothing from anywhere
else.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.faults import Fault
from cordial_sandbox.jobs import RUNNING
from cordial_sandbox.pages import charts
from cordial_sandbox.pages.account import Account
from cordial_sandbox.pages.files import read_preview
from cordial_sandbox.pages.hints import hint
from cordial_sandbox.servers.sftp import SftpFolder
from cordial_sandbox.trends import days_between

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer, with which a form of this page would send "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_STATIC = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_STATIC_FOLDER = Path(__file__).parent / "static"

_SPARKLINE_DAYS = 60
_TREND_DAYS = 30
_MAX_TREND_DAYS = 1100
_SPARKLINE_SIZE = (160, 32)
_CHART_SIZE = (780, 260)

_MAX_PAGE = 2**31

STATUSES = (*RUNNING, "Done", "Failed")
KINDS = {"create_export": "Export", "list_jobs": "List of jobs", "get_job": "Status of a job", "any": "Any request"}
EFFECTS = {"answer": "Answer", "reset": "Reset the connection", "truncate": "Truncate", "delay": "Delay"}
STATUS_CLASSES = {f"{first}xx": range(first * 100, first * 100 + 100) for first in (2, 3, 4, 5)}

#: Faults to switch on with one button.
PRESETS = {
    "Two status polls get 503": {"request": "get_job", "effect": "answer", "status": "503", "times": "2"},
    "The next request gets 429": {"effect": "answer", "status": "429", "headers": "Retry-After: 2", "times": "1"},
    "The next export is created, and its response lost": {
        "request": "create_export",
        "effect": "reset",
        "processed": "true",
        "times": "1",
    },
    "Every list of jobs is truncated": {"request": "list_jobs", "effect": "truncate"},
    "Every response takes 3 seconds": {"effect": "delay", "seconds": "3"},
}


def create_pages_router(accounts: Accounts, folder: SftpFolder, data: Path) -> APIRouter:
    """Return the routes of the pages for people.

    The first account has the plain paths, and every account those below ``/accounts/{name}``.

    :param data: the sandbox's own folder.
    """
    site = _Site(accounts, folder, data)
    router = APIRouter(default_response_class=HTMLResponse)
    for method, path, handler in _ROUTES:
        for prefix in ("", "/accounts/{account}"):
            router.add_api_route(f"{prefix}{path}" or "/", site.handle(handler), methods=[method])
    router.get("/pages/{name}")(site.static)
    return router


@dataclass(frozen=True, slots=True)
class _Site:
    accounts: Accounts
    folder: SftpFolder
    data: Path

    def handle(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """Return a route that runs the handler for the account in the path."""

        async def run(request: Request) -> Response:
            name = request.path_params.get("account")
            state = self.accounts.find(name)
            if state is None:
                return self.pages(self.accounts.first).not_found(f"Account {name} does not exist.")
            return await handler(self.pages(state), request)

        return run

    async def static(self, name: str) -> Response:
        if name not in _STATIC:
            return self.pages(self.accounts.first).not_found(f"{name} does not exist.")
        return Response((_STATIC_FOLDER / name).read_bytes(), headers=_HEADERS, media_type=_STATIC[name])

    def pages(self, state: AccountState) -> _Pages:
        return _Pages(self, Account(state, self.folder, self.data))

    def base(self, state: AccountState) -> str:
        """Return the beginning of the paths of an account."""
        return "" if state is self.accounts.first else f"/accounts/{quote(state.account.name)}"


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of an account. Their handlers run in the event loop: a store is used from one thread."""

    site: _Site
    account: Account

    @property
    def base(self) -> str:
        return self.site.base(self.account.state)

    async def jobs(self, request: Request) -> Response:
        status = _choose(request.query_params.get("status"), STATUSES)
        page = _page_number(request)
        jobs, has_older = self.account.jobs(page, status)
        pager = _pager(f"{self.base}/jobs", page, has_older, status=status)
        return self._render("jobs.html", jobs=jobs, status=status, statuses=STATUSES, pager=pager)

    async def job(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        job = self.account.find_job(job_id)
        if job is None:
            # The links of Airflow's UI lead to the plain path, whichever account has the job.
            other = self._find_elsewhere(job_id)
            return self.not_found(f"Job {job_id} does not exist.") if other is None else RedirectResponse(other, 303)
        preview = read_preview(job.file) if job.file else None
        return self._render("job.html", job=job, preview=preview)

    async def file(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        job = self.account.find_job(job_id)
        if job is None or job.file is None:
            return self.not_found(f"Job {job_id} has no file in the data folder.")
        return FileResponse(job.file, headers=_HEADERS, media_type="text/csv", filename=job.file.name)

    async def audiences(self, _request: Request) -> Response:
        audiences = self.account.audiences(_SPARKLINE_DAYS)
        lines = [charts.draw(one.days, [one.snapshots], *_SPARKLINE_SIZE) for one in audiences]
        texts = [charts.describe(one.days, one.snapshots) for one in audiences]
        rows = list(zip(audiences, lines, texts, strict=True))
        return self._render("audiences.html", rows=rows, days=_SPARKLINE_DAYS)

    async def trends(self, request: Request) -> Response:
        known, last = self.account.tracked_names(), self.account.last_day()
        chosen = request.query_params.getlist("audience") or known[:2]
        start_text = request.query_params.get("start") or (last - timedelta(days=_TREND_DAYS - 1)).isoformat()
        end_text = request.query_params.get("end") or last.isoformat()
        problems = [f"Unknown audience '{name}'." for name in chosen if name not in known]
        days = _parse_days(start_text, end_text, problems)
        found = [] if problems else [self.account.trend(name, days) for name in dict.fromkeys(chosen)]
        return self._render(
            "trends.html",
            400 if problems else 200,
            names=known,
            chosen=chosen,
            start=start_text,
            end=end_text,
            problems=problems,
            days=days,
            audiences=found,
            chart=charts.draw(days, [one.snapshots for one in found], *_CHART_SIZE),
            texts=[charts.describe(one.days, one.snapshots) for one in found],
        )

    async def faults(self, _request: Request) -> Response:
        return self._render_faults()

    async def add_fault(self, request: Request) -> Response:
        form = await _read_form(request)
        try:
            self.account.add_fault(_parse_fault(form))
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}." for each in error.errors()]
            return self._render_faults(422, problems, form)
        return self._redirect("/faults")

    async def remove_fault(self, request: Request) -> Response:
        form = await _read_form(request)
        try:
            fault = json.loads(form.get("fault", ""))
        except (ValueError, RecursionError):
            fault = None
        if not isinstance(fault, dict):
            return self._render_faults(422, ["Invalid fault: expected a JSON object."])
        self.account.remove_fault(fault)
        return self._redirect("/faults")

    async def clear_faults(self, _request: Request) -> Response:
        self.account.clear_faults()
        return self._redirect("/faults")

    def _render_faults(
        self, code: int = 200, problems: Sequence[str] = (), form: Mapping[str, str] | None = None
    ) -> Response:
        faults = self.account.faults()
        return self._render(
            "faults.html",
            code,
            faults=faults,
            problems=problems,
            form=form or {},
            kinds=KINDS,
            effects=EFFECTS,
            presets=PRESETS,
        )

    async def requests(self, request: Request) -> Response:
        kind = _choose(request.query_params.get("kind"), [kind for kind in KINDS if kind != "any"])
        status = _choose(request.query_params.get("status"), STATUS_CLASSES)
        only_faults = request.query_params.get("fault") == "yes"
        page = _page_number(request)
        entries, has_older = self.account.requests(
            page, kind=kind, statuses=STATUS_CLASSES[status] if status else None, only_faults=only_faults
        )
        # Only a job that was not found is compared with the others.
        known = self.account.known(with_jobs=any(entry["status"] == 404 for entry in entries))
        return self._render(
            "requests.html",
            entries=[(entry, hint(entry, known)) for entry in entries],
            kind=kind,
            kinds=KINDS,
            status=status,
            status_classes=STATUS_CLASSES,
            only_faults=only_faults,
            pager=_pager(
                f"{self.base}/requests", page, has_older, kind=kind, status=status, fault="yes" if only_faults else None
            ),
        )

    def not_found(self, message: str) -> Response:
        return self._render("not_found.html", 404, message=message)

    def _render(self, template: str, code: int = 200, /, **values: Any) -> Response:
        """Return a page, with the choice of the account if there are several."""
        names = {state.account.name: self.site.base(state) for state in self.site.accounts.states}
        frame = {"base": self.base, "account": self.account.owner.name, "accounts": names if len(names) > 1 else {}}
        return HTMLResponse(_environment.get_template(template).render(frame, **values), code, _HEADERS)

    def _redirect(self, path: str) -> Response:
        return RedirectResponse(f"{self.base}{path}", 303)

    def _find_elsewhere(self, job_id: str) -> str | None:
        """Return the address of a job of another account."""
        others = (state for state in self.site.accounts.states if state is not self.account.state)
        found = next((state for state in others if state.store.find_job(job_id)), None)
        return None if found is None else f"{self.site.base(found)}/jobs/{job_id}"


_Handler = Callable[[_Pages, Request], Awaitable[Response]]

_ROUTES: Sequence[tuple[str, str, _Handler]] = (
    ("GET", "", _Pages.jobs),
    ("GET", "/jobs", _Pages.jobs),
    ("GET", "/jobs/{job_id}", _Pages.job),
    ("GET", "/jobs/{job_id}/file", _Pages.file),
    ("GET", "/audiences", _Pages.audiences),
    ("GET", "/trends", _Pages.trends),
    ("GET", "/faults", _Pages.faults),
    ("POST", "/faults", _Pages.add_fault),
    ("POST", "/faults/remove", _Pages.remove_fault),
    ("POST", "/faults/clear", _Pages.clear_faults),
    ("GET", "/requests", _Pages.requests),
)


def _format_moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def _create_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cordial_sandbox.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _format_moment
    environment.filters["iso"] = lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    environment.filters["duration"] = _format_duration
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment


_environment = _create_environment()


def _choose(given: str | None, known: Sequence[str] | Mapping[str, Any]) -> str | None:
    return given if given in known else None


def _page_number(request: Request) -> int:
    text = request.query_params.get("page", "")
    return min(max(1, int(text)), _MAX_PAGE) if text.isascii() and text.isdigit() and len(text) < 12 else 1


def _pager(path: str, page: int, has_older: bool, **filters: str | None) -> dict[str, Any]:
    """Return the number of a page, and the addresses of the pages beside it."""

    def address(number: int) -> str:
        given = {name: value for name, value in filters.items() if value is not None}
        return f"{path}?{urlencode({**given, 'page': number})}"

    return {
        "page": page,
        "newer": address(page - 1) if page > 1 else None,
        "older": address(page + 1) if has_older else None,
    }


def _parse_days(start_text: str, end_text: str, problems: list[str]) -> list[date]:
    """Return the days of a form, or none after adding to its problems."""
    try:
        start, end = date.fromisoformat(start_text), date.fromisoformat(end_text)
    except ValueError:
        problems.append("Invalid day: expected YYYY-MM-DD.")
        return []
    if end < start:
        problems.append("Invalid days: the last day is before the first.")
        return []
    if (end - start).days >= _MAX_TREND_DAYS:
        problems.append(f"Invalid days: expected at most {_MAX_TREND_DAYS} of them.")
        return []
    return days_between(start, end)


async def _read_form(request: Request) -> dict[str, str]:
    body = (await request.body()).decode(errors="replace")
    return {name: values[-1] for name, values in parse_qs(body).items()}


def _parse_fault(form: Mapping[str, str]) -> Fault:
    """Return the fault of a form, whose fields are those of a fault; a blank one has its default.

    :raises ValidationError: a field is invalid.
    """
    members: dict[str, Any] = {name: value for name, value in form.items() if value.strip()}
    if "headers" in members:
        lines = [line.partition(":") for line in members["headers"].splitlines() if line.strip()]
        members["headers"] = {name.strip(): value.strip() for name, _, value in lines}
    return Fault.model_validate(members)
