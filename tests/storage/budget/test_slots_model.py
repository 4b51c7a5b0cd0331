"""Slots against a model in memory: any order of claims, trainings, losses and endings ends exactly N slots."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import hypothesis.strategies as st
import optuna
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from castpool.storage.attempts.lifecycle import begin_trial, end_trial
from castpool.storage.budget import reaper, slots
from castpool.storage.budget.kinds import STEPS
from castpool.storage.budget.slots import Claim
from castpool.storage.errors import LeaseLostError
from castpool.storage.optuna_storage.pool_storage import PoolStorage
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from tests.storage.helpers import STATES, execute, expire, finish, joined, load, make_study

NAMES = itertools.count()
N_WORKERS = 3
MAX_RETRIES = 2
BUDGET_STEPS = 100
LOST = (LeaseLostError, UpdateFinishedTrialError)


@dataclass
class Slot:
    """What a slot ought to be. ``holder`` is the claim that may write, ``step`` how far its training has come."""

    attempt: int = 0
    holder: Claim | None = None
    is_expired: bool = False
    outcome: str | None = None
    ended_by: Claim | None = None
    step: int = 0
    checkpoint_step: int = 0
    lost: int = 0


class Machine(RuleBasedStateMachine):
    store: Store

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.n_slots = 2
        self.budget_steps = BUDGET_STEPS
        self.steps = 0
        self.name = f"study {next(NAMES)}"
        self.stored = self.make()
        self.study = load(self.store, self.name)
        self.workers = [joined(self.store, self.stored, pid) for pid in range(N_WORKERS)]
        self.model = {slot: Slot() for slot in range(self.n_slots)}
        self.trials: dict[tuple[int, int], optuna.Trial] = {}

    def make(self) -> StoredStudy:
        return make_study(self.store, self.name, trials=self.n_slots, max_retries=MAX_RETRIES, steps=self.budget_steps)

    @property
    def is_spent(self) -> bool:
        return self.steps >= self.budget_steps

    def is_allowed(self, claim: Claim) -> bool:
        return self.model[claim.slot].holder == claim

    def train(self, slot: Slot, step: int) -> None:
        self.steps += max(step - slot.step, 0)
        slot.step = max(step, slot.step)

    @rule(target=claims, worker=st.integers(0, N_WORKERS - 1))
    def claim(self, worker: int) -> object:
        taken = slots.claim(self.store.engine, self.stored.study_id, self.workers[worker])
        open_slots = [number for number, slot in self.model.items() if slot.holder is None and slot.outcome is None]
        if not open_slots or self.is_spent:
            assert taken is None
            return multiple()
        assert taken is not None
        assert taken.slot == open_slots[0]
        slot = self.model[taken.slot]
        assert (taken.attempt, taken.failures.get("lost", 0)) == (slot.attempt + 1, slot.lost)
        assert taken.checkpoint_step == slot.checkpoint_step
        slot.attempt, slot.holder, slot.is_expired, slot.step = taken.attempt, taken, False, slot.checkpoint_step
        self.trials[taken.slot, taken.attempt] = begin_trial(self.study, taken, {})
        return taken

    @rule(claim=claims, steps=st.integers(0, 20))
    def beat(self, claim: Claim, steps: int) -> None:
        slot = self.model[claim.slot]
        if self.is_allowed(claim):
            self.train(slot, slot.step + steps)
            over = slots.beat(self.store.engine, claim, slot.step).over
            assert (over is not None) == self.is_spent
            slot.is_expired = False
        else:
            with pytest.raises(LeaseLostError):
                slots.beat(self.store.engine, claim, slot.step + steps)

    @rule(claim=claims)
    def keep_checkpoint(self, claim: Claim) -> None:
        slot = self.model[claim.slot]
        if self.is_allowed(claim):
            slots.keep_checkpoint(self.store.engine, claim, f"at {slot.step}", slot.step)
            slot.checkpoint_step = slot.step
        else:
            with pytest.raises(LeaseLostError):
                slots.keep_checkpoint(self.store.engine, claim, "too late", 1000)

    @rule(claim=claims)
    def time_passes(self, claim: Claim) -> None:
        if self.is_allowed(claim):
            expire(self.store, claim)
            self.model[claim.slot].is_expired = True

    @rule()
    def reap(self) -> None:
        expected = [number for number, slot in self.model.items() if slot.holder is not None and slot.is_expired]
        assert reaper.reap(self.store.engine, self.stored.study_id) == expected
        for number in expected:
            slot = self.model[number]
            if slot.lost >= MAX_RETRIES:
                slot.outcome, slot.ended_by = "failed", None
            slot.holder, slot.lost = None, slot.lost + 1

    def end(self, claim: Claim, outcome: str | None, *, keeps_checkpoint: bool = False) -> None:
        state = STATES.get(outcome or "", TrialState.FAIL)
        value = 0.25 if state == TrialState.COMPLETE else None
        trial = self.trials[claim.slot, claim.attempt]
        step = self.model[claim.slot].step
        end = {"outcome": outcome, "user_attrs": {}, "step": step, "keeps_checkpoint": keeps_checkpoint}
        end_trial(self.study, trial, claim, state, value, **end)

    @rule(claim=claims, outcome=st.sampled_from(["complete", "pruned", "failed"]), steps=st.integers(0, 20))
    def finish(self, claim: Claim, outcome: str, steps: int) -> None:
        slot = self.model[claim.slot]
        if self.is_allowed(claim):
            self.train(slot, slot.step + steps)
            self.end(claim, outcome)
            slot.holder, slot.outcome, slot.ended_by = None, outcome, claim
        else:
            with pytest.raises((*LOST, ValueError)):
                self.end(claim, outcome)

    @rule(claim=claims, keeps_checkpoint=st.booleans())
    def release_slot(self, claim: Claim, keeps_checkpoint: bool) -> None:
        slot = self.model[claim.slot]
        if self.is_allowed(claim):
            self.end(claim, None, keeps_checkpoint=keeps_checkpoint)
            slot.holder = None
            slot.checkpoint_step = slot.checkpoint_step if keeps_checkpoint else 0
        else:
            with pytest.raises((*LOST, ValueError)):
                self.end(claim, None)

    @rule(trials=st.integers(1, 4), steps=st.integers(0, 100))
    def ask_for_more(self, trials: int, steps: int) -> None:
        self.n_slots = max(self.n_slots, trials)
        self.budget_steps += steps
        self.make()
        self.model = {slot: self.model.get(slot, Slot()) for slot in range(self.n_slots)}

    @invariant()
    def table_and_model_agree(self) -> None:
        rows = execute(
            self.store,
            "SELECT slot, attempt, worker_id, lease_until < now() AS is_expired, outcome, "
            "ended_at IS NOT NULL AS ended FROM castpool_slots WHERE study_id = :id ORDER BY slot",
            id=self.stored.study_id,
        )
        for row, (number, slot) in zip(rows, self.model.items(), strict=True):
            held_by = slot.holder or slot.ended_by
            found = (row.slot, row.attempt, row.outcome, row.ended)
            assert found == (number, slot.attempt, slot.outcome, bool(slot.outcome))
            assert row.worker_id == (held_by.worker_id if held_by else None)
            assert row.is_expired == (slot.is_expired if slot.holder else None)

    @invariant()
    def budgets_are_counted(self) -> None:
        counts = slots.count(self.store.engine, self.stored.study_id)
        ended = sum(slot.outcome is not None for slot in self.model.values())
        assert (counts.slots, counts.ended, counts.budget(STEPS).spent) == (self.n_slots, ended, self.steps)
        assert counts.is_done == (ended == self.n_slots or self.is_spent)

    @invariant()
    def whoever_holds_a_slot_has_the_one_trial_that_runs(self) -> None:
        everything = PoolStorage(self.store.engine)
        running = everything.get_all_trials(self.stored.study_id, states=(TrialState.RUNNING,))
        held = [self.trials[slot.holder.slot, slot.attempt].number for slot in self.model.values() if slot.holder]
        assert sorted(trial.number for trial in running) == sorted(held)

    def teardown(self) -> None:
        """Whatever happened, the rest can be worked off, and then exactly N slots have ended."""
        for slot in self.model.values():
            if slot.holder is not None:
                expire(self.store, slot.holder)
                slot.is_expired = True
        self.reap()
        self.budget_steps = self.steps + 1
        self.make()
        worked_off = 0
        while (claim := slots.claim(self.store.engine, self.stored.study_id, self.workers[0])) is not None:
            finish(self.store, claim)
            worked_off += 1
        counts = slots.count(self.store.engine, self.stored.study_id)
        assert counts.is_done
        assert (counts.slots, counts.leased, counts.over) == (self.n_slots, 0, None)
        assert worked_off == sum(slot.outcome is None for slot in self.model.values())


def test_slots_do_what_the_model_does(store: Store) -> None:
    bound = type("Machine", (Machine,), {"store": store})
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
