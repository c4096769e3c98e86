"""Check the installed provider under the Airflow of this environment; ``matrix.py`` runs it in each of its own.

Prints one line per check, ``NAME<tab>ok|failed<tab>DETAIL``, on the standard output.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Example DAGs that need a later Airflow, and how their error begins to be read.
NEEDS = {"example_partitions.py": ((3, 2), "cannot import name 'CronPartitionTimetable'")}

#: Modules that need a later Airflow.
MODULES_NEED = {"airflow_provider_cordial.deadlines": (3, 2), "airflow_provider_cordial.retry_policy": (3, 3)}

PROVIDER = "airflow_provider_cordial"


def check_modules() -> str:
    """Import every module, and every name that a function imports only when it is called."""
    package = importlib.import_module(PROVIDER)
    assert "site-packages" in str(package.__file__), f"{package.__file__} is not the wheel"
    names = [
        found.name
        for found in pkgutil.walk_packages(package.__path__, f"{PROVIDER}.")
        if ".example_dags" not in found.name and airflow_version() >= MODULES_NEED.get(found.name, (3, 0))
    ]
    lazy = 0
    for name in names:
        module = importlib.import_module(name)
        for where, what in lazy_imports(Path(str(module.__file__))):
            found = importlib.import_module(where)
            assert hasattr(found, what) or importlib.import_module(f"{where}.{what}"), f"{name}: {where}.{what}"
            lazy += 1
    return f"{len(names)} modules, {lazy} names imported in functions"


def lazy_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the names that functions import from other packages, unless they are prepared for their absence."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            tried = {node for each in ast.walk(function) if isinstance(each, ast.Try) for node in ast.walk(each)}
            for node in ast.walk(function):
                # wtforms comes with Airflow's optional provider FAB; without it Airflow itself puts something there.
                if isinstance(node, ast.ImportFrom) and node not in tried and node.module not in (None, "wtforms"):
                    yield from ((str(node.module), alias.name) for alias in node.names)


def check_examples() -> str:
    """Parse the example DAGs of the wheel."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[attr-defined,no-redef,unused-ignore]
    folder = Path(str(importlib.import_module(PROVIDER).__file__)).parent / "example_dags"
    files = sorted(path.name for path in folder.glob("*.py"))
    assert files, f"{folder} is empty"
    dags = DagBag(str(folder))
    errors = {Path(name).name: text for name, text in dags.import_errors.items()}
    expected = {name: text for name, (version, text) in NEEDS.items() if airflow_version() < version}
    wrong = {name: text for name, text in errors.items() if name not in expected or expected[name] not in text}
    assert not wrong, f"example DAGs with errors: {wrong}"
    assert errors.keys() == expected.keys(), f"expected errors of {list(expected)}"
    return f"{len(files) - len(errors)} of {len(files)}"


def check_form() -> str:
    """Build the connection form as this version of Airflow does."""
    from airflow.providers_manager import ProvidersManager

    from airflow_provider_cordial.get_provider_info import CONNECTION_FIELDS

    expected = {field.name for field in CONNECTION_FIELDS}
    if airflow_version() < (3, 2):
        from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

        (meta,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "cordial"]
        assert (meta.hook_name, meta.standard_fields is not None) == ("Cordial", True), meta
        fields: Any = meta.extra_fields or {}
        unknown = {name: field for name, field in fields.items() if not field["schema"].get("type")}
        assert set(fields) == expected, fields
        assert not unknown, unknown
    else:
        manager = ProvidersManager()  # type: ignore[no-untyped-call]
        hook = manager.hooks["cordial"]
        assert hook is not None
        assert hook.hook_name == "Cordial"
        widgets = manager.connection_form_widgets.values()
        assert {str(one.field_name) for one in widgets if one.package_name == "airflow-provider-cordial"} == expected
    return f"{len(expected)} fields"


def airflow_version() -> tuple[int, int]:
    major, minor = importlib.metadata.version("apache-airflow").split(".")[:2]
    return int(major), int(minor)


def main() -> int:
    # Airflow logs to the standard output, which is reserved for the results.
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    failed = False
    for name, check in (("modules", check_modules), ("examples", check_examples), ("form", check_form)):
        try:
            detail, verdict = check(), "ok"
        except Exception as error:  # noqa: BLE001 - the other checks are to run as well
            traceback.print_exc()
            detail, verdict, failed = f"{type(error).__name__}: {error}".replace("\n", " "), "failed", True
        print(name, verdict, detail, sep="\t", file=results)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
