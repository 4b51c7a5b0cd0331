"""What the storage tests share: studies in one line, SQL in one line, and connections that break on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy import event, text
from sqlalchemy.engine import Connection, Engine, Row, create_engine

from castpool.sampler_policies.decision import Decision
from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import reaper, slots, worker_registry
from castpool.storage.budget.slots import Claim
from castpool.storage.files import datasets
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy, create_or_resume

IDENTITY = {"model": "NHITS", "horizon": 12}


def make_study(
    store: Store,
    name: str = "air",
    *,
    trials: int = 3,
    identity: Mapping[str, Any] = IDENTITY,
    first_params: Mapping[str, Any] | None = None,
    max_retries: int | None = None,
    seconds: float | None = None,
    steps: int | None = None,
    reserved_share: float = 0.0,
    evaluates: bool = False,
) -> StoredStudy:
    """Create or resume a small study."""
    limits = {} if max_retries is None else {"max_retries": max_retries}
    return create_or_resume(
        store,
        name,
        spec={**identity, "trials": trials, **limits},
        identity=identity,
        plan={"decisions": [Decision("sampler", "TPE", "it learns").to_json()]},
        dataset=datasets.put(store.engine, b"the data"),
        trials=trials,
        first_params=first_params or {},
        limits={"time": seconds, "steps": steps},
        reserved_share=reserved_share,
        evaluates=evaluates,
    )


def load(store: Store, name: str = "air") -> optuna.Study:
    """Return the study as a worker's Optuna sees it."""
    return optuna.load_study(study_name=name, storage=store.trials, sampler=optuna.samplers.RandomSampler())


def joined(store: Store, stored: StoredStudy, pid: int = 1) -> int:
    """Return the number of a worker that has just joined."""
    return worker_registry.join(store.engine, stored.study_id, "host", pid)


def claimed(store: Store, stored: StoredStudy, worker: int | None = None) -> Claim:
    """Return the next slot, which must be there."""
    claim = slots.claim(store.engine, stored.study_id, worker or joined(store, stored))
    assert claim is not None
    return claim


def started(store: Store, stored: StoredStudy, worker: int | None = None) -> tuple[Claim, optuna.Trial]:
    """Return a claimed slot and its trial, attached, with one parameter and one report."""
    claim = claimed(store, stored, worker)
    trial = begin_trial(load(store, stored.name), claim, {"worker": claim.worker_id})
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, step=1)
    return claim, trial


STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}


def finish(
    store: Store,
    claim: Claim,
    outcome: str | None = "complete",
    user_attrs: Mapping[str, Any] | None = None,
    **end: Any,
) -> None:
    """End a claimed slot as its worker does, with its trial, which begins where it has not; by default as complete."""
    study = optuna.load_study(
        study_name=store.trials.get_study_name_from_id(claim.study_id),
        storage=store.trials,
        sampler=optuna.samplers.RandomSampler(),
    )
    attached = slot_row(store, claim).trial_id
    is_begun = attached is not None and attached != claim.retry_of
    trial = optuna.Trial(study, attached) if is_begun else begin_trial(study, claim, {"worker": claim.worker_id})
    state = STATES.get(outcome or "", TrialState.FAIL)
    value = 0.25 if state == TrialState.COMPLETE else None
    end_trial(study, trial, claim, state, value, outcome=outcome, user_attrs=user_attrs or {}, **end)


def release_slot(store: Store, claim: Claim, **end: Any) -> None:
    """Let a claimed slot's attempt fail, and open the slot for the next."""
    finish(store, claim, None, **end)


def frozen(store: Store, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
    """Return a trial as it is in the tables now, past the cache of the store's storage."""
    return PoolStorage(store.engine).get_trial(trial._trial_id)


def execute(store: Store, statement: str, **values: Any) -> list[Row[Any]]:
    """Run one statement."""
    with store.engine.begin() as connection:
        result = connection.execute(text(statement), values)
        return list(result.all()) if result.returns_rows else []


def expire(store: Store, *claims: Claim) -> None:
    """Let the leases have run out a second ago."""
    for claim in claims:
        execute(
            store,
            "UPDATE castpool_slots SET lease_until = now() - interval '1 second' WHERE study_id = :id AND slot = :slot",
            id=claim.study_id,
            slot=claim.slot,
        )


def slot_row(store: Store, claim: Claim) -> Row[Any]:
    """Return a slot as it is in the table."""
    key = {"id": claim.study_id, "slot": claim.slot}
    return execute(store, "SELECT * FROM castpool_slots WHERE study_id = :id AND slot = :slot", **key)[0]


@contextmanager
def watcher(url: str) -> Iterator[Connection]:
    """A connection beside those of the store, each statement a transaction."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def connections(watch: Connection, application_name: str) -> int:
    """Return how many connections of that name the watched database has."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = :name AND datname = current_database()"
    )
    return int(watch.execute(statement, {"name": application_name}).scalar_one())


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for what another process or thread is about to do; say whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@contextmanager
def breaking_before_statement(engine: Engine, containing: str = "") -> Iterator[list[str]]:
    """Let the server end the connection before its next (such) statement arrives, once. Yields what was cut off."""
    cut: list[str] = []

    def break_it(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if not cut and containing in statement:
            cut.append(statement)
            _terminate(engine, connection)

    event.listen(engine, "before_cursor_execute", break_it)
    try:
        yield cut
    finally:
        event.remove(engine, "before_cursor_execute", break_it)


@contextmanager
def breaking_before_use(engine: Engine) -> Iterator[list[str]]:
    """Let the server end the connection before whatever comes next, once; for what goes past SQLAlchemy's cursor."""
    cut: list[str] = []

    def break_it(connection: Connection) -> None:
        if not cut:
            cut.append("all")
            _terminate(engine, connection)

    event.listen(engine, "begin", break_it)
    try:
        yield cut
    finally:
        event.remove(engine, "begin", break_it)


@contextmanager
def losing_answer(engine: Engine) -> Iterator[list[int]]:
    """Let the next commit happen and its answer be lost, once. Yields a mark for it."""
    lost: list[int] = []

    def lose_it(connection: Connection) -> None:
        if not lost:
            lost.append(1)
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.commit()
            driver.close()

    event.listen(engine, "commit", lose_it)
    try:
        yield lost
    finally:
        event.remove(engine, "commit", lose_it)


def _terminate(engine: Engine, connection: Connection) -> None:
    pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
    other = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    with other.connect() as admin:
        admin.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    other.dispose()


def reap(store: Store, stored: StoredStudy) -> list[int]:
    return reaper.reap(store.engine, stored.study_id)
