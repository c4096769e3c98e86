"""How fast the local Cordial is with many jobs: ``sandbox.py [JOBS] [SECONDS]``.

The sandbox runs on one core and the load on another. It has JOBS finished jobs, and answers lists of jobs, jobs, and
exports for SECONDS, without a fault and with one; of some rounds, the one counts in which other processes disturbed
the sandbox least. JOBS bulk jobs follow that end within one minute, and JOBS that end within two seconds, while lists
and jobs are read all the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select, update

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from cordial_sandbox.accounts import DEFAULT_ACCOUNT
from cordial_sandbox.database import Database
from cordial_sandbox.exports.kind import ExportRequest
from cordial_sandbox.process import SandboxProcess
from cordial_sandbox.store import Store
from cordial_sandbox.tables import JobRow

CONNECTIONS = 4
STARTS, ROUNDS = 3, 5
PER_PAGE = 25

#: How the finished jobs are spread, in seconds.
HISTORY = 50 * 24 * 60 * 60

#: Requests per second while bulk jobs run.
POLLS = 50

#: Durations of bulk jobs: the usual ones, and the worst case.
SPREAD, BURST = (60.0, 120.0), (1.0, 3.0)

MIN_RATE, MAX_PAGE_MS, MAX_POLL_MS, MAX_START, MAX_MB, MAX_LATE = 300.0, 25.0, 100.0, 1.5, 250.0, 10.0

#: How often each request is sent.
MIX = {"first page": 25, "deep page": 10, "status": 5, "times": 10, "job": 40, "export": 10}
PAGES = ("first page", "deep page", "status", "times")

TIMEFRAME = {"selected_timeframe_start": "2026-01-01", "selected_timeframe_end": "2026-01-31"}
EXPORT = {"exportType": "csv", **TIMEFRAME, "audiences": ["opened_last_30_days"]}


class Report:
    """The table of figures."""

    def __init__(self) -> None:
        self.is_missed = False
        print(f"{'figure':<62} {'measured':>12} {'goal':>12}", flush=True)

    def add(
        self, figure: str, measured: float, unit: str, *, least: float | None = None, most: float | None = None
    ) -> None:
        goal = f">= {least:g} {unit}" if least is not None else f"< {most:g} {unit}" if most is not None else "-"
        is_missed = (least is not None and measured < least) or (most is not None and measured >= most)
        self.is_missed |= is_missed
        print(f"{figure:<62} {f'{measured:,.1f} {unit}':>12} {goal:>12}{'  MISSED' if is_missed else ''}", flush=True)


def fill(data: Path, count: int) -> Sequence[str]:
    """Store finished jobs in the folder of a sandbox that does not run, and return their ids."""
    database = Database(data)
    store = Store(database, DEFAULT_ACCOUNT)
    request = ExportRequest("audiencetrendsexport", "old", EXPORT, {"type": "aws"})
    for start in range(0, count, 1000):
        store.add_jobs(request, [None] * min(1000, count - start))
    ended_at = time.time() - HISTORY + JobRow.number * (HISTORY / count)
    with store.session() as session:
        values = {"created_at": ended_at, "started_at": ended_at, "ended_at": ended_at}
        session.execute(update(JobRow).values(status="Done", delivered_to="ui", **values))
        ids = session.scalars(select(JobRow.id)).all()
    database.close()
    return ids


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process, and the processes that it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Load:
    """The load on a sandbox.

    :param ids: of finished jobs.
    """

    def __init__(self, sandbox: SandboxProcess, ids: Sequence[str], jobs: int) -> None:
        self._sandbox, self._ids, self._jobs = sandbox, ids, jobs
        self._random = random.Random(1)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def ms(self, *names: str, share: int = 99) -> float:
        """Return a percentile of the times of some requests."""
        return 1000 * statistics.quantiles([one for name in names for one in self.seconds[name]], n=100)[share - 1]

    async def run(self, seconds: float) -> float:
        """Send the mix over all connections as fast as it is answered; return the requests per second."""
        self.seconds = defaultdict(list)
        started = time.monotonic()
        async with self._session() as session:

            async def send_until_over() -> None:
                while time.monotonic() < started + seconds:
                    (name,) = self._random.choices(list(MIX), list(MIX.values()))
                    await self._send(session, name)

            await asyncio.gather(*(send_until_over() for _ in range(CONNECTIONS)))
        return sum(map(len, self.seconds.values())) / (time.monotonic() - started)

    async def run_bulk(self, count: int, shortest: float, longest: float) -> tuple[float, float]:
        """Add bulk jobs and poll until they have ended; return the seconds of the addition and of all."""
        self.seconds = defaultdict(list)
        control, started = self._sandbox.control, time.monotonic()
        adding = asyncio.create_task(asyncio.to_thread(control.add_jobs, count, shortest=shortest, longest=longest))
        added = is_over = 0.0
        tasks: set[asyncio.Task[None]] = set()
        async with self._session() as session:
            number = 0
            while not is_over:
                name = ("first page", "job")[number % 2]
                task = asyncio.create_task(self._send(session, name))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
                await asyncio.sleep(max(0.0, started + number / POLLS - time.monotonic()))
                if not added and adding.done():
                    added = time.monotonic() - started
                if added and number % POLLS == 0 and await self._have_ended(session):
                    is_over = time.monotonic() - started
            await asyncio.gather(*tasks)
        if len(set(await adding)) != count:
            sys.exit("The bulk jobs have no ids of their own.")
        return added, is_over

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": aiohttp.encode_basic_auth(self._sandbox.api_key, "")}
        return aiohttp.ClientSession(self._sandbox.url, headers=headers, connector=connector)

    async def _have_ended(self, session: aiohttp.ClientSession) -> bool:
        for status in ("Scheduled", "Pending", "Processing"):
            async with session.get("/v2/jobs", params={"status": status, "per_page": 1}) as response:
                if await response.json():
                    return False
        return True

    async def _send(self, session: aiohttp.ClientSession, name: str) -> None:
        method, path, options = self._build(name)
        started = time.perf_counter()
        async with session.request(method, path, **options) as response:
            body = await response.json()
        self.seconds[name].append(time.perf_counter() - started)
        if response.status != 200 or (name in PAGES and len(body) != PER_PAGE):
            sys.exit(f"{name}: status {response.status}, {str(body)[:300]}")

    def _build(self, name: str) -> tuple[str, str, Mapping[str, Any]]:
        if name == "job":
            return "GET", f"/v2/jobs/{self._random.choice(self._ids)}", {}
        if name == "export":
            return (
                "POST",
                "/v2/audiencetrendsexport",
                {"json": {**EXPORT, "name": "load", "destination": {"type": "aws"}}},
            )
        last = self._jobs // PER_PAGE
        params: dict[str, Any] = {"per_page": PER_PAGE}
        match name:
            case "deep page":
                params["page"] = last - self._random.randrange(last // 10)
            case "status":
                params |= {"status": "Done", "page": 1 + self._random.randrange(last // 2)}
            case "times":
                edge, comparison = self._random.choice(("start", "end")), self._random.choice(("gte", "lt"))
                moment = time.time() - HISTORY * self._random.uniform(0.2, 0.8)
                params[f"times[{edge}][{comparison}]"] = datetime.fromtimestamp(moment, UTC).isoformat()
        return "GET", "/v2/jobs", {"params": params}


def peak_mb(pid: int) -> float:
    """Return the largest resident memory of a process."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def read_cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(sandbox: SandboxProcess, core: int) -> float:
    """Start a sandbox on a core; return the seconds until it is ready."""
    started = time.perf_counter()
    with on_core(core):
        sandbox.start()
    return time.perf_counter() - started


