"""The demo: seven days of audience trends, from a local Cordial over SFTP into a table and a chart."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

from local_airflow import EXAMPLES, PROJECT, as_variables, connections, environment

from cordial_sandbox.process import SandboxProcess

RESULTS = PROJECT / ".demo"
DAG_ID = "example_audience_trends"
FIRST_DAY = date(2026, 11, 10)
DAYS = 7

Trends = dict[str, dict[date, int | None]]


def main() -> int:
    started = time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cordial-demo-") as folder:
        home = Path(folder)
        with SandboxProcess(home / "sandbox", job_seconds=2) as sandbox:
            report(f"A local Cordial is at {sandbox.url}, its SFTP server at {sandbox.sftp.host}:{sandbox.sftp.port}")
            warehouse = home / "warehouse.db"
            run_airflow(home, airflow_environment(home, sandbox, warehouse))
            trends = read_trends(warehouse)
            print_table(trends)
            expected = read_snapshots(sandbox, list(trends))
        chart = RESULTS / "audience-trends.png"
        draw_chart(trends, chart)
    if trends != expected:
        report("The table differs from the snapshots of the local Cordial.")
        return 1
    rows = sum(map(len, trends.values()))
    report(f"{rows} rows = {len(trends)} audiences x {DAYS} days, the same as the local Cordial's own snapshots")
    report(f"Chart: {chart}")
    report(f"Done in {time.monotonic() - started:.0f} s")
    return 0


def airflow_environment(home: Path, sandbox: SandboxProcess, warehouse: Path) -> dict[str, str]:
    """Return the environment of an Airflow with its defaults, and the three connections of the example DAG."""
    return {
        **environment(home / "airflow", dags=EXAMPLES, cache=RESULTS / "pycache", CORDIAL__POLL_INTERVAL="0.5"),
        **as_variables(connections(sandbox, warehouse)),
    }


def run_airflow(home: Path, variables: dict[str, str]) -> None:
    """Run the DAG for each day, one after another, in a separate process."""
    log = RESULTS / "airflow.log"
    with log.open("w") as output:
        with step("Airflow creates its database"):
            migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
            finish(subprocess.Popen(migrate, env=variables, stdout=output, stderr=output), log)
        command = [sys.executable, str(PROJECT / "scripts" / "run_dag.py"), DAG_ID, *run_dates()]
        process = subprocess.Popen(
            command, env=variables, cwd=home, stdout=subprocess.PIPE, stderr=output, text=True, bufsize=1
        )
        try:
            for line in process.stdout or ():
                report(line.rstrip())
            finish(process, log)
        finally:
            process.kill()
            process.wait()


def run_dates() -> list[str]:
    """Return when the DAG's schedule fires for the seven days: the night after each."""
    return [f"{FIRST_DAY + timedelta(days=n + 1)}T03:00:00-08:00" for n in range(DAYS)]


def read_trends(warehouse: Path) -> Trends:
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute("SELECT audience, snapshot_date, contacts FROM audience_trends ORDER BY 1, 2")
        trends: Trends = {}
        for audience, day, contacts in rows:
            trends.setdefault(audience, {})[date.fromisoformat(day)] = contacts
    return trends


def read_snapshots(sandbox: SandboxProcess, audiences: list[str]) -> Trends:
    """Return the snapshots of the local Cordial, without an export."""
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    return {
        audience: {
            date.fromisoformat(row["date"]): row["contacts"]
            for row in sandbox.control.snapshots(audience=audience, start=str(FIRST_DAY), end=str(last))
        }
        for audience in audiences
    }


def print_table(trends: Trends) -> None:
    days = sorted({day for sizes in trends.values() for day in sizes})
    width = max(map(len, trends))
    print()
    print("audience".ljust(width), *(f"{day:%b %d}".rjust(8) for day in days), "rows".rjust(6))
    for audience, sizes in trends.items():
        cells = ("-" if sizes[day] is None else f"{sizes[day]:,}" for day in days)
        print(audience.ljust(width), *(cell.rjust(8) for cell in cells), str(len(sizes)).rjust(6))
    print(flush=True)


def draw_chart(trends: Trends, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for audience, sizes in trends.items():
        values = [float("nan") if size is None else size for size in sizes.values()]
        axes.plot([f"{day:%b %d}" for day in sizes], values, marker="o", label=audience)
    axes.set_title("Audience Trends")
    axes.set_ylabel("contacts")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=len(trends))
    figure.savefig(path, dpi=120)


@contextmanager
def step(text: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    report(f"{text} ({time.monotonic() - started:.0f} s)")


def finish(process: subprocess.Popen[str] | subprocess.Popen[bytes], log: Path) -> None:
    if process.wait() != 0:
        sys.exit(f"Airflow failed; see {log}")


def report(text: str) -> None:
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
