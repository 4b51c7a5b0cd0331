"""Running one system for a budget of seconds, and reading what it had found by then."""

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

from storage.store import Store, open_store
from tests.benchmarks.time_to_loss.pairs import PAIRS, Pair
from tests.benchmarks.time_to_loss.records import Finished, Record, falling, of_ray, of_study
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
# Which of them are castpool; the second is compared by its test error alone.
OURS = ("castpool", "typed")
BASELINES = {"default": "the default configuration", "naive": "seasonal naive"}
WORKERS = 2
# How often castpool's study is looked at; the peers tell the time of each check themselves.
LOOK_SECONDS = 0.1
# What castpool takes of the wall time before and after the time that it is told to work.
STARTING = 6.0
PACKAGES = ("neuralforecast", "optuna", "torch", "pytorch-lightning", "ray")
CASTPOOL = [sys.executable, "-m", "workers"]
# What a study decides and a model's constructor is given otherwise, or not at all.
NOT_ARGUMENTS = ("h", "loss", "valid_loss", "callbacks", "logger", "n_series")
PROGRESS = {"enable_progress_bar": False, "logger": False, "enable_model_summary": False, "enable_checkpointing": False}


def run_system(
    system: str, pair: Pair, seed: int, budget: float, *, tests: bool = True, options: Sequence[str] = ()
) -> Record:
    """Run a system on a pair with two workers for ``budget`` seconds of wall time, its imports included.

    With ``tests``, its winner is fitted on all that it saw, which counts no time, and judged on the test windows.
    ``options`` are more of castpool's.
    """
    frame, test = pair.read()
    record = Record(system, pair.name, seed, budget, [], versions={own: version(own) for own in PACKAGES})
    if system in BASELINES:
        forecast = partial(naive, pair) if system == "naive" else refitted(pair, frame, {}).predict
        record.test = rolling_error(pair, frame, test, forecast)
        return record
    folder = Path(tempfile.mkdtemp(prefix="cp-ttl-"))
    study = f"time-to-loss-{uuid.uuid4().hex[:8]}"
    try:
        frame.to_parquet(folder / "table.parquet")
        with open_store() as store:
            commands = commands_of(system, pair, seed, budget, folder, study, store)
            commands[0] += options
            started = time.time()
            checks = BestCheck(store, study) if system in OURS else None
            record.died = run_for(commands, budget, checks)
            if record.died and system in OURS:
                raise RuntimeError(record.died)
            if system == "ray":
                found = of_ray(folder, started, budget)
            else:
                attribute = "config" if system in OURS else "ALL_PARAMS"
                found = of_study(trials_of(study, store), started, budget, attribute)
            record.curve, config, record.trials, record.steps = found
            if checks is not None:
                # Its last trials end with the budget or a step later; what they were worth was seen before.
                ended, config, *_ = of_study(trials_of(study, store), started, math.inf, attribute)
                record.curve = checks.joined(record.curve, ended[-1][1] if ended else math.inf)
            record.config = None if config is None else arguments_of(config)
            if tests and record.config is not None:
                winner = result_of(study, folder) if system in OURS else refitted(pair, frame, record.config)
                record.test = rolling_error(pair, frame, test, winner.predict)
            with contextlib.suppress(KeyError):
                optuna.delete_study(study_name=study, storage=store.trials)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return record


def judge(record: Record) -> bool:
    """Judge the kept winner of a peer on the test windows, where that was left out; return whether it was.

    castpool's own is fitted from its study, which is gone.
    """
    if record.test is not None or record.config is None or record.system in OURS:
        return False
    pair = PAIRS[record.pair]
    frame, test = pair.read()
    record.test = rolling_error(pair, frame, test, refitted(pair, frame, record.config).predict)
    return True


