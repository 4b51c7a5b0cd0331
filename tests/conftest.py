"""Fixtures of all tests: one embedded server for each test run, a fresh database for each test that asks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from castpool.storage.server.embedded import EmbeddedServer
from castpool.storage.store import Store, open_store

LONGEST = ("test_compose.py", "test_every_model.py")
HOME_VARIABLE = "CASTPOOL_TEST_HOME"
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist's workers inherit the variable: all of them share the controller's server.
    if HOME_VARIABLE not in os.environ:
        # Not pytest's own temporary folder: as root, the server runs under an account that cannot enter it.
        folder = tempfile.mkdtemp(prefix="castpool-test-", dir="/tmp")
        os.chmod(folder, 0o755)
        os.environ[HOME_VARIABLE] = folder
        config.stash[MADE_HOME] = folder
    os.environ["CASTPOOL_HOME"] = os.environ[HOME_VARIABLE]
    os.environ.pop("CASTPOOL_STORAGE", None)
    # Tests run side by side, and threads that spin while they wait take the cores from each other. Read by torch when
    # it is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(MADE_HOME, None)
    if folder is not None:
        os.environ.pop(HOME_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)


MADE_HOME = pytest.StashKey[str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest first: pytest-xdist gives a whole file to one of its workers.
    items.sort(key=lambda item: item.path.name not in LONGEST)
    # Where they are required, what is missing fails its test.
    if not SHARED_DATA.is_dir() and not os.environ.get("CASTPOOL_REQUIRE_SHARED_DATA"):
        skip = pytest.mark.skip(reason=f"the shared data sets are not at {SHARED_DATA}")
        for item in items:
            if "shared_data" in item.keywords:
                item.add_marker(skip)
    if not os.environ.get("CASTPOOL_REQUIRE_BASELINES"):
        for item in items:
            for needed in item.iter_markers("needs"):
                if find_spec(module := needed.args[0]) is None:
                    item.add_marker(pytest.mark.skip(reason=f"{module} is not installed: run make test-baselines"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return SHARED_DATA


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """The address of the run's own PostgreSQL server."""
    with EmbeddedServer(Path(os.environ[HOME_VARIABLE])) as embedded:
        yield make_url(embedded.url)


@pytest.fixture(scope="session")
def template(server: URL) -> str:
    """The name of a database that holds castpool's tables, for copying."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name}")
    with open_store(server.set(database=name).render_as_string(hide_password=False)):
        pass
    return name


@pytest.fixture
def empty_database(server: URL) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    yield from _database(server, "")


@pytest.fixture
def database(server: URL, template: str) -> Iterator[str]:
    """The URL of a database with castpool's tables and no study."""
    yield from _database(server, f"TEMPLATE {template}")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An open storage with no study in it."""
    with open_store(database) as opened:
        yield opened


def _database(server: URL, source: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name} {source}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def administer(server: URL, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def castpool(database: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in a process group of its own; a process that it leaves behind fails the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "castpool", *arguments],
            cwd=tmp_path,
            env={**os.environ, "CASTPOOL_STORAGE": database, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    groups = {process.pid for process in started}
    ours = [process for process in psutil.process_iter() if _group(process) in groups or _storage(process) == database]
    _, left = psutil.wait_procs(ours, timeout=60)  # Ray's agents look now and then whether their node is there
    left = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    for process in left:
        process.kill()
    assert left == []


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _storage(process: psutil.Process) -> str | None:
    """Return the storage that a process was started for: Ray's processes leave the group, but not the environment."""
    if process.pid == os.getpid():
        return None
    try:
        return process.environ().get("CASTPOOL_STORAGE")
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
