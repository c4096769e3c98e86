"""Delete what Cordial keeps for a time only.

Source: Cordial, "Jobs API": 60 days for the records of jobs; "Audience Trends export API": 30 days for the files on the
Jobs page.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.clock import Clock
from cordial_sandbox.jobs import yield_to_requests

_DAY = 24 * 60 * 60
JOBS_KEPT = 60 * _DAY
FILES_KEPT = 30 * _DAY

_INTERVAL = 60.0


async def delete_expired(accounts: Accounts, clock: Clock, data: Path) -> None:
    """Delete the jobs and the files on the Jobs page whose time is over by the clock, and those that are too many."""
    now = clock.now()
    for state in accounts.states:
        while folders := state.store.forget_files_before(now - FILES_KEPT):
            await delete_downloads(data, folders)
        started = time.monotonic()
        while state.store.delete_jobs_before(now - JOBS_KEPT):
            await yield_to_requests(started)
            started = time.monotonic()
        while (excess := state.store.delete_excess_jobs()) is not None:
            await delete_downloads(data, excess)


async def delete_downloads(data: Path, folders: Collection[str]) -> None:
    """Delete folders of the Jobs page, in a thread, as there may be many."""

    def delete() -> None:
        for folder in folders:
            shutil.rmtree(data / "downloads" / folder, ignore_errors=True)

    await asyncio.to_thread(delete)


async def delete_expired_regularly(accounts: Accounts, clock: Clock, data: Path) -> None:
    while True:
        await delete_expired(accounts, clock, data)
        await asyncio.sleep(_INTERVAL)
