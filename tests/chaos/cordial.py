"""The export operator, and the sandbox as the service."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cordial_sandbox.process import SandboxProcess
from tests.chaos.harness import Fault, Job, Lane, open_lane
from tests.chaos.plan import Plan
from tests.chaos.tries import POINTS, Outcome
from tests.faults.proxy import Fault as ProxyFault
from tests.faults.proxy import FaultProxy, RequestKind

AUDIENCES = (
    "opened_last_30_days",
    "clicked_last_30_days",
    "purchased_last_30_days",
    "new_subscribers",
    "lapsed_customers",
)

#: Cordial does not know it.
RENAMED = "renamed_last_year"

#: Seconds after which a submitted job is listed at the latest; the faults delay it by much less.
SETTLING = 0.6

_MODULES = (
    "aiohttp",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.execution_time.supervisor",
    "airflow_provider_cordial.client.async_client",
    "airflow_provider_cordial.hooks.cordial",
    "airflow_provider_cordial.jobs.pollers",
    "airflow_provider_cordial.operators.audience_trends",
    "airflow_provider_cordial.transfers.audience_trends_to_file",
    "airflow_provider_cordial.trends.delivery",
    "airflow_provider_cordial.trends.files",
    "airflow_provider_cordial.triggers.job",
    "asgiref.sync",
    "requests.adapters",
    "tenacity",
)

_HTML = "<html><body>Request blocked</body></html>"
_AS_HTML = {"Content-Type": "text/html"}
_LOST = {"request": "create_export", "effect": "reset", "processed": True, "times": 1}


def _post(effect: str, *, arrives: bool, **options: Any) -> Fault:
    what = " ".join(["POST:", effect, *map(str, options.values()), "after" if arrives else "without", "arrival"])
    request = {"request": "create_export", "effect": effect, "processed": arrives, "times": 1, **options}
    return Fault(label=what, requests=(request,), delays_arrival=effect == "delay" and not arrives)


def _list(label: str, *, times: int = 1, **options: Any) -> Iterator[Fault]:
    """Yield a fault of the list: alone, for a task that searches anyway, and after a lost answer."""
    fault = {"request": "list_jobs", "effect": "answer", "times": times, **options}
    yield Fault(label=f"list: {label}", requests=(fault,), hides_jobs=True)
    yield Fault(label=f"lost answer, list: {label}", requests=(_LOST, fault), hides_jobs=True)


def _shape(
    label: str, *, rows: int = 0, max_pages: int | None = None, proxy: str | None = None, **behaviour: Any
) -> Fault:
    """Return a list in another shape, after a lost answer."""
    return Fault(
        label=f"lost answer, list: {label}",
        requests=() if proxy else (_LOST,),
        behaviour=behaviour,
        rows=rows,
        max_pages=max_pages,
        proxy=proxy,
        hides_names=not behaviour.get("list_names", True),
        hides_jobs=max_pages is not None or proxy is not None or not all(behaviour.values()),
    )


_RATE_LIMIT = {"request": "create_export", "effect": "answer", "status": 429, "times": 1}

_FAULTS: tuple[Fault, ...] = (
    _post("reset", arrives=True),
    _post("truncate", arrives=True),
    _post("delay", arrives=True, seconds=0.5),
    *(_post("answer", arrives=True, status=status) for status in (500, 502, 503, 504)),
    _post("reset", arrives=False),
    _post("delay", arrives=False, seconds=0.2),
    *(_post("answer", arrives=False, status=status) for status in (500, 503)),
    _post("answer", arrives=False, status=429, headers={"Retry-After": "0"}),
    _post("answer", arrives=False, status=429, headers={"Retry-After": "0.3"}),
    Fault(
        label="POST: 429 with Retry-After, then a job that is listed late",
        requests=({**_RATE_LIMIT, "headers": {"Retry-After": "0.3"}},),
        behaviour={"visible_after": 0.2},
        hides_jobs=True,
    ),
    Fault(
        label="POST: 429 with Retry-After, then a lost answer",
        requests=({**_RATE_LIMIT, "headers": {"Retry-After": "0.2"}}, _LOST),
    ),
    *_list("reset", effect="reset"),
    *_list("truncated", effect="truncate"),
    *_list("503", status=503, times=3),
    *_list("307", status=307, headers={"Location": "http://127.0.0.1:9/"}),
    *_list("422", status=422, body='{"error": true, "message": "Time value is incorrect"}'),
    *_list("429 with Retry-After", status=429, headers={"Retry-After": "0.2"}, times=3),
    *_list("HTML 200", status=200, headers=_AS_HTML, body=_HTML, times=3),
    *_list("HTML 403", status=403, headers=_AS_HTML, body=_HTML),
    *_list("HTML 404", status=404, headers=_AS_HTML, body=_HTML),
    _shape("oldest first", rows=3, list_order="oldest"),
    _shape("oldest first, 2 a page", rows=5, list_order="oldest", max_per_page=2),
    _shape("25 a page", rows=30, list_order="oldest", max_per_page=25),
    _shape("cut off after 3 pages", rows=5, max_pages=3, list_order="oldest", max_per_page=1),
    _shape("the 5 newest jobs only", rows=3, list_tells=5),
    _shape("a row inserted before each page", proxy="insert 1", max_per_page=2),
    _shape("a page inserted before each page", proxy="insert 2", max_per_page=2),
    _shape("dripping", proxy="drip"),
    _shape("without names", list_names=False),
    _shape("without ids", record_id=None),
    Fault(label="the job fails", behaviour={"job_fails_with": "Login failed."}),
    Fault(label="a job is listed late", behaviour={"visible_after": 0.2}, hides_jobs=True),
    *(
        Fault(
            label=f"job: {label}",
            requests=({"request": "get_job", "effect": "answer", "times": 1, **options},),
            hides_jobs=hides,
        )
        for label, hides, options in (
            ("503", False, {"status": 503}),
            ("HTML 403", True, {"status": 403, "headers": _AS_HTML, "body": _HTML}),
            ("HTML 200", False, {"status": 200, "headers": _AS_HTML, "body": _HTML}),
        )
    ),
)

_NO_BEHAVIOUR = {
    "job_fails_with": None,
    "visible_after": 0.0,
    "list_names": True,
    "record_id": "_id",
    "list_order": "newest",
    "list_tells": None,
    "max_per_page": None,
}

#: How many requests for the list find it moved; more than a search sends.
_MOVES = 60

#: How many answers drip; each takes as long as the client waits for it.
_DRIPS = 1


class CordialService:
    """The sandbox, with a proxy for what it cannot do itself."""

    name = "AudienceTrendsExportOperator"
    modules: tuple[str, ...] = _MODULES
    points: Sequence[str] = POINTS
    faults: Mapping[str, Fault] = {fault.label: fault for fault in _FAULTS}
    is_plain: bool = False

    def __init__(
        self, sandbox: SandboxProcess, proxy: FaultProxy, *, subject: str = "tests.chaos.cordial:CordialTask"
    ) -> None:
        self.subject = subject
        self._sandbox = sandbox
        self._proxy = proxy
        self._foreign: set[str] = set()

    def start_run(self, plan: Plan) -> None:
        self._sandbox.control.reset()
        self._proxy.heal()
        self._foreign = set()
        if plan.has_foreign_jobs:
            name = plan.author_name or "chaos-export"
            others = ["-15", "-2", "-0123456789ab", "-0123456789ab-2", *([""] if plan.is_exact else [])]
            self._foreign = {self._submit(f"{name}{other}") for other in others}

    def disrupt(self, fault: Fault | None, held_in: str | None) -> None:
        control = self._sandbox.control
        control.clear_faults()
        self._proxy.heal()
        control.behaviour(**_NO_BEHAVIOUR, job_stays_in=held_in)
        if fault is None:
            return
        if fault.rows:
            control.add_jobs(fault.rows, shortest=3600, longest=3600)
        if fault.behaviour:
            control.behaviour(**fault.behaviour)
        for request in fault.requests:
            control.fault(**request)
        if fault.proxy:
            self._proxy.disrupt(self._proxied(fault.proxy))

    def settings(self, plan: Plan, index: int, fault: Fault | None) -> dict[str, Any]:
        start = 1 + 7 * index
        return {
            "url": self._proxy.url if fault and fault.proxy else self._sandbox.url,
            "api_key": self._sandbox.api_key,
            "name": plan.author_name,
            "exact_name": plan.is_exact,
            "has_set": plan.has_set,
            "audiences": [*AUDIENCES, RENAMED] if plan.has_renamed else list(AUDIENCES),
            "on_refused_audience": "skip" if plan.has_renamed else "fail",
            "start": f"2026-11-{start:02}",
            "end": f"2026-11-{start + 6:02}",
        }

    def jobs(self) -> list[Job]:
        return [
            Job(
                id=job["id"],
                name=job["name"],
                is_done=job["status"] == "Done",
                is_foreign=job["id"] in self._foreign or job["name"] == "bulk",
                created_at=job["created_at"],
                ended_at=job["ended_at"],
                start=job["selected_timeframe_start"],
                audiences=tuple(job["audiences"]),
            )
            for job in reversed(self._sandbox.control.jobs())
        ]

    def wait(self) -> None:
        self.disrupt(None, None)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if all(job.ended_at is not None for job in self.jobs() if not job.is_foreign):
                return
            time.sleep(0.02)

    def pushed_job(self, xcoms: Mapping[str, Any]) -> str | None:
        pushed = xcoms.get("export", {}).get("job_id")
        return None if pushed is None else str(pushed)

    def check(self, plan: Plan, index: int, xcoms: Mapping[str, Any], outcome: Outcome, jobs: Sequence[Job]) -> str:
        export = xcoms.get("export", {})
        job = next((job for job in jobs if job.id == outcome.value), None)
        if job is None or not job.is_done:
            return f"ended with job {outcome.value}, which is not Done"
        refused = [RENAMED] if plan.has_renamed else []
        audiences = [*job.audiences]
        if not plan.has_store and "refused_audiences" not in export:
            # As documented: without a record, a job that was found by its name does not show what was refused, and the
            # load reports the renamed audience as missing.
            audiences, refused = [*audiences, *refused], []
        facts = {
            "job_id": (export.get("job_id"), job.id),
            "name": (export.get("name"), job.name),
            "first day": (export.get("selected_timeframe_start"), job.start),
            "audiences": (sorted(export.get("audiences", ())), sorted(audiences)),
            "refused audiences": (export.get("refused_audiences", []), refused),
            "event": ([event["job_id"] for event in outcome.events], [job.id]),
        }
        return "; ".join(
            f"pushed {what} {pushed}, expected {expected}"
            for what, (pushed, expected) in facts.items()
            if pushed != expected
        )

    def _proxied(self, what: str) -> Callable[[RequestKind], ProxyFault | None]:
        """Return what the proxy does: lose the first answer to a POST, and disrupt the list."""
        left = _DRIPS if what == "drip" else _MOVES
        has_lost = False

        def choose(kind: RequestKind) -> ProxyFault | None:
            nonlocal has_lost, left
            if kind == "create_export" and not has_lost:
                has_lost = True
                return ProxyFault("drop", arrives=True)
            if kind != "list_jobs" or left == 0:
                return None
            left -= 1
            if what == "drip":
                return ProxyFault("drip")
            self._sandbox.control.add_jobs(int(what.split()[1]), shortest=3600, longest=3600)
            return None

        return choose

    def _submit(self, name: str) -> str:
        """Submit the export of another run, and return its job id."""
        body = {
            "name": name,
            "exportType": "csv",
            "destination": {"type": "aws"},
            "selected_timeframe_start": "2026-10-01",
            "selected_timeframe_end": "2026-10-07",
            "audiences": list(AUDIENCES),
        }
        key = base64.b64encode(f"{self._sandbox.api_key}:".encode()).decode()
        request = urllib.request.Request(
            f"{self._sandbox.url}/v2/audiencetrendsexport",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Basic {key}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.loads(answer.read())["jobId"])


@contextmanager
def open_cordial_lane(folder: Path, *, subject: str = "tests.chaos.cordial:CordialTask") -> Iterator[Lane]:
    """Start a sandbox, a proxy, and the interpreters of the tries."""
    with (
        SandboxProcess(folder / "sandbox", job_seconds=0.05) as sandbox,
        FaultProxy(sandbox.url) as proxy,
        open_lane(CordialService(sandbox, proxy, subject=subject), folder) as lane,
    ):
        yield lane


class CordialTask:
    """``AudienceTrendsExportOperator``, which waits in the triggerer; lives in the process of a try."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        # Short timeouts: a try ends within a second.
        extra = {
            "attempts": 2,
            "connect_timeout": 1,
            "read_timeout": 1,
            "export_timeout": 0.3,
            "not_found_grace": 5,
        }
        connection = {
            "conn_type": "cordial",
            "host": settings["url"],
            "password": settings["api_key"],
            "extra": extra,
        }
        os.environ["AIRFLOW_CONN_CORDIAL_DEFAULT"] = json.dumps(connection)

    def execute(self, context: dict[str, Any]) -> Any:
        context["task"] = operator = self.operator()
        return operator.execute(context)

    def resume(self, context: dict[str, Any], event: Any) -> Any:
        context["task"] = operator = self.operator()
        return operator.execute_complete(context, event)

    def wait(self, deferred: Any) -> Any:
        from airflow_provider_cordial.triggers.job import JobTrigger

        async def first_event() -> Any:
            return (await anext(aiter(JobTrigger(**deferred[1]).run()))).payload

        return asyncio.run(first_event())

    def operator(self) -> Any:
        from airflow.sdk import Asset

        from airflow_provider_cordial.destinations import UiDestination
        from airflow_provider_cordial.operators.audience_trends import AudienceTrendsExportOperator

        settings = self.settings
        audiences = settings["audiences"]
        return AudienceTrendsExportOperator(
            task_id="export",
            retries=settings.get("retries", 0),
            name=settings["name"],
            exact_name=settings["exact_name"],
            audiences=set(audiences) if settings["has_set"] else audiences,  # type: ignore[arg-type]
            destination=UiDestination(),
            selected_timeframe_start=settings["start"],
            selected_timeframe_end=settings["end"],
            on_refused_audience=settings["on_refused_audience"],
            job_id=settings.get("job_id"),
            outlets=[Asset("x-chaos://export")],
            wait_for_completion=True,
            deferrable=True,
            poll_interval=0.05,
            settling_time=SETTLING,
            timeout=30,
            dag=None,
        )
