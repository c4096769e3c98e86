"""What holds for the project as a whole."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseHook
from airflow.serialization.serialized_objects import DagSerialization

import airflow_provider_cordial
from airflow_provider_cordial.get_provider_info import get_provider_info
from airflow_provider_cordial.hooks.cordial import CordialHook
from cordial_sandbox.process import SandboxProcess

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((PROJECT / "example_dags").glob("*.py"))


def test_airflow_lists_the_provider_and_its_connection_type() -> None:
    manager = ProvidersManager()  # type: ignore[no-untyped-call]
    assert manager.providers["airflow-provider-cordial"].version == airflow_provider_cordial.__version__
    hook = manager.hooks["cordial"]
    assert hook is not None
    assert (hook.hook_name, hook.hook_class_name) == ("Cordial", "airflow_provider_cordial.hooks.cordial.CordialHook")
    fields = {
        str(form.field_name)
        for form in manager.connection_form_widgets.values()
        if form.package_name == "airflow-provider-cordial"
    }
    assert {"timezone", "connect_timeout", "read_timeout"} <= fields
    assert manager.field_behaviours["cordial"]["relabeling"]["password"] == "API key"


def test_the_versions_agree() -> None:
    assert importlib.metadata.version("airflow-provider-cordial") == airflow_provider_cordial.__version__
    assert get_provider_info()["versions"] == [airflow_provider_cordial.__version__]


def test_a_connection_makes_its_hook(cordial: SandboxProcess) -> None:
    hook = BaseHook.get_hook("cordial_default")
    assert isinstance(hook, CordialHook)
    assert hook.connection.base_url == cordial.url


def test_importing_operator_sensor_and_load_imports_nothing_heavy() -> None:
    code = (
        "import sys; from airflow.sdk import DAG, Asset, BaseOperator, BaseSensorOperator, task_group; "
        "before = set(sys.modules); "
        "import airflow_provider_cordial.operators.audience_trends, airflow_provider_cordial.sensors.job, "
        "airflow_provider_cordial.transfers.audience_trends_to_sql, airflow_provider_cordial.destinations, "
        "airflow_provider_cordial.task_groups; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"'(\w+)'", printed.splitlines()[-1])) <= {"airflow", "airflow_provider_cordial"}
    assert "airflow_provider_cordial" in printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_named_in_the_readme(path: Path) -> None:
    assert f"](example_dags/{path.name})" in (PROJECT / "README.md").read_text()


def test_every_example_is_read_and_serialized_by_airflow() -> None:
    dags = DagBag(PROJECT / "example_dags")
    assert dags.import_errors == {}
    # What the page of a DAG shows, and a start that does not catch up on a year of days.
    assert all(dag.doc_md and not dag.catchup for dag in dags.dags.values())
    # The page shows Markdown.
    assert not any("::" in str(dag.doc_md) for dag in dags.dags.values())
    restored = {dag_id: DagSerialization.from_dict(DagSerialization.to_dict(dag)) for dag_id, dag in dags.dags.items()}
    three = ["export", "load", "wait"]
    group = ["audience_trends_to_sql.export", "audience_trends_to_sql.load"]
    assert {dag_id: sorted(dag.task_dict) for dag_id, dag in restored.items()} == {
        "example_audience_trends": three,
        "example_azure_to_databricks": three,
        "example_daily_backfill": ["export", "load"],
        "example_export_done": ["pick_up"],
        "example_export_only": ["export"],
        "example_gcs_to_bigquery": three,
        "example_files_to_warehouses": [
            "export",
            "to_bigquery",
            "to_databricks",
            "to_redshift",
            "to_snowflake",
            "write_gcs",
            "write_s3",
        ],
        "example_gcs_to_parquet": three,
        "example_keep_whole": [f"keep_audience_trends.{task}" for task in ("plan", "sync", "verify")],
        "example_load_only": ["exports", "load"],
        "example_look_back": group,
        "example_partitions_consumer": ["contacts"],
        "example_partitions_producer": group,
        "example_range_backfill": [*group, "ranges"],
        "example_s3_to_postgres": three,
        "example_s3_to_redshift": three,
        "example_s3_to_snowflake": three,
    }
    load = restored["example_audience_trends"].task_dict["load"]
    assert load.upstream_task_ids == {"export", "wait"}
    assert [asset.uri for asset in load.outlets] == ["x-airflow-sql://warehouse/audience_trends"]


def test_the_readme_quotes_the_first_example_with_its_imports() -> None:
    # test_docs.py compares the code.
    readme = (PROJECT / "README.md").read_text()
    (quoted,) = re.findall(
        r"<!-- snippet: example_dags/example_audience_trends.py#dag -->\n```python\n(.*?)```", readme, re.DOTALL
    )
    assert "from airflow_provider_cordial.operators import AudienceTrendsExportOperator\n" in quoted
    assert "export >> wait >> load\n" in quoted


def test_the_readme_names_only_files_that_are_there() -> None:
    readme = (PROJECT / "README.md").read_text()
    for name in re.findall(r"`((?:airflow_provider_cordial|example_dags|benchmarks|scripts)/[\w/.]+)`", readme):
        assert (PROJECT / name).exists(), name
