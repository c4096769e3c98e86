"""The hook."""

from __future__ import annotations

from airflow_provider_cordial.hooks.cordial import CordialHook

__all__ = ["CordialHook"]
