"""castpool as its guide deploys it: a clone, Docker Compose, a browser."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "deploy.md").read_text()
SCREENSHOTS = ROOT / "build" / "screenshots"
DOCKER_VARIABLE, BROWSER_VARIABLE = "CASTPOOL_REQUIRE_DOCKER", "CASTPOOL_REQUIRE_BROWSER"


def has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, capture_output=True).returncode == 0 for command in asked)


def browser_paths() -> tuple[str | None, str | None]:
    return shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Deployment:
    """A clone of the repository, deployed under a name of its own, for a study that is small enough for a test."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        self.folder = folder
        self.canary = f"canary-{secrets.token_hex(8)}"
        self.ports = {name: free_port() for name in ("CASTPOOL_DASHBOARD_PORT", "MLFLOW_PORT", "CASTPOOL_METRICS_PORT")}
        self.project = f"castpool-test-{secrets.token_hex(4)}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CASTPOOL_")},
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": self.project,
            "CASTPOOL_STUDY": "create --demo --trials 24 --max-steps 100",
        }

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports['CASTPOOL_DASHBOARD_PORT']}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.ports['MLFLOW_PORT']}"

    def run(self, command: str, timeout_seconds: float = 900) -> str:
        """Run a command line as a user types it in the clone."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def guide_commands(self) -> list[list[str]]:
        """Return the commands of the guide's section, block by block, with this test's own password."""
        section = GUIDE.split("\n## One machine, Docker Compose\n")[1].split("\n## ")[0]
        found = re.findall(r"^```bash\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        return [block.replace("$(openssl rand -hex 16)", self.canary).strip().splitlines() for block in found]

    def status(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(
            self.run("docker compose exec -T dashboard castpool status demo --json", timeout_seconds=120)
        )
        return read

    def sql(self, statement: str) -> str:
        return self.run(f'docker compose exec -T postgres psql -U castpool -At -c "{statement}"').strip()

    def wait_for(self, condition: Callable[[], bool], timeout_seconds: float = 600) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            assert time.monotonic() < deadline, self.run("docker compose ps --all; docker compose logs --tail 30")
            time.sleep(1)

    def remove(self) -> None:
        self.run("docker compose --profile gpu down --volumes --timeout 10")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    if not has_docker() and not os.environ.get(DOCKER_VARIABLE):
        pytest.skip("there is no Docker engine with Compose here")
    deployed = Deployment(tmp_path_factory.mktemp("deployment") / "castpool")
    yield deployed
    deployed.remove()


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A headless Chromium."""
    binary, driver = browser_paths()
    if (binary is None or driver is None) and not os.environ.get(BROWSER_VARIABLE):
        pytest.skip("there is no Chromium with its driver here")
    options = webdriver.ChromeOptions()
    options.binary_location = binary or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,2400"):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=Service(driver or "chromedriver"))
    opened.implicitly_wait(60)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    yield opened
    opened.quit()
