"""Generate requests from the contract of the sandbox, and check every answer: ``conformance.py [--seed N]``.

Once with a key, where a request is valid, is invalid in one place, or follows the job of an export, and once without.
No answer may have a status, a media type, or a body that the contract does not have, and none may be a server error.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[1]
SCHEMATHESIS = PROJECT / ".venv-conformance/bin/schemathesis"

#: A contract cannot tell which audiences exist, or which of two dates is the later one.
_EXCLUDED = "positive_data_acceptance"


#: The audiences of the contract's examples.
_SEED = "accounts: [{name: contract, keys: [{key: conformance}], audiences: [{name: audience1}, {name: audience2}]}]"


def main() -> int:
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        seed = Path(folder) / "seed.yaml"
        seed.write_text(_SEED)
        return _test(arguments, folder, seed)


def _test(arguments: argparse.Namespace, folder: str, seed: Path) -> int:
    with SandboxProcess(Path(folder), job_seconds=0, seed=seed) as sandbox:
        failed = []
        for label, auth in (("with a key", ["--auth", f"{sandbox.api_key}:"]), ("without a key", [])):
            print(f"Requests {label}, seed {arguments.seed}", flush=True)
            command = [str(SCHEMATHESIS), "run", f"{sandbox.url}/openapi.json", *auth]
            command += ["--mode", "all", "--phases", "examples,coverage,fuzzing,stateful"]
            command += ["--exclude-checks", _EXCLUDED, "--continue-on-failure", "--warnings", "off"]
            command += ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed)]
            command += ["--generation-database", "none", "--no-color"]
            if subprocess.run(command, check=False, cwd=folder).returncode:
                failed.append(label)
        statuses = {request["status"] for request in sandbox.control.requests()}
        if "Traceback" in sandbox.log.read_text():
            failed.append("log of the sandbox")
    print(f"Statuses: {', '.join(map(str, sorted(statuses)))}")
    # Otherwise nothing was tested: a run in which every request is refused passes as well.
    missing = {200, 401} - statuses
    if failed or missing:
        print(f"Failed: {', '.join(failed) or f'no request was answered with {sorted(missing)}'}", file=sys.stderr)
        return 1
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="of each operation in a phase")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
