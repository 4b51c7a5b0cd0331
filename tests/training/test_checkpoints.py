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

from storage import reaper, slots
from storage.store import Store
from tests.storage.helpers import execute
from workers.checkpoints import Checkpoints
from workers.desk import counted
from workers.extras import Extras
from workers.heartbeat import BEAT_SECONDS
from workers.job import Job
from workers.objective import Trained, train
from workers.signals import StopRequest
from workers.study import Draft, save_study
from workers.training_state import unpack
from workers.validation_hook import Ending, ValidationHook
from workers.worker import Worker

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


class Kept(Checkpoints):
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
    own = job(max_steps=MAX_STEPS, val_check_steps=4, checkpoint_seconds=3600, **CASES[case])
    uninterrupted = ask()
    whole = train(own, uninterrupted, is_prunable=True, interruption=never)

    kept, first, second = Kept(), ask(), ask()
    left = train(
        own,
        first,
        is_prunable=True,
        interruption=lambda step: Ending("stopped", "asked") if step >= left_at else None,
        checkpoints=kept,
    )
    assert (left.ending, kept.step) == (Ending("stopped", "asked"), left_at)
    disturbed()
    rest = train(own, second, is_prunable=True, interruption=never, checkpoints=kept)

    assert curve(first) | curve(second) == curve(uninterrupted)
    assert not curve(first).keys() & curve(second).keys(), "no report is made twice"
    assert (rest.ending, rest.value, rest.best_step, rest.step) == (
        whole.ending, whole.value, whole.best_step, whole.step
    )  # fmt: skip


def test_a_training_may_be_left_again_and_again(job: Callable[..., Job]) -> None:
    own = job(max_steps=MAX_STEPS, val_check_steps=4, checkpoint_seconds=3600, **CASES["several batches an epoch"])
    uninterrupted = ask()
    train(own, uninterrupted, is_prunable=True, interruption=never)

    kept, reports = Kept(), {}
    for left_at in (2, 3, 8, 11, 19, math.inf):
        trial = ask()

        def stops(step: int, left_at: float = left_at) -> Ending | None:
            return Ending("stopped", "asked") if step >= left_at else None

        train(own, trial, is_prunable=True, interruption=stops, checkpoints=kept)
        reports |= curve(trial)
        disturbed()
    assert reports == curve(uninterrupted)


def test_states_are_kept_as_often_as_asked_for(job: Callable[..., Job]) -> None:
    kept = Kept()
    train(job(checkpoint_seconds=0), ask(), is_prunable=True, interruption=never, checkpoints=kept)
    assert kept.saved == [1, 2, 3, 4, 5]
    kept = Kept()
    train(job(checkpoint_seconds=3600), ask(), is_prunable=True, interruption=never, checkpoints=kept)
    assert kept.saved == []


def test_keeping_states_changes_nothing(job: Callable[..., Job]) -> None:
    without, with_states = ask(), ask()
    own = job(checkpoint_seconds=0, **CASES["dropout and a schedule"])
    train(own, without, is_prunable=True, interruption=never)
    train(own, with_states, is_prunable=True, interruption=never, checkpoints=Kept())
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
from storage.store import open_store
from storage.studies import open_study
from workers.logs import quiet
from workers.signals import StopRequest
from workers.validation_hook import ValidationHook
from workers.worker import Worker

quiet()
url, name, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
trained = ValidationHook.on_train_batch_end

def trained_until(self, trainer, *batch):
    trained(self, trainer, *batch)
    if trainer.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)

