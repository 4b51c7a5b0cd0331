"""One round: a study, a crew, faults at random until the study is done; then the audit."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy.engine import make_url

from castpool.storage.store import open_store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.planning.create_study import draft_study, save_study
from castpool.workers.spec.study_spec import make_spec
from tests.chaos import audit
from tests.chaos.crew import Crew
from tests.chaos.faults import FAULTS, Later, Scene
from tests.chaos.proxy import Proxy
from tests.chaos.training import CHECK_STEPS, MAX_STEPS
from tests.private_server import PrivateServer, private_server
from tests.storage.helpers import execute

LONGEST_SECONDS = 300.0


@dataclass
class Outcome:
    """The result of a round."""

    faults: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    attempts: int = 0
    evaluations: int = 0
    evaluation_attempts: int = 0
    steps: int = 0
    repeated: int = 0
    losses: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add the result of another round."""
        self.faults += other.faults
        self.losses += other.losses
        for name in ("trials", "attempts", "evaluations", "evaluation_attempts", "steps", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True)
class Arena:
    """A private server, and a proxy that can cut the connections to it."""

    server: PrivateServer
    proxy: Proxy

    @property
    def url(self) -> str:
        """The URL that workers use, through the proxy."""
        through = make_url(self.server.url).set(host="127.0.0.1", port=self.proxy.port, query={})
        return through.render_as_string(hide_password=False)


@contextmanager
def arena() -> Iterator[Arena]:
    """Start a server and a proxy, with triggers that record which worker writes what."""
    with private_server(max_connections=100) as server:
        socket = make_url(server.url).query["host"]
        with open_store(server.url) as store:
            audit.install(store)
        with Proxy(f"{socket}/.s.PGSQL.5432") as proxy:
            yield Arena(server, proxy)


def panel() -> pd.DataFrame:
    """Return two short monthly series."""
    dates = pd.date_range("2015-01-01", periods=48, freq="MS")
    season = 10 + np.sin(np.arange(48) * np.pi / 6)
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": dates, "y": season * level}) for level, name in enumerate("ab", 1)
    )


# With time to spare, every finalist is judged again; of a study without evaluation the search is all.
EVALUATED = {"holdout": 4, "finalists": 3, "baselines": ["SeasonalNaive"], "time_budget": 3600}
SEARCHED = {"holdout": 0, "finalists": 0, "ensemble": "none"}


def make_study(url: str, name: str, trials: int, *, is_real: bool, is_evaluated: bool = False) -> StoredStudy:
    """Create a study of small trainings."""
    spec = {
        "name": name, "model": "MLP", "horizon": 4, "trials": trials, "max_retries": 1000,
        "max_steps": 20 if is_real else MAX_STEPS, "val_check_steps": 4 if is_real else CHECK_STEPS,
        "checkpoint_seconds": 0.05, **(EVALUATED if is_evaluated else SEARCHED),
        "space": {"hidden_size": [8, 16], "num_layers": 2, "batch_size": 1, "input_size": 8},
    }  # fmt: skip
    with open_store(url, patience_seconds=60) as store:
        execute(store, "TRUNCATE audit_ends, audit_strays, audit_judged")
        return save_study(store, draft_study(make_spec(spec), panel()))


@dataclass(frozen=True)
class Round:
    """What a round is: so many workers and trials, a fault every ``pause`` seconds, at most ``most`` of them.

    After the search of an evaluated one the finalists are judged again, under faults too.
    """

    workers: int
    trials: int
    pause: float
    most: int | None = None
    only: str | None = None
    is_real: bool = False
    is_evaluated: bool = False


def fight(where: Arena, name: str, chance: random.Random, of: Round) -> Outcome:
    """Let a crew run a study's trials under faults; return the result."""
    trials, is_real = of.trials, of.is_real
    stored = make_study(where.server.url, name, trials, is_real=is_real, is_evaluated=of.is_evaluated)
    outcome = Outcome(trials=trials)
    kinds = [kind for kind in FAULTS if of.only is None or of.only in kind]
    pending: list[tuple[float, Later]] = []
    started = last = time.monotonic()
    steps = Path(where.server.log.parent, f"{name}.steps")
    with Crew(where.url, name, of.workers, steps, is_real=is_real) as crew:
        scene = Scene(where.server, where.proxy, crew, chance)
        while crew.tend():
            now = time.monotonic()
            for due, later in [fault for fault in pending if fault[0] <= now]:
                later.end()
                pending.remove((due, later))
            is_enough = of.most is not None and outcome.faults.total() >= of.most
            if now - last >= of.pause and not is_enough:
                last = now
                kind = chance.choices(kinds, [FAULTS[name][1] for name in kinds])[0]
                if (later_on := FAULTS[kind][0](scene)) is not None:
                    pending.append((now + later_on.seconds, later_on))
                outcome.faults[kind] += 1
            if now - started > LONGEST_SECONDS:
                outcome.losses.append(f"{name} is not done after {LONGEST_SECONDS:.0f} s")
                break
            time.sleep(0.02)
        for _, later in pending:
            later.end()
        outcome.losses += [f"a worker ended with exit code {code}" for code in crew.unexpected]
    with open_store(where.server.url, patience_seconds=60) as store:
        outcome.losses += audit.losses(store, stored, trials, is_real=is_real, is_evaluated=of.is_evaluated)
        query = """
            SELECT kind = 'trial' AS is_trial, count(*)::int AS slots, sum(attempt)::int AS attempts,
                   sum(step)::int AS steps
              FROM castpool_slots WHERE study_id = :id GROUP BY 1 ORDER BY 1 DESC
        """
        row, *others = execute(store, query, id=stored.study_id)
        outcome.attempts = row.attempts
        outcome.evaluations = sum(other.slots for other in others)
        outcome.evaluation_attempts = sum(other.attempts for other in others)
        if not is_real:
            outcome.steps, outcome.repeated = row.steps, steps.stat().st_size - row.steps
    return outcome


def attempts_after_restart(where: Arena, name: str, workers: int) -> int:
    """Start workers on a finished study and return how many attempts they made."""
    count = "SELECT count(*) FROM trials JOIN studies USING (study_id) WHERE study_name = :name"
    with open_store(where.server.url) as store:
        before = execute(store, count, name=name)[0][0]
        with Crew(where.url, name, workers, Path(os.devnull), is_real=False) as crew:
            while crew.tend():
                time.sleep(0.05)
        return int(execute(store, count, name=name)[0][0] - before)
