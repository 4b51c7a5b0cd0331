"""Run one system for a budget of seconds, and read its record."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pandas as pd
import psutil
from sqlalchemy import text

from castpool.storage.store import Store, open_store
from tests.benchmarks.time_to_loss.pairs import PAIRS, Pair
from tests.benchmarks.time_to_loss.records import Finished, Record, best_over_time, read_ray, read_study
from tests.benchmarks.time_to_loss.rolling import naive, rolling_error

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast

SYSTEMS = {
    "auto": "(1) Auto as typed",
    "careful": "(1b) Auto by a careful user",
    "ray": "(2) Ray Tune with ASHA",
    "script": "(3) an Optuna script with Hyperband",
    "castpool": "(4) castpool",
    "typed": "(4b) castpool as typed, with validation windows of its own choice",
}
# The systems that are castpool; of the second only the test error is compared.
OURS = ("castpool", "typed")
BASELINES = {"default": "the default configuration", "naive": "seasonal naive"}
WORKERS = 2
# How often castpool's study is read; the peers store the time of each trial or check.
LOOK_SECONDS = 0.1
# Wall time that castpool needs before and after its time budget.
STARTING = 6.0
PACKAGES = ("neuralforecast", "optuna", "torch", "pytorch-lightning", "ray")
CASTPOOL = [sys.executable, "-m", "castpool"]
# Keys of a configuration that are not passed to the model's constructor.
NOT_ARGUMENTS = ("h", "loss", "valid_loss", "callbacks", "logger", "n_series")
PROGRESS = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False, "enable_checkpointing": False}


def run_system(
    system: str, pair: Pair, seed: int, budget: float, *, tests: bool = True, options: Sequence[str] = ()
) -> Record:
    """Run a system on a pair with two workers for ``budget`` seconds of wall time, its imports included.

    With ``tests``, its winner is fitted on all data before the test windows, outside the budget, and tested on them.
    ``options`` are further options of castpool.
    """
    frame, test = pair.read()
    record = Record(system, pair.name, seed, budget, [], versions={package: version(package) for package in PACKAGES})
    if system in BASELINES:
        forecast = partial(naive, pair) if system == "naive" else refit(pair, frame, {}).predict
        record.test = rolling_error(pair, frame, test, forecast)
        return record
    folder = Path(tempfile.mkdtemp(prefix="cp-ttl-"))
    study = f"time-to-loss-{uuid.uuid4().hex[:8]}"
    try:
        frame.to_parquet(folder / "table.parquet")
        with open_store() as store:
            commands = build_commands(system, pair, seed, budget, folder, study, store)
            commands[0] += options
            started = time.time()
            checks = BestCheck(store, study) if system in OURS else None
            record.died = run_for(commands, budget, checks)
            if record.died and system in OURS:
                raise RuntimeError(record.died)
            if system == "ray":
                found = read_ray(folder, started, budget)
            else:
                attribute = "config" if system in OURS else "ALL_PARAMS"
                found = read_study(read_trials(study, store), started, budget, attribute)
            record.curve, config, record.trials, record.steps = found
            if checks is not None:
                # Its last trials end with the budget or a step later; their checks were read before.
                ended, config, *_ = read_study(read_trials(study, store), started, math.inf, attribute)
                record.curve = checks.join_curves(record.curve, ended[-1][1] if ended else math.inf)
            record.config = None if config is None else select_arguments(config)
            if tests and record.config is not None:
                winner = fit_castpool(study, folder) if system in OURS else refit(pair, frame, record.config)
                record.test = rolling_error(pair, frame, test, winner.predict)
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=study, storage=store.trials)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return record


def add_test_error(record: Record) -> bool:
    """Test the recorded winner of a peer if that was left out; return whether it was.

    castpool's winner is fitted from its study, which is deleted.
    """
    if record.test is not None or record.config is None or record.system in OURS:
        return False
    pair = PAIRS[record.pair]
    frame, test = pair.read()
    record.test = rolling_error(pair, frame, test, refit(pair, frame, record.config).predict)
    return True


def build_commands(
    system: str, pair: Pair, seed: int, budget: float, folder: Path, study: str, store: Store
) -> list[list[str]]:
    """Return the command lines of the system's processes."""
    table = str(folder / "table.parquet")
    if system in OURS:
        what = ["--model", pair.model, "--horizon", str(pair.horizon), "--freq", pair.freq, "--name", study]
        if system == "castpool":
            # As the peers: with more windows, a peer's validation windows would depend on its step_size.
            what += ["--val-size", str(pair.horizon)]
        seconds = max(budget - STARTING, 1)
        how = ["--time-budget", f"{seconds:g}s", "--workers", str(WORKERS), "--seed", str(seed), "--quiet"]
        return [[*CASTPOOL, "tune", table, *what, *how, "--out", str(folder / "out")]]
    peer = [sys.executable, "-m", "tests.benchmarks.time_to_loss.peers", system, "--pair", pair.name, "--table", table]
    if system == "ray":
        return [[*peer, "--seed", str(seed), "--folder", str(folder), "--temp", str(folder / "r")]]
    peer += ["--storage", store.url.render_as_string(hide_password=False), "--study", study]
    return [[*peer, "--seed", str(100 * seed + number)] for number in range(WORKERS)]


