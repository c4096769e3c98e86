"""A playground, and a page of a headless browser in it: ``make test-browser``.

The environment of this suite has the browser's driver and no Airflow. The playground, ``make playground`` of
docs/examples/try.sh, runs in the project's own environment.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cordial_sandbox.control_client import SandboxControl

PROJECT = Path(__file__).resolve().parents[2]
ARTIFACTS = PROJECT / ".browser"
CHROMIUM = "/usr/bin/chromium"
START_TIMEOUT = 400.0

#: Pixels of the window.
WIDTH, HEIGHT = 1360, 860

try:
    from playwright import sync_api
except ImportError:  # the environment of the other tests
    collect_ignore_glob = ["test_*.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", type=Path, help="folder for the pictures of the documentation")
    parser.addoption("--playground", type=Path, help="home of a playground that runs already")


@dataclass(frozen=True, slots=True)
class Playground:
    """A running playground.

    :param url: of Airflow's UI.
    :param sandbox: the addresses of the local Cordial.
    """

    url: str
    sandbox: dict[str, Any]

    @property
    def control(self) -> SandboxControl:
        return SandboxControl(self.sandbox["url"])


@pytest.fixture(scope="session")
def playground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    if home := request.config.getoption("--playground"):
        yield _read(home)
        return
    home = tmp_path_factory.mktemp("playground")
    log = home / "playground.log"
    command = [str(PROJECT / ".venv" / "bin" / "python"), str(PROJECT / "scripts" / "playground.py")]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "--home", str(home)], stdout=output, stderr=output, cwd=PROJECT)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not (home / "url.txt").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield _read(home)
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
    assert status == 0, log.read_text()
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if _mentions(path, str(home))]
    assert left == []


def _read(home: Path) -> Playground:
    return Playground((home / "url.txt").read_text(), json.loads((home / "sandbox" / "sandbox.json").read_text()))


def _mentions(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, playground: Playground, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page whose relative addresses are those of Airflow's UI; its last state is an artifact."""
    context = browser.new_context(base_url=playground.url, viewport={"width": WIDTH, "height": HEIGHT}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        yield page
    finally:
        ARTIFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{request.node.name}.png")
        context.close()


Picture = Callable[..., None]


@pytest.fixture
def picture(page: Any, request: pytest.FixtureRequest) -> Picture:
    """Take a screenshot as an artifact, and for the documentation, which shows some, if its folder is given."""

    def take(name: str, *, shown: bool = False, height: int = HEIGHT) -> None:
        take_picture(page, request.config, name, shown=shown, height=height)

    return take


def take_picture(page: Any, config: pytest.Config, name: str, *, shown: bool, height: int) -> None:
    """Take a screenshot of the top of a page."""
    pictures = config.getoption("--pictures") if shown else None
    for folder in filter(None, (ARTIFACTS, pictures)):
        folder.mkdir(exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
