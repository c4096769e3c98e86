"""The two distributions as they are published: what they contain, require, and start."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from airflow_provider_cordial import __version__

PROJECT = Path(__file__).resolve().parents[2]
UV = str(Path(sys.executable).parent / "uv")
REPOSITORY = "https://github.com/airflow-provider-cordial/airflow-provider-cordial"

#: The distribution of each package that the provider imports, where the names differ.
DISTRIBUTIONS = {
    "opentelemetry": "opentelemetry-api",
    "airflow.providers.amazon": "apache-airflow-providers-amazon",
    "airflow.providers.common.compat": "apache-airflow-providers-common-compat",
    "airflow.providers.common.sql": "apache-airflow-providers-common-sql",
    "airflow.providers.databricks": "apache-airflow-providers-databricks",
    "airflow.providers.ftp": "apache-airflow-providers-ftp",
    "airflow.providers.google": "apache-airflow-providers-google",
    "airflow.providers.microsoft.azure": "apache-airflow-providers-microsoft-azure",
    "airflow.providers.mysql": "apache-airflow-providers-mysql",
    "airflow.providers.openlineage": "apache-airflow-providers-openlineage",
    "airflow.providers.postgres": "apache-airflow-providers-postgres",
    "airflow.providers.sftp": "apache-airflow-providers-sftp",
    "airflow.providers.snowflake": "apache-airflow-providers-snowflake",
    "airflow.providers.ssh": "apache-airflow-providers-ssh",
    "airflow": "apache-airflow",
    "azure.core": "azure-core",
    "azure.storage": "azure-storage-blob",
    "databricks.sql": "databricks-sql-connector",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.storage": "google-cloud-storage",
    "snowflake.connector": "snowflake-connector-python",
    "yaml": "pyyaml",
}

#: It comes with a provider of Airflow before 3.2; without that, Airflow itself puts something in its place.
NOT_DECLARED = {"wtforms"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """A wheel and a source distribution of one name."""

    wheel: Path
    sdist: Path

    def names(self) -> set[str]:
        """Return the files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def read(self, name: str) -> str:
        with zipfile.ZipFile(self.wheel) as archive:
            (found,) = [each for each in archive.namelist() if each.endswith(name)]
            return archive.read(found).decode()

    def metadata(self) -> Message:
        return Parser().parsestr(self.read(".dist-info/METADATA"))

    def requirements(self) -> set[str]:
        """Return the names of everything that it requires, extras included."""
        given = self.metadata().get_all("Requires-Dist") or []
        return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in given}

    def sdist_names(self) -> set[str]:
        """Return the files of the source distribution, without its own folder."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder with both distributions: what make release has built, or what is built here."""
    given: Path | None = request.config.getoption("--distributions")
    if given is not None:
        return given.absolute()
    folder = tmp_path_factory.mktemp("dist")
    for project in (".", "cordial_sandbox"):
        # The wheel is built from the source distribution, so that both are complete.
        command = [UV, "build", "--system-certs", "--quiet", "--out-dir", str(folder), project]
        subprocess.run(command, cwd=PROJECT, check=True)
    return folder


def distribution(folder: Path, name: str) -> Distribution:
    (wheel,) = folder.glob(f"{name}-*.whl")
    (sdist,) = folder.glob(f"{name}-*.tar.gz")
    return Distribution(wheel, sdist)


@pytest.fixture
def provider(folder: Path) -> Distribution:
    return distribution(folder, "airflow_provider_cordial")


@pytest.fixture
def sandbox_package(folder: Path) -> Distribution:
    return distribution(folder, "cordial_sandbox")


pytestmark = pytest.mark.xdist_group("distributions")


def test_both_have_the_same_version_and_the_urls_of_the_repository(
    provider: Distribution, sandbox_package: Distribution
) -> None:
    for one in (provider, sandbox_package):
        metadata = one.metadata()
        assert metadata["Version"] == __version__
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["Author"]
        urls = [url.split(", ")[1] for url in metadata.get_all("Project-URL") or []]
        assert urls
        assert all(url.startswith(REPOSITORY) for url in urls)
        assert one.read("dist-info/licenses/LICENSE") == (PROJECT / "LICENSE").read_text()


