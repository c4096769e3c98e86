"""The client of the control API; needs the standard library only."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Self

#: Seconds to wait for an answer; the longer time is for calls that change 100,000 jobs on a busy machine.
_TIMEOUT, _LONG_TIMEOUT = 30.0, 120.0


class SandboxControl:
    """The control API of a sandbox.

    :param account: name of the account to inspect and change; the first one by default.
    :param token: control token, unless the sandbox listens on loopback only.
    :param authority: file of the authority of a sandbox with TLS.
    :raises ValueError: by every method, if the sandbox rejects the request.
    """

    def __init__(
        self, url: str, account: str | None = None, *, token: str | None = None, authority: str | None = None
    ) -> None:
        self._url = f"{url}/_sandbox"
        self._account = account
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[urllib.request.BaseHandler] = []
        if authority is not None:
            handlers = [urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authority))]
        # Ignores the proxies of the environment: they do not reach this machine's loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)

    @classmethod
    def at(cls, address: Mapping[str, Any], account: str | None = None) -> Self:
        """Return the control API of the sandbox with an address, as it is in ``sandbox.json``."""
        return cls(address["url"], account, token=address["control_token"], authority=address["authority"])

    def behaviour(self, **changes: Any) -> dict[str, Any]:
        """Change the account's behavior (see ``settings.Behaviour``) and return all of it."""
        result: dict[str, Any] = (
            self._call("PATCH", "/behaviour", changes) if changes else self._call("GET", "/behaviour")
        )
        return result

    def fault(self, request: str, effect: str, **options: Any) -> None:
        """Add a fault (see ``faults.Fault``)."""
        self._call("POST", "/faults", {"request": request, "effect": effect, **options})

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still active."""
        result: list[dict[str, Any]] = self._call("GET", "/faults")
        return result

    def clear_faults(self) -> None:
        """Delete the faults."""
        self._call("DELETE", "/faults")

    def fate(self, **fate: Any) -> None:
        """Decide what happens to one of the next exports, or to every one that matches (see ``fates.Fate``)."""
        self._call("POST", "/fates", fate)

    def fates(self) -> list[dict[str, Any]]:
        """Return the fates, each with the number of exports that matched so far."""
        result: list[dict[str, Any]] = self._call("GET", "/fates")
        return result

    def clear_fates(self) -> None:
        """Delete the fates; jobs that have one keep it."""
        self._call("DELETE", "/fates")

    def clock(self, **change: Any) -> dict[str, Any]:
        """Change the sandbox's clock, or only read it, and return it.

        :param now: date and time in ISO 8601 to set it to.
        :param move: seconds to move it by, also negative.
        :param stopped: whether it stands still.
        """
        result: dict[str, Any] = self._call("PATCH", "/clock", change) if change else self._call("GET", "/clock")
        return result

    def reset_clock(self) -> None:
        """Return to the real time."""
        self._call("DELETE", "/clock")

    def accounts(self) -> list[dict[str, Any]]:
        """Return the name, time zone, and audiences of every account."""
        result: list[dict[str, Any]] = self._call("GET", "/accounts")
        return result

    def change_account(
        self, *, audiences: Sequence[Mapping[str, Any]] | None = None, timezone: str | None = None
    ) -> dict[str, Any]:
        """Change the account until the next reset, and return its name, time zone, and audiences.

        :param audiences: all audiences from now on, each with the members of one in a seed file (see
            ``accounts.Audience``); unchanged by default.
        :param timezone: name such as ``America/New_York``; unchanged by default.
        """
        changes = {"audiences": audiences, "timezone": timezone}
        result: dict[str, Any] = self._call("PATCH", "/account", changes)
        return result

    def jobs(self, limit: int = 20_000, status: str | None = None) -> list[dict[str, Any]]:
        """Return the newest jobs, newest first.

        :param limit: at most this many, up to 20,000.
        :param status: return the jobs in this status only.
        """
        query = {"limit": limit} if status is None else {"limit": limit, "status": status}
        result: list[dict[str, Any]] = self._call("GET", f"/jobs?{urllib.parse.urlencode(query)}")
        return result

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        result: dict[str, Any] = self._call("GET", f"/jobs/{job_id}")
        return result

    def add_jobs(self, count: int, *, shortest: float, longest: float) -> list[str]:
        """Add many jobs that deliver to the Jobs page, with evenly spaced durations, and return their ids.

        :param shortest: duration of the first job in seconds.
        :param longest: duration of the last job in seconds.
        """
        bulk = {"count": count, "shortest": shortest, "longest": longest}
        result: list[str] = self._call("POST", "/jobs", bulk, timeout=_LONG_TIMEOUT)
        return result

    def snapshots(self, *, audience: str, start: str, end: str) -> list[dict[str, Any]]:
        """Return the account's snapshots of an audience, without an export."""
        query = urllib.parse.urlencode({"audience": audience, "start": start, "end": end})
        result: list[dict[str, Any]] = self._call("GET", f"/snapshots?{query}")
        return result

    def create_saved_key(self, name: str) -> str:
        """Create a key pair in the account's Secrets Vault and return its public key."""
        return str(self._call("PUT", f"/saved-keys/{urllib.parse.quote(name, safe='')}")["public_key"])

    def requests(self) -> list[dict[str, Any]]:
        """Return the recorded requests to the API, oldest first."""
        result: list[dict[str, Any]] = self._call("GET", "/requests")
        return result

    def clear_requests(self) -> None:
        """Delete the recorded requests."""
        self._call("DELETE", "/requests")

    def export_state(self) -> dict[str, Any]:
        """Return jobs with their files, behavior, faults, fates, and the clock of all accounts, without secrets."""
        result: dict[str, Any] = self._call("GET", "/state")
        return result

    def import_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by an exported state; its accounts must exist."""
        self._call("PUT", "/state", state)

    def health(self) -> dict[str, Any]:
        """Return ``{"status": "ok"}``.

        :raises OSError: the sandbox does not respond.
        """
        result: dict[str, Any] = self._call("GET", "/health")
        return result

    def ready(self) -> dict[str, Any]:
        """Return ``{"status": "ready"}`` if the database answers.

        :raises OSError: the sandbox does not respond.
        """
        result: dict[str, Any] = self._call("GET", "/ready")
        return result

    def reset(self) -> None:
        """Delete jobs with their downloads, faults, fates, and requests, and restore everything else as it was.

        That is the behavior, the audiences, and the time zone of the account at the start. Without an account it resets
        all of them, deletes the saved keys and the SFTP files, and resets the clock.
        """
        self._call("POST", "/reset", timeout=_LONG_TIMEOUT)

    def _call(self, method: str, path: str, body: Any = None, timeout: float = _TIMEOUT) -> Any:
        account = "" if self._account is None else urllib.parse.urlencode({"account": self._account})
        separator = "&" if "?" in path else "?"
        request = urllib.request.Request(  # noqa: S310 - the address is the sandbox's own
            self._url + path + (separator + account if account else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=self._headers,
        )
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            msg = f"{method} {path} failed with status {error.code}: {error.read().decode(errors='replace')}"
            raise ValueError(msg) from None
