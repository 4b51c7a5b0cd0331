"""A training left anywhere and taken up by another process has the losses of one that was never interrupted."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import pytorch_lightning as pl
import torch

from castpool import attributes
from castpool.storage.budget import reaper, slots
from castpool.storage.budget.kinds import TIME
from castpool.storage.budget.outcome import Outcome
from castpool.storage.store import Store
from castpool.workers.planning.create_study import Draft, save_study
from castpool.workers.spec.job import Job
from castpool.workers.spec.python_objects import PythonObjects
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.checkpoint_callback import CheckpointCallback
from castpool.workers.training.checkpoint_store import CheckpointStore
from castpool.workers.training.ending import Ending
from castpool.workers.training.fast_step_callback import FastStepCallback
from castpool.workers.training.objective import TrainingResult, train
from castpool.workers.training.pruning_callback import PruningCallback
from castpool.workers.training.training_state import unpack
from castpool.workers.worker.heartbeat import beat_seconds
from castpool.workers.worker.loop import Worker
from castpool.workers.worker.trial_runner import complete_if_best
from tests.storage.helpers import execute

MAX_STEPS = 20
# Of everything that a state has to hold there is something in one of these: optimisers' moments, a schedule, several
# batches an epoch, dropout, early stopping, recurrent cells, a scaler that learns.
CASES: dict[str, dict[str, Any]] = {
    "several batches an epoch": {"model": "MLP", "space": {"hidden_size": 8, "num_layers": 2, "batch_size": 1}},
    "one batch an epoch": {"model": "NHITS", "space": {"batch_size": 32, "mlp_units": [[[8, 8]] * 3]}},
    "dropout and a schedule": {
        "model": "NHITS",
        "space": {"dropout_prob_theta": 0.3, "num_lr_decays": 4, "batch_size": 2, "mlp_units": [[[8, 8]] * 3]},
    },
    "recurrent": {"model": "LSTM", "space": {"encoder_hidden_size": 8, "decoder_hidden_size": 8, "batch_size": 2}},
    "multivariate": {"model": "TSMixer", "space": {"ff_dim": 8, "n_block": 1, "dropout": 0.3}},
    "a learning scaler": {"model": "MLP", "space": {"hidden_size": 8, "num_layers": 2, "scaler_type": "revin"}},
    "early stopping": {
        "model": "MLP", "space": {"hidden_size": 8, "num_layers": 2, "early_stop_patience_steps": 3, "batch_size": 1}
    },
}  # fmt: skip


class Kept(CheckpointStore):
    """One place for a state, in memory."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.step = 0
        self.saved: list[int] = []

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes, step: int) -> None:
        self.state, self.step = state, step
        self.saved.append(step)


def ask() -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(1)).ask()


def curve(trial: optuna.Trial) -> dict[int, float]:
    return trial.study.trials[0].intermediate_values


def never(step: int) -> None:
    return None


def disturbed() -> None:
    """Leave the generators elsewhere, as another process has them."""
    torch.manual_seed(99)
    torch.rand(7)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("left_at", [1, 7, 8])
def test_a_training_that_was_left_goes_on_with_the_same_losses(
    job: Callable[..., Job], case: str, left_at: int
) -> None:
    small = job(max_steps=MAX_STEPS, val_check_steps=4, checkpoint_seconds=3600, **CASES[case])
    uninterrupted = ask()
    whole = train(small, uninterrupted, is_prunable=True, interruption=never)

    kept, first, second = Kept(), ask(), ask()
    left = train(
        small,
        first,
        is_prunable=True,
        interruption=lambda step: Ending("stopped", "asked") if step >= left_at else None,
        checkpoints=kept,
    )
    assert (left.ending, kept.step) == (Ending("stopped", "asked"), left_at)
    disturbed()
    rest = train(small, second, is_prunable=True, interruption=never, checkpoints=kept)

    assert curve(first) | curve(second) == curve(uninterrupted)
    assert not curve(first).keys() & curve(second).keys(), "no report is made twice"
    assert (rest.ending, rest.value, rest.best_step, rest.step) == (
        whole.ending, whole.value, whole.best_step, whole.step
    )  # fmt: skip


