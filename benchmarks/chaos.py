"""Submit once, under faults: kill tasks, retry and clear them, and count the jobs.

``chaos.py [KILLS] [SEED]`` kills so many tries; each run has its own seed. ``chaos.py --run SEED`` repeats one run, as
far as a clock permits: what happens in it is drawn from its seed, but not how long each step takes.

For comparison, the same kills and faults hit a peer: the operator of the dbt Cloud provider with its defaults, against
a stand-in for its service. The points that only ours reaches, where it keeps a record, are omitted for the peer, and so
are clears. Then tasks that write files are killed while they publish them, and lost answers are searched for among
10,000 jobs.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.chaos.cordial import CordialService, open_cordial_lane
from tests.chaos.harness import Counts, Fault, Job, chaos, open_lane, run_seed
from tests.chaos.interpreter import Interpreter
from tests.chaos.plan import Plan
from tests.chaos.publishing import DAYS, kill_publishing
from tests.chaos.reconciling import JOBS, measure_searches
from tests.chaos.tries import COMMON_POINTS, Outcome
from tests.integration.servers import free_port, running
from tests.integration.servers.trouble import certificate

#: Sandboxes that run at the same time.
LANES = 3

#: The peer is killed so often at most: its figures are for comparison.
PEER_KILLS = 200

SUCCESS = 10


class DbtCloudTask:
    """``DbtCloudRunJobOperator``, which waits in the worker; lives in the process of a try."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        connection = {
            "conn_type": "dbt_cloud",
            "host": f"127.0.0.1:{settings['port']}",
            "login": "1",
            "password": "unused-token",
        }
        os.environ["AIRFLOW_CONN_DBT_CLOUD_DEFAULT"] = json.dumps(connection)
        os.environ["REQUESTS_CA_BUNDLE"] = settings["authority"]

    def execute(self, context: dict[str, Any]) -> Any:
        from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator

        operator = DbtCloudRunJobOperator(
            task_id="export", job_id=1, account_id=1, trigger_reason="chaos", check_interval=0, timeout=30
        )
        return operator.execute(context)  # type: ignore[arg-type]

    def resume(self, context: dict[str, Any], event: Any) -> Any:
        raise NotImplementedError

    def wait(self, deferred: Any) -> Any:
        raise NotImplementedError


def _peer_faults() -> Iterator[Fault]:
    for arrives, effects in ((True, ("reset", 500, 502, 503, 504)), (False, ("reset", 500, 503))):
        for effect in effects:
            yield Fault(label=f"{effect} {arrives}", requests=({"processed": arrives, "effect": effect},))


class DbtCloudService:
    """A stand-in for dbt Cloud that only counts."""

    name = "DbtCloudRunJobOperator"
    subject = "benchmarks.chaos:DbtCloudTask"
    modules: tuple[str, ...] = ("airflow.providers.dbt.cloud.operators.dbt", "requests.adapters", "tenacity")
    points: Sequence[str] = COMMON_POINTS
    faults: Mapping[str, Fault] = {fault.label: fault for fault in _peer_faults()}
    is_plain: bool = True

    def __init__(self, port: int, authority: Path) -> None:
        self._port = port
        self._authority = authority

    def start_run(self, plan: Plan) -> None:  # noqa: ARG002
        self._ask("DELETE", "/runs")

    def disrupt(self, fault: Fault | None, held_in: str | None) -> None:  # noqa: ARG002
        self._ask("PUT", "/fault", dict(fault.requests[0]) if fault else None)

    def settings(self, plan: Plan, index: int, fault: Fault | None) -> dict[str, Any]:  # noqa: ARG002
        return {"port": self._port, "authority": str(self._authority)}

    def jobs(self) -> list[Job]:
        return [Job(id=run, ended_at=0.0) for run in self._ask("GET", "/runs")]

    def wait(self) -> None:
        """Nothing is left to wait for."""

    def check(self, plan: Plan, index: int, xcoms: Mapping[str, Any], outcome: Outcome, jobs: Sequence[Job]) -> str:  # noqa: ARG002
        return "" if xcoms.get("job_run_id") == outcome.value else "pushed nothing"

    def pushed_job(self, xcoms: Mapping[str, Any]) -> str | None:
        pushed = xcoms.get("job_run_id")
        return None if pushed is None else str(pushed)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        url = f"https://127.0.0.1:{self._port}{path}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method=method)
        trusted = ssl.create_default_context(cafile=str(self._authority))
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
            return json.loads(answer.read())["data"]


