"""Lineage of exports and loads, for OpenLineage: audiences to a delivered file, and the file to a table or files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as OpenLineage names it; never with a secret.

    :param columns: the names of its columns.
    :param rows: how many rows a load wrote; None if that is unknown.
    """

    namespace: str
    name: str
    columns: tuple[str, ...] = ()
    rows: int | None = None


def audience_datasets(host: str, audiences: Iterable[str]) -> list[Dataset]:
    """Return the datasets that an export reads.

    :param host: of Cordial's API.
    """
    return [Dataset(f"cordial://{host}", audience) for audience in audiences]


def delivered_dataset(uri: str, name: str) -> Dataset:
    """Return the delivered file under the export's name: the same for the export and for its loads.

    :param uri: of the folder that it is delivered to.
    """
    return file_dataset(f"{uri.rstrip('/')}/{name}")


def file_dataset(uri: str, **options: Any) -> Dataset:
    """Return a file or an object."""
    parts = urlsplit(uri)
    namespace = f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.scheme or "file"
    return Dataset(namespace, parts.path if namespace == "file" else parts.path.strip("/"), **options)


def operator_lineage(inputs: Iterable[Dataset], outputs: Iterable[Dataset]) -> Any:
    """Return what Airflow's OpenLineage provider sends."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(inputs=[*map(_input, inputs)], outputs=[*map(_output, outputs)])


def _input(one: Dataset) -> Any:
    from airflow.providers.common.compat.openlineage.facet import InputDataset

    return InputDataset(namespace=one.namespace, name=one.name, facets=_facets(one))


def _output(one: Dataset) -> Any:
    from airflow.providers.common.compat.openlineage.facet import OutputDataset, OutputStatisticsOutputDatasetFacet

    counted: Any = (
        {} if one.rows is None else {"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=one.rows)}
    )
    return OutputDataset(namespace=one.namespace, name=one.name, facets=_facets(one), outputFacets=counted)


def _facets(one: Dataset) -> dict[str, Any]:
    from airflow.providers.common.compat.openlineage.facet import SchemaDatasetFacet, SchemaDatasetFacetFields

    if not one.columns:
        return {}
    return {"schema": SchemaDatasetFacet(fields=[SchemaDatasetFacetFields(name=name) for name in one.columns])}