def main(jobs: int = 100_000, seconds: int = 40) -> int:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("Two cores are needed: one for the sandbox, one for the load.")
    with tempfile.TemporaryDirectory(prefix="cordial-sandbox-") as folder, on_core(cores[1]):
        sandbox = SandboxProcess(Path(folder) / "sandbox")
        sandbox.data.mkdir(mode=0o700)
        ids = fill(sandbox.data, jobs)
        report = Report()
        try:
            measure(report, sandbox, cores[0], ids, seconds)
        finally:
            sandbox.kill()
    return int(report.is_missed)


def measure(report: Report, sandbox: SandboxProcess, core: int, ids: Sequence[str], seconds: float) -> None:
    jobs = len(ids)
    starts = []
    for _ in range(STARTS):
        starts.append(start(sandbox, core))
        sandbox.stop()
    report.add(f"start with {jobs:,} finished jobs, median of {STARTS}", statistics.median(starts), "s", most=MAX_START)
    start(sandbox, core)
    load = Load(sandbox, ids, jobs)
    for title, fault in (("", None), (", every request with a fault", {"effect": "delay"})):
        if fault is not None:
            sandbox.control.fault("any", **fault)
        rate, share = run_undisturbed(load, get_pid(sandbox), seconds)
        report.add(f"mix over {CONNECTIONS} connections{title}", rate, "/s", least=MIN_RATE)
        report.add("  share of its core that the sandbox had", 100 * share, "%")
        for name in MIX:
            is_page = name in PAGES
            report.add(f"  p99 of {name}", load.ms(name), "ms", most=MAX_PAGE_MS if is_page else None)
    sandbox.control.clear_faults()
    for shortest, longest in (SPREAD, BURST):
        is_spread = (shortest, longest) == SPREAD
        added, total = asyncio.run(load.run_bulk(jobs, shortest, longest))
        title = f"{jobs:,} bulk jobs of {shortest:g} to {longest:g} s"
        report.add(f"{title}: addition", added, "s")
        report.add(
            "  end, after the longest of the last addition",
            total - added - longest,
            "s",
            most=MAX_LATE if is_spread else None,
        )
        for name in ("first page", "job"):
            report.add(f"  p99 of {name} meanwhile", load.ms(name), "ms", most=MAX_POLL_MS if is_spread else None)
        report.add("  longest answer meanwhile", 1000 * max(map(max, load.seconds.values())), "ms")
    started = time.perf_counter()
    sandbox.control.reset()
    report.add("reset of all", time.perf_counter() - started, "s")
    report.add("memory of the sandbox, peak", peak_mb(get_pid(sandbox)), "MB", most=MAX_MB)


def run_undisturbed(load: Load, pid: int, seconds: float) -> tuple[float, float]:
    """Run the load in rounds, and keep the figures of the one in which other processes took the least from the sandbox.

    :returns: requests per second, and the share of its core that the sandbox had.
    """
    rounds = []
    for _ in range(ROUNDS):
        cpu, started = read_cpu(pid), time.perf_counter()
        rate = asyncio.run(load.run(seconds / ROUNDS))
        share = (read_cpu(pid) - cpu) / (time.perf_counter() - started)
        rounds.append((share, rate, load.seconds))
    share, rate, load.seconds = max(rounds, key=lambda one: one[0])
    return rate, share


def get_pid(sandbox: SandboxProcess) -> int:
    return int(json.loads((sandbox.data / "sandbox.json").read_text())["pid"])


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*map(int, sys.argv[1:])))
