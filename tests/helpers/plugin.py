"""The plugin of this folder, also where another version of the provider is installed."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

_GROUP = "airflow.plugins"


def plugin_entry_points() -> dict[str, str]:
    """Return the plugins that the project declares, by name."""
    declared: dict[str, str] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"][
        _GROUP
    ]
    return declared


def plugin_path(folder: Path) -> list[str]:
    """Return what to add to PYTHONPATH, so that Airflow finds the plugins as those of an installed distribution."""
    installed = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=_GROUP)}
    missing = {name: value for name, value in plugin_entry_points().items() if installed.get(name) != value}
    if not missing:
        return []
    metadata = folder / "plugins_of_the_project-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins-of-the-project\nVersion: 1\n")
    lines = [f"[{_GROUP}]", *(f"{name} = {value}" for name, value in missing.items()), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return [str(folder)]
