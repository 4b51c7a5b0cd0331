"""Run castpool as a user types it, with two workers, and test what it delivers on the windows that follow its data."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil
from sqlalchemy import text

from castpool.storage.budget.phase import Phase
from castpool.storage.store import Store, open_store
from castpool.storage.study.studies import open_study
from castpool.workers.evaluation.baselines import find_baseline
from castpool.workers.monitoring.time_profile import read_profile
from castpool.workers.results.judge import DEFAULT, SINGLE, SPOKEN
from castpool.workers.results.members import read_study
from castpool.workers.results.saved_model import forecast_again
from castpool.workers.support.signals import StopRequest
from castpool.workers.worker.stored_job import load_job
from tests.benchmarks.holdout.runs import BASELINES, CASTPOOL_AUTO, DELIVERED, Run
from tests.benchmarks.time_to_loss.pairs import Pair
from tests.benchmarks.time_to_loss.rolling import rolling_error
from tests.benchmarks.time_to_loss.systems import build_commands, find_descendants, select_arguments

# Wall time for the fit of the result, which is outside of the budget as that of the peers is.
FITTING = 600.0
LOOK_SECONDS = 0.1
PACKAGES = ("neuralforecast", "optuna", "torch", "pytorch-lightning")


def run_castpool(system: str, pair: Pair, seed: int, budget: float) -> Run:
    """Run castpool on a pair: search and verification within ``budget`` seconds of wall time, imports included.

    Args:
        system: `CASTPOOL`, which gets the pair's model, or `CASTPOOL_AUTO`, which chooses the models.
        pair: data and model.
        seed: of the search.
        budget: seconds.

    Raises:
        RuntimeError: the command failed; its last lines.
    """
    frame, test = pair.read()
    run = Run(system, pair.name, seed, budget, versions={package: version(package) for package in PACKAGES})
    study = f"holdout-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="cp-holdout-") as name, open_store() as store:
        folder = Path(name)
        frame.to_parquet(folder / "table.parquet")
        asked = replace(pair, model="auto") if system == CASTPOOL_AUTO else pair
        # The time budgets of several studies pass at once: the pool works on all of them.
        (command,) = build_commands("typed", asked, seed, budget, folder, study, store)
        clock = PhaseClock(store, study)
        try:
            run_to_end(command, budget + FITTING, clock.look)
            run.phases = clock.entered
            out = next(folder.glob("out/**/best.json")).parent
            best = json.loads((out / "best.json").read_text(encoding="utf-8"))
            if system != CASTPOOL_AUTO:  # the workers divide their time between its studies
                profile = read_profile(store, open_study(store, best["study"]))
                run.working = {phase: round(seconds, 3) for phase, seconds in profile.whole.items()}
            run.verdict = best["verdict"]
            run.chosen = {key: best[key] for key in ("study", "model", "trial", "step", "members", "selection")}
            run.chosen["config"] = select_arguments(best["config"])
            run.errors[DELIVERED] = rolling_error(pair, frame, test, partial(forecast_again, out))
            run.errors |= configuration_errors(store, best, pair, frame, test, run.errors[DELIVERED])
        finally:
            delete_studies(store, study)
    return run


def configuration_errors(
    store: Store, best: dict[str, Any], pair: Pair, frame: pd.DataFrame, test: pd.DataFrame, delivered: float
) -> dict[str, float]:
    """Return the test errors of the single best and of the default configuration, each fitted as the result is."""
    from castpool.workers.results.refit import Fit, fit_members

    stored = open_study(store, best["study"])
    job = load_job(store, stored)
    study = read_study(store, stored, job)
    assert study is not None
    winner = (best["trial"], best["step"])
    fits = {SINGLE: winner}
    if study.default is not None:
        fits[DEFAULT] = (study.default.trial, study.default.step)
    members = best["members"]
    is_single = len(members) == 1 and members[0].get("trial") == best["trial"]
    errors = {winner: delivered} if is_single else {}
    for trial, step in fits.values():
        if (trial, step) not in errors:
            fitted = fit_members([Fit(job, study.trials.trials[trial], step)], StopRequest(), lambda line: None)
            errors[trial, step] = rolling_error(pair, frame, test, fitted.predict)
    return {name: errors[fit] for name, fit in fits.items()}


def run_baselines(names: Sequence[str], pair: Pair) -> Run:
    """Return the test errors of baselines, each fitted anew before each window; they depend on no seed."""
    frame, test = pair.read()
    run = Run(BASELINES, pair.name, 0, 0.0)
    for name in names:
        baseline = find_baseline(name, pair.season)
        forecast = partial(baseline.forecast, horizon=pair.horizon, freq=pair.freq, levels=())
        run.errors[SPOKEN.get(name, name)] = rolling_error(pair, frame, test, forecast)
    return run


class PhaseClock:
    """Reads the phase of the studies of a command while they run.

    Attributes:
        entered: seconds since the command at which the last of the studies entered each phase after the search.
    """

    STATEMENT = text("""
        SELECT c.phase FROM castpool_studies c JOIN studies s USING (study_id)
         WHERE s.study_name = :study OR s.study_name LIKE :study || '-%'
        """)
    ORDER = tuple(Phase)

    def __init__(self, store: Store, study: str) -> None:
        self.store, self.study = store, study
        self.started = self.read_at = time.monotonic()
        self.entered: dict[str, float] = {}

    def look(self) -> None:
        """Read the phases, at most every `LOOK_SECONDS`."""
        if (now := time.monotonic()) < self.read_at + LOOK_SECONDS:
            return
        self.read_at = now
        with self.store.engine.connect() as connection:
            phases = [row.phase for row in connection.execute(self.STATEMENT, {"study": self.study})]
        if not phases or None in phases:
            return
        reached = min(self.ORDER.index(Phase(phase)) for phase in phases)
        for phase in self.ORDER[1 : reached + 1]:
            self.entered.setdefault(phase.value, round(now - self.started, 2))


def run_to_end(command: Sequence[str], limit: float, look: Callable[[], None]) -> None:
    """Run a command to its end, and call ``look`` all the while.

    Raises:
        RuntimeError: it failed, or still ran after ``limit`` seconds; its last lines.
    """
    with tempfile.TemporaryFile() as log:
        deadline = time.monotonic() + limit
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                look()
            is_late = process.poll() is None
        finally:
            for member in find_descendants(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            code = process.wait()
        if is_late or code != 0:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()[-5:]
            why = f"still ran after {limit:g} s" if is_late else f"exit code {code}"
            raise RuntimeError("\n".join([why, *lines]))


def delete_studies(store: Store, study: str) -> None:
    """Delete the studies of a command."""
    for name in optuna.get_all_study_names(storage=store.trials):
        if name == study or name.startswith(f"{study}-"):
            optuna.delete_study(study_name=name, storage=store.trials)
