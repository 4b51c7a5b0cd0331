"""castpool's own tables, beside Optuna's in the same database.

castpool_studies    what a study is made of: spec, identity, plan, data set; its other budgets and what is spent of them
castpool_slots      the trial budget: one row a slot; who holds it, until when, how often it failed, how it ended
castpool_workers    who works or worked, and the last beat of each
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
-- Since version 2. `seconds` passed while anybody worked; `stopped` says why the study ended before its budgets.
ALTER TABLE castpool_studies
    ADD COLUMN IF NOT EXISTS budget_seconds float8,
    ADD COLUMN IF NOT EXISTS budget_steps   bigint,
    ADD COLUMN IF NOT EXISTS seconds        float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS steps          bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS active_at      timestamptz,
    ADD COLUMN IF NOT EXISTS stopped        text;

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
-- where the attempt is, `steps` what all attempts have trained; `checkpoint` is an artifact.
ALTER TABLE castpool_slots
    ADD COLUMN IF NOT EXISTS failures        jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS reason          text,
    ADD COLUMN IF NOT EXISTS step            integer,
    ADD COLUMN IF NOT EXISTS steps           bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS checkpoint      text,
    ADD COLUMN IF NOT EXISTS checkpoint_step integer;

CREATE TABLE IF NOT EXISTS castpool_artifacts (
    artifact_id text NOT NULL,
    part        integer NOT NULL,
    payload     bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (artifact_id, part)
);
"""

# Held until the transaction ends: all processes that create tables wait for each other.
LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
# Held until the transaction ends too, or not to be had.
# Its transaction is idle for as long as the work takes.
TRY_LOCK = """
SELECT pg_try_advisory_xact_lock(%(purpose)s, %(number)s),
       set_config('idle_in_transaction_session_timeout', '0', true),
       -- The server then finds out by itself that the holder's machine is gone.
       set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true),
       set_config('tcp_keepalives_count', '3', true)
"""
EXISTS = "SELECT to_regclass('castpool_schema') AS found"
SET_VERSION = """
WITH old AS (DELETE FROM castpool_schema) INSERT INTO castpool_schema VALUES (%(version)s)
"""
VERSION = "SELECT max(version) AS version FROM castpool_schema"
OPTUNA_VERSION = "SELECT version_num FROM alembic_version"
