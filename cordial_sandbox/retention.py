"""Delete what Cordial keeps for a time only.

Source: Cordial, "Jobs API": 60 days for the records of jobs; "Audience Trends export API": 30 days for the files on the
Jobs page.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from cordial_sandbox.account_state import Accounts
from cordial_sandbox.clock import Clock

_DAY = 24 * 60 * 60
JOBS_KEPT = 60 * _DAY
FILES_KEPT = 30 * _DAY

_INTERVAL = 60.0


def delete_expired(accounts: Accounts, clock: Clock, data: Path) -> None:
    """Delete the jobs and the files on the Jobs page whose time is over by the clock."""
    now = clock.now()
    for state in accounts.states:
        for job_id in state.store.find_files_before(now - FILES_KEPT):
            delete_download(data, job_id)
        state.store.delete_jobs_before(now - JOBS_KEPT)


def delete_download(data: Path, job_id: str) -> None:
    shutil.rmtree(data / "downloads" / job_id, ignore_errors=True)


async def delete_expired_regularly(accounts: Accounts, clock: Clock, data: Path) -> None:
    while True:
        delete_expired(accounts, clock, data)
        await asyncio.sleep(_INTERVAL)
