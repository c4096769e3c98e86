"""The clients that take long to import, for the process that loads are forked from."""

from __future__ import annotations

import os

# Snowflake's would start a thread that imports: a fork could take the lock of a module with it.
os.environ["SNOWFLAKE_DISABLE_MINICORE"] = "true"

import snowflake.connector  # noqa: F401
