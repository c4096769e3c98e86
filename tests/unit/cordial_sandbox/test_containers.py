"""The image and the compose file: what can be checked without Docker."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import typer
import yaml
from airflow.models.connection import Connection

from airflow_provider_cordial.client.connection import CordialConnection
from cordial_sandbox.cli import app
from cordial_sandbox.settings import DEFAULT_API_KEY

FOLDER = Path(__file__).resolve().parents[3] / "cordial_sandbox"
IMAGE = (FOLDER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SECRETS = {"CORDIAL_SANDBOX_CONTROL_TOKEN": "token-0815", "CORDIAL_SANDBOX_SFTP_PASSWORD": "password-0815"}


def parse(command: list[str]) -> dict[str, Any]:
    """Return the options of a command line, as the command would receive them."""
    name, *arguments = command
    context = typer.main.get_command(app).commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
    return dict(context.params)


def test_the_command_of_the_image_serves_its_ports_on_all_addresses() -> None:
    (command,) = re.findall(r"^CMD (\[.*\])$", IMAGE, re.MULTILINE)
    (ports,) = re.findall(r"^EXPOSE (.*)$", IMAGE, re.MULTILINE)
    options = parse(json.loads(command))
    assert options["host"] == "0.0.0.0"
    assert [str(options["port"]), str(options["sftp_port"])] == ports.split()
    assert f"VOLUME {options['data']}" in IMAGE
    assert f"http://127.0.0.1:{options['port']}/_sandbox/ready" in IMAGE


def test_the_connections_of_the_compose_file_fit_its_command() -> None:
    service = COMPOSE["services"]["cordial"]
    options = parse(shlex.split(service["command"]))
    assert set(service["environment"]) == set(SECRETS)
    for name in ("airflow-worker", "airflow-triggerer"):
        environment = COMPOSE["services"][name]["environment"]
        cordial, sftp = (
            Connection(conn_id=variable, **json.loads(re.sub(r"\$\{(\w+):\?\}", lambda found: SECRETS[found[1]], text)))
            for variable, text in environment.items()
        )
        assert list(environment) == ["AIRFLOW_CONN_CORDIAL_DEFAULT", "AIRFLOW_CONN_SFTP_DEFAULT"]
        connection = CordialConnection.from_airflow(cordial)
        assert connection.base_url == f"http://{options['public_host']}:{options['port']}"
        assert connection.api_key == DEFAULT_API_KEY
        assert (sftp.host, sftp.port) == (options["public_host"], options["sftp_port"])
        assert sftp.password == SECRETS["CORDIAL_SANDBOX_SFTP_PASSWORD"]
    assert service["ports"] == [f"127.0.0.1:{options['port']}:{options['port']}"]
