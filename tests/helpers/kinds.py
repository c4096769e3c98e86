"""A small Cordial over HTTP for the exports of records: it accepts every kind, and a test sets how its jobs end."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KINDS = ("contactexports", "contactactivityexport", "messageanalyticsexport", "accountmonitorexport")

API_KEY = "key-of-the-small-cordial"


class SmallCordial:
    """The state of the server.

    :ivar posts: each accepted submission: its kind and its body.
    :ivar status: of every job.
    :ivar refusal: the status and the message with which each submission is refused, if any.
    """

    def __init__(self) -> None:
        self.url = ""
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.status = "Done"
        self.refusal: tuple[int, str] | None = None

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        _, version, *rest = path.partition("?")[0].split("/")
        if version == "v2" and rest == ["jobs"]:
            return 200, [self.job(number) for number in range(len(self.posts))] if "page=1" in path else []
        if version == "v2" and rest[0] == "jobs" and rest[1] in self.ids:
            return 200, self.job(self.ids.index(rest[1]))
        if method == "POST" and version == "v2" and rest[0] in KINDS:
            if self.refusal:
                return self.refusal[0], {"error": True, "errorKey": "GENERIC_ERROR_KEY", "message": self.refusal[1]}
            self.posts.append((rest[0], body))
            return 200, {"jobId": self.ids[-1]}
        return 404, {"error": True, "errorKey": "RECORD_NOT_FOUND", "message": "record not found"}

    @property
    def ids(self) -> list[str]:
        return [f"{number:024x}" for number in range(1, len(self.posts) + 1)]

    def job(self, number: int) -> dict[str, Any]:
        """Return the record of a job."""
        kind, body = self.posts[number]
        names = dict(
            zip(KINDS, ("ExportContacts", "ExportEvents", "ExportMessageAnalytics", "ExportClientsLogs"), strict=True)
        )
        return {
            "_id": self.ids[number],
            "status": self.status,
            "jobName": names[kind],
            "metadata": {"name": body["name"]},
        }


@contextmanager
def small_cordial() -> Iterator[SmallCordial]:
    """Serve a small Cordial, and yield its state."""
    state = SmallCordial()
    authorization = f"Basic {base64.b64encode(f'{API_KEY}:'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            assert self.headers["Authorization"] == authorization
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
            status, payload = state.answer(self.command, self.path, body)
            content = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
