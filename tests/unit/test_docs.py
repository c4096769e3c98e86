"""The documentation agrees with the code: blocks, links, tables, and messages."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from airflow.cli.cli_config import ActionCommand
from airflow.models.connection import Connection
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cordial import exceptions
from airflow_provider_cordial.cli.definition import COMMANDS
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.metrics import METRICS
from airflow_provider_cordial.client.traces import SPANS
from airflow_provider_cordial.get_provider_info import CONNECTION_FIELDS

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
PACKAGE = PROJECT / "airflow_provider_cordial"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "cordial_sandbox/README.md"))]
)
REPOSITORY = "https://github.com/airflow-provider-cordial/airflow-provider-cordial"

#: What runs each file that the pages quote.
RUN_BY = {
    "docs/examples/backfill.sh": "tests/integration/test_docs.py",
    "docs/examples/command_line.sh": "tests/integration/test_docs.py",
    "docs/examples/command_line.txt": "tests/integration/test_docs.py",
    "docs/examples/connection.sh": "tests/integration/test_docs.py",
    "docs/examples/connections.yaml": "tests/unit/test_docs.py",
    "docs/examples/cordial-seed.yaml": "tests/unit/cordial_sandbox/test_accounts.py",
    "docs/examples/cordial_trends.py": "scripts/first_success.py",
    "docs/examples/deadline.py": "tests/integration/test_deadlines.py",
    "docs/examples/local_cordial.sh": "tests/unit/cordial_sandbox/test_command_line.py",
    "docs/examples/other_exports.py": "tests/integration/test_docs.py",
    "docs/examples/recipes.py": "tests/integration/test_docs.py",
    "docs/examples/start.sh": "scripts/first_success.py",
    "docs/examples/test_my_account.py": "tests/unit/cordial_sandbox/test_documented.py",
    "docs/examples/test_my_dag.py": "tests/integration/test_docs.py",
    "docs/examples/test_warehouse.sh": "tests/integration/test_docs.py",
    "docs/examples/try.sh": "tests/browser/conftest.py",
}


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of a page's tables, headings included."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def test_every_code_block_is_that_of_its_file() -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "scripts" / "snippets.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_quoted_file_is_run() -> None:
    quoted = {
        source.partition("#")[0]
        for page in PAGES
        for source in re.findall(r"<!-- snippet: (\S+) -->", page.read_text(encoding="utf-8"))
    }
    # The examples are run by the demo and by tests of their own.
    assert {name for name in quoted if not name.startswith("example_dags/")} == set(RUN_BY)
    for name, runner in RUN_BY.items():
        assert Path(name).name in (PROJECT / runner).read_text(encoding="utf-8"), (name, runner)


def test_unnamed_blocks_missing_files_and_changed_code_are_reported(tmp_path: Path) -> None:
    sys.path.insert(0, str(PROJECT / "scripts"))
    try:
        snippets = importlib.import_module("snippets")
    finally:
        sys.path.remove(str(PROJECT / "scripts"))
    (tmp_path / "code.sh").write_text("# [START one]\n  echo 1\n# [END one]\necho 2\n")
    page = tmp_path / "page.md"

    def problems(text: str) -> list[str]:
        page.write_text(text)
        return [problem.text for problem in snippets.render(tmp_path, page)[1]]

    assert problems("<!-- snippet: code.sh#one -->\n```bash\necho 1\n```\n") == []
    assert problems("<!-- printed by: make demo -->\n```text\n1 row\n```\n") == []
    assert "differs" in problems("<!-- snippet: code.sh#one -->\n```bash\necho 3\n```\n")[0]
    assert "does not name" in problems("```bash\necho 1\n```\n")[0]
    assert problems("<!-- snippet: gone.sh -->\n```bash\n```\n") == ["gone.sh does not exist."]
    assert problems("<!-- snippet: code.sh#two -->\n```bash\n```\n") == ["code.sh has no section two."]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs derive them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link into the repository."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        target, _, anchor = link.partition("#")
        if match := re.fullmatch(rf"{REPOSITORY}/(?:blob|raw)/main/(.+)", target):
            yield PROJECT / match[1], anchor
        elif "://" not in target:
            yield ((page.parent / target).resolve() if target else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_resolves(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        if anchor:
            assert anchor in anchors(target), (target, anchor)


def test_the_navigation_has_every_page_once() -> None:
    def flatten(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        else:
            for one in node.values() if isinstance(node, dict) else node:
                yield from flatten(one)

    navigation = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"]
    assert sorted(flatten(navigation)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_every_picture_is_shown() -> None:
    shown = {target for page in PAGES for target, _ in links(page) if target.suffix == ".png"}
    assert shown == set((DOCS / "images").glob("*.png"))


def test_the_tables_of_metrics_and_spans_are_complete() -> None:
    rows = {cells[0].strip("`"): cells[1] for cells in table_rows(read("monitoring.md")) if "`cordial." in cells[0]}
    assert rows == {f"cordial.{name}": text for name, text in {**METRICS, **SPANS}.items()}


def test_the_table_of_errors_states_whether_a_retry_helps() -> None:
    rows = [cells for cells in table_rows(read("monitoring.md")) if cells[0].endswith("Error`")]
    assert rows
    for names, _, retry in rows:
        for name in re.findall(r"`(\w+)`", names):
            error = getattr(exceptions, name)
            assert error.retry_helps == ("does not help" not in retry), name
            assert issubclass(error, AirflowFailException) == ("fails at once" in retry), name


def test_every_field_of_the_connection_is_described() -> None:
    page = read("connection.md")
    for field in CONNECTION_FIELDS:
        assert f"`{field.name}`" in page, field.name


def test_every_command_and_its_options_are_described() -> None:
    def options(commands: Any, *before: str) -> Iterator[tuple[str, set[str]]]:
        for command in commands:
            path = (*before, command.name)
            if isinstance(command, ActionCommand):
                yield " ".join(path), {flag for one in command.args for flag in one.flags if flag.startswith("--")}
            else:
                yield from options(command.subcommands, *path)

    page = read("command-line.md")
    known = dict(options(COMMANDS))
    rows = {cells[0].strip("`"): cells[-1] for cells in table_rows(page) if cells[0].strip("`") in known}
    assert rows.keys() == known.keys()
    every = set().union(*known.values())
    # An option of a single command is in its row, and each one is somewhere on the page.
    for name, cell in rows.items():
        named = set(re.findall(r"`(--[\w-]+)", cell))
        assert named <= known[name], name
        rare = {flag for flag in known[name] if sum(flag in flags for flags in known.values()) == 1}
        assert rare <= named, (name, rare - named)
    assert every | {"--help"} == set(re.findall(r"`(--[\w-]+)", page))


def test_the_file_of_connections_is_valid() -> None:
    fields = yaml.safe_load((DOCS / "examples" / "connections.yaml").read_text())["cordial_default"]
    extra = fields.pop("extra_dejson")
    connection = CordialConnection.from_airflow(Connection(conn_id="cordial_default", extra=extra, **fields))
    assert (connection.base_url, connection.timezone.key) == ("https://api.usw2.cordial.io", "America/New_York")


def test_every_message_of_the_troubleshooting_page_exists() -> None:
    texts = [text for path in PACKAGE.rglob("*.py") for text in messages(path)]
    quoted = [
        message for cells in table_rows(read("troubleshooting.md")) for message in re.findall(r"^`([^`]+)`$", cells[0])
    ]
    assert len(quoted) > 30
    for message in quoted:
        pattern = ".*".join(re.escape(part) for part in message.strip(". ").split("..."))
        assert any(re.search(pattern, text) for text in texts), message


def messages(path: Path) -> Iterator[str]:
    """Yield the texts of a module, with ``...`` for each value in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_name_of_the_reference_exists() -> None:
    names = [
        name
        for page in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
    ]
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), attribute), name


def test_the_readme_is_one_page_with_absolute_pictures() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 140
    assert "<this repository>" not in readme
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme):
        assert picture.startswith(f"{REPOSITORY}/raw/main/"), picture
