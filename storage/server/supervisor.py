"""The supervisor: one small process per home that owns the embedded server (see `castpool.storage.server.embedded`).

It starts PostgreSQL, restarts it if it dies while a process uses it, and stops it when no user is left. Three
files in the home are locked with `flock`, which the kernel releases however a process ends:

    users.lock    shared by every user; exclusive while the supervisor, seeing no user left, stops the server
    keeper.lock   exclusive: the supervisor, or the user that is starting one; holds the supervisor's process id
    server.lock   exclusive: inherited by every process of the server, so it is free when none of them lives

They are taken in this order. The supervisor runs by path under `python -I -S`: it needs the standard library alone.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

# The name keeper.lock stays: an older castpool with a running server in the same home locks that file.
USERS_LOCK, SUPERVISOR_LOCK, SERVER_LOCK = "users.lock", "keeper.lock", "server.lock"
LOG_NAME = "server.log"
HBA_NAME, IDENT_NAME = "pg_hba.conf", "pg_ident.conf"
PORT = 5432  # part of the socket's name; there is no TCP
SOCKET_NAME = f".s.PGSQL.{PORT}"
_MAX_SOCKET_PATH_BYTES = 103  # macOS; Linux takes 107
_MAX_LOG_BYTES = 1_000_000
_POLL_SECONDS = 0.1
_RESTART_PAUSE_SECONDS = 1.0


class Server(NamedTuple):
    """Where the embedded server lives, which account runs it and how to reach it."""

    home: Path
    binaries: Path
    uid: int
    gid: int

    @property
    def pgdata(self) -> Path:
        """The data directory."""
        return self.home / "pgdata"

    @property
    def account(self) -> str:
        """The name of the account that the server runs as."""
        return pwd.getpwuid(self.uid).pw_name

    @property
    def sockets(self) -> Path:
        """The folder of the socket: in the home, or a short one where the socket's path would be too long."""
        sockets = self.home / "socket"
        # In libpq's host, commas separate hosts. Not tempfile's folder: TMPDIR may differ between a user's processes.
        if len(os.fsencode(sockets / SOCKET_NAME)) > _MAX_SOCKET_PATH_BYTES or "," in str(sockets):
            import hashlib

            digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
            return Path(f"/tmp/castpool-{os.geteuid()}-{digest}").resolve()
        return sockets

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        # requirepeer: libpq refuses a server of another account in this one's place.
        query = {"host": self.sockets, "port": PORT, "requirepeer": self.account}
        return f"postgresql+psycopg://castpool@/castpool?{urlencode(query, quote_via=quote, safe='')}"

    @property
    def process_options(self) -> dict[str, Any]:
        """Options for `subprocess` with which PostgreSQL's programs run: its account, and an empty environment."""
        options: dict[str, Any] = {"cwd": self.home, "env": {"LC_ALL": "C"}}
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def take(self, folder: Path) -> None:
        """Give a folder that we have made to the server's account."""
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def command(self) -> list[str]:
        """The command line that runs PostgreSQL in the foreground."""
        settings = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": self.sockets,
            "unix_socket_permissions": "0700",
            "hba_file": self.home / HBA_NAME,
            "ident_file": self.home / IDENT_NAME,
            "max_connections": 200,
            "shared_buffers": "64MB",
            # Files in pgdata: a container's /dev/shm is small, and nothing is left there after a SIGKILL.
            "dynamic_shared_memory_type": "mmap",
            "max_parallel_workers_per_gather": 0,
            "io_method": "sync",
            "max_logical_replication_workers": 0,
            "wal_level": "minimal",
            "max_wal_senders": 0,
            "max_wal_size": "256MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.pgdata), *arguments]

    def is_ready(self) -> bool:
        """Tell whether the postmaster has written that it accepts connections."""
        try:
            return (self.pgdata / "postmaster.pid").read_text().split()[-1:] == ["ready"]
        except FileNotFoundError:
            return False


def try_lock(path: Path, operation: int = fcntl.LOCK_EX) -> int | None:
    """Open and lock a file without waiting; return its descriptor, or None while others hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def spawn(server: Server, supervisor_lock: int) -> None:
    """Start the supervisor, which inherits its lock; if it fails, the log has the reason and the lock is free."""
    log_path = server.home / LOG_NAME
    if log_path.exists() and log_path.stat().st_size > _MAX_LOG_BYTES:
        log_path.replace(log_path.with_suffix(".log.old"))
    with open(os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
        subprocess.run(
            [sys.executable, "-I", "-S", __file__, str(supervisor_lock), *map(str, server)],
            pass_fds=(supervisor_lock,),
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
            cwd=server.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def supervise(server: Server) -> int:
    """Run the server until no user is left; return 0, or 1 if it could not be started at all."""
    postgres: subprocess.Popen[bytes] | None = None  # stays None for a server that an earlier supervisor started
    has_been_ready = False
    try:
        while try_lock(server.home / USERS_LOCK) is None:
            if (server_lock := try_lock(server.home / SERVER_LOCK)) is not None:
                with os.fdopen(server_lock):
                    if postgres is not None:
                        postgres.wait()
                        if not has_been_ready and not server.is_ready():  # a killed one leaves "ready" behind
                            return 1
                        time.sleep(_RESTART_PAUSE_SECONDS)
                    postgres = _start(server, server_lock)
            has_been_ready = has_been_ready or server.is_ready()
            time.sleep(_POLL_SECONDS)
        _stop(server)
    finally:
        if postgres is not None and postgres.poll() is None:  # e.g. the home was removed meanwhile
            postgres.send_signal(signal.SIGQUIT)
    return 0  # the locks end with the process


def _start(server: Server, server_lock: int) -> subprocess.Popen[bytes]:
    # While we hold server.lock these are stale, whatever process has their pid by now (containers start again from 1).
    for stale in (server.pgdata / "postmaster.pid", server.sockets / f"{SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)
    # Only the account that the supervisor runs as, and so the user who started it, may connect.
    access = {
        HBA_NAME: "local all castpool peer map=castpool\n",
        IDENT_NAME: f'castpool "{pwd.getpwuid(os.geteuid()).pw_name}" castpool\n',
    }
    for name, text in access.items():
        (server.home / name).write_text(text)
        (server.home / name).chmod(0o644)  # whatever the umask is: the server's account reads them
    return subprocess.Popen(server.command(), pass_fds=(server_lock,), **server.process_options)


def _stop(server: Server) -> None:
    # pg_ctl runs as the server's account, so that a forged postmaster.pid cannot aim root's signal elsewhere.
    stop = [str(server.binaries / "pg_ctl"), "stop", "--silent", "-m", "fast", "-D", str(server.pgdata)]
    while try_lock(server.home / SERVER_LOCK) is None:
        subprocess.run(stop, **server.process_options)
        time.sleep(_POLL_SECONDS / 5)


def main() -> None:
    """Detach from the caller and supervise the server: supervisor.py LOCK_DESCRIPTOR HOME BINARIES UID GID."""
    if os.fork():
        os._exit(0)
    supervisor_lock, home, binaries, uid, gid = sys.argv[1:]
    os.ftruncate(int(supervisor_lock), 0)
    os.write(int(supervisor_lock), f"{os.getpid()}\n".encode())
    sys.exit(supervise(Server(Path(home), Path(binaries), int(uid), int(gid))))


if __name__ == "__main__":
    main()
