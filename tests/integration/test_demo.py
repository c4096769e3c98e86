"""The demo, as ``make demo`` runs it; it also runs the example DAG."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def run_demo() -> str:
    command = [sys.executable, str(PROJECT / "scripts" / "demo.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_demo_loads_all_rows_and_leaves_no_process() -> None:
    chart = PROJECT / ".demo" / "audience-trends.png"
    chart.unlink(missing_ok=True)
    printed = run_demo()
    assert "21 rows = 3 audiences x 7 days, the same as the local Cordial's own snapshots" in printed
    assert printed.count("export success, wait success, load success") == 7
    assert f"Chart: {chart}" in printed
    assert chart.read_bytes().startswith(b"\x89PNG")
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if "cordial-demo-" in path.read_bytes().decode(errors="replace")
    ]
    assert left == []
