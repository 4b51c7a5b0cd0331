"""What the storage counts of a run, and Prometheus reads."""

from __future__ import annotations

import urllib.request

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.storage import ping
from castpool.storage.budget import slots
from castpool.storage.store import Store
from castpool.storage.study.statistics import tally
from castpool.storage.study.studies import StoredStudy
from castpool.workers.monitoring.prometheus import serve_metrics
from tests.storage.helpers import execute, expire, finish, joined, reap, started


def test_a_study_without_trials_has_numbers(store: Store, stored: StoredStudy) -> None:
    numbers = tally(store.engine, stored.study_id)
    assert (numbers.attempts, numbers.median_seconds, numbers.runs, numbers.training_seconds) == (0, None, None, 0.0)


def test_attempts_are_counted_as_they_ended(store: Store, stored: StoredStudy) -> None:
    worker = joined(store, stored)
    for outcome, notes in (
        ("complete", {"training_seconds": 3.0, "memory_peak_mb": 500}),
        ("pruned", {"training_seconds": 1.0, "memory_peak_mb": 700}),
        ("failed", {"failure": "unknown"}),
    ):
        claim, _ = started(store, stored, worker)
        finish(store, claim, outcome, notes)
    execute(
        store,
        "UPDATE castpool_workers SET joined_at = now() - interval '10 seconds', last_beat = now() WHERE worker_id = :w",
        w=worker,
    )
    numbers = tally(store.engine, stored.study_id)
    assert (numbers.attempts, numbers.complete, numbers.pruned, numbers.failed) == (3, 1, 1, 1)
    assert (numbers.memory_mb, numbers.training_seconds) == (700, 4.0)
    assert numbers.working_seconds == pytest.approx(10, abs=0.5)


def test_what_was_lost_is_no_failure_and_what_runs_is_training(store: Store, stored: StoredStudy) -> None:
    claim, _ = started(store, stored)
    expire(store, claim)
    reap(store, stored)
    assert (tally(store.engine, stored.study_id).attempts, tally(store.engine, stored.study_id).failed) == (1, 0)
    claim, trial = started(store, stored)
    execute(
        store,
        "UPDATE trials SET datetime_start = (now() AT TIME ZONE 'utc') - interval '30 seconds' WHERE trial_id = :id",
        id=trial._trial_id,
    )
    slots.beat(store.engine, claim, 5)
    assert tally(store.engine, stored.study_id).training_seconds == pytest.approx(30, abs=1)


def test_prometheus_reads_what_is_now(store: Store, stored: StoredStudy) -> None:
    lines: list[str] = []
    with serve_metrics(store, [stored], "127.0.0.1", 0, lines.append):
        url = lines[0].rpartition(" ")[2]
        assert 'castpool_slots_open{study="air"} 3.0' in read(url)
        claim, _ = started(store, stored)
        finish(store, claim)
        assert 'castpool_slots_open{study="air"} 2.0' in read(url)
        taken = serve_metrics(store, [stored], "127.0.0.1", int(url.split(":")[2].split("/")[0]), lines.append)
        with pytest.raises(InputError, match="metrics_port: got"), taken:
            pass
    with pytest.raises(OSError, match="refused"):
        read(url)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_the_health_check_asks_the_storage(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASTPOOL_STORAGE", database)
    assert ping.main() == 0
    monkeypatch.setenv("CASTPOOL_STORAGE", "postgresql://castpool:canary@127.0.0.1:9/castpool")
    assert ping.main() == 1
    assert "does not answer" in (message := capsys.readouterr().err)
    assert "canary" not in message
    monkeypatch.setenv("CASTPOOL_STORAGE", "mysql://somewhere/db")
    assert ping.main() == 1
