"""How much the provider adds to the import of a DAG file that already imports ``airflow.sdk``.

Prints milliseconds: the median of fresh processes with byte code. The floor is an operator module that imports only
``airflow.sdk``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 9
LIMIT_MS = 30.0

OPERATOR = "airflow_provider_cordial.operators.audience_trends"
ALL = f"{OPERATOR}, airflow_provider_cordial.sensors.job, airflow_provider_cordial.transfers.audience_trends_to_sql"

MEASURE = """
import time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator
started = time.perf_counter()
import {modules}
print((time.perf_counter() - started) * 1000)
"""

FLOOR = """
from airflow.sdk import BaseOperator


class FloorOperator(BaseOperator):
    pass
"""


def milliseconds(modules: str, folder: Path) -> float:
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": str(folder),
        "PYTHONPYCACHEPREFIX": str(folder),
    }
    command = [sys.executable, "-c", MEASURE.format(modules=modules)]
    times = []
    for _ in range(RUNS + 1):
        printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        times.append(float(printed.strip().splitlines()[-1]))
    return statistics.median(times[1:])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "floor_operator.py").write_text(FLOOR)
        floor = milliseconds("floor_operator", Path(folder))
        operator = milliseconds(OPERATOR, Path(folder))
        everything = milliseconds(ALL, Path(folder))
    print(f"import on top of airflow.sdk, median of {RUNS} processes, ms (limit {LIMIT_MS:g}):")
    print(f"  an operator that imports only airflow.sdk   {floor:6.1f}")
    print(f"  the export operator                         {operator:6.1f}")
    print(f"  export operator, job sensor, and SQL load   {everything:6.1f}")
    return 0 if everything < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
