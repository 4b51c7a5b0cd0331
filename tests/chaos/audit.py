"""What must hold after any faults. Triggers record each write as it happens; the rest is checked afterwards."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from castpool.storage.files import artifacts
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.chaos.training import CHECK_STEPS, MAX_STEPS, loss
from tests.storage.helpers import execute

# A row for each end of a trial or a slot, one for each completed task of an evaluation, and one for each write to a
# trial by a worker without the slot's lease: `holder` is the process of the worker that has it. A transaction that
# begins or ends the trial may write to it.
TRIGGERS = """
CREATE TABLE audit_ends (what text, id bigint, how text);
CREATE TABLE audit_strays (what text, trial_id bigint, writer text, holder text);
CREATE TABLE audit_judged (study_id integer, task jsonb, result text);

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

CREATE FUNCTION audit_evaluation() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit_judged VALUES (NEW.study_id, NEW.task, NEW.result);
    RETURN NULL; END $$;
CREATE TRIGGER audit_evaluation AFTER UPDATE ON castpool_slots FOR EACH ROW
    WHEN (NEW.ended_at IS NOT NULL AND NEW.outcome = 'complete' AND NEW.task IS NOT NULL)
    EXECUTE FUNCTION audit_evaluation();

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
    """Record from now on which worker writes what."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql(TRIGGERS.replace("%", "%%"))
        for table in WRITTEN:
            connection.exec_driver_sql(
                f"CREATE TRIGGER audit AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_write()"
            )


def losses(store: Store, stored: StoredStudy, trials: int, *, is_real: bool, is_evaluated: bool = False) -> list[str]:
    """Return what was lost, done twice or written by a worker without the lease: a sentence each."""
    found = [*_of_slots(store, stored, trials), *_of_writes(store)]
    found += _of_evaluations(store, stored, is_evaluated=is_evaluated)
    study = optuna.load_study(study_name=stored.name, storage=store.trials)
    ours = study.trials
    found += _of_attempts(store, stored, ours, is_real=is_real)
    plain = optuna.load_study(
        study_name=stored.name, storage=optuna.storages.RDBStorage(store.url.render_as_string(hide_password=False))
    ).trials
    if [_essence(trial) for trial in plain] != [_essence(trial) for trial in ours]:
        found.append("a plain Optuna client reads other trials")
    artifacts.delete_orphaned_checkpoints(store.engine, stored.study_id, -1.0)
    kept = execute(store, "SELECT DISTINCT artifact_id FROM castpool_artifacts WHERE artifact_id LIKE 'checkpoint-%'")
    if left := kept:
        found.append(f"checkpoints are left: {left}")
    return found


def _essence(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, trial.user_attrs


def _of_slots(store: Store, stored: StoredStudy, trials: int) -> list[str]:
    rows = execute(store, "SELECT * FROM castpool_slots WHERE study_id = :id ORDER BY slot", id=stored.study_id)
    found = []
    ours = [row.slot for row in rows if row.kind == "trial"]
    if ours != list(range(trials)):
        found.append(f"{len(ours)} slots in place of {trials}")
    found += [f"slot {row.slot} has not ended" for row in rows if row.ended_at is None or row.lease_until is not None]
    found += [f"slot {row.slot} has failed: {row.reason}" for row in rows if row.outcome == "failed"]
    return found


def _of_evaluations(store: Store, stored: StoredStudy, *, is_evaluated: bool) -> list[str]:
    """Every evaluation has one result, no task was completed twice, and the study went through its phases."""
    (phase,) = execute(store, "SELECT phase FROM castpool_studies WHERE study_id = :id", id=stored.study_id)[0]
    found = [f"the study is in phase {phase}"] if phase != ("done" if is_evaluated else None) else []
    query = "SELECT * FROM castpool_slots WHERE study_id = :id AND kind <> 'trial' ORDER BY slot"
    rows = execute(store, query, id=stored.study_id)
    if {row.kind for row in rows} != ({"verification", "holdout"} if is_evaluated else set()):
        found.append(f"{len(rows)} evaluations: {sorted({row.kind for row in rows})}")
    stores = execute(store, "SELECT DISTINCT artifact_id FROM castpool_artifacts WHERE artifact_id LIKE 'evaluation-%'")
    kept = {row.artifact_id for row in stores}
    found += [f"evaluation {row.slot}, {row.outcome}, has no result" for row in rows if row.result not in kept]
    judged = execute(
        store,
        "SELECT task, array_agg(result) AS results FROM audit_judged WHERE study_id = :id GROUP BY task "
        "HAVING count(*) > 1",
        id=stored.study_id,
    )
    return found + [f"{row.task} was judged twice: {row.results}" for row in judged]


def _of_writes(store: Store) -> list[str]:
    twice = execute(
        store, "SELECT what, id, string_agg(how, ', ') AS how FROM audit_ends GROUP BY 1, 2 HAVING count(*) > 1"
    )
    strays = execute(store, "SELECT what, trial_id, writer, holder FROM audit_strays")
    return [f"{end.what} {end.id} ended more than once: {end.how}" for end in twice] + [
        f"{write.writer} wrote {write.what} of trial {write.trial_id}, which {write.holder} held" for write in strays
    ]


def _of_attempts(store: Store, stored: StoredStudy, trials: list[FrozenTrial], *, is_real: bool) -> list[str]:
    found = []
    if [trial.number for trial in trials] != list(range(len(trials))):
        found.append("trials are not numbered without gaps")
    by_slot: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        if not trial.state.is_finished():
            found.append(f"trial {trial.number} is {trial.state.name}")
        by_slot[trial.user_attrs["castpool"]["slot"]].append(trial)
    query = "SELECT * FROM castpool_slots WHERE study_id = :id AND kind = 'trial' ORDER BY slot"
    for row in execute(store, query, id=stored.study_id):
        attempts = by_slot[row.slot]
        numbers = [attempt.user_attrs["castpool"]["attempt"] for attempt in attempts]
        if numbers != sorted(set(numbers)) or (numbers and numbers[-1] != row.attempt):
            found.append(f"slot {row.slot} at attempt {row.attempt} has attempts {numbers}")
        if not attempts or attempts[-1]._trial_id != row.trial_id:
            found.append(f"slot {row.slot} is not that of its last attempt")
            continue
        succeeded = [attempt for attempt in attempts if attempt.state != TrialState.FAIL]
        if succeeded != attempts[-1:] or succeeded[0].state.name.lower() != row.outcome:
            found.append(f"slot {row.slot}, {row.outcome}, has {[attempt.state.name for attempt in attempts]}")
        found += _of_retries(row.slot, attempts)
        if not is_real and succeeded:
            found += _of_reports(succeeded[-1])
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
    """A trial's reports are those of its whole training, whichever workers did its parts."""
    # A trial that the pruner stopped after the study's best loss is complete too, and its reason says so.
    is_whole = trial.state == TrialState.COMPLETE and "it counts" not in trial.user_attrs.get("reason", "")
    last = MAX_STEPS if is_whole else trial.last_step or 0
    expected = {step: loss(trial.params, step) for step in range(CHECK_STEPS, last + 1, CHECK_STEPS)}
    if trial.intermediate_values != expected:
        return [f"trial {trial.number} has reports at {list(trial.intermediate_values)} of {list(expected)}"]
    return []
