"""What all tests share: one embedded server a test run, a database of its own for each test that asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from storage.embedded import EmbeddedServer
from storage.store import Store, open_store

HOME_VARIABLE = "CASTPOOL_TEST_HOME"
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist's workers inherit the variable: all of them share the controller's server.
    if HOME_VARIABLE not in os.environ:
        # Not pytest's own temporary folder: as root, the server runs under an account that cannot enter it.
        folder = tempfile.mkdtemp(prefix="castpool-test-", dir="/tmp")
        os.chmod(folder, 0o755)
        os.environ[HOME_VARIABLE] = folder
        config.stash[OWN_HOME] = folder
    os.environ["CASTPOOL_HOME"] = os.environ[HOME_VARIABLE]
    os.environ.pop("CASTPOOL_STORAGE", None)
    # Tests run side by side, and threads that spin while they wait take the cores from each other. Read by torch when
    # it is loaded, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(OWN_HOME, None)
    if folder is not None:
        os.environ.pop(HOME_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)


OWN_HOME = pytest.StashKey[str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED_DATA.is_dir() or os.environ.get("CASTPOOL_REQUIRE_SHARED_DATA"):
        return  # where they are required, a missing one fails its test
    skip = pytest.mark.skip(reason=f"the shared data sets are not at {SHARED_DATA}")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


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
    """Start a command in a process group of its own; whatever it leaves behind fails the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *arguments],
            cwd=tmp_path,
            env={**os.environ, "CASTPOOL_STORAGE": database, "PYTHONPATH": os.getcwd(), **environment},
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
    ours = [own for own in psutil.process_iter() if _group(own) in groups or _storage(own) == database]
    _, left = psutil.wait_procs(ours, timeout=60)  # Ray's agents look now and then whether their node is there
    left = [own for own in left if own.is_running() and own.status() != psutil.STATUS_ZOMBIE]
    for own in left:
        own.kill()
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
