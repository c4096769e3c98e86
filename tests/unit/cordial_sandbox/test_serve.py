"""The start and the end of a sandbox: its addresses, its certificate, and how fast it stops."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from airflow.models.connection import Connection

from airflow_provider_cordial.client import async_client
from airflow_provider_cordial.client.async_client import AsyncCordialClient
from airflow_provider_cordial.client.connection import CordialConnection
from airflow_provider_cordial.client.job import Job
from airflow_provider_cordial.hooks.cordial import CordialHook, read_connection
from cordial_sandbox.accounts import default_accounts
from cordial_sandbox.addresses import airflow_connections, build_address, describe_addresses
from cordial_sandbox.process import SandboxProcess
from tests.helpers.sandbox import SetConnection, submit

SEED = """
accounts:
  - {name: retail, keys: [{key: retail-key}], audiences: [{name: vip}]}
  - {name: wholesale, keys: [{key: "it's a key"}, {key: second}], audiences: [{name: vip}]}
"""


def test_the_file_of_connections_is_as_airflow_reads_it(cordial_sandbox: SandboxProcess) -> None:
    content = json.loads((cordial_sandbox.data / "airflow-connections.json").read_text())
    cordial, sftp = (Connection(conn_id=name, **fields) for name, fields in content.items())
    assert (cordial.conn_id, cordial.conn_type) == ("cordial_default", "cordial")
    assert f"{cordial.host}:{cordial.port}" == cordial_sandbox.url
    assert cordial.password == cordial_sandbox.api_key
    assert (sftp.conn_type, sftp.port, sftp.password) == (
        "sftp",
        cordial_sandbox.sftp.port,
        cordial_sandbox.sftp.password,
    )
    assert sftp.extra_dejson["no_host_key_check"] == "true"


def test_the_printed_lines_add_a_connection_of_every_account(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text(SEED)
    process = start(tmp_path, "--seed", str(tmp_path / "seed.yaml"))
    try:
        address = wait_for_address(tmp_path)
    finally:
        printed, log = end(process)
    lines = [shlex.split(line) for line in printed.splitlines() if line.startswith("airflow connections add ")]
    connections = {line[3]: json.loads(line[5]) for line in lines}
    assert connections == json.loads((tmp_path / "data" / "airflow-connections.json").read_text())
    passwords = {name: fields["password"] for name, fields in connections.items()}
    assert passwords == {
        "cordial_default": "retail-key",
        "cordial_wholesale": "it's a key",
        "sftp_default": address["sftp"]["password"],
    }
    assert f"Local Cordial: {address['url']} " in printed
    assert not [secret for secret in passwords.values() if secret in log]


def test_the_connections_of_a_sandbox_in_a_container_are_accepted() -> None:
    sftp = {"host": "cordial", "port": 2222, "username": "cordial", "password": "p", "root": "/data/sftp"}
    for url, base_url in (("http://cordial:8080", "http://cordial:8080"), ("https://[::1]:8080", "https://[::1]:8080")):
        address = build_address(default_accounts("key-0815"), url=url, sftp=sftp, pid=1, token=None, authority=None)
        fields = airflow_connections(address)["cordial_default"]
        connection = CordialConnection.from_airflow(Connection(conn_id="cordial_default", **fields))
        assert connection.base_url == base_url


def test_the_address_can_be_printed_as_json(tmp_path: Path) -> None:
    process = start(tmp_path, "--json", "--control-token", "token-of-the-test")
    try:
        address = wait_for_address(tmp_path)
    finally:
        printed, _ = end(process)
    assert json.loads(printed) == address
    assert "token of the control API: token-of-the-test" in describe_addresses(address)


def test_a_quiet_sandbox_prints_no_secret(cordial_sandbox: SandboxProcess) -> None:
    log = cordial_sandbox.log.read_text()
    assert cordial_sandbox.url in log
    assert cordial_sandbox.api_key not in log
    assert cordial_sandbox.sftp.password not in log


def test_an_address_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(tmp_path, "--port", str(port))
        assert process.wait(20) == 1
    _, log = end(process)
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use" in log
    process = start(tmp_path, "--host", "no-such-host.invalid")
    assert process.wait(20) == 1
    assert "Cannot listen on no-such-host.invalid" in end(process)[1]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(tmp_path_factory.mktemp("encrypted"), job_seconds=0.1, options=["--tls"]) as sandbox:
        yield sandbox


def test_tls_serves_the_hook_and_the_triggerer(
    encrypted: SandboxProcess, set_connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = json.loads((encrypted.data / "sandbox.json").read_text())
    assert encrypted.url.startswith("https://127.0.0.1:")
    assert f"REQUESTS_CA_BUNDLE={address['authority']}" in describe_addresses(address)
    set_connection("cordial_default", conn_type="cordial", host=encrypted.url, password=encrypted.api_key)
    assert not CordialHook().test_connection()[0], "the authority is not known"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", address["authority"])
    async_client._tls_context.cache_clear()
    try:
        assert CordialHook().test_connection()[0]
        (job_id,) = encrypted.control.add_jobs(1, shortest=0, longest=0)
        assert asyncio.run(read_job(job_id)).id == job_id
    finally:
        async_client._tls_context.cache_clear()


async def read_job(job_id: str) -> Job:
    async with AsyncCordialClient(await read_connection("cordial_default")) as client:
        return await client.get_job(job_id)


def test_the_certificate_is_the_same_after_a_restart(tmp_path: Path) -> None:
    with SandboxProcess(tmp_path, options=["--tls"]) as sandbox:
        address = urlsplit(sandbox.url)
        authority = (tmp_path / "tls" / "ca.pem").read_text()
        first = ssl.get_server_certificate((str(address.hostname), int(address.port or 0)))
        sandbox.stop()
        sandbox.start()
        assert sandbox.control.jobs() == []
        assert ssl.get_server_certificate((str(address.hostname), int(address.port or 0))) == first
        assert (tmp_path / "tls" / "ca.pem").read_text() == authority
    with SandboxProcess(tmp_path, options=["--tls", "--public-host", "cordial"]):
        assert (tmp_path / "tls" / "ca.pem").read_text() != authority
    assert (tmp_path / "tls" / "server.pem").stat().st_mode & 0o777 == 0o600


# What a sandbox may be busy with when it is to stop.


def hold_a_request(sandbox: SandboxProcess) -> None:
    sandbox.control.fault("list_jobs", "delay", seconds=60)
    with pytest.raises(requests.Timeout):
        requests.get(f"{sandbox.url}/v2/jobs", auth=(sandbox.api_key, ""), timeout=0.3)
    connect(sandbox, b"GET /v2/jobs HTTP/1.1\r\nHost: localhost\r\n")


def send_slowly(sandbox: SandboxProcess) -> None:
    connect(sandbox, b"POST /_sandbox/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")


def deliver_slowly(sandbox: SandboxProcess) -> None:
    sandbox.control.behaviour(write_seconds=30)
    sftp = sandbox.sftp
    destination = {"type": "sftp", "server": sftp.host, "port": sftp.port, "username": sftp.username}
    submit(sandbox, destination={**destination, "password": sftp.password, "path": "exports"})
    time.sleep(0.5)


def deliver_to_a_silent_server(sandbox: SandboxProcess) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    _open.append(silent)
    login = {"username": "u", "password": "p", "path": "x", "port": silent.getsockname()[1]}
    for kind in ("ftp", "sftp"):
        submit(sandbox, destination={"type": kind, "server": "127.0.0.1", **login})
    time.sleep(0.5)


def run_many_jobs(sandbox: SandboxProcess) -> None:
    sandbox.control.add_jobs(10_000, shortest=0.1, longest=3)


_open: list[socket.socket] = []


def connect(sandbox: SandboxProcess, sent: bytes) -> None:
    address = urlsplit(sandbox.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=10)
    connection.sendall(sent)
    _open.append(connection)


@pytest.mark.parametrize(
    "occupy", [hold_a_request, send_slowly, deliver_slowly, deliver_to_a_silent_server, run_many_jobs]
)
def test_it_stops_within_two_seconds_whatever_it_does(tmp_path: Path, occupy: Callable[[SandboxProcess], None]) -> None:
    sandbox = SandboxProcess(tmp_path, job_seconds=0.1)
    sandbox.start()
    process = sandbox._process
    assert process is not None
    try:
        occupy(sandbox)
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.wait(10) == 0
        # Two seconds, and what a busy machine adds.
        assert time.monotonic() - started < 3
    finally:
        while _open:
            _open.pop().close()
        sandbox.stop()
    sandbox.start()
    try:
        assert requests.get(f"{sandbox.url}/v2/jobs", auth=("wrong", ""), timeout=10).status_code == 401
    finally:
        sandbox.stop()


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cordial_sandbox", "serve", "--data", str(folder / "data"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_address(folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while not (folder / "data" / "sandbox.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    address: dict[str, Any] = json.loads((folder / "data" / "sandbox.json").read_text())
    return address


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Stop a sandbox, and return what it printed and its log."""
    process.terminate()
    return process.communicate(timeout=20)
