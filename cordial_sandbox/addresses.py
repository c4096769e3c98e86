"""Where a running sandbox is reached, and the files and lines that say so."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cordial_sandbox.access import is_loopback
from cordial_sandbox.accounts import Account
from cordial_sandbox.private_file import write_private_file

#: In the data folder; the names are those that ``SandboxProcess`` and the documentation use.
ADDRESS_FILE = "sandbox.json"
CONNECTIONS_FILE = "airflow-connections.json"


def airflow_connections(address: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the connections to this sandbox as ``airflow connections import`` reads them.

    The first account has the connection ``cordial_default``, any other one ``cordial_<name>``.
    """
    sftp = address["sftp"]
    # Apart from the host, because Airflow's UI only tests a connection with a port.
    host, _, port = address["url"].rpartition(":")
    names = ["default", *list(address["accounts"])[1:]]
    common: dict[str, Any] = {"conn_type": "cordial", "host": host, "port": int(port)}
    if host.startswith("http://") and not is_loopback(host.removeprefix("http://").strip("[]")):
        common["extra"] = json.dumps({"allow_http": True})
    return {
        **{
            f"cordial_{name}": {**common, "password": keys[0]}
            for name, keys in zip(names, address["accounts"].values(), strict=True)
        },
        "sftp_default": {
            "conn_type": "sftp",
            "host": sftp["host"],
            "port": sftp["port"],
            "login": sftp["username"],
            "password": sftp["password"],
            # The host key is a new one in every data folder.
            "extra": json.dumps({"no_host_key_check": "true", "look_for_keys": "false"}),
        },
    }


def write_addresses(data: Path, address: Mapping[str, Any]) -> None:
    """Write the files that programs read, the one that means readiness last."""
    for name, content in ((CONNECTIONS_FILE, airflow_connections(address)), (ADDRESS_FILE, address)):
        write_private_file(data / name, json.dumps(content, indent=1).encode())


def describe_addresses(address: Mapping[str, Any]) -> str:
    """Return what a person needs to use the sandbox: its address, its secrets, and the connections to paste."""
    lines = [f"Local Cordial: {address['url']} (the pages are at the same address)"]
    if address["control_token"]:
        lines.append(f"Password of the pages, and token of the control API: {address['control_token']}")
    if address["authority"]:
        lines.append(f"Before Airflow starts: export REQUESTS_CA_BUNDLE={shlex.quote(address['authority'])}")
    lines += ["", "Connections for Airflow:", ""]
    for name, fields in airflow_connections(address).items():
        lines.append(f"airflow connections add {name} --conn-json {shlex.quote(json.dumps(fields))}")
    return "\n".join([*lines, ""])


def build_address(
    accounts: Sequence[Account],
    *,
    url: str,
    sftp: Mapping[str, Any],
    pid: int,
    token: str | None,
    authority: str | None,
) -> dict[str, Any]:
    """Return everything that a client needs.

    :param token: of the control API and the pages; None if they need none.
    :param authority: file of the authority that signed the certificate; None without TLS.
    """
    return {
        "url": url,
        "api_key": accounts[0].keys[0].key,
        "accounts": {account.name: [key.key for key in account.keys] for account in accounts},
        "control_token": token,
        "authority": authority,
        "pid": pid,
        "sftp": dict(sftp),
    }
