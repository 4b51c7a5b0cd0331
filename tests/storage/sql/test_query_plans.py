"""What a worker asks all day touches a few rows, also where a study has ten thousand trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.sql.elements import TextClause

import castpool.storage.optuna_storage.pool_storage
from castpool.sampler_policies.pruners.incremental import IncrementalHyperbandPruner
from castpool.storage.budget import reaper, slots
from castpool.storage.connection.engine import run_together
from castpool.storage.store import Store
from tests.storage.helpers import claimed, execute, load, make_study
from tests.storage.optuna_storage.test_pool_storage import fill

N_TRIALS = 10_000
MOST_ROWS = 100

FILL = """
WITH made AS (
    INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)
    SELECT :study_id, generate_series(0, :n - 1), 'COMPLETE', now(), now() RETURNING trial_id)
, named AS (SELECT trial_id, 'x' || generate_series(0, 7) AS name FROM made)
, params AS (
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id, name, 0.5,
           '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}'
      FROM named)
, reports AS (
    INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id, generate_series(0, 9), 0.5, 'FINITE' FROM made)
, the_slots AS (
    INSERT INTO castpool_slots (study_id, slot, trial_id, ended_at, outcome)
    SELECT :study_id, 100 + row_number() OVER (), trial_id, now(), 'complete' FROM made)
INSERT INTO trial_values (trial_id, objective, value, value_type) SELECT trial_id, 0, 0.5, 'FINITE' FROM made
"""

Sent = list[tuple[str, Any]]


@pytest.fixture
def sent(store: Store, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """Every statement of a whole trial, with its arguments, in a study of ten thousand."""
    stored = make_study(store, trials=10)
    execute(store, FILL, study_id=stored.study_id, n=N_TRIALS)
    execute(store, "ANALYZE")
    study = load(store)
    study.pruner = IncrementalHyperbandPruner(min_resource=1, max_resource=10, reduction_factor=3)
    store.trials.get_all_trials(stored.study_id, deepcopy=False)  # what was there is read once
    collected: Sent = []

    def collect(connection: Any, cursor: Any, statement: str, arguments: Any, *_: Any) -> None:
        collected.append((statement, arguments))

    def collect_together(engine: Any, *statements: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Any]]:
        collected.extend(chain.from_iterable(statements))
        return run_together(engine, *statements)

    event.listen(store.engine, "before_cursor_execute", collect)
    monkeypatch.setattr(castpool.storage.optuna_storage.pool_storage, "run_together", collect_together)
    try:
        reaper.reap(store.engine, stored.study_id)
        claim = claimed(store, stored)
        slots.beat(store.engine, claim)
        fill(store, study, claim)
    finally:
        event.remove(store.engine, "before_cursor_execute", collect)
    return collected


def rows_read(plan: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the tables of a plan with the rows that were read of each, those thrown away included."""
    if "Relation Name" in plan and not plan["Node Type"].startswith("ModifyTable"):
        read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield plan["Relation Name"], int(read * plan["Actual Loops"])
    for inner in plan.get("Plans", ()):
        yield from rows_read(inner)


def test_no_statement_of_a_trial_reads_more_than_a_few_rows(store: Store, sent: Sent) -> None:
    seen = set()
    for statement, arguments in sent:
        assert not isinstance(statement, TextClause)
        with store.engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
            explained = connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", arguments
            ).scalar_one()
            connection.rollback()
        for table, rows in rows_read(explained[0]["Plan"]):
            seen.add(table)
            assert rows <= MOST_ROWS, f"{rows} rows of {table} by {statement}"

    assert {"trials", "studies", "castpool_slots", "castpool_budgets", "trial_params"} <= seen
    assert len(sent) > 10