def test_a_training_may_be_left_again_and_again(job: Callable[..., Job]) -> None:
    small = job(max_steps=MAX_STEPS, val_check_steps=4, checkpoint_seconds=3600, **CASES["several batches an epoch"])
    uninterrupted = ask()
    train(small, uninterrupted, is_prunable=True, interruption=never)

    kept, reports = Kept(), {}
    for left_at in (2, 3, 8, 11, 19, math.inf):
        trial = ask()

        def stops(step: int, left_at: float = left_at) -> Ending | None:
            return Ending("stopped", "asked") if step >= left_at else None

        train(small, trial, is_prunable=True, interruption=stops, checkpoints=kept)
        reports |= curve(trial)
        disturbed()
    assert reports == curve(uninterrupted)


# The keys that callbacks with a state had in checkpoints before they were renamed.
OLD_KEYS = {PruningCallback: "ValidationHook", CheckpointCallback: "Checkpointing", FastStepCallback: "QuickSteps"}


def test_a_checkpoint_with_the_old_names_of_callbacks_is_resumed(job: Callable[..., Job]) -> None:
    """The best loss so far is in the callback's state: the rest of the training must not forget it."""
    small = job(max_steps=MAX_STEPS, val_check_steps=4, checkpoint_seconds=3600, **CASES["several batches an epoch"])
    kept = Kept()
    train(
        small,
        ask(),
        is_prunable=True,
        interruption=lambda step: Ending(Outcome.STOPPED, "asked") if step >= 8 else None,
        checkpoints=kept,
    )
    state = unpack(kept.state or b"")
    assert {*OLD_KEYS.values()} <= state["callbacks"].keys()
    assert not {kind.__qualname__ for kind in OLD_KEYS} & state["callbacks"].keys()
    best = {"best_value": -1.0, "best_step": 4, "last_step": 8}
    state["callbacks"] = {"ValidationHook": best, "Checkpointing": {}, "QuickSteps": {}}
    written = io.BytesIO()
    torch.save(state, written)
    kept.state = written.getvalue()
    resumed = train(small, ask(), is_prunable=True, interruption=never, checkpoints=kept)
    assert (resumed.value, resumed.best_step, resumed.step) == (-1.0, 4, MAX_STEPS)


def test_states_are_kept_as_often_as_asked_for(job: Callable[..., Job]) -> None:
    kept = Kept()
    train(job(checkpoint_seconds=0), ask(), is_prunable=True, interruption=never, checkpoints=kept)
    assert kept.saved == [1, 2, 3, 4, 5]
    kept = Kept()
    train(job(checkpoint_seconds=3600), ask(), is_prunable=True, interruption=never, checkpoints=kept)
    assert kept.saved == []


def test_keeping_states_changes_nothing(job: Callable[..., Job]) -> None:
    without, with_states = ask(), ask()
    small = job(checkpoint_seconds=0, **CASES["dropout and a schedule"])
    train(small, without, is_prunable=True, interruption=never)
    train(small, with_states, is_prunable=True, interruption=never, checkpoints=Kept())
    assert curve(without) == curve(with_states)


def test_nothing_is_unpickled_from_a_state() -> None:
    class Boom:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.abort, ()

    written = io.BytesIO()
    torch.save({"model": Boom()}, written)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        unpack(written.getvalue())


def test_a_state_that_cannot_be_read_costs_the_training_and_not_the_trial(job: Callable[..., Job]) -> None:
    kept, trial = Kept(), ask()
    kept.state = b"not a state"
    trained = train(job(), trial, is_prunable=True, interruption=never, checkpoints=kept)
    assert trained.ending == Ending("complete")
    assert list(curve(trial)) == [2, 4, 6]


KILLED = """
import os, signal, sys
from castpool.storage.store import open_store
from castpool.storage.study.studies import open_study
from castpool.workers.support.logs import quiet
from castpool.workers.support.signals import StopRequest
from castpool.workers.training.pruning_callback import PruningCallback
from castpool.workers.worker.loop import Worker

quiet()
url, name, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
trained = PruningCallback.on_train_batch_end

def trained_until(self, trainer, *batch):
    trained(self, trainer, *batch)
    if trainer.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)

PruningCallback.on_train_batch_end = trained_until
with open_store(url) as store:
    Worker(store, [open_study(store, name)], StopRequest()).run()
"""


