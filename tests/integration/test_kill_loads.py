"""A small part of ``make kill-loads``: a few kills of loads into a table of each database, a folder, and S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.loads import (
    Target,
    file_databases,
    kill_loads,
    local_target,
    mariadb_target,
    postgres_target,
    s3_target,
)
from tests.helpers.places import Places
from tests.integration.servers.mariadb import MariaDb
from tests.integration.servers.postgres import Postgres

KILLS, SEED = 2, 1


def check(target: Target) -> None:
    counts = kill_loads(target, KILLS, SEED)
    assert counts.old + counts.new == counts.kills == KILLS, counts.failures
    assert (counts.neither, counts.retries) == (0, 0), counts.failures


@pytest.mark.parametrize("name", ["SQLite", "DuckDB"])
def test_a_killed_load_leaves_a_file_database_old_or_new(tmp_path: Path, name: str) -> None:
    check({target.name: target for target in file_databases(tmp_path)}[name])


def test_a_killed_load_leaves_postgres_old_or_new(postgres: Postgres) -> None:
    check(postgres_target(postgres.with_database("killed")))


def test_a_killed_load_leaves_mariadb_old_or_new(mariadb: MariaDb) -> None:
    mariadb.query("DROP TABLE IF EXISTS audience_trends, audience_trends_corrections")
    check(mariadb_target(mariadb))


def test_a_killed_load_leaves_a_folder_old_or_new(tmp_path: Path) -> None:
    check(local_target(tmp_path))


def test_a_killed_load_leaves_an_object_old_or_new(places: Places) -> None:
    # Not a server of its own: a second one in a process would end the first.
    check(s3_target(places.bucket))
