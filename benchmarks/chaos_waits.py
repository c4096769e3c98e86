"""Wait under faults: ``chaos_waits.py [WAITS] [SEED]`` runs so many waits in a triggerer, and counts how they end.

The plan of a run depends on both numbers only, so a failed run can be repeated with them; its logs are kept.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

# Before the first import of Airflow, which reads its configuration once.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-chaos-waits-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["NO_PROXY"] = "127.0.0.1"

from cordial_sandbox.process import SandboxProcess
from tests.faults.waits import FULL, Counts, Plan, Tally, draw_plan, run

COLUMNS = ("times", "seconds", "hits", "waits", "lost", "late", "wrong")

NOTES = """\
hits: requests, reads of the connection, rejected keys, or processes that a fault affected. waits: those that should
have ended while it was active; a wait can belong to several faults. late: beyond the poll interval, the lengths of the
faults meanwhile, and a margin; requests also recover slowly after many rejections."""


def row(fault: str, tally: Tally) -> str:
    figures = (tally.phases, f"{tally.seconds:.0f}", tally.hits, tally.waits, tally.lost, tally.late, tally.wrong)
    return f"{fault:20}" + "".join(f"{figure:>9}" for figure in figures)


def report(plan: Plan, counts: Counts) -> Iterator[str]:
    yield f"{'seed ' + str(plan.seed):20}" + "".join(f"{column:>9}" for column in COLUMNS)
    for fault, tally in counts.tallies.items():
        yield row(fault, tally)
    hits = sum(tally.hits for tally in counts.tallies.values())
    yield row(
        "total", Tally(len(plan.phases), counts.seconds, hits, counts.waits, counts.lost, counts.late, counts.wrong)
    )
    yield (
        f"\nThe longest delay was {counts.largest_delay:.1f} s; the latest event came {counts.largest_lateness:.1f} s "
        f"beyond what its faults explain.\n{NOTES}"
    )


def main(waits: int, seed: int, output: TextIO) -> int:
    plan = draw_plan(waits, seed, FULL)
    print(f"seed {seed}: {plan.jobs} waits, about {plan.seconds:.0f} s\n", file=output, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="cordial-chaos-waits-"))
    # Sensors log to standard output.
    with (folder / "workers.log").open("w") as log:
        os.dup2(log.fileno(), 1)
    with SandboxProcess(folder / "sandbox") as sandbox:
        counts = run(plan, sandbox, folder)
    print(*report(plan, counts), sep="\n", file=output)
    if not counts.failures:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print("", *counts.failures, sep="\n", file=output)
    print(f"\nLogs: {folder}. Repeat: make chaos-waits WAITS={waits} SEED={seed}", file=output)
    return 1


if __name__ == "__main__":
    waits, seed = (int(given) for given in (*sys.argv[1:3], *("200", "1")[len(sys.argv[1:3]) :]))
    with os.fdopen(os.dup(1), "w") as output:
        sys.exit(main(waits, seed, output))