def test_a_trial_killed_half_way_goes_on_with_its_twins_losses(store: Store, draft: Callable[..., Draft]) -> None:
    """By SIGKILL, in another process; the losses are the same to the last bit."""
    spec = {"trials": 1, "max_steps": 40, "val_check_steps": 5, **CASES["dropout and a schedule"]}
    twin = save_study(store, draft(name="twin", **spec))
    killed = save_study(store, draft(name="killed", checkpoint_seconds=0, **spec))

    ended = subprocess.run(
        [sys.executable, "-c", KILLED, store.url.render_as_string(False), "killed", "23"], timeout=300
    )
    assert ended.returncode == -signal.SIGKILL
    execute(store, "UPDATE castpool_slots SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")
    assert reaper.reap(store.engine, killed.study_id) == [0]
    Worker(store, [killed, twin], StopRequest()).run()

    first, second = optuna.load_study(study_name="killed", storage=store.trials).trials
    (whole,) = optuna.load_study(study_name="twin", storage=store.trials).trials
    assert second.intermediate_values == whole.intermediate_values
    assert list(first.intermediate_values) == [5, 10, 15, 20]
    assert (second.params, second.value) == (whole.params, whole.value)
    steps = execute(
        store, "SELECT steps FROM castpool_slots WHERE study_id = :id AND kind = 'trial'", id=killed.study_id
    )
    assert 40 <= steps[0][0] <= 42, "no more than one interval is trained twice"
    assert execute(store, "SELECT count(*) FROM castpool_artifacts WHERE artifact_id LIKE 'checkpoint-%'")[0][0] == 0


def test_a_stopped_worker_keeps_the_state_and_hands_its_slot_back_at_once(
    store: Store, draft: Callable[..., Draft]
) -> None:
    stop = StopRequest()

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *batch: Any) -> None:
            if trainer.global_step == 3:
                stop.set()

    objects = PythonObjects(config=lambda trial: {"input_size": 8, "hidden_size": 8, "callbacks": [Stop()]})
    stored = save_study(store, draft(trials=1, objects=objects))
    Worker(store, [stored], stop, {stored.name: objects}).run()
    claim = slots.claim(store.engine, stored.study_id, 1)
    assert claim is not None
    assert (claim.slot, claim.attempt, claim.checkpoint_step, claim.failures) == (0, 2, 3, {})
    assert execute(store, "SELECT count(DISTINCT artifact_id) FROM castpool_artifacts")[0][0] == 1


def test_for_want_of_memory_a_training_is_tried_again_with_half_the_batches(
    store: Store, draft: Callable[..., Draft]
) -> None:
    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        return {"input_size": 8, "hidden_size": 8, "windows_batch_size": 64, "callbacks": [Allocate()]}

    class Allocate(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *batch: Any) -> None:
            if trainer.global_step == 3 and module.windows_batch_size > 16:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    objects = PythonObjects(config=config)
    stored = save_study(store, draft(trials=1, objects=objects))
    Worker(store, [stored], StopRequest(), {stored.name: objects}).run()
    attempts = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert [trial.state.name for trial in attempts] == ["FAIL", "FAIL", "COMPLETE"]
    assert [trial.user_attrs["config"]["windows_batch_size"] for trial in attempts] == [64, 32, 16]
    assert [trial.user_attrs.get("failure") for trial in attempts] == ["out of memory", "out of memory", None]
    assert attempts[0].user_attrs["reason"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert attempts[2].user_attrs[attributes.REDUCED_FOR_MEMORY] == {"batch_size": 8, "windows_batch_size": 16}
    assert [list(trial.intermediate_values) for trial in attempts] == [[2], [2], [2, 4, 6]]


def test_a_bad_configuration_everywhere_ends_the_study_early(store: Store, draft: Callable[..., Draft]) -> None:
    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        width = trial.suggest_int("width", 4, 64)
        raise ValueError(f"width {width} does not fit")

    objects = PythonObjects(config=config)
    stored = save_study(store, draft(trials=20, objects=PythonObjects(config=lambda trial: {"input_size": 8})))
    Worker(store, [stored], StopRequest(), {stored.name: objects}).run()
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.ended, counts.slots, counts.is_done) == (3, 20, True)
    assert (counts.over or "").startswith("the first 3 trials all failed: ValueError: width")
    reasons = [
        trial.user_attrs["reason"] for trial in optuna.load_study(study_name=stored.name, storage=store.trials).trials
    ]
    assert all("does not fit" in reason for reason in reasons)