ValidationHook.on_train_batch_end = trained_until
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
    steps = execute(store, "SELECT steps FROM castpool_slots WHERE study_id = :id", id=killed.study_id)
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

    extras = Extras(config=lambda trial: {"input_size": 8, "hidden_size": 8, "callbacks": [Stop()]})
    stored = save_study(store, draft(trials=1, extras=extras))
    Worker(store, [stored], stop, {stored.name: extras}).run()
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

    extras = Extras(config=config)
    stored = save_study(store, draft(trials=1, extras=extras))
    Worker(store, [stored], StopRequest(), {stored.name: extras}).run()
    attempts = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert [own.state.name for own in attempts] == ["FAIL", "FAIL", "COMPLETE"]
    assert [own.user_attrs["config"]["windows_batch_size"] for own in attempts] == [64, 32, 16]
    assert [own.user_attrs.get("failure") for own in attempts] == ["out of memory", "out of memory", None]
    assert attempts[0].user_attrs["reason"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert attempts[2].user_attrs["for_want_of_memory"] == {"batch_size": 8, "windows_batch_size": 16}
    assert [list(own.intermediate_values) for own in attempts] == [[2], [2], [2, 4, 6]]


def test_a_bad_configuration_everywhere_ends_the_study_early(store: Store, draft: Callable[..., Draft]) -> None:
    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        width = trial.suggest_int("width", 4, 64)
        raise ValueError(f"width {width} does not fit")

    extras = Extras(config=config)
    stored = save_study(store, draft(trials=20, extras=Extras(config=lambda trial: {"input_size": 8})))
    Worker(store, [stored], StopRequest(), {stored.name: extras}).run()
    counts = slots.count(store.engine, stored.study_id)
    assert (counts.ended, counts.slots, counts.is_done) == (3, 20, True)
    assert (counts.over or "").startswith("the first 3 trials all failed: ValueError: width")
    reasons = [
        own.user_attrs["reason"] for own in optuna.load_study(study_name=stored.name, storage=store.trials).trials
    ]
    assert all("does not fit" in own for own in reasons)


def test_an_unknown_failure_is_tried_once_more(store: Store, draft: Callable[..., Draft]) -> None:
    raised: list[int] = []

    def config(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        if len(raised) < 1:
            raised.append(1)
            raise RuntimeError("CUDA error: unspecified launch failure")
        return {"input_size": 8, "hidden_size": 8}

    stored = save_study(store, draft(trials=1, extras=Extras(config=lambda trial: {"input_size": 8})))
    Worker(store, [stored], StopRequest(), {stored.name: Extras(config=config)}).run()
    first, second = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert (first.state.name, first.user_attrs["failure"]) == ("FAIL", "unknown")
    assert second.state.name == "COMPLETE"


def test_a_spent_budget_of_steps_ends_the_trials_that_run(
    store: Store, draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.BEAT_SECONDS", 0.01)
    stored = save_study(store, draft(trials=50, steps_budget=15, max_steps=10, val_check_steps=5))
    Worker(store, [stored], StopRequest()).run()
    counts = slots.count(store.engine, stored.study_id)
    assert counts.is_done
    assert counts.over == "the budget of 15 training steps is spent"
    assert 1 <= counts.ended <= 2
    assert counts.leased == 0


def test_what_the_end_of_a_budget_cuts_short_counts_where_it_is_the_best(
    store: Store, draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat.BEAT_SECONDS", 0.01)
    stored = save_study(store, draft(trials=50, steps_budget=15, max_steps=100_000, val_check_steps=5))
    Worker(store, [stored], StopRequest()).run()
    (trial,) = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert trial.state.name == "COMPLETE"
    assert trial.value == trial.intermediate_values[trial.user_attrs["best_step"]]
    assert trial.value == min(trial.intermediate_values.values())
    assert trial.user_attrs["reason"].startswith("the budget of 15 training steps is spent; it counts, for its check")


def test_a_budget_of_time_ends_a_trial_when_it_is_spent_and_not_a_beat_later(
    store: Store, draft: Callable[..., Draft]
) -> None:
    stored = save_study(store, draft(trials=50, time_budget=2.0, max_steps=100_000, val_check_steps=50_000))
    Worker(store, [stored], StopRequest()).run()
    counts = slots.count(store.engine, stored.study_id)
    assert counts.over == "the budget of 2 seconds is spent"
    assert 2.0 <= counts.seconds < 2.0 + BEAT_SECONDS / 2
    (trial,) = optuna.load_study(study_name=stored.name, storage=store.trials).trials
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", "handed back: the budget of 2 seconds is spent")


@pytest.mark.parametrize(
    ("outcome", "value", "counts"),
    [("pruned", 0.9, True), ("over", 0.9, True), ("pruned", 1.0, False), ("over", 1.1, False), ("stopped", 0.9, False)],
)
def test_a_training_that_is_stopped_counts_where_its_best_check_is_the_studys(
    outcome: str, value: float, counts: bool
) -> None:
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=1.0))
    trained = Trained(Ending(outcome, "handed back: so it was"), value, 40, 1.0, 60)
    found = counted(trained, study)
    assert (found.value, found.step) == (value, 60)
    if counts:
        reason = "so it was; it counts, for its check at step 40 is the study's best"
        assert found.ending == Ending("complete", reason)
    else:
        assert found is trained


def test_the_hooks_state_is_what_a_report_needs() -> None:
    hook = ValidationHook(ask(), val_step_size=1, max_steps=10, is_prunable=True, interruption=never)
    hook.load_state_dict({"best_value": 1.5, "best_step": 4, "last_step": 8})
    assert hook.state_dict() == {"best_value": 1.5, "best_step": 4, "last_step": 8}
