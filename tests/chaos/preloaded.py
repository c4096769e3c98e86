"""Imported once by the process that all loads are forked from: finding Airflow's file systems takes a second."""

from __future__ import annotations

from airflow.sdk.io import get_fs

get_fs("file")
