"""Generate a client from the contract that a sandbox serves, and use it: ``conformance_client.py URL KEY REPORT``.

Runs in the environment of ``make test-conformance``, which has the generator. Calls every operation with the contract's
examples, without a key, and with requests that must be rejected; follows the job of every export; and checks that each
answer has the expected status, the model that the contract declares for it, and members of the declared types.
"""

from __future__ import annotations

import base64
import enum
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import time
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

PACKAGE = "generated_cordial_client"

_TIMEOUT = 30
_NO_AUDIENCE_ID = "000000000000000000000000"
_NO_JOB_ID = "548817d0367df1ef518b4567"


def main() -> int:
    url, key, report = sys.argv[1:]
    contract = _read_json(f"{url}/openapi.json")
    with tempfile.TemporaryDirectory(prefix="conformance-client-") as folder:
        checks = Checks(Path(folder), contract, url, key)
        checks.run()
    Path(report).write_text(json.dumps({"requests": checks.requests, "failures": checks.failures}))
    print(
        f"Generated client: {len(checks.operations)} operations, {checks.requests} requests, {checks.checked} answers "
        f"checked, {len(checks.failures)} failures"
    )
    for failure in checks.failures:
        print(f"  {failure}", file=sys.stderr)
    return 1 if checks.failures else 0


