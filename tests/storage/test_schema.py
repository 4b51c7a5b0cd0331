"""castpool's tables: made once, however many ask; another version's or another user's are refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from castpool.storage.budget import slots
from castpool.storage.budget.kinds import STEPS
from castpool.storage.errors import SchemaVersionError, StorageError
from castpool.storage.schema import VERSION, optuna_revisions
from castpool.storage.store import Store, open_store
from tests.storage.helpers import execute, finish, make_study, started, watcher

ROOT = Path(__file__).resolve().parents[2]

# In a separate program, which forks before it has any connection: eight imports would hardly meet at one moment.
EIGHT_AT_ONCE = """
import multiprocessing, sys
from castpool.storage.store import open_store

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
        assert execute(store, "SELECT version FROM castpool_schema") == [(VERSION,)]
        assert execute(store, "SELECT count(*) FROM alembic_version") == [(1,)]
        tables = execute(store, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'castpool%' ORDER BY 1")
        expected = ["artifacts", "budgets", "datasets", "schema", "slots", "studies", "workers"]
        assert [table.tablename for table in tables] == [f"castpool_{name}" for name in expected]


def test_tables_of_an_older_castpool_get_what_they_lack_and_keep_what_they_have(empty_database: str) -> None:
    added = {
        "castpool_studies": ("active_at", "stopped", "phase", "evaluation"),
        "castpool_slots": (
            *("failures", "reason", "step", "steps", "checkpoint", "checkpoint_step"),
            *("kind", "task", "result"),
        ),
    }
    with open_store(empty_database) as store:
        stored = make_study(store)
        for table, columns in added.items():
            for column in columns:
                execute(store, f"ALTER TABLE {table} DROP COLUMN {column}")
        execute(store, "DROP TABLE castpool_artifacts, castpool_budgets")
        execute(store, "UPDATE castpool_schema SET version = 1")

    with open_store(empty_database) as store:
        assert execute(store, "SELECT version FROM castpool_schema") == [(VERSION,)]
        claim, _ = started(store, stored)
        finish(store, claim, step=10)
        counts = slots.count(store.engine, stored.study_id)
        assert (counts.slots, counts.ended, counts.budget(STEPS).spent) == (3, 1, 10)


def test_budgets_in_columns_become_rows_once(empty_database: str) -> None:
    with open_store(empty_database) as store:
        stored = make_study(store, steps=1000, seconds=60.0)
        make_study(store, "unlimited")
        for column in ("budget_seconds float8", "budget_steps bigint"):
            execute(store, f"ALTER TABLE castpool_studies ADD COLUMN {column}")
        for column in ("seconds float8", "steps bigint"):
            execute(store, f"ALTER TABLE castpool_studies ADD COLUMN {column} NOT NULL DEFAULT 0")
        columns = "budget_seconds = 60, budget_steps = 1000, seconds = 7.25, steps = 420"
        execute(store, f"UPDATE castpool_studies SET {columns} WHERE study_id = :id", id=stored.study_id)
        execute(store, "DROP TABLE castpool_budgets")
        execute(store, "UPDATE castpool_schema SET version = 2")

    for _ in range(2):
        with open_store(empty_database) as store:
            rows = execute(store, 'SELECT kind, "limit", spent FROM castpool_budgets ORDER BY study_id, kind')
            assert rows == [("steps", 1000, 420), ("time", 60, 7.25), ("steps", None, 0), ("time", None, 0)]
            left = "SELECT column_name FROM information_schema.columns WHERE table_name = 'castpool_studies'"
            assert {row[0] for row in execute(store, left)}.isdisjoint({"budget_seconds", "seconds", "steps"})


def test_tables_of_another_castpool_are_refused(empty_database: str) -> None:
    with open_store(empty_database) as store:
        execute(store, "UPDATE castpool_schema SET version = 7")

    with pytest.raises(SchemaVersionError) as caught, open_store(empty_database):
        pass

    assert "version 7 and this castpool knows 4; use the castpool that created them" in str(caught.value)
    assert caught.value.exit_code == 2


def test_tables_of_an_older_optuna_are_refused_with_the_command_that_upgrades_them(empty_database: str) -> None:
    with open_store(empty_database) as store:
        execute(store, "UPDATE alembic_version SET version_num = 'v2.6.0.a'")

    with pytest.raises(SchemaVersionError, match=r"storage: .*optuna storage upgrade"), open_store(empty_database):
        pass


@pytest.mark.parametrize("castpool_has_tables", [True, False])
def test_tables_of_an_optuna_that_is_not_known_are_refused(empty_database: str, castpool_has_tables: bool) -> None:
    with open_store(empty_database) as store:
        execute(store, "UPDATE alembic_version SET version_num = 'v99.0.0.a'")
        if not castpool_has_tables:
            names = ("schema", "slots", "budgets", "workers", "studies", "datasets", "artifacts")
            execute(store, f"DROP TABLE {', '.join(f'castpool_{name}' for name in names)}")

    with pytest.raises(SchemaVersionError) as caught, open_store(empty_database):
        pass

    message = str(caught.value)
    assert message.startswith("storage: Optuna's tables are of revision v99.0.0.a, and the installed Optuna ")
    assert all(revision in message for revision in optuna_revisions())
    assert message.endswith("; install the Optuna that created them, or use another database.")
    assert caught.value.exit_code == 2
    if not castpool_has_tables:
        with watcher(empty_database) as watch:
            assert watch.exec_driver_sql("SELECT to_regclass('castpool_schema')").scalar_one() is None


def test_a_user_that_may_not_create_tables_gets_the_remedy(empty_database: str) -> None:
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
