"""Public classes are importable from their packages, and importing a package costs nothing by itself."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "names"), [("triggers", ["ExportJobTrigger", "JobTrigger"]), ("sensors", ["JobSensor"])]
)
def test_public_classes_are_imported_on_demand(package: str, names: list[str]) -> None:
    path = f"airflow_provider_cordial.{package}"
    module = importlib.import_module(path)
    assert module.__all__ == names
    assert [getattr(module, name).__name__ for name in names] == names
    with pytest.raises(AttributeError, match="has no attribute 'Unknown'"):
        module.Unknown  # noqa: B018
    program = f"import sys, {path}; print([name for name in sys.modules if name.startswith('{path}.')])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
