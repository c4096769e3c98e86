"""Test the wheels under every supported version of Airflow, each in its own environment with the packages of its day.

::

    matrix.py                      every version with every Python that is installed
    matrix.py --one 3.1.8 3.3.2    two versions, each with the newest of its Pythons
    matrix.py --quick              without the whole Airflow
    matrix.py --lock               write the requirement files again

The environments are kept in ``.matrix`` and made again when their requirements change.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MATRIX = PROJECT / ".matrix"
UV = str(Path(sys.executable).parent / "uv")

EXTRAS = tuple(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


@dataclass(frozen=True, slots=True)
class Release:
    """A version of Airflow.

    :param day: a day or two after the release, when its constraints were the newest packages.
    :param without: extras that do not fit.
    :param submit_once: whether the test of submitting once without a task state store runs: before Airflow 3.3, where a
        killed task is retried.
    """

    version: str
    day: str
    pythons: tuple[str, ...]
    without: tuple[str, ...] = ()
    submit_once: bool = False
    may_fail: bool = False

    @property
    def requirements(self) -> Path:
        return PROJECT / f"requirements-airflow-{self.version}.txt"

    @property
    def extras(self) -> list[str]:
        return [extra for extra in EXTRAS if extra not in self.without]


RELEASES = (
    # Airflow 3.0 needs SQLAlchemy 1.4, and does not retry a killed task.
    Release("3.0.6", "2025-08-31", ("3.11", "3.12"), without=("sandbox",)),
    Release("3.1.8", "2026-03-13", ("3.11", "3.12", "3.13"), submit_once=True),
    Release("3.2.2", "2026-06-01", ("3.11", "3.12", "3.13"), submit_once=True),
    Release("3.3.2", "2026-10-01", ("3.11", "3.12", "3.13")),
    Release("3.4.0b2", "2026-11-18", ("3.13",), may_fail=True),
)

CHECKS = ("packages", "extras", "modules", "examples", "form", "airflow", "submit once")


@dataclass(slots=True)
class Cell:
    """A release with a Python, and the results of its checks.

    :param results: of each check the verdict, and the seconds and what was counted.
    """

    release: Release
    python: str
    interpreter: str | None
    results: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        return MATRIX / f"airflow-{self.release.version}-python{self.python}"

    @property
    def has_failed(self) -> bool:
        return any(verdict == "failed" for verdict, _ in self.results.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("versions", nargs="*", help="versions of Airflow, or all")
    parser.add_argument("--one", action="store_true", help="with the newest installed Python only")
    parser.add_argument("--quick", action="store_true", help="do not run a whole Airflow")
    parser.add_argument("--distributions", type=Path, help="the folder of the wheels; by default they are built")
    parser.add_argument("--lock", action="store_true", help="write the requirement files, and test nothing")
    options = parser.parse_args()
    known = {release.version: release for release in RELEASES}
    if unknown := set(options.versions) - known.keys():
        parser.error(f"unknown versions {', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    releases = [known[version] for version in options.versions] or list(RELEASES)
    if options.lock:
        for release in releases:
            lock(release)
        return 0
    wheels = options.distributions.absolute() if options.distributions else build_wheels()
    cells = [cell for release in releases for cell in choose_cells(release, only_one=options.one)]
    for cell in cells:
        if cell.interpreter:
            test(cell, wheels, quick=options.quick)
    print_table(cells)
    has_run = {cell.release.version for cell in cells if cell.results}
    not_run = [release.version for release in releases if release.version not in has_run]
    if not_run:
        print(f"No Python for Airflow {', '.join(not_run)}")
    return int(bool(not_run) or any(cell.has_failed and not cell.release.may_fail for cell in cells))


def choose_cells(release: Release, *, only_one: bool) -> list[Cell]:
    cells = [Cell(release, python, find_python(python)) for python in release.pythons]
    return [cell for cell in cells if cell.interpreter][-1:] if only_one else cells


def find_python(version: str) -> str | None:
    """Return an interpreter of a version that runs, on the path or of pyenv."""
    pyenv = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}"), *sorted(glob.glob(f"{pyenv}/versions/{version}.*/bin/python"))]  # noqa: PTH207
    for candidate in filter(None, candidates):
        # A shim of pyenv is on the path also if it leads nowhere.
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def lock(release: Release) -> None:
    """Pin Airflow and what the extras need, as it was on the day of the release."""
    airflow = MATRIX / "airflow.in"
    MATRIX.mkdir(exist_ok=True)
    airflow.write_text(f"apache-airflow=={release.version}\n")
    extras = [option for extra in release.extras for option in ("--extra", extra)]
    command = [UV, "pip", "compile", "pyproject.toml", str(airflow), *extras, "--no-emit-package", "cordial-sandbox"]
    command += ["--universal", "--python-version", release.pythons[0], "--exclude-newer", release.day]
    command += ["--upgrade", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url"]
    run([*command, "-o", str(release.requirements)])


def build_wheels() -> Path:
    """Build both wheels, and return their folder."""
    wheels = MATRIX / "dist"
    shutil.rmtree(wheels, ignore_errors=True)
    for project in (".", "cordial_sandbox"):
        run([UV, "build", "--system-certs", "--quiet", "--wheel", "--out-dir", str(wheels), project])
    return wheels


def test(cell: Cell, wheels: Path, *, quick: bool) -> None:
    print(f"Airflow {cell.release.version} on Python {cell.python} ...", flush=True)
    with check(cell, "packages"):
        install_packages(cell)
    if cell.has_failed:  # nothing else can run
        return
    with check(cell, "extras"):
        install_wheels(cell, wheels)
    if cell.has_failed:
        return
    check_installed(cell)
    if quick:
        return
    with check(cell, "airflow"):
        run_tests(cell, "tests/integration/test_versions.py")
    if cell.release.submit_once:
        with check(cell, "submit once"):
            run_tests(cell, "tests/integration/test_without_state_store.py")


@contextmanager
def check(cell: Cell, name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
        verdict = "ok"
    except subprocess.CalledProcessError as error:
        print(f"{name} failed: {' '.join(map(str, error.cmd))}")
        verdict = "failed"
    cell.results[name] = verdict, f"{time.monotonic() - started:.0f} s"


def install_packages(cell: Cell) -> None:
    """Make the environment, unless it is there already with the same requirements and the same Python."""
    content = cell.release.requirements.read_bytes() + str(cell.interpreter).encode()
    stamp, digest = cell.environment / "requirements.sha256", hashlib.sha256(content).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(cell.environment, ignore_errors=True)
    run([UV, "venv", "--quiet", "--python", str(cell.interpreter), str(cell.environment)])
    install(cell, "-r", str(cell.release.requirements))
    stamp.write_text(digest)


def install_wheels(cell: Cell, wheels: Path) -> None:
    """Install the wheels without an index: each extra must be satisfied by the packages of the day."""
    again = ["--reinstall-package", "airflow-provider-cordial", "--reinstall-package", "cordial-sandbox"]
    provider = f"airflow-provider-cordial[{','.join(cell.release.extras)}]"
    install(cell, "--no-index", "--find-links", str(wheels), *again, provider)


def install(cell: Cell, *arguments: str) -> None:
    # uv reads the override of mysqlclient, which has no wheels, from this project's file.
    run([UV, "pip", "install", "--system-certs", "--quiet", "--python", str(cell.environment), *arguments])


def check_installed(cell: Cell) -> None:
    """Run the checks inside of the environment, and take over their verdicts."""
    home = cell.environment / "home"
    shutil.rmtree(home, ignore_errors=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    command = [str(cell.environment / "bin" / "python"), str(PROJECT / "scripts" / "check_installed.py")]
    ended = subprocess.run(command, env=environment, cwd=MATRIX, capture_output=True, text=True, check=False)
    for line in ended.stdout.splitlines():
        name, verdict, detail = line.split("\t")
        cell.results[name] = verdict, detail if verdict == "ok" else "see above"
    for name in ("modules", "examples", "form"):
        cell.results.setdefault(name, ("failed", "see above"))
    if cell.has_failed:
        print(ended.stdout, ended.stderr[-20_000:])


def run_tests(cell: Cell, path: str) -> None:
    """Run a test with this environment's pytest, and the other's Airflow in processes of its own."""
    run([sys.executable, "-m", "pytest", "--airflow-bin", str(cell.environment / "bin"), path])


def run(command: list[str]) -> None:
    subprocess.run(command, cwd=PROJECT, check=True)


def print_table(cells: list[Cell]) -> None:
    rows = [["Airflow", "Python", *CHECKS]]
    for cell in cells:
        absent = "-" if cell.interpreter else "no such Python"
        texts = [" ".join(cell.results.get(name, (absent,))) for name in CHECKS]
        rows.append([cell.release.version + (" (may fail)" if cell.release.may_fail else ""), cell.python, *texts])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
