"""Run a DAG of the DAGs folder for some logical dates, one after another: ``run_dag.py DAG_ID DATE...``.

One line per run goes to the standard output; the logs of Airflow go to the standard error.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime


def main(dag_id: str, dates: list[str]) -> int:
    # Airflow logs to the standard output, which is reserved for the lines of progress.
    progress = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import conf

    dag_bag = DagBag(conf.get_mandatory_value("core", "dags_folder"))
    if dag_bag.import_errors:
        sys.exit(f"DAG files with errors: {dag_bag.import_errors}")
    dag = dag_bag.dags[dag_id]
    for number, text in enumerate(dates, 1):
        started = time.monotonic()
        run = dag.test(logical_date=datetime.fromisoformat(text))
        seconds = time.monotonic() - started
        # A skipped task never ended.
        tasks = sorted(run.get_task_instances(), key=lambda ti: str(ti.end_date or ""))
        states = ", ".join(f"{ti.task_id} {ti.state}" for ti in tasks)
        print(f"run {number} of {len(dates)}, {text[:10]}: {states} ({seconds:.1f} s)", file=progress)
        if run.state != "success" or not tasks:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
