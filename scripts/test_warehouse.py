"""Run the contract of all warehouses against an account of yours, and print the table.

``test_warehouse.py CONNECTION.json --table SCHEMA.TABLE [--staging LOCATION] [--staging-conn-id ID]``. The file has the
fields of an Airflow connection as JSON (``conn_type``, ``host``, ..., ``extra``); other connections come from
``AIRFLOW_CONN_...``. **The table is dropped and created many times**: give it a name that nothing else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connection", type=Path, help="a JSON file with the fields of an Airflow connection")
    parser.add_argument("--table", required=True, help="a table that may be dropped")
    parser.add_argument("--staging", help="where the load leaves its file, as for AudienceTrendsToSqlOperator")
    parser.add_argument("--staging-conn-id", help="an Airflow connection to the staging location")
    options, rest = parser.parse_known_args()
    account = {
        "connection": json.loads(options.connection.read_text()),
        "table": options.table,
        "staging": options.staging,
        "staging_conn_id": options.staging_conn_id,
    }
    environment = {**os.environ, "CORDIAL_TEST_WAREHOUSE": json.dumps(account)}
    command = [sys.executable, "-m", "pytest", "--warehouse-table", "tests/integration/warehouses", *rest]
    return subprocess.run(command, env=environment, cwd=PROJECT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
