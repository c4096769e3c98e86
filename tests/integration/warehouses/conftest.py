"""A warehouse per parameter, and the table of what was run against each of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.helpers.sandbox import SetConnection
from tests.integration.warehouses import NAMES, Warehouse

_CONTRACT = re.compile(r"test_contract\.py::(test_\w+)\[([a-z]+)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("served")  # type: ignore[attr-defined]
        if name:
            # Each server is started by one process only.
            item.add_marker(pytest.mark.xdist_group(f"warehouse-{name}"))


@pytest.fixture(scope="package", params=NAMES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One warehouse after the other, each started once."""
    module = import_module(f"tests.integration.warehouses.{request.param}")
    with module.serve(request, tmp_path_factory.mktemp(request.param)) as warehouse:
        yield warehouse


@pytest.fixture
def warehouse(
    request: pytest.FixtureRequest, served: Warehouse, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    """A warehouse without a table, behind the connection ``warehouse``."""
    if reason := served.not_shown.get(getattr(request.node, "originalname", "")):
        pytest.skip(reason)
    set_connection("warehouse", **served.connection())
    served.set_up(monkeypatch)
    served.drop()
    return served


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print warehouse by case, where the option asks for it."""
    if not terminalreporter.config.getoption("--warehouse-table"):
        return
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for outcome in ("skipped", "passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            if match := _CONTRACT.search(report.nodeid):
                case, name = match.groups()
                found[case][name] = {"passed": "ok", "skipped": "-"}.get(outcome, "FAILED")
    print_line = terminalreporter.write_line
    print_line("")
    print_line(f"{'':58}" + "".join(f"{name:>12}" for name in NAMES))
    for case, outcomes in found.items():
        title = case.removeprefix("test_").replace("_", " ")
        print_line(f"{title:58}" + "".join(f"{outcomes.get(name, ''):>12}" for name in NAMES))
    print_line("")
    for name in NAMES:
        module = import_module(f"tests.integration.warehouses.{name}")
        classes = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Warehouse)]
        one = next(one for one in classes if one.__module__ == module.__name__)
        print_line(f"{name:12} {one.served_by}")
        for case, reason in one.not_shown.items():
            print_line(f"{'':12} - {case.removeprefix('test_').replace('_', ' ')}: {reason}")
