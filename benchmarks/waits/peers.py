"""The parts of dbt Cloud's and Databricks' APIs that their triggers call, in its own process: ``peers.py PORT PEM``.

The id of a run is the moment of its end in milliseconds since the epoch, so the service has no state.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time

from aiohttp import web

BACKLOG = 4096

DBT_RUNNING, DBT_SUCCESS = 3, 10


class Services:
    """Answers for both APIs, and counts the requests."""

    def __init__(self) -> None:
        self._requests = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        match request.path.strip("/").split("/"):
            case ["requests"]:
                return web.json_response(self._requests)
            case ["api", "v2", "accounts", _, "runs", run]:
                self._requests += 1
                status = DBT_SUCCESS if is_done(int(run)) else DBT_RUNNING
                return web.json_response({"data": {"id": int(run), "status": status}})
            case ["api", _, "jobs", "runs", "get"]:
                self._requests += 1
                run_id = (await request.json())["run_id"]
                done = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}
                state = done if is_done(run_id) else {"life_cycle_state": "RUNNING"}
                return web.json_response({"run_id": run_id, "state": {**state, "state_message": ""}, "tasks": []})
            case _:
                return web.json_response({}, status=404)


def is_done(run_id: int) -> bool:
    return time.time() * 1000 >= run_id


async def serve(port: int, pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    loop, server = asyncio.get_running_loop(), web.Server(Services().answer)
    listener = await loop.create_server(server, "127.0.0.1", port, ssl=context, backlog=BACKLOG)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
