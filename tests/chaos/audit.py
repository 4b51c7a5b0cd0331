"""What must hold whatever happened. Triggers note each write as it happens; the rest is counted after."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from storage import artifacts
from storage.store import Store
from storage.studies import StoredStudy
from tests.chaos.training import CHECK_STEPS, MAX_STEPS, loss
from tests.storage.helpers import execute

# A row for each end of a trial or a slot, and one for each write to a trial by somebody who does not hold its slot:
# `holder` is the process of the worker that does. What a transaction writes that has itself begun or ended the trial is
# judged by that.
TRIGGERS = """
CREATE TABLE audit_ends (what text, id bigint, how text);
CREATE TABLE audit_strays (what text, trial_id bigint, writer text, holder text);

CREATE FUNCTION audit_trial() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit_ends VALUES ('trial', NEW.trial_id, OLD.state || ' to ' || NEW.state);
    RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE OF state ON trials FOR EACH ROW
    WHEN (NEW.state IN ('COMPLETE', 'PRUNED', 'FAIL')) EXECUTE FUNCTION audit_trial();

CREATE FUNCTION audit_slot() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit_ends VALUES ('slot', NEW.study_id * 100000 + NEW.slot, NEW.outcome);
    RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON castpool_slots FOR EACH ROW
    WHEN (NEW.ended_at IS NOT NULL) EXECUTE FUNCTION audit_slot();

CREATE FUNCTION audit_write() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE holds text; runs boolean; BEGIN
    SELECT 'castpool worker ' || w.pid INTO holds
      FROM castpool_slots s JOIN castpool_workers w USING (worker_id)
     WHERE s.trial_id = NEW.trial_id AND s.ended_at IS NULL;
    SELECT t.state = 'RUNNING' OR t.xmin::text = (txid_current() % (2^32)::bigint)::text INTO runs
      FROM trials t WHERE t.trial_id = NEW.trial_id;
    IF NOT runs OR (holds IS DISTINCT FROM current_setting('application_name')
                    AND NOT EXISTS (SELECT FROM trials t WHERE t.trial_id = NEW.trial_id
                                       AND t.xmin::text = (txid_current() % (2^32)::bigint)::text)) THEN
        INSERT INTO audit_strays VALUES (TG_TABLE_NAME, NEW.trial_id, current_setting('application_name'), holds);
    END IF;
    RETURN NULL; END $$;
"""
WRITTEN = (
    "trial_params",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_values",
)


def install(store: Store) -> None:
    """Note from now on who writes what."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(TRIGGERS.replace("%", "%%"))
        for table in WRITTEN:
            connection.exec_driver_sql(
                f"CREATE TRIGGER audit AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_write()"
            )


def losses(store: Store, stored: StoredStudy, trials: int, *, is_real: bool) -> list[str]:
    """Return what was lost, done twice or done by the wrong one: a sentence each."""
    found = [*_of_slots(store, stored, trials), *_of_writes(store)]
    study = optuna.load_study(study_name=stored.name, storage=store.trials)
    ours = study.trials
    found += _of_attempts(store, stored, ours, is_real=is_real)
    plain = optuna.load_study(
        study_name=stored.name, storage=optuna.storages.RDBStorage(store.url.render_as_string(hide_password=False))
    ).trials
    if [_essence(own) for own in plain] != [_essence(own) for own in ours]:
        found.append("a plain Optuna client reads other trials")
    artifacts.sweep(store.engine, stored.study_id, -1.0)
    kept = execute(store, "SELECT DISTINCT artifact_id FROM castpool_artifacts WHERE artifact_id LIKE 'checkpoint-%'")
    if left := kept:
        found.append(f"checkpoints are left: {left}")
    return found


def _essence(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs


def _of_slots(store: Store, stored: StoredStudy, trials: int) -> list[str]:
    rows = execute(store, "SELECT * FROM castpool_slots WHERE study_id = :id ORDER BY slot", id=stored.study_id)
    found = []
    if [row.slot for row in rows] != list(range(trials)):
        found.append(f"{len(rows)} slots in place of {trials}")
    found += [f"slot {row.slot} has not ended" for row in rows if row.ended_at is None or row.lease_until is not None]
    found += [f"slot {row.slot} has failed: {row.reason}" for row in rows if row.outcome == "failed"]
    return found


def _of_writes(store: Store) -> list[str]:
    twice = execute(
        store, "SELECT what, id, string_agg(how, ', ') AS how FROM audit_ends GROUP BY 1, 2 HAVING count(*) > 1"
    )
    strays = execute(store, "SELECT what, trial_id, writer, holder FROM audit_strays")
    return [f"{own.what} {own.id} ended more than once: {own.how}" for own in twice] + [
        f"{own.writer} wrote {own.what} of trial {own.trial_id}, which {own.holder} held" for own in strays
    ]


def _of_attempts(store: Store, stored: StoredStudy, trials: list[FrozenTrial], *, is_real: bool) -> list[str]:
    found = []
    if [own.number for own in trials] != list(range(len(trials))):
        found.append("trials are not numbered without gaps")
    by_slot: dict[int, list[FrozenTrial]] = defaultdict(list)
    for own in trials:
        if not own.state.is_finished():
            found.append(f"trial {own.number} is {own.state.name}")
        by_slot[own.user_attrs["castpool"]["slot"]].append(own)
    slots = execute(store, "SELECT * FROM castpool_slots WHERE study_id = :id ORDER BY slot", id=stored.study_id)
    for row in slots:
        attempts = by_slot[row.slot]
        numbers = [own.user_attrs["castpool"]["attempt"] for own in attempts]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] != row.attempt):
            found.append(f"slot {row.slot} at attempt {row.attempt} has attempts {numbers}")
        if not attempts or attempts[-1]._trial_id != row.trial_id:
            found.append(f"slot {row.slot} is not that of its last attempt")
            continue
        told = [own for own in attempts if own.state != TrialState.FAIL]
        if told != attempts[-1:] or told[0].state.name.lower() != row.outcome:
            found.append(f"slot {row.slot}, {row.outcome}, has {[own.state.name for own in attempts]}")
        found += _of_retries(row.slot, attempts)
        if not is_real and told:
            found += _of_reports(told[-1])
    return found


def _of_retries(slot: int, attempts: list[FrozenTrial]) -> list[str]:
    found = []
    for before, after in pairwise(attempts):
        if after.user_attrs["castpool"].get("retry_of") != before.number:
            found.append(f"trial {after.number} retries another than {before.number}")
        wanted = before.system_attrs.get("fixed_params", {}) | before.params
        if wanted and after.params and {name: after.params.get(name) for name in wanted} != wanted:
            found.append(f"trial {after.number} has other parameters than {before.number}, which it retries")
        if before.state == TrialState.FAIL and "reason" not in before.user_attrs:
            found.append(f"trial {before.number} of slot {slot} failed without a reason")
    return found


def _of_reports(trial: FrozenTrial) -> list[str]:
    """A trial's reports are those of its whole training, whoever did which part of it."""
    # What the pruner stopped after the study's best check is complete too, and says so.
    is_whole = trial.state == TrialState.COMPLETE and "it counts" not in trial.user_attrs.get("reason", "")
    last = MAX_STEPS if is_whole else trial.last_step or 0
    expected = {step: loss(trial.params, step) for step in range(CHECK_STEPS, last + 1, CHECK_STEPS)}
    if trial.intermediate_values != expected:
        return [f"trial {trial.number} has reports at {list(trial.intermediate_values)} of {list(expected)}"]
    return []
