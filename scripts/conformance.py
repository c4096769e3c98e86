"""Check the local Cordial against its contract, and against hostile requests: ``conformance.py [--seed N]``.

1. A client that is generated from the served contract calls every operation (``conformance_client.py``).
2. Schemathesis generates requests from the contract, once with a key, where a request is valid, invalid in one place,
   or follows the job of an export, and once without. No answer may have a status, a media type, or a body that the
   contract does not have, and none may be a server error.
3. The tests of documented bodies, of hostile requests, and of foreign web pages run, which ``make test`` runs as well.

The last line has the figures of what ran.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[1]
BIN = PROJECT / ".venv-conformance/bin"
TESTS = tuple(
    f"tests/unit/cordial_sandbox/test_{name}.py" for name in ("documented", "hostile", "foreign_page", "access")
)

#: A contract cannot tell which audiences exist, or which of two dates is the later one.
_EXCLUDED = "positive_data_acceptance"

#: Schemathesis' class of an answer of 500 or above; every other failure is an answer that the contract does not have.
_CRASH = "ServerError"

#: The audiences of the contract's examples.
_SEED = "accounts: [{name: contract, keys: [{key: conformance}], audiences: [{name: audience1}, {name: audience2}]}]"


@dataclass(slots=True)
class Figures:
    """What ran, and what was found."""

    requests: int = 0
    undocumented: int = 0
    crashes: int = 0
    tests: int = 0
    foreign_requests: int = 0
    foreign_changes: int = 0
    statuses: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.requests} requests of the contract, {self.undocumented} undocumented answers, {self.crashes} "
            f"crashes; {self.tests} tests with hostile requests; {self.foreign_requests} requests of a foreign page, "
            f"{self.foreign_changes} state changes by it"
        )


def main() -> int:
    arguments = _parse_arguments()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        seed = folder / "seed.yaml"
        seed.write_text(_SEED)
        with SandboxProcess(folder, job_seconds=0, seed=seed) as sandbox:
            _run_generated_client(figures, sandbox, folder)
            for label, auth in (("with a key", ["--auth", f"{sandbox.api_key}:"]), ("without a key", [])):
                _run_generated_requests(figures, sandbox, folder, arguments, label, auth)
            figures.statuses = {request["status"] for request in sandbox.control.requests()}
            if crashes := sandbox.log.read_text().count("Traceback"):
                figures.crashes += crashes
                figures.failed.append("log of the sandbox")
        _run_tests(figures, folder)
    print(f"Statuses: {', '.join(map(str, sorted(figures.statuses)))}")
    # Otherwise nothing was tested: a run in which every request is refused passes as well.
    if missing := {200, 401} - figures.statuses:
        figures.failed.append(f"no request was answered with {sorted(missing)}")
    if not (figures.requests and figures.tests and figures.foreign_requests):
        figures.failed.append("a part sent no request")
    if figures.failed:
        print(f"Failed: {', '.join(figures.failed)}", file=sys.stderr)
    print(figures)
    return 1 if figures.failed or figures.undocumented or figures.crashes or figures.foreign_changes else 0


def _run_generated_client(figures: Figures, sandbox: SandboxProcess, folder: Path) -> None:
    report = folder / "client.json"
    script = PROJECT / "scripts/conformance_client.py"
    command = [str(BIN / "python"), str(script), sandbox.url, sandbox.api_key, str(report)]
    if subprocess.run(command, check=False, cwd=folder).returncode:
        figures.failed.append("generated client")
    found = _read_report(report)
    figures.requests += found.get("requests", 0)
    figures.undocumented += len(found.get("failures", ()))


def _run_generated_requests(
    figures: Figures, sandbox: SandboxProcess, folder: Path, arguments: argparse.Namespace, label: str, auth: list[str]
) -> None:
    print(f"Requests {label}, seed {arguments.seed}", flush=True)
    report = folder / f"{label}.json"
    command = [str(BIN / "schemathesis"), "run", f"{sandbox.url}/openapi.json", *auth]
    command += ["--mode", "all", "--phases", "examples,coverage,fuzzing,stateful"]
    command += ["--exclude-checks", _EXCLUDED, "--continue-on-failure", "--warnings", "off"]
    command += ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed)]
    command += ["--generation-database", "none", "--no-color", "--report", "json", "--report-json-path", str(report)]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "conformance_hooks", "PYTHONPATH": str(PROJECT / "scripts")}
    if subprocess.run(command, check=False, cwd=folder, env=environment).returncode:
        figures.failed.append(label)
    found = _read_report(report)
    figures.requests += found.get("test_cases", {}).get("generated", 0)
    for failure in found.get("failures", ()):
        if failure["type"] == _CRASH:
            figures.crashes += failure["count"]
        else:
            figures.undocumented += failure["count"]


def _run_tests(figures: Figures, folder: Path) -> None:
    print("Documented bodies, hostile requests, and foreign web pages", flush=True)
    report = folder / "tests.xml"
    command = [sys.executable, "-m", "pytest", *TESTS, "-o", "junit_family=xunit1", "--junitxml", str(report)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    if subprocess.run(command, check=False, cwd=PROJECT, env=environment).returncode:
        figures.failed.append("tests")
    if not report.exists():
        return
    root = ET.parse(report).getroot()
    figures.tests = len(root.findall(".//testcase"))
    properties = {found.get("name"): int(found.get("value", 0)) for found in root.iter("property")}
    figures.foreign_requests = properties.get("foreign_requests", 0)
    figures.foreign_changes = properties.get("foreign_changes", 0)


def _read_report(path: Path) -> dict[str, Any]:
    """Return a report; nothing if its writer did not finish, which its exit code shows."""
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return report


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="of each operation in a phase")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