class BestCheck:
    """Reads castpool's study while it runs: the best check of the trials that run or are complete.

    That would be the study's best loss if its time budget ended then: castpool counts a trial that the end of the
    budget stops if its best check is the study's best. A check counts when it is read, up to 0.1 s later.
    """

    STATEMENT = text("""
        SELECT min(v.intermediate_value)
          FROM trial_intermediate_values v JOIN trials t USING (trial_id) JOIN studies s USING (study_id)
         WHERE s.study_name = :study AND v.intermediate_value_type = 'FINITE' AND t.state IN ('RUNNING', 'COMPLETE')
        """)

    def __init__(self, store: Store, study: str) -> None:
        self.store, self.study = store, study
        self.started = self.read_at = time.monotonic()
        self.seen: list[tuple[float, float]] = []

    def look(self) -> None:
        """Read the best check, at most every `LOOK_SECONDS`."""
        if (now := time.monotonic()) < self.read_at + LOOK_SECONDS:
            return
        self.read_at = now
        with self.store.engine.connect() as connection:
            best = connection.execute(self.STATEMENT, {"study": self.study}).scalar_one()
        if best is not None and (not self.seen or best < self.seen[-1][1]):
            self.seen.append((round(time.monotonic() - self.started, 2), best))

    def join_curves(self, complete: list[tuple[float, float]], final: float) -> list[tuple[float, float]]:
        """Return the curve of complete trials and checks, without checks better than the study's final loss.

        Args:
            complete: the curve of the trials that were complete within the budget.
            final: the study's loss after the trials that the end stopped were complete too.
        """
        values = [Finished(*point, {}) for point in [*complete, *self.seen] if point[1] >= final]
        return best_over_time(values, math.inf)[0]


def run_for(commands: list[list[str]], budget: float, checks: BestCheck | None = None) -> str | None:
    """Run the commands for ``budget`` seconds, then end them and their children; with ``checks``, by SIGTERM first.

    Returns:
        The last line that was printed if all commands had failed by then, else None.
    """
    died = None
    with tempfile.TemporaryFile() as log:
        to_log: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
        running = [subprocess.Popen(command, **to_log, start_new_session=True) for command in commands]
        deadline = time.monotonic() + budget
        while time.monotonic() < deadline and any(process.poll() is None for process in running):
            time.sleep(0.05)
            if checks is not None:
                checks.look()
        if all(process.poll() not in (None, 0) for process in running):
            log.seek(0)
            died = log.read().decode(errors="replace").strip().splitlines()[-1]
    family = [member for process in running for member in find_descendants(process.pid)]
    if checks is not None:
        for process in running:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    for process in running:
        process.wait()
    return died


def find_descendants(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def read_trials(study: str, store: Store) -> list[optuna.trial.FrozenTrial]:
    """Return a study's trials; none if it was never created."""
    try:
        return optuna.load_study(study_name=study, storage=store.trials).trials
    except KeyError:
        return []


def select_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a winner that can be stored and passed to its model's class again."""
    return {name: value for name, value in config.items() if name not in (*NOT_ARGUMENTS, *PROGRESS)}


def fit_castpool(study: str, folder: Path) -> NeuralForecast:
    """Let castpool fit its winner, and return the saved model."""
    from neuralforecast import NeuralForecast

    command = [*CASTPOOL, "result", study, "--out", str(folder / "out"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CASTPOOL_LOG_FORMAT": "text"})
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    return NeuralForecast.load(str(folder / "out" / "model"))


def refit(pair: Pair, frame: pd.DataFrame, config: Mapping[str, Any]) -> NeuralForecast:
    """Fit a configuration on all data before the test windows, as NeuralForecast's Auto models do."""
    import neuralforecast.auto
    from neuralforecast import NeuralForecast

    n_series = {"n_series": frame["unique_id"].nunique()} if pair.is_multivariate else {}
    model_class = getattr(neuralforecast.auto, f"Auto{pair.model}")(h=pair.horizon, **n_series).cls_model
    arguments = {"input_size": 2 * pair.horizon, **PROGRESS, **config, **n_series, "h": pair.horizon}
    if "max_steps" in arguments:
        arguments["max_steps"] = int(arguments["max_steps"])
    fitted = NeuralForecast(models=[model_class(**arguments)], freq=pair.freq)
    fitted.fit(frame)
    return fitted
