"""castpool's tables: made once, however many ask; another version's or another user's are refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from storage import slots
from storage.errors import SchemaVersionError, StorageError
from storage.store import Store, open_store
from tests.storage.helpers import execute, finish, make_study, started, watcher

ROOT = Path(__file__).resolve().parents[2]

# In a program of its own, which forks before it has any connection: eight imports would hardly meet at one moment.
EIGHT_AT_ONCE = """
import multiprocessing, sys
from storage.store import open_store

fork = multiprocessing.get_context("fork")
together = fork.Barrier(8)

def open_it():
    together.wait(60)
    with open_store(sys.argv[1]) as store:
        store.trials.get_all_studies()

processes = [fork.Process(target=open_it) for _ in range(8)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print([process.exitcode for process in processes])
"""


def test_eight_processes_open_an_empty_database_at_the_same_moment(empty_database: str) -> None:
    command = [sys.executable, "-c", EIGHT_AT_ONCE, empty_database]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)

    assert ended.stdout == f"{[0] * 8}\n", ended.stderr
    with open_store(empty_database) as store:
        assert execute(store, "SELECT version FROM castpool_schema") == [(2,)]
        assert execute(store, "SELECT count(*) FROM alembic_version") == [(1,)]
        tables = execute(store, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'castpool%' ORDER BY 1")
        expected = ["artifacts", "datasets", "schema", "slots", "studies", "workers"]
        assert [own.tablename for own in tables] == [f"castpool_{name}" for name in expected]


def test_tables_of_an_older_castpool_get_what_they_lack_and_keep_what_they_have(empty_database: str) -> None:
    added = {
        "castpool_studies": ("budget_seconds", "budget_steps", "seconds", "steps", "active_at", "stopped"),
        "castpool_slots": ("failures", "reason", "step", "steps", "checkpoint", "checkpoint_step"),
    }
    with open_store(empty_database) as store:
        stored = make_study(store)
        for table, columns in added.items():
            for column in columns:
                execute(store, f"ALTER TABLE {table} DROP COLUMN {column}")
        execute(store, "DROP TABLE castpool_artifacts")
        execute(store, "UPDATE castpool_schema SET version = 1")

    with open_store(empty_database) as store:
        assert execute(store, "SELECT version FROM castpool_schema") == [(2,)]
        claim, _ = started(store, stored)
        finish(store, claim, step=10)
        counts = slots.count(store.engine, stored.study_id)
        assert (counts.slots, counts.ended, counts.steps) == (3, 1, 10)


def test_tables_of_another_castpool_are_refused(empty_database: str) -> None:
    with open_store(empty_database) as store:
        execute(store, "UPDATE castpool_schema SET version = 7")

    with pytest.raises(SchemaVersionError) as caught, open_store(empty_database):
        pass

    assert "version 7 and this castpool knows 2; use the castpool that made them" in str(caught.value)
    assert caught.value.exit_code == 2


def test_tables_of_an_older_optuna_are_refused_with_the_command_that_upgrades_them(empty_database: str) -> None:
    with open_store(empty_database) as store:
        execute(store, "UPDATE alembic_version SET version_num = 'v2.6.0.a'")

    with pytest.raises(SchemaVersionError, match=r"storage: .*optuna storage upgrade"), open_store(empty_database):
        pass


def test_a_user_that_may_not_create_tables_is_told_what_to_do(empty_database: str) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    url = make_url(empty_database).update_query_dict({"options": f"-c role={role}"})
    with watcher(empty_database) as watch:
        watch.exec_driver_sql(f"CREATE ROLE {role}")
        try:
            refused = pytest.raises(StorageError, match=r"permission denied .*; connect as the owner")
            with refused, open_store(url.render_as_string(hide_password=False)):
                pass
        finally:
            watch.exec_driver_sql(f"DROP ROLE {role}")


def test_deleting_the_optuna_study_takes_what_castpool_keeps_beside_it(store: Store) -> None:
    kept, deleted = make_study(store, "kept"), make_study(store, "deleted")
    started(store, deleted)

    store.trials.delete_study(deleted.study_id)

    for table in ("castpool_studies", "castpool_slots"):
        left = execute(store, f"SELECT DISTINCT study_id FROM {table}")
        assert left == [(kept.study_id,)]
    assert execute(store, "SELECT * FROM castpool_workers") == []