class Checks:
    """The checks of one sandbox.

    :param folder: where the client is generated.
    """

    def __init__(self, folder: Path, contract: Mapping[str, Any], url: str, key: str) -> None:
        self.failures: list[str] = []
        self.requests = 0
        self.checked = 0
        self._contract = contract
        self._url = url
        self._generate(folder)
        sys.path.insert(0, str(folder))
        self._models = importlib.import_module(f"{PACKAGE}.models")
        module = importlib.import_module(f"{PACKAGE}.client")
        options = {"base_url": url, "raise_on_unexpected_status": True, "httpx_args": self._count_requests()}
        token = base64.b64encode(f"{key}:".encode()).decode()
        self._client = module.AuthenticatedClient(token=token, prefix="Basic", **options)
        self._stranger = module.Client(**options)
        self.operations = self._find_operations()

    def run(self) -> None:
        self._check_models()
        jobs = {name: self._submit_examples(name) for name, (_, body) in self.operations.items() if body == "export"}
        for name, found in jobs.items():
            self._follow(name, found)
        job_ids = [job_id for found in jobs.values() for job_id in found]
        self._check_without_key()
        self._check_rejections(list(jobs))
        if job_ids:
            self._check_reads(job_ids)

    def _generate(self, folder: Path) -> None:
        contract = folder / "openapi.json"
        contract.write_text(json.dumps(self._contract))
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(contract), "--meta", "none"]
        command += ["--output-path", str(folder / PACKAGE), "--fail-on-warning"]
        # The generator formats the client with ruff of its own environment.
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            # Nothing below can be checked.
            sys.exit(f"The generator rejects or skips a part of the contract:\n{ended.stdout}{ended.stderr}")

    def _count_requests(self) -> dict[str, Any]:
        def count(_response: Any) -> None:
            self.requests += 1

        return {"event_hooks": {"response": [count]}}

    def _find_operations(self) -> dict[str, tuple[types.ModuleType, str]]:
        """Return the module of each operation by its ``operationId``, and what kind of operation it is."""
        package = importlib.import_module(f"{PACKAGE}.api")
        modules = {
            found.name.rpartition(".")[2].replace("_", ""): importlib.import_module(found.name)
            for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.api.")
            if not found.ispkg
        }
        operations = {}
        for path, methods in self._contract["paths"].items():
            for method, operation in methods.items():
                kind = "read" if method == "get" else "count" if path.endswith("count") else "export"
                operations[operation["operationId"]] = modules.pop(operation["operationId"].lower()), kind
        self._expect(not modules, f"the client has operations that the contract does not have: {sorted(modules)}")
        return operations

    def _check_models(self) -> None:
        for name, schema in self._contract["components"]["schemas"].items():
            if schema.get("type") == "object" or "enum" in schema:
                self._expect(hasattr(self._models, name), f"the client has no model of the schema {name}")

    # What each operation is called with.

    def _submit_examples(self, name: str) -> list[str]:
        """Submit the examples of an export; return the ids of the jobs that deliver to the Jobs page."""
        job_ids = []
        for label, body in self._examples(name).items():
            parsed = self._call(name, 200, "ExportJobCreated", label, body=body)
            if parsed is not None and body["destination"]["type"] == "aws":
                job_ids.append(parsed.job_id)
        self._expect(bool(job_ids), f"{name}: no example created a job")
        return job_ids

    def _follow(self, name: str, job_ids: list[str]) -> None:
        for job_id in job_ids:
            deadline = time.monotonic() + _TIMEOUT
            status = None
            while status not in ("Done", "Failed") and time.monotonic() < deadline:
                job = self._call("getsinglejob", 200, "Job", f"the job of {name}", job_id)
                if job is None:
                    break
                status = str(job.status.value)
                time.sleep(0.05)
            self._expect(status == "Done", f"{name}: the job ended as {status}, expected Done")

    def _check_reads(self, job_ids: list[str]) -> None:
        jobs = self._call("getjobs", 200, "Job", "the list of jobs", per_page=100) or []
        listed = {job.field_id for job in jobs}
        self._expect(set(job_ids) <= listed, f"getjobs: {set(job_ids) - listed} are missing from the list")
        done = self._call("getjobs", 200, "Job", "filtered", status=self._models.JobStatus.DONE, per_page=100) or []
        self._expect(set(job_ids) <= {job.field_id for job in done}, "getjobs: a Done job is missing from the filter")
        statistic = self._models.GetsinglejobInclude.STATISTIC
        self._call("getsinglejob", 200, "Job", "with fields", job_ids[0], fields="status,times", include=statistic)
        self._call("getsinglejob", 422, "Error", "an unknown field", job_ids[0], fields="nothing")
        accounts = _read_json(f"{self._url}/_sandbox/accounts")
        count = self._call("audiencecount", 200, "AudienceCount", body={"id": accounts[0]["audiences"][0]["id"]})
        self._expect(count is not None and count.count > 0, "audiencecount: expected a positive count")

    def _check_without_key(self) -> None:
        for name, (_, kind) in self.operations.items():
            body: Any = {"id": "a"} if kind == "count" else next(iter(self._examples(name).values()), None)
            arguments = (_NO_JOB_ID,) if name == "getsinglejob" else ()
            options = {} if body is None else {"body": body}
            self._call(name, 401, "AuthenticationFailure", "no key", *arguments, client=self._stranger, **options)

    def _check_rejections(self, exports: list[str]) -> None:
        for name in exports:
            body = next(iter(self._examples(name).values()))
            no_path = {**body, "destination": {"type": "gcs", "gcs_bucket": "bucket"}}
            self._call(name, 400, "Error", "a destination without a path", body=no_path)
        body = next(iter(self._examples("audiencetrendsexport").values()))
        unknown = {**body, "audiences": ["fakeAudience"]}
        self._call("audiencetrendsexport", 406, "Error", "an unknown audience", body=unknown)
        self._call("audiencecount", 422, "Error", "an unknown audience", body={"id": _NO_AUDIENCE_ID})
        self._call("getsinglejob", 404, "Error", "an unknown job", _NO_JOB_ID)
        self._call("getjobs", 422, "Error", "an invalid time", timesstartgt="yesterday")
        statistic = self._models.GetjobsInclude.STATISTIC
        self._call("getjobs", 400, "Error", "a page that is too large", include=statistic, per_page=26)

    # One call.

    def _call(self, name: str, status: int, model: str, label: str = "", /, *arguments: Any, **options: Any) -> Any:
        """Call an operation and return the parsed answer, or None if it is not the expected one."""
        what = f"{name}{f' ({label})' if label else ''}"
        function = self.operations[name][0].sync_detailed
        if "body" in options:
            document = options["body"]
            options["body"] = self._body_model(function).from_dict(document)
            self._expect(options["body"].to_dict() == document, f"{what}: the client changes the body")
        self.checked += 1
        try:
            answer = function(*arguments, **{"client": self._client, **options})
        except Exception as error:  # noqa: BLE001 - whatever the generated parser raises is a failure
            return self._fail(f"{what}: the answer cannot be parsed: {type(error).__name__}: {error}")
        if answer.status_code != status:
            return self._fail(f"{what}: answered {answer.status_code.value}, expected {status}: {answer.content[:200]}")
        expected, document = getattr(self._models, model), json.loads(answer.content)
        items, documents = (answer.parsed, document) if isinstance(document, list) else ([answer.parsed], [document])
        for item, source in zip(items, documents, strict=True):
            if type(item) is not expected:
                return self._fail(f"{what}: the answer is a {type(item).__name__}, expected a {model}")
            if problem := self._find_problem(item):
                return self._fail(f"{what}: {problem}: {source}")
            if item.to_dict() != source:
                return self._fail(f"{what}: the model does not hold the answer: {item.to_dict()}, not {source}")
        return answer.parsed

    def _body_model(self, function: Callable[..., Any]) -> Any:
        return getattr(self._models, function.__annotations__["body"].__name__)

    def _find_problem(self, item: Any) -> str | None:
        """Return which member of a model does not have its declared type: the generated parsers check few of them."""
        if item.additional_properties and type(item).__name__ in ("Job", "ExportJobCreated", "AudienceCount"):
            return f"undeclared members {sorted(item.additional_properties)}"
        scope = {**vars(sys.modules[type(item).__module__]), **vars(self._models)}
        for member, hint in typing.get_type_hints(type(item), scope).items():
            value = getattr(item, member)
            if not self._has_type(value, hint):
                return f"{member} is a {type(value).__name__}, expected {hint}"
        return None

    def _has_type(self, value: Any, hint: Any) -> bool:
        if hint is Any:
            return True
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
            return any(self._has_type(value, option) for option in typing.get_args(hint))
        if typing.get_origin(hint) is list:
            (inner,) = typing.get_args(hint)
            return isinstance(value, list) and all(self._has_type(part, inner) for part in value)
        if typing.get_origin(hint) is dict:
            return isinstance(value, dict)
        if hint in (int, float):
            return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
        if not isinstance(value, hint):
            return False
        return not hasattr(value, "to_dict") or isinstance(value, enum.Enum) or self._find_problem(value) is None

    def _examples(self, name: str) -> dict[str, Any]:
        for methods in self._contract["paths"].values():
            for operation in methods.values():
                if operation["operationId"] == name and "requestBody" in operation:
                    content = operation["requestBody"]["content"]["application/json"]
                    return {label: example["value"] for label, example in content.get("examples", {}).items()}
        return {}

    def _expect(self, is_true: bool, failure: str) -> None:
        if not is_true:
            self._fail(failure)

    def _fail(self, failure: str) -> None:
        self.failures.append(failure)


def _read_json(url: str) -> Any:
    with urlopen(url, timeout=_TIMEOUT) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
