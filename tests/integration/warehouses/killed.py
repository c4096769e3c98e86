"""A load in a process that is killed at a step: before it asks the warehouse for the n-th time."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from importlib import import_module
from typing import Any

from airflow_provider_cordial.trends import TrendsBatch
from tests.integration.warehouses import Warehouse

_TIMEOUT = 120

#: Imported once, in the process that all loads are forked from.
_PRELOADED = [
    "tests.integration.warehouses.killed",
    "airflow.providers.common.sql.hooks.sql",
    "airflow.providers.databricks.hooks.databricks_sql",
    "databricks.sql.client",
    "pyarrow.parquet",
    "airflow.providers.amazon.aws.hooks.redshift_sql",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow_provider_cordial.trends.tables.redshift",
    "tests.integration.warehouses.preloaded",
]


def kill_at(warehouse: Warehouse, batch: TrendsBatch, step: int) -> bool:
    """Load a batch and return whether the load was killed; otherwise it has fewer steps."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    data = pickle.dumps((dict(os.environ), type(warehouse), warehouse.__dict__, batch, step))
    process = context.Process(target=_load, args=(data,), daemon=True)
    process.start()
    process.join(_TIMEOUT)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def _load(data: bytes) -> None:
    environment, cls, state, batch, step = pickle.loads(data)
    os.environ.update(environment)
    warehouse = cls.__new__(cls)
    warehouse.__dict__.update(state)
    counter = [0]

    def dies(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            counter[0] += 1
            if counter[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return wrapped

    for path in warehouse.steps:
        module, _, name = path.partition(":")
        owner, _, attribute = name.rpartition(".")
        holder: Any = import_module(module)
        holder = getattr(holder, owner) if owner else holder
        setattr(holder, attribute, dies(getattr(holder, attribute)))
    warehouse.load(batch)