def test_an_unknown_failure_is_tried_once_more(store: Store, draft: Callable[..., Draft]) -> None:
    raised: list[int] = []

    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        if len(raised) < 1:
            raised.append(1)
            raise RuntimeError("CUDA error: unspecified launch failure")
        return {"input_size": 8, "hidden_size": 8}

    stored = save_study(store, draft(trials=1, objects=PythonObjects(config=lambda trial: {"input_size": 8})))
    Worker(store, [stored], StopRequest(), {stored.name: PythonObjects(config=config)}).run()
    first, second = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert (first.state.name, first.user_attrs["failure"]) == ("FAIL", "unknown")
    assert second.state.name == "COMPLETE"


def test_a_spent_budget_of_steps_ends_the_trials_that_run(
    store: Store, draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castpool.workers.worker.heartbeat.beat_seconds", lambda: 0.01)
    stored = save_study(store, draft(trials=50, steps_budget=15, max_steps=10, val_check_steps=5))
    Worker(store, [stored], StopRequest()).run()
    counts = slots.count(store.engine, stored.study_id)
    assert counts.is_done
    assert counts.over == "the search has spent its 11 of 15 training steps; the rest is for the evaluation"
    assert 1 <= counts.ended <= 2
    assert counts.leased == 0


def test_what_the_end_of_a_budget_cuts_short_counts_where_it_is_the_best(
    store: Store, draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castpool.workers.worker.heartbeat.beat_seconds", lambda: 0.01)
    stored = save_study(store, draft(trials=50, steps_budget=15, max_steps=100_000, val_check_steps=5))
    Worker(store, [stored], StopRequest()).run()
    (trial,) = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert trial.state.name == "COMPLETE"
    assert trial.value == trial.intermediate_values[trial.user_attrs["best_step"]]
    assert trial.value == min(trial.intermediate_values.values())
    reason = trial.user_attrs["reason"]
    spent = "the search has spent its 11 of 15 training steps; the rest is for the evaluation"
    assert reason.startswith(f"{spent}; it counts: its validation loss at step ")


def test_a_budget_of_time_ends_a_trial_when_it_is_spent_and_not_a_beat_later(
    store: Store, draft: Callable[..., Draft]
) -> None:
    stored = save_study(store, draft(trials=50, time_budget=2.0, max_steps=100_000, val_check_steps=50_000))
    Worker(store, [stored], StopRequest()).run()
    counts = slots.count(store.engine, stored.study_id)
    spent = "the search has spent its 1.5 of 2 seconds; the rest is for the evaluation"
    assert counts.over == spent
    assert 1.5 <= counts.budget(TIME).spent < 1.5 + beat_seconds() / 2
    (trial,) = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", f"released: {spent}")


@pytest.mark.parametrize(
    ("outcome", "value", "counts"),
    [("pruned", 0.9, True), ("over", 0.9, True), ("pruned", 1.0, False), ("over", 1.1, False), ("stopped", 0.9, False)],
)
def test_a_training_that_is_stopped_counts_where_its_best_check_is_the_studys(
    outcome: str, value: float, counts: bool
) -> None:
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=1.0))
    trained = TrainingResult(Ending(outcome, "released: so it was"), value, 40, 1.0, 60)
    found = complete_if_best(trained, study)
    assert (found.value, found.step) == (value, 60)
    if counts:
        reason = "so it was; it counts: its validation loss at step 40 is the study's best"
        assert found.ending == Ending("complete", reason)
    else:
        assert found is trained


def test_the_hooks_state_is_what_a_report_needs() -> None:
    hook = PruningCallback(ask(), val_step_size=1, max_steps=10, is_prunable=True, interruption=never)
    hook.load_state_dict({"best_value": 1.5, "best_step": 4, "last_step": 8})
    assert hook.state_dict() == {"best_value": 1.5, "best_step": 4, "last_step": 8}
