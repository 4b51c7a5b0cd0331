"""Files of the user that are called like modules of Python, of PyTorch or of castpool: no command imports them.

A class that the user names by its import path is the exception: it is found in the current directory, or in another
folder by ``--import-from``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from castpool.workers.support.sockets import listen
from tests.acceptance.conftest import QUICK, monthly

pytestmark = pytest.mark.acceptance
MODULES = ("workers", "storage", "castpool", "random", "torch", "selectors", "sampler_policies", "typing", "mlflow")
COMMAND = str(Path(sysconfig.get_path("scripts")) / "castpool")
STUDY = ["data.csv", *QUICK, "--name", "ours", "--trials", "2", "--workers", "1"]
# Ray's agents leave when they notice that their node is gone.
LEAVE_SECONDS = 60
SAMPLER = """
from optuna.samplers import RandomSampler

class Sampler(RandomSampler):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A current directory with foreign modules, each of which leaves a mark and raises when it is imported."""
    for name in MODULES:
        mark = tmp_path / f"imported-{name}"
        (tmp_path / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'w').close()\nraise RuntimeError('foreign {name}')\n"
        )
    monthly().to_csv(tmp_path / "data.csv", index=False)
    yield tmp_path
    assert sorted(path.name for path in tmp_path.glob("imported-*")) == []


@pytest.fixture
def start(folder: Path, database: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command as a user types it, in the folder."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables = {**inherited, "CASTPOOL_STORAGE": database, "CASTPOOL_LOG_FORMAT": "text", **environment}
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=folder,
            env=variables,
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
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., str]:
    """Run a command to its end; return what it printed, or standard error where ``code`` expects a failure."""

    def run(*arguments: str, code: int = 0, **environment: str) -> str:
        process = start(*arguments, **environment)
        out, err = process.communicate(timeout=600)
        assert process.returncode == code, f"{out}\n{err}"
        return err if code else out

    return run


def test_one_study_through_the_commands(run: Callable[..., str], folder: Path) -> None:
    run("models", "MLP")
    run("explain", *STUDY)
    run("create", *STUDY)
    run("worker", "ours")
    run("status", "ours", "--profile")
    run("best", "ours")
    run("leaderboard")
    run("result", "ours", "--quiet")
    assert run("forecast", "castpool-out/ours").startswith("unique_id,ds")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["castpool-out"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--disable", "fork-server"]], ids=["forked", "spawned"])
def test_tune(run: Callable[..., str], options: list[str]) -> None:
    assert "best" in run("tune", *STUDY, "--quiet", *options)


@pytest.mark.slow  # the workers of `test_tune` are started in the same way
def test_pool(run: Callable[..., str]) -> None:
    run("create", *STUDY)
    run("pool", "ours", "--workers", "2", "--quiet")
    assert json.loads(run("status", "ours", "--json"))["ended"] == 2


@pytest.mark.slow  # Ray takes half a minute to start and to end
def test_ray(run: Callable[..., str], folder: Path, database: str) -> None:
    run("tune", *STUDY, "--backend", "ray", "--quiet")
    left = [process for process in psutil.process_iter() if _storage_of(process) == database]
    psutil.wait_procs(left, timeout=LEAVE_SECONDS)


def test_dashboard(start: Callable[..., subprocess.Popen[str]]) -> None:
    port = _free_port()
    _await_answer(start("dashboard", "--port", str(port)), f"http://127.0.0.1:{port}/dashboard/")


# An empty PYTHONSAFEPATH does nothing: Python 3.10 knows none.
@pytest.mark.parametrize("environment", [{"PYTHONSAFEPATH": ""}, pytest.param({}, marks=pytest.mark.slow)], ids=str)
def test_tune_with_mlflow_and_sync(
    start: Callable[..., subprocess.Popen[str]], run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
) -> None:  # fmt: skip
    files = tmp_path_factory.mktemp("artifacts")
    port = _free_port()
    server = start("mlflow", "--port", str(port), "--artifacts", str(files), **environment)
    _await_answer(server, f"http://127.0.0.1:{port}/health", keep=True)
    tracking = ["--tracking-uri", f"http://127.0.0.1:{port}"]
    assert "best" in run("tune", *STUDY, "--quiet", *tracking, **environment)
    assert "attempts in MLflow" in run("sync", *tracking, **environment)
    server.terminate()
    server.wait(60)


def test_a_class_by_its_import_path_is_found_in_the_current_directory(run: Callable[..., str], folder: Path) -> None:
    (folder / "mine.py").write_text(SAMPLER)
    assert "mine:Sampler" in run("explain", *STUDY, "--sampler", "mine:Sampler")
    run("tune", *STUDY, "--sampler", "mine:Sampler", "--quiet")


@pytest.mark.slow
def test_a_class_by_its_import_path_is_found_in_a_folder_that_is_named(
    run: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.py").write_text(SAMPLER)
    named = ["--import-from", str(elsewhere)]
    assert "No module named 'mine'" in run("create", *STUDY, "--sampler", "mine:Sampler", code=2)
    run("create", *STUDY, "--sampler", "mine:Sampler", *named)
    assert "write the path of a folder" in run("worker", "ours", "--import-from", "nowhere", code=2)
    assert "--import-from" in run("worker", "ours", code=2)
    run("pool", "ours", "--quiet", *named)
    assert json.loads(run("status", "ours", "--json"))["ended"] == 2


@pytest.mark.slow
def test_what_no_option_names_is_not_imported_from_the_current_directory(run: Callable[..., str], folder: Path) -> None:
    (folder / "mine.py").write_text(SAMPLER)
    run("create", *STUDY, "--sampler", "mine:Sampler")
    # The study names the class, this command does not: code beside it is not run on the word of the storage.
    assert "No module named 'mine'" in run("worker", "ours", code=2)
    run("worker", "ours", "--import-from", ".")


def _storage_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("CASTPOOL_STORAGE")
    except (psutil.Error, OSError):
        return None


def _free_port() -> int:
    with listen("127.0.0.1", 0) as socket:
        port: int = socket.getsockname()[1]
        return port


def _await_answer(process: subprocess.Popen[str], url: str, *, keep: bool = False) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    if not keep:
        process.terminate()
        process.wait(60)
