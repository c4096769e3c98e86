"""Serve the store, the SFTP server, the job runner, and the API in one event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import secrets
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.accounts import Account, default_accounts, read_seed
from cordial_sandbox.app import create_app
from cordial_sandbox.database import Database
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.retention import delete_expired_regularly
from cordial_sandbox.servers.sftp import FOLDER, USERNAME, SftpFolder, sftp_server
from cordial_sandbox.settings import Behaviour, Settings
from cordial_sandbox.store import Store
from cordial_sandbox.vault import Vault

log = logging.getLogger(__name__)

HOST = "127.0.0.1"


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM arrives.

    :raises ValueError: the seed file is invalid; nothing was written.
    :raises RuntimeError: the data folder cannot be used.
    """
    # Before anything starts: a bad seed file must leave no trace.
    configured = default_accounts(settings.api_key) if settings.seed is None else read_seed(settings.seed)
    # Whatever the sandbox writes is readable by its owner only.
    os.umask(0o077)
    data = settings.data.resolve()
    database = Database(data)
    accounts = Accounts([_create_state(database, account, data, settings.job_seconds) for account in configured])
    password = _choose_sftp_password(database, settings.sftp_password)
    folder = SftpFolder(data / "sftp")
    vault = Vault(data)
    listener = _bind(database, "port", settings.port)
    sftp_listener = _bind(database, "sftp port", settings.sftp_port)
    async with sftp_server(folder, password, vault, data / "sftp_host_key", sftp_listener):
        server = _create_server(create_app(accounts, database.clock, folder, vault, data))
        if settings.stop_on_eof:
            _stop_on_eof(server)
        expiry = asyncio.create_task(delete_expired_regularly(accounts, database.clock, data))
        for state in accounts.states:
            state.runner.resume()
        # What has been loaded lives as long as the process: without this, collections take 30 ms.
        gc.freeze()
        _stop_on_signals(server)
        # The socket listens from here on: a client that connects before the server runs is served a moment later.
        listener.listen()
        address: dict[str, Any] = {
            "url": f"http://{HOST}:{listener.getsockname()[1]}",
            "api_key": configured[0].keys[0].key,
            "accounts": {account.name: [key.key for key in account.keys] for account in configured},
            "pid": os.getpid(),
            "sftp": {
                "host": HOST,
                "port": sftp_listener.getsockname()[1],
                "username": USERNAME,
                "password": password,
                "root": str(folder.root),
            },
        }
        _write_json(data / "airflow-connections.json", airflow_connections(address))
        _write_json(data / "sandbox.json", address)
        log.info(
            "Cordial sandbox is ready at %s, its SFTP server at %s:%s (folder %r); addresses and secrets are in %s",
            address["url"],
            HOST,
            sftp_listener.getsockname()[1],
            FOLDER,
            data / "sandbox.json",
        )
        await server.serve(sockets=[listener])
        expiry.cancel()
        for state in accounts.states:
            await state.runner.stop()
            state.store.save()
    database.close()


def _create_state(database: Database, account: Account, data: Path, job_seconds: float) -> AccountState:
    store = Store(database, account.name)
    store.set_first_behaviour(Behaviour(job_seconds=job_seconds))
    return AccountState(account, store, JobRunner(store, account, data), Windows())


def _choose_sftp_password(database: Database, configured: str | None) -> str:
    """Return the configured password, or that of the last start, or a generated one; store it for the next start."""
    generated = {"password": secrets.token_urlsafe(18)}
    password: str = configured or database.get_fact("sftp", generated)["password"]
    database.set_fact("sftp", {"password": password})
    return password


def _create_server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        # As servers in front of an API do: longer than the usual pause between two polls of a client.
        timeout_keep_alive=75,
    )
    return uvicorn.Server(config)


def _stop_on_signals(server: uvicorn.Server) -> None:
    # uvicorn re-raises the signal that stopped it, which would skip the shutdown of the job runner and the store.
    # These handlers also catch a signal that arrives before uvicorn installs its own.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: setattr(server, "should_exit", True))


def _bind(database: Database, name: str, configured: int) -> socket.socket:
    """Return a socket on the configured port, or on that of the last start, or on a free one."""
    last = database.get_fact(name).get("port", 0)
    # asyncio sets TCP_NODELAY only on sockets created with an explicit protocol. Without it, the body of a response
    # waits up to 40 ms for the client to acknowledge the headers.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, configured or last))
    except OSError:
        if configured or not last:
            raise
        log.warning("The %s of the last start, %d, is taken; choosing another", name, last)
        listener.bind((HOST, 0))
    database.set_fact(name, {"port": listener.getsockname()[1]})
    return listener


def airflow_connections(address: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the connections to this sandbox as ``airflow connections import`` reads them."""
    sftp = address["sftp"]
    # Apart from the host, because Airflow's UI only tests a connection with a port.
    host, _, port = address["url"].rpartition(":")
    return {
        "cordial_default": {
            "conn_type": "cordial",
            "host": host,
            "port": int(port),
            "password": address["api_key"],
        },
        "sftp_default": {
            "conn_type": "sftp",
            "host": sftp["host"],
            "port": sftp["port"],
            "login": sftp["username"],
            "password": sftp["password"],
            # The server is on this machine.
            "extra": json.dumps({"no_host_key_check": "true", "look_for_keys": "false"}),
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def _stop_on_eof(server: uvicorn.Server) -> None:
    def wait() -> None:
        # Reads the descriptor, as this thread would hold the lock of sys.stdin, which aborts the interpreter at exit.
        while os.read(0, 1024):
            pass
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