def commands_of(
    system: str, pair: Pair, seed: int, budget: float, folder: Path, study: str, store: Store
) -> list[list[str]]:
    """Return what a user types."""
    table = str(folder / "table.parquet")
    if system in OURS:
        what = ["--model", pair.model, "--horizon", str(pair.horizon), "--freq", pair.freq, "--name", study]
        if system == "castpool":
            # As the peers: with more, which windows judge a trial of theirs would depend on its step_size.
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
    """Looks at castpool's study while it runs: the best check of the trials that run or are complete.

    That is what the study would have come to, had its budget of time ended then: castpool counts a trial that the end
    cuts short where its best check is the study's. A check counts when it was seen, up to a tenth of a second later.
    """

    STATEMENT = text("""
        SELECT min(v.intermediate_value)
          FROM trial_intermediate_values v JOIN trials t USING (trial_id) JOIN studies s USING (study_id)
         WHERE s.study_name = :study AND v.intermediate_value_type = 'FINITE' AND t.state IN ('RUNNING', 'COMPLETE')
        """)

    def __init__(self, store: Store, study: str) -> None:
        self.store, self.study = store, study
        self.started = self.looked = time.monotonic()
        self.seen: list[tuple[float, float]] = []

    def look(self) -> None:
        """Look, if the last time was a while ago."""
        if (now := time.monotonic()) < self.looked + LOOK_SECONDS:
            return
        self.looked = now
        with self.store.engine.connect() as connection:
            best = connection.execute(self.STATEMENT, {"study": self.study}).scalar_one()
        if best is not None and (not self.seen or best < self.seen[-1][1]):
            self.seen.append((round(time.monotonic() - self.started, 2), best))

    def joined(self, complete: list[tuple[float, float]], final: float) -> list[tuple[float, float]]:
        """Return a curve of complete trials with the checks before them; none that the study did not come to.

        Args:
            complete: the curve of the trials that were complete within the budget.
            final: the study's loss once the trials that its end cut short were complete too.
        """
        values = [Finished(*own, {}) for own in [*complete, *self.seen] if own[1] >= final]
        return falling(values, math.inf)[0]


def run_for(commands: list[list[str]], budget: float, checks: BestCheck | None = None) -> str | None:
    """Run the commands for so long, and end them with all that they have started; those with ``checks`` by SIGTERM.

    Returns:
        The last line that was printed where all of them had failed by then, else None.
    """
    died = None
    with tempfile.TemporaryFile() as log:
        to_log: dict[str, Any] = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
        running = [subprocess.Popen(own, **to_log, start_new_session=True) for own in commands]
        deadline = time.monotonic() + budget
        while time.monotonic() < deadline and any(own.poll() is None for own in running):
            time.sleep(0.05)
            if checks is not None:
                checks.look()
        if all(own.poll() not in (None, 0) for own in running):
            log.seek(0)
            died = log.read().decode(errors="replace").strip().splitlines()[-1]
    family = [one for own in running for one in descendants(own.pid)]
    if checks is not None:
        for own in running:
            own.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                own.wait(30)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    for own in running:
        own.wait()
    return died


def descendants(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def trials_of(study: str, store: Store) -> list[optuna.trial.FrozenTrial]:
    """Return a study's trials; none where it was never made."""
    try:
        return optuna.load_study(study_name=study, storage=store.trials).trials
    except KeyError:
        return []


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a winner that can be kept and given to its model's class again."""
    return {name: own for name, own in config.items() if name not in (*NOT_ARGUMENTS, *PROGRESS)}


def result_of(study: str, folder: Path) -> NeuralForecast:
    """Let castpool fit its winner, and return it as it was saved."""
    from neuralforecast import NeuralForecast

    command = [*CASTPOOL, "result", study, "--out", str(folder / "out"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CASTPOOL_LOG_FORMAT": "text"})
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    return NeuralForecast.load(str(folder / "out" / "model"))


def refitted(pair: Pair, frame: pd.DataFrame, config: Mapping[str, Any]) -> NeuralForecast:
    """Fit a configuration on all that the systems saw, as NeuralForecast's Auto models do."""
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