def test_the_provider_wheel_has_its_package_and_the_examples_and_nothing_else(provider: Distribution) -> None:
    files = files_of("airflow_provider_cordial", ("py", "typed"))
    examples = {f"airflow_provider_cordial/{name}" for name in files_of("example_dags", ("py",))}
    assert len(examples) >= 9
    assert {name for name in provider.names() if ".dist-info/" not in name} == files | examples
    for name in examples:
        assert provider.read(name) == (PROJECT / name.partition("/")[2]).read_text()
    entry_points = provider.read("entry_points.txt")
    assert re.findall(r"^\[.*", entry_points, re.MULTILINE) == ["[airflow.plugins]", "[apache_airflow_provider]"]


def test_the_sandbox_wheel_has_its_package_the_command_and_the_pytest_plugin(sandbox_package: Distribution) -> None:
    assert {name for name in sandbox_package.names() if ".dist-info/" not in name} == files_of(
        "cordial_sandbox", ("py", "typed", "json", "css", "html", "js", "svg")
    )
    entry_points = sandbox_package.read("entry_points.txt")
    assert "cordial-sandbox = cordial_sandbox.cli:app" in entry_points
    assert "[pytest11]\ncordial_sandbox = cordial_sandbox.pytest_plugin" in entry_points


def test_the_sandbox_requires_no_airflow(sandbox_package: Distribution) -> None:
    assert not [name for name in sandbox_package.requirements() if "airflow" in name]


def test_only_the_extra_brings_the_sandbox(provider: Distribution) -> None:
    given = provider.metadata().get_all("Requires-Dist") or []
    assert [each for each in given if "sandbox" in each] == ["cordial-sandbox; extra == 'sandbox'"]


@pytest.mark.parametrize("name", ["airflow_provider_cordial", "cordial_sandbox"])
def test_direct_imports_are_declared(folder: Path, name: str) -> None:
    requirements = distribution(folder, name).requirements()
    for path in sorted((PROJECT / name).rglob("*.py")):
        for module in imported_modules(path):
            known = [prefix for prefix in DISTRIBUTIONS if f"{module}.".startswith(f"{prefix}.")]
            needed = DISTRIBUTIONS[max(known, key=len)] if known else module.partition(".")[0]
            # A plugin of pytest is only imported by pytest.
            if needed in sys.stdlib_module_names | NOT_DECLARED | {name, "_typeshed", "pytest"}:
                continue
            assert needed in requirements, f"{path} imports {module}"


def test_the_lower_bounds_are_what_the_matrix_tests(provider: Distribution) -> None:
    pins: dict[str, list[str]] = {}
    for line in (PROJECT / "requirements-airflow-3.0.6.txt").read_text().splitlines():
        name, _, version = line.partition(" ")[0].partition("==")
        pins.setdefault(name.partition("[")[0], []).append(version)
    for requirement in provider.metadata().get_all("Requires-Dist") or []:
        if found := re.match(r"([\w.-]+)>=([\d.]+)", requirement):
            name, bound = found.groups()
            tested = [version for version in pins[name] if f"{version}.".startswith(f"{bound}.")]
            assert tested, f"{requirement}: the matrix tests {pins[name]}"


def test_the_source_distributions_contain_no_file_of_ci_or_tests(
    provider: Distribution, sandbox_package: Distribution
) -> None:
    for one in (provider, sandbox_package):
        names = one.sdist_names()
        assert {"pyproject.toml", "README.md", "LICENSE"} <= names
        assert not [name for name in names if re.match(r"\.(?!gitignore)|tests/|scripts/|requirements", name)]


def test_the_links_of_the_readme_work_outside_the_repository(provider: Distribution) -> None:
    text = provider.metadata().get_payload()
    links = re.findall(r"\]\(([^)\s]+)\)", str(text))
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    release = f"{REPOSITORY}/blob/v{__version__}/"
    for link in links:
        if link.startswith(release):
            assert (PROJECT / link.removeprefix(release).partition("#")[0]).exists(), link


