"""castpool's tables, beside Optuna's in the same database.

castpool_studies    what a study is made of: spec, identity, plan, data set
castpool_budgets    its budgets beside the number of trials: one row a kind, with the limit and what is spent
castpool_slots      trials to run and finalists to evaluate: one row a slot, with its lease, failures and outcome
castpool_workers    worker processes, each with its last beat
castpool_datasets   data sets by the SHA-256 of their bytes
castpool_artifacts  files, in parts: checkpoints, reports, models
"""

from __future__ import annotations

TABLES = """
CREATE TABLE IF NOT EXISTS castpool_schema (version integer NOT NULL);

CREATE TABLE IF NOT EXISTS castpool_datasets (
    sha256     text PRIMARY KEY,
    payload    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS castpool_studies (
    study_id   integer PRIMARY KEY REFERENCES studies (study_id) ON DELETE CASCADE,
    spec       jsonb NOT NULL,
    identity   jsonb NOT NULL,
    plan       jsonb NOT NULL,
    dataset    text NOT NULL REFERENCES castpool_datasets (sha256),
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Since version 2. `active_at` is the last write of a worker that trains; `stopped` is why the study ended before its
-- budgets.
ALTER TABLE castpool_studies
    ADD COLUMN IF NOT EXISTS active_at timestamptz,
    ADD COLUMN IF NOT EXISTS stopped   text;

-- Since version 3. Without a limit, what is spent is counted only.
CREATE TABLE IF NOT EXISTS castpool_budgets (
    study_id integer NOT NULL REFERENCES castpool_studies (study_id) ON DELETE CASCADE,
    kind     text NOT NULL,
    "limit"  float8,
    spent    float8 NOT NULL DEFAULT 0,
    PRIMARY KEY (study_id, kind)
);

CREATE TABLE IF NOT EXISTS castpool_workers (
    worker_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_id   integer NOT NULL REFERENCES castpool_studies (study_id) ON DELETE CASCADE,
    host       text NOT NULL,
    pid        integer NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT now(),
    last_beat  timestamptz NOT NULL DEFAULT now(),
    left_at    timestamptz
);
CREATE INDEX IF NOT EXISTS castpool_workers_by_study ON castpool_workers (study_id);

CREATE TABLE IF NOT EXISTS castpool_slots (
    study_id    integer NOT NULL REFERENCES castpool_studies (study_id) ON DELETE CASCADE,
    slot        integer NOT NULL,
    attempt     integer NOT NULL DEFAULT 0,
    params      jsonb,
    trial_id    integer,
    worker_id   bigint REFERENCES castpool_workers (worker_id),
    lease_until timestamptz,
    ended_at    timestamptz,
    outcome     text,
    PRIMARY KEY (study_id, slot)
);
CREATE INDEX IF NOT EXISTS castpool_slots_open ON castpool_slots (study_id, slot) WHERE ended_at IS NULL;
-- Since version 2. `failures` counts attempts by the class of their failure, `reason` is the last one's; `step` is
-- where the attempt is, `steps` the sum over all attempts; `checkpoint` is an artifact.
ALTER TABLE castpool_slots
    ADD COLUMN IF NOT EXISTS failures        jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS reason          text,
    ADD COLUMN IF NOT EXISTS step            integer,
    ADD COLUMN IF NOT EXISTS steps           bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS checkpoint      text,
    ADD COLUMN IF NOT EXISTS checkpoint_step integer;

-- Since version 4. A study without a `phase` evaluates nothing; `evaluation` is what was selected so far. Of a budget
-- trials may not spend what is `reserved`. A slot of another kind than a trial has a `task`, its `result` is an
-- artifact, and `seconds` is its worker's time by phase.
ALTER TABLE castpool_studies
    ADD COLUMN IF NOT EXISTS phase      text,
    ADD COLUMN IF NOT EXISTS evaluation jsonb;
ALTER TABLE castpool_budgets
    ADD COLUMN IF NOT EXISTS reserved   float8 NOT NULL DEFAULT 0;
ALTER TABLE castpool_slots
    ADD COLUMN IF NOT EXISTS kind       text NOT NULL DEFAULT 'trial',
    ADD COLUMN IF NOT EXISTS task       jsonb,
    ADD COLUMN IF NOT EXISTS result     text,
    ADD COLUMN IF NOT EXISTS seconds    jsonb;
CREATE UNIQUE INDEX IF NOT EXISTS castpool_slots_task ON castpool_slots (study_id, task) WHERE task IS NOT NULL;

CREATE TABLE IF NOT EXISTS castpool_artifacts (
    artifact_id text NOT NULL,
    part        integer NOT NULL,
    payload     bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (artifact_id, part)
);
"""

# From version 2, where budgets were columns of a study, or version 1, which had none. The columns are dropped: a worker
# of an older castpool that still runs then fails at its next write, where it would spend a budget that no other reads.
BUDGETS_FROM_COLUMNS = """
ALTER TABLE castpool_studies
    ADD COLUMN IF NOT EXISTS budget_seconds float8,
    ADD COLUMN IF NOT EXISTS budget_steps   bigint,
    ADD COLUMN IF NOT EXISTS seconds        float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS steps          bigint NOT NULL DEFAULT 0;

INSERT INTO castpool_budgets (study_id, kind, "limit", spent)
SELECT c.study_id, old.kind, old."limit", old.spent
  FROM castpool_studies c,
       LATERAL (VALUES ('steps', c.budget_steps::float8, c.steps::float8), ('time', c.budget_seconds, c.seconds))
               AS old (kind, "limit", spent)
ON CONFLICT (study_id, kind) DO NOTHING;

ALTER TABLE castpool_studies
    DROP COLUMN budget_seconds, DROP COLUMN budget_steps, DROP COLUMN seconds, DROP COLUMN steps;
"""

# Held until the transaction ends: all processes that create tables wait for each other.
LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
# Held until the transaction ends too; false where another process holds it.
# Its transaction is idle for as long as the work takes.
TRY_LOCK = """
SELECT pg_try_advisory_xact_lock(%(purpose)s, %(number)s),
       set_config('idle_in_transaction_session_timeout', '0', true),
       -- So the server notices that the holder's machine is gone.
       set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true),
       set_config('tcp_keepalives_count', '3', true)
"""
EXISTS = "SELECT to_regclass('castpool_schema') AS found"
SET_VERSION = """
WITH old AS (DELETE FROM castpool_schema) INSERT INTO castpool_schema VALUES (%(version)s)
"""
VERSION = "SELECT max(version) AS version FROM castpool_schema"
OPTUNA_EXISTS = "SELECT to_regclass('alembic_version') AS found"
OPTUNA_REVISION = "SELECT version_num FROM alembic_version"
