"""Start everything: the store, the SFTP server, the job runner and the API, in one event loop."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import threading
from pathlib import Path

import uvicorn

from cordial_sandbox.app import create_app
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.servers.sftp import FOLDER, USERNAME, SftpFolder, sftp_server
from cordial_sandbox.settings import Behaviour, Settings
from cordial_sandbox.store import Store
from cordial_sandbox.vault import Vault

log = logging.getLogger(__name__)

HOST = "127.0.0.1"


async def serve(settings: Settings) -> None:
    """Serve until a signal says to stop."""
    data = settings.data.resolve()
    store = Store(data)
    behaviour = Behaviour(job_seconds=settings.job_seconds).model_dump()
    store.remember("first behaviour", behaviour)
    store.fact("behaviour", behaviour)
    password = settings.sftp_password or store.fact("sftp", {"password": secrets.token_urlsafe(18)})["password"]
    store.remember("sftp", {"password": password})
    folder = SftpFolder(data / "sftp")
    vault = Vault(data)
    runner = JobRunner(store, data)
    listener = _listen(store, "port", settings.port)
    sftp_listener = _listen(store, "sftp port", settings.sftp_port)
    address = {
        "url": f"http://{HOST}:{listener.getsockname()[1]}",
        "api_key": settings.api_key,
        "pid": os.getpid(),
        "sftp": {
            "host": HOST,
            "port": sftp_listener.getsockname()[1],
            "username": USERNAME,
            "password": password,
            "root": str(folder.root),
        },
    }
    async with sftp_server(folder, password, vault, data / "sftp_host_key", sftp_listener):
        app = create_app(store, runner, folder, vault, api_key=settings.api_key)
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            # As servers before an API do: longer than clients pause that look now and then.
            timeout_keep_alive=75,
        )
        server = uvicorn.Server(config)
        if settings.stop_on_eof:
            _stop_on_eof(server)
        runner.resume()
        # uvicorn raises a signal that has stopped it once more, when it is done; there is still something to close.
        # One that comes before uvicorn listens for it is not lost.
        for received in (signal.SIGINT, signal.SIGTERM):
            signal.signal(received, lambda *_: setattr(server, "should_exit", True))
        # The sockets listen from here on: who connects before the server has started is served a moment later.
        listener.listen()
        _publish(data / "sandbox.json", address)
        log.info(
            "Cordial sandbox is ready at %s, its SFTP server at %s:%s (folder %r); addresses and secrets are in %s",
            address["url"],
            HOST,
            sftp_listener.getsockname()[1],
            FOLDER,
            data / "sandbox.json",
        )
        await server.serve(sockets=[listener])
        await runner.stop()
    store.close()


def _listen(store: Store, name: str, wanted: int) -> socket.socket:
    """Return a socket on the port that is wanted, else on that of the last start, else on a free one."""
    last = store.fact(name).get("port", 0)
    # By its protocol: asyncio then sends each piece of an answer at once. Otherwise its body waits for the client to
    # acknowledge its head, for which a client takes 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, wanted or last))
    except OSError:
        if wanted or not last:
            raise
        log.warning("The %s of the last start, %d, is taken; choosing another", name, last)
        listener.bind((HOST, 0))
    store.remember(name, {"port": listener.getsockname()[1]})
    return listener


def _publish(path: Path, address: dict[str, object]) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(address, indent=1))
    unfinished.replace(path)


def _stop_on_eof(server: uvicorn.Server) -> None:
    def wait() -> None:
        # Not through sys.stdin: its lock, held by this thread, aborts the interpreter when it ends for another reason.
        while os.read(0, 1024):
            pass
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
