"""The account of a test: audiences, clock, and failures as methods; needs the standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal

from cordial_sandbox.operations import Export, Operation
from cordial_sandbox.process import SandboxProcess

__all__ = ["CordialAccount", "Sizes"]

#: The snapshots of an audience: contacts by day, or the same number on every day.
Sizes = int | Mapping[str, int | None] | Mapping[date, int | None]


class CordialAccount:
    """The first account of a local Cordial, as a test needs it.

    The fixture ``cordial_account`` provides it after a reset, together with its Airflow connections.

    :raises ValueError: by every method, if the sandbox rejects the request.
    """

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self._control = sandbox.control

    @property
    def url(self) -> str:
        """The address of the API."""
        return self.sandbox.url

    @property
    def api_key(self) -> str:
        return self.sandbox.api_key

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with the Airflow connections ``cordial_default`` and ``sftp_default``."""
        connections = json.loads((self.sandbox.data / "airflow-connections.json").read_text())
        return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in connections.items()}

    def audiences(self, sizes: Mapping[str, Sizes | None]) -> None:
        """Replace all audiences of the account.

        A day that is not over by the sandbox's clock has no snapshot yet.

        :param sizes: by name of the audience, its contacts by day, where other days have no snapshot; or one number for
            every day; or None for an audience without Audience Trend analytics.
        """
        self._control.change_account(audiences=[_build_audience(name, one) for name, one in sizes.items()])

    def timezone(self, name: str) -> None:
        """Set the time zone of the account, such as ``America/New_York``, in which its days end."""
        self._control.change_account(timezone=name)

    def clock(
        self, *, now: datetime | str | None = None, move: timedelta | float = 0.0, stopped: bool | None = None
    ) -> datetime:
        """Set the sandbox's clock, then move it, then stop or start it, and return its time.

        :param now: in UTC without an offset.
        :param move: also negative; a number is in seconds.
        """
        seconds = move.total_seconds() if isinstance(move, timedelta) else move
        changed = self._control.clock(now=None if now is None else _to_text(now), move=seconds, stopped=stopped)
        return datetime.fromisoformat(changed["now"])

    def fault(
        self,
        request: Operation | Literal["create_export", "any"],
        effect: Literal["answer", "reset", "truncate", "delay"],
        *,
        times: int | None = None,
        status: int = 500,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        seconds: float = 0.0,
        processed: bool = False,
    ) -> None:
        """Break the next requests of a kind.

        :param request: an operation; ``create_export`` for an export of any kind, ``any`` for all requests.
        :param effect: ``answer`` with ``status``, ``headers``, and ``body``; ``reset`` the connection; ``truncate`` the
            response; ``delay`` it by ``seconds``.
        :param times: number of requests to affect; unlimited by default.
        :param processed: whether the request is processed anyway, so that only its response is affected.
        """
        self._control.fault(
            request,
            effect,
            times=times,
            status=status,
            headers=dict(headers or {}),
            body=body,
            seconds=seconds,
            processed=processed,
        )

    def fate(
        self,
        *,
        kind: Export | None = None,
        name: str = "*",
        audience: str | None = None,
        nth: int | None = None,
        fails_with: str | None = None,
        stays_in: str | None = None,
        missing_days: Iterable[date | str] = (),
    ) -> None:
        """Decide what happens to the next exports that match.

        :param kind: path of the export, such as ``audiencetrendsexport``; any by default.
        :param name: pattern of the export's name, with ``*`` and ``?``.
        :param audience: name of an audience that the export asks for.
        :param nth: only the n-th of the exports that match; every one by default.
        :param fails_with: reason with which the job fails.
        :param stays_in: status in which the job stops for good.
        :param missing_days: days that are blank in the file.
        """
        self._control.fate(
            kind=kind,
            name=name,
            audience=audience,
            nth=nth,
            fails_with=fails_with,
            stays_in=stays_in,
            missing_days=[str(day) for day in missing_days],
        )

    def behaviour(self, **changes: Any) -> dict[str, Any]:
        """Change how the account behaves, such as ``job_seconds`` or ``csv_bom``, and return all of it.

        ``cordial_sandbox.settings.Behaviour`` describes the options.
        """
        return self._control.behaviour(**changes)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs, newest first."""
        return self._control.jobs()

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests to the API, oldest first."""
        return self._control.requests()

    def snapshots(self, audience: str, start: date | str, end: date | str) -> dict[str, int | None]:
        """Return the contacts of an audience by day, without an export; None is a day without a snapshot."""
        found = self._control.snapshots(audience=audience, start=str(start), end=str(end))
        return {one["date"]: one["contacts"] for one in found}


def _build_audience(name: str, sizes: Sizes | None) -> dict[str, Any]:
    """Return an audience as a seed file has it."""
    if sizes is None:
        return {"name": name, "analytics": False}
    if isinstance(sizes, Mapping):
        return {"name": name, "sizes": {str(day): count for day, count in sizes.items()}}
    return {"name": name, "sizes": sizes}


def _to_text(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else moment.isoformat()