def test_the_sandbox_starts_in_an_environment_of_its_own(folder: Path, tmp_path: Path) -> None:
    environment, data = tmp_path / "environment", tmp_path / "data"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    wheel = str(distribution(folder, "cordial_sandbox").wheel)
    install = [UV, "pip", "install", "--system-certs", "--quiet", "--python", str(environment)]
    subprocess.run([*install, "--constraint", "requirements-dev.txt", wheel, "pytest"], cwd=PROJECT, check=True)
    assert not list(environment.glob("lib/*/site-packages/airflow*"))
    with sandbox_command(environment / "bin" / "cordial-sandbox", data) as process:
        assert wait_for_url(process, data).startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0
    # pytest finds the fixtures of the wheel, which need no Airflow.
    (tmp_path / "test_account.py").write_text(ACCOUNT_TEST)
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "AIRFLOW", "PYTEST"))}
    command = [str(environment / "bin" / "python"), "-m", "pytest", "-q", "test_account.py"]
    ended = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


ACCOUNT_TEST = """
import json, os

def test_the_account_has_its_audiences_and_connections(cordial_account):
    cordial_account.audiences({"vip": {"2026-01-01": 5}})
    assert cordial_account.snapshots("vip", "2026-01-01", "2026-01-02") == {"2026-01-01": 5, "2026-01-02": None}
    assert json.loads(os.environ["AIRFLOW_CONN_CORDIAL_DEFAULT"])["password"] == cordial_account.api_key
"""


def test_the_steps_of_the_image_install_and_serve(tmp_path: Path) -> None:
    lines = (PROJECT / "cordial_sandbox" / "Dockerfile").read_text().splitlines()
    instructions = [line.partition(" ")[::2] for line in lines]
    for source, target in (arguments.split() for name, arguments in instructions if name == "COPY"):
        copied = tmp_path / target.lstrip("/")
        copied.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / source).is_dir():
            shutil.copytree(PROJECT / source, copied)
        else:
            shutil.copy(PROJECT / source, copied)
    environment, data = tmp_path / "environment", tmp_path / "data"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    (installed,) = (arguments for name, arguments in instructions if name == "RUN" and "pip install" in arguments)
    package = str(tmp_path / installed.split()[-2].lstrip("/"))
    install = [UV, "pip", "install", "--system-certs", "--quiet", "--python", str(environment)]
    subprocess.run([*install, "--constraint", "requirements-dev.txt", package], cwd=PROJECT, check=True)
    ((_, health),) = [one for one in instructions if one[0] == "HEALTHCHECK"]
    with sandbox_command(environment / "bin" / "cordial-sandbox", data) as process:
        url = wait_for_url(process, data)
        check = json.loads(health.removeprefix("CMD "))
        check[-1] = check[-1].replace("http://127.0.0.1:8080", url)
        assert subprocess.run([environment / "bin" / check[0], *check[1:]], check=False).returncode == 0
        process.terminate()
        assert process.wait(20) == 0
    assert subprocess.run(
        [environment / "bin" / check[0], *check[1:]], check=False, stderr=subprocess.DEVNULL
    ).returncode


def wait_for_url(process: subprocess.Popen[bytes], data: Path) -> str:
    deadline = time.monotonic() + 60
    while not (data / "sandbox.json").exists():
        assert process.poll() is None, "the command has ended"
        assert time.monotonic() < deadline, "the command does not start"
        time.sleep(0.1)
    return str(json.loads((data / "sandbox.json").read_text())["url"])


def sandbox_command(command: Path, data: Path) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.Popen([str(command), "serve", "--data", str(data), "--stop-on-eof"],
                            env=environment, stdin=subprocess.PIPE, cwd=data.parent)  # fmt: skip


def files_of(package: str, suffixes: tuple[str, ...]) -> set[str]:
    """Return the files of a package in the repository."""
    found = (path for suffix in suffixes for path in (PROJECT / package).rglob(f"*.{suffix}"))
    return {str(path.relative_to(PROJECT)) for path in found}


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the modules of other packages that a file imports, and the names that it imports from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
