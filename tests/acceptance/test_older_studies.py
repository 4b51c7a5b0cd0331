"""Studies that an older castpool wrote are displayed, resumed and finished by this one.

The fixture is a dump of a database of schema version 2, made by pg_dump, with three studies of `--demo`: `finished`;
`interrupted`, whose workers were killed, with two leases and a checkpoint at step 58; `timed`, with a budget of 20 s,
killed after 7 s.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import torch
from neuralforecast import NeuralForecast
from optuna.trial import FrozenTrial, TrialState

from castpool import attributes
from castpool.storage.files.artifacts import open_artifacts
from castpool.storage.store import open_store
from castpool.workers.training.pruning_callback import PruningCallback
from castpool.workers.worker.heartbeat import beat_seconds
from tests.acceptance.conftest import finished
from tests.acceptance.test_tune import Start

DUMP = Path(__file__).parents[1] / "fixtures" / "studies_before_rooms.sql.xz"
CHECKPOINT, CHECKPOINT_STEP = "checkpoint-2-5-1-58", 58

pytestmark = pytest.mark.acceptance


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"))


@pytest.fixture
def database(empty_database: str) -> str:
    """The URL of a database with the older studies."""
    with connect(empty_database) as connection:
        connection.execute(lzma.decompress(DUMP.read_bytes()))
    return empty_database


def read_json(castpool: Start, *arguments: str) -> Any:
    code, out, err = finished(castpool(*arguments, "--json"))
    assert code == 0, err
    return json.loads(out)


def attempts_at(study: optuna.Study, slot: int) -> list[FrozenTrial]:
    return [trial for trial in study.trials if trial.user_attrs[attributes.ATTEMPT]["slot"] == slot]


def query(database: str, statement: str) -> list[tuple[Any, ...]]:
    with connect(database) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def test_all_of_them_are_displayed(castpool: Start, database: str) -> None:
    shown = {name: read_json(castpool, "status", name) for name in ("finished", "interrupted", "timed")}
    ended = {name: (status["ended"], status["slots"], status["over"]) for name, status in shown.items()}
    assert ended == {"finished": (4, 4, None), "interrupted": (5, 10, None), "timed": (17, 1000, None)}
    # The budgets moved from columns to rows.
    spent = [(shown[name]["training_steps"], shown[name]["working_seconds"]) for name in shown]
    assert spent == [(160, 2.8), (748, 17.5), (420, 7.2)]
    assert [shown[name]["time_budget"] for name in shown] == [None, None, 20]
    assert shown["interrupted"]["running"] == 2

    for name in shown:
        best = read_json(castpool, "best", name)
        assert best["value"] == optuna.load_study(study_name=name, storage=database).best_value
        assert best["config"]
        assert best["decisions"]
    code, out, err = finished(castpool("leaderboard"))
    assert code == 0, err
    assert all(name in out for name in shown)
    assert query(database, "SELECT version FROM castpool_schema") == [(4,)]


def test_an_interrupted_study_is_resumed_from_its_checkpoint(castpool: Start, database: str) -> None:
    before = optuna.load_study(study_name="interrupted", storage=database).trials
    with open_store(database) as store:
        kept = torch.load(open_artifacts(store.engine, None).open_reader(CHECKPOINT), weights_only=True)
    seen = kept["callbacks"][object.__new__(PruningCallback).state_key]

    code, _, err = finished(castpool("pool", "interrupted", "--workers", "2"))
    assert code == 0, err

    study = optuna.load_study(study_name="interrupted", storage=database)
    ended = [trial for trial in before if trial.state.is_finished()]
    assert len(ended) == 5
    assert study.trials[:5] == ended, "a trial that has ended never changes"
    status = read_json(castpool, "status", "interrupted")
    assert (status["ended"], status["slots"], status["running"], status["failed"]) == (10, 10, 0, 0)

    lost, resumed = attempts_at(study, 5)
    assert lost.user_attrs[attributes.REASON].startswith("lost: worker 4")
    assert (resumed.params, resumed.user_attrs[attributes.ATTEMPT]["retry_of"]) == (lost.params, lost.number)
    reported = {step: loss for step, loss in lost.intermediate_values.items() if step <= CHECKPOINT_STEP}
    assert reported
    assert {step: resumed.intermediate_values[step] for step in reported} == reported
    assert seen["best_value"] == min(reported.values())
    if resumed.state == TrialState.COMPLETE:
        assert resumed.value == min(resumed.intermediate_values.values())
    # What was trained before the checkpoint is not trained again.
    ((steps, last),) = query(database, "SELECT steps, step FROM castpool_slots WHERE study_id = 2 AND slot = 5")
    assert steps == last == resumed.last_step


@pytest.mark.slow
def test_a_budget_of_time_is_resumed_with_the_stored_pruner(castpool: Start, database: str) -> None:
    code, _, err = finished(castpool("pool", "timed", "--workers", "2"))
    assert code == 0, err

    status = read_json(castpool, "status", "timed")
    assert status["over"] == "the budget of 20 seconds is spent"
    assert 20 <= status["working_seconds"] < 20 + beat_seconds() / 2
    assert status["failed"] == 0
    trials = optuna.load_study(study_name="timed", storage=database).trials
    assert len(trials) > 19
    assert TrialState.RUNNING not in {trial.state for trial in trials}
    pruned = [trial for trial in trials[19:] if trial.state == TrialState.PRUNED]
    assert pruned, "the pruner of the stored plan stops trials"
    assert any(key.startswith(attributes.COMPLETED_RUNG) for trial in trials[19:] for key in trial.system_attrs)


def test_a_finished_study_gets_its_result_and_trains_nothing_more(
    castpool: Start, database: str, tmp_path: Path
) -> None:
    before = optuna.load_study(study_name="finished", storage=database).trials

    code, _, err = finished(castpool("result", "finished", "--out", "out"))
    assert code == 0, err
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model", "forecast.csv", "report.html", "best.json", "trials.csv"} <= written
    assert len(NeuralForecast.load(str(tmp_path / "out" / "model")).predict()) > 0

    command = ["tune", "--demo", "--name", "finished", "--model", "MLP", "--trials", "4", "--max-steps", "40"]
    code, _, err = finished(castpool(*command, "--workers", "1"))
    assert code == 0, err
    assert optuna.load_study(study_name="finished", storage=database).trials == before
