"""Serve the store, the SFTP server, the job runner, and the API in one event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from cordial_sandbox.access import is_loopback
from cordial_sandbox.account_state import Accounts, AccountState
from cordial_sandbox.accounts import Account, default_accounts, read_seed
from cordial_sandbox.addresses import ADDRESS_FILE, build_address, write_addresses
from cordial_sandbox.app import create_app
from cordial_sandbox.certificate import Certificate, create_certificate
from cordial_sandbox.database import Database
from cordial_sandbox.delivery import Site
from cordial_sandbox.jobs import JobRunner
from cordial_sandbox.rate_limit import Windows
from cordial_sandbox.retention import delete_expired_regularly
from cordial_sandbox.servers.sftp import FOLDER, USERNAME, SftpFolder, sftp_server
from cordial_sandbox.settings import Behaviour, Settings
from cordial_sandbox.store import Store
from cordial_sandbox.vault import Vault

log = logging.getLogger(__name__)

_STOP_SECONDS = 1.5

_METADATA_SERVICE = "169.254.169.254"


async def serve(settings: Settings, announce: Callable[[Mapping[str, Any]], None] = lambda _address: None) -> None:
    """Serve until SIGINT or SIGTERM arrives.

    :param announce: called with the address once the sandbox is ready (see ``addresses.build_address``).
    :raises ValueError: the seed file is invalid; nothing was written.
    :raises RuntimeError: the data folder cannot be used.
    """
    # Before anything starts: a bad seed file must leave no trace.
    configured = (
        default_accounts(settings.api_key) if settings.seed is None else read_seed(settings.seed, settings.api_key)
    )
    # Whatever the sandbox writes is readable by its owner only.
    os.umask(0o077)
    data = settings.data.resolve()
    database = Database(data)
    public_host = settings.public_host or _name_host(settings.host)
    site = Site(data, (*settings.deliver_to, public_host))
    _forbid_metadata_services(site)
    accounts = Accounts([_create_state(database, account, site, settings.job_seconds) for account in configured])
    password = _keep_secret(database, "sftp", "password", settings.sftp_password)
    token = None
    if requires_token(settings):
        token = _keep_secret(database, "control", "token", settings.control_token)
    certificate = _choose_certificate(data, settings.host, public_host) if settings.tls else None
    folder = SftpFolder(data / "sftp")
    vault = Vault(data)
    listener = _bind(database, settings.host, "port", settings.port)
    sftp_listener = _bind(database, settings.host, "sftp port", settings.sftp_port)
    async with sftp_server(folder, password, vault, data / "sftp_host_key", sftp_listener):
        hosts = (*settings.allow_hosts, public_host)
        app = create_app(accounts, database.clock, folder, vault, data, hosts=hosts, token=token)
        server = _create_server(app, certificate)
        if settings.stop_on_eof:
            _stop_on_eof(server)
        expiry = asyncio.create_task(delete_expired_regularly(accounts, database.clock, data))
        for state in accounts.states:
            state.runner.resume()
        # What has been loaded lives as long as the process: without this, collections take 30 ms.
        gc.freeze()
        # The socket listens from here on: a client that connects before the server runs is served a moment later.
        listener.listen()
        port, sftp_port = listener.getsockname()[1], sftp_listener.getsockname()[1]
        address = build_address(
            configured,
            url=f"{'http' if certificate is None else 'https'}://{_in_url(public_host)}:{port}",
            sftp={
                "host": public_host,
                "port": sftp_port,
                "username": USERNAME,
                "password": password,
                "root": str(folder.root),
            },
            pid=os.getpid(),
            token=token,
            authority=None if certificate is None else str(certificate.authority),
        )
        write_addresses(data, address)
        log.info(
            "Cordial sandbox is ready at %s, its SFTP server at %s:%s (folder %r); addresses and secrets are in %s",
            address["url"],
            public_host,
            sftp_port,
            FOLDER,
            data / ADDRESS_FILE,
        )
        announce(address)
        await server.serve(sockets=[listener])
        expiry.cancel()
        for state in accounts.states:
            await state.runner.stop()
            state.store.save()
    database.close()


def requires_token(settings: Settings) -> bool:
    """Return whether the control API and the pages require a token: other machines can reach them, or it was given."""
    return settings.control_token is not None or not is_loopback(settings.host)


def _create_state(database: Database, account: Account, site: Site, job_seconds: float) -> AccountState:
    store = Store(database, account.name)
    store.set_first_behaviour(Behaviour(job_seconds=job_seconds))
    return AccountState(account, store, JobRunner(store, account, site), Windows())


def _forbid_metadata_services(site: Site) -> None:
    """Keep the clients of cloud storage from asking the machine's metadata service for credentials."""
    if not site.permits(_METADATA_SERVICE):
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        os.environ.setdefault("NO_GCE_CHECK", "true")


def _keep_secret(database: Database, fact: str, member: str, configured: str | None) -> str:
    """Return the configured secret, or that of the last start, or a generated one; store it for the next start."""
    generated = {member: secrets.token_urlsafe(18)}
    secret: str = configured or database.get_fact(fact, generated)[member]
    database.set_fact(fact, {member: secret})
    return secret


def _choose_certificate(data: Path, host: str, public_host: str) -> Certificate:
    names = (public_host, host, "localhost", "127.0.0.1", "::1", socket.gethostname())
    return create_certificate(data / "tls", list(dict.fromkeys(names)))


class _Server(uvicorn.Server):
    """A server that stops in time, and whose signals stop nothing else."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as uvicorn calls it
        """Stop. Unlike uvicorn's own handler, it does not raise the signal again, which would skip what follows."""
        self.should_exit = True
        # Whatever is still busy then would also survive a crash: everything is committed before it takes effect.
        timer = threading.Timer(_STOP_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()


def _create_server(app: ASGIApp, certificate: Certificate | None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        # As servers in front of an API do: longer than the usual pause between two polls of a client.
        timeout_keep_alive=75,
        ssl_certfile=None if certificate is None else certificate.chain,
    )
    server = _Server(config)
    # For a signal that arrives before the server runs, and installs them as well.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, server.handle_exit)
    return server


def _bind(database: Database, host: str, name: str, configured: int) -> socket.socket:
    """Return a socket on the configured port, or on that of the last start, or on a free one.

    :raises RuntimeError: the address cannot be used.
    """
    last = database.get_fact(name).get("port", 0)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, configured or last, type=socket.SOCK_STREAM)[0]
        # asyncio sets TCP_NODELAY only on sockets created with an explicit protocol. Without it, the body of a response
        # waits up to 40 ms for the client to acknowledge the headers.
        listener = socket.socket(family, proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:
            if configured or not last:
                raise
            log.warning("The %s of the last start, %d, is taken; choosing another", name, last)
            listener.bind((host, 0))
    except OSError as error:
        msg = f"Cannot listen on {host}, {name} {configured or last}: {error.strerror}"
        raise RuntimeError(msg) from None
    database.set_fact(name, {"port": listener.getsockname()[1]})
    return listener


def _name_host(host: str) -> str:
    """Return the name of this machine for the address that means all of its addresses."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _stop_on_eof(server: uvicorn.Server) -> None:
    def wait() -> None:
        # Reads the descriptor, as this thread would hold the lock of sys.stdin, which aborts the interpreter at exit.
        while os.read(0, 1024):
            pass
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