class StandIn(BaseHTTPRequestHandler):
    """The part of dbt Cloud's API that the operator calls: start a run, and report its success."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    runs: ClassVar[list[str]] = []
    fault: ClassVar[list[Mapping[str, Any]]] = []

    def do_POST(self) -> None:
        self._body()
        # Each fault happens once.
        fault = self.fault.pop() if self.fault else None
        if fault is None or fault["processed"]:
            self.runs.append(str(len(self.runs) + 1))
        # Time in which the try can be killed, as long as the sandbox takes.
        time.sleep(0.1)
        if fault is None:
            self._answer(200, {"id": int(self.runs[-1]), "href": "x", "status": SUCCESS})
        elif fault["effect"] == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self._answer(fault["effect"], {})

    def do_GET(self) -> None:
        self._body()
        last = self.path.rstrip("/").rpartition("/")[2]
        self._answer(200, self.runs if last == "runs" else {"id": int(last), "status": SUCCESS})

    def do_PUT(self) -> None:
        fault = self._body()
        self.fault[:] = [fault] if fault else []
        self._answer(200, None)

    def do_DELETE(self) -> None:
        self._body()
        self.runs.clear()
        self._answer(200, None)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")

    def _answer(self, status: int, data: Any) -> None:
        body = json.dumps({"data": data}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: Any) -> None:
        """Log nothing: clients are killed here."""


def serve(port: int, pem: Path) -> None:
    server = Server(("127.0.0.1", port), StandIn)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    # Each handler does its own handshake: a client that dies during it blocks no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


@contextmanager
def dbt_cloud(folder: Path) -> Iterator[DbtCloudService]:
    """Run the stand-in in a separate process."""
    pem, port = certificate(folder / "tls.pem"), free_port()
    with running([sys.executable, __file__, "--serve", str(port), str(pem)], port):
        yield DbtCloudService(port, pem)


COLUMNS = ("runs", "kills", "jobs", "duplicates", "losses", "adoptions", "uncertain")


def show(name: str, counts: Counts, seconds: float) -> None:
    print(f"{name:30}", *(f"{getattr(counts, column):10}" for column in COLUMNS), f"   {seconds:5.0f} s", flush=True)


def report(counts: Counts) -> bool:
    """Print why runs remained uncertain and what failed, and return whether something did."""
    for reason, count in counts.reasons.most_common():
        print(f"  uncertain {count} times: {reason}")
    for failure in counts.failures:
        print(f"{failure}\n    repeat it: make chaos RUN={failure.split()[1]}")
    return any(counts.wrong)


def submit_once(kills: int, seed: int, folder: Path) -> bool:
    """Kill tasks of ours and of a peer, and return whether ours did something wrong."""
    print(f"{'seed ' + str(seed):30}", *(f"{column:>10}" for column in COLUMNS))
    with ExitStack() as stack:
        lanes = [stack.enter_context(open_cordial_lane(folder / f"lane {n}")) for n in range(LANES)]
        started = time.monotonic()
        ours = chaos(lanes, kills, seed)
        show(CordialService.name, ours, time.monotonic() - started)
    with dbt_cloud(folder) as service, open_lane(service, folder / "peer") as lane:
        started = time.monotonic()
        show(service.name, chaos([lane], min(kills, PEER_KILLS), seed), time.monotonic() - started)
    return report(ours)


def publish_whole(interpreter: Interpreter, kills: int, seed: int, folder: Path) -> bool:
    """Kill tasks that write files, and return whether a file was torn."""
    counts = kill_publishing(interpreter, kills, seed, folder / "published")
    print(
        f"AudienceTrendsToFileOperator: {counts.kills} kills while it published {DAYS} files; {counts.torn} torn "
        f"files; {counts.wrong} of {counts.runs} runs ended with wrong files"
    )
    print(*counts.failures, sep="\n", end="\n" if counts.failures else "")
    return bool(counts.torn or counts.wrong)


def search(interpreter: Interpreter, folder: Path) -> bool:
    """Print what searching 10,000 jobs costs, and return whether it is more than promised."""
    too_many = False
    for found in measure_searches(interpreter, folder / "searches"):
        print(
            f"Lost answer among {JOBS:,} jobs, {found.order} first, the job "
            f"{'is listed' if found.has_arrived else 'did not arrive'}: {found.requests} requests and "
            f"{found.seconds:.1f} s to search the list once, {found.searches} times"
        )
        too_many |= found.order == "newest" and found.requests > 3
    return too_many


def repeat(seed: str) -> int:
    """Repeat one run."""
    with tempfile.TemporaryDirectory(prefix="cordial-chaos-") as name, open_cordial_lane(Path(name)) as lane:
        counts = run_seed(lane, seed)
        print(f"run {seed}: " + ", ".join(f"{getattr(counts, column)} {column}" for column in COLUMNS[1:]))
    return 1 if report(counts) else 0


def main(kills: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(prefix="cordial-chaos-") as name:
        folder = Path(name)
        wrong = submit_once(kills, seed, folder)
        with Interpreter(1, CordialService.modules, folder / "airflow") as interpreter:
            wrong |= publish_whole(interpreter, max(1, kills // 20), seed, folder)
            wrong |= search(interpreter, folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    # The proxies answer clients that were killed.
    logging.getLogger("aiohttp.server").disabled = True
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    if sys.argv[1:2] == ["--run"]:
        sys.exit(repeat(sys.argv[2]))
    sys.exit(main(int((sys.argv[1:] or ["200"])[0]), int((sys.argv[2:] or ["1"])[0])))
