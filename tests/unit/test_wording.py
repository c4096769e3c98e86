"""Test the check of the project's wording."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_wording.py"


def check(root: Path, name: str, content: str) -> tuple[int, str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "content", "hit"),
    [
        pytest.param("tests/x.py", "x = 1  # The poller saw it.\n", "tests/x.py:1: saw", id="comment"),
        pytest.param("tests/x.py", "# The job goes\n# on.\n", "tests/x.py:1: goes on", id="wrapped-comment"),
        pytest.param("tests/x.py", '"""Read.\n\nThis tells all.\n"""\n', "tests/x.py:3: tells", id="docstring"),
        pytest.param("scripts/x.py", 'x = 1\ny = "a is none"\n', "scripts/x.py:2: is none", id="string"),
        pytest.param("scripts/x.py", 'y = f"{x} is none of {x}"\n', "scripts/x.py:1: is none", id="f-string"),
        pytest.param("tests/x.py", "def test_it_goes_on() -> None: ...\n", "tests/x.py:1: goes on", id="function-name"),
        pytest.param("cordial_sandbox/x.py", "class JobSaw: ...\n", "cordial_sandbox/x.py:1: saw", id="class-name"),
        pytest.param("README.md", "One\n\nis no\nfile.\n", "README.md:3: is no file", id="markdown"),
        pytest.param("docs/x.md", "One \N{EM DASH} two\n", "docs/x.md:1: \N{EM DASH}", id="dash"),
    ],
)
def test_banned_phrases_are_reported(tmp_path: Path, name: str, content: str, hit: str) -> None:
    status, output = check(tmp_path, name, content)
    assert status == 1
    assert output.startswith(f"{hit}: use ")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        "def f(x: object) -> bool:\n    return x is None\n",
        '"""Return whether x is None."""\n',
        "x.tells = y.saw(looks)\n",
        'x = "list_tells"\n',
        "x = 1  # It is no longer listed.\n",
        'x = "A quote: it saw."  # wording: allow\n',
        '"""A docstring.\n\nA quote: it saw. (wording: allow)\n"""\n',
    ],
)
def test_other_text_and_code_are_accepted(tmp_path: Path, content: str) -> None:
    assert check(tmp_path, "airflow_provider_cordial/x.py", content) == (0, "checked files: 1\n")
