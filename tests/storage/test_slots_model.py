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

from storage import reaper, slots
from storage.errors import LeaseLostError
from storage.optuna_trials import PoolStorage
from storage.slots import Claim
from storage.store import Store
from storage.studies import StoredStudy
from storage.trials import begin_trial, end_trial
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

    def train(self, own: Slot, step: int) -> None:
        self.steps += max(step - own.step, 0)
        own.step = max(step, own.step)

    @rule(target=claims, worker=st.integers(0, N_WORKERS - 1))
    def claim(self, worker: int) -> object:
        taken = slots.claim(self.store.engine, self.stored.study_id, self.workers[worker])
        open_slots = [number for number, own in self.model.items() if own.holder is None and own.outcome is None]
        if not open_slots or self.is_spent:
            assert taken is None
            return multiple()
        assert taken is not None
        assert taken.slot == open_slots[0]
        own = self.model[taken.slot]
        assert (taken.attempt, taken.failures.get("lost", 0)) == (own.attempt + 1, own.lost)
        assert taken.checkpoint_step == own.checkpoint_step
        own.attempt, own.holder, own.is_expired, own.step = taken.attempt, taken, False, own.checkpoint_step
        self.trials[taken.slot, taken.attempt] = begin_trial(self.study, taken, {})
        return taken

    @rule(claim=claims, steps=st.integers(0, 20))
    def beat(self, claim: Claim, steps: int) -> None:
        own = self.model[claim.slot]
        if self.is_allowed(claim):
            self.train(own, own.step + steps)
            over = slots.beat(self.store.engine, claim, own.step).over
            assert (over is not None) == self.is_spent
            own.is_expired = False
        else:
            with pytest.raises(LeaseLostError):
                slots.beat(self.store.engine, claim, own.step + steps)

    @rule(claim=claims)
    def keep_checkpoint(self, claim: Claim) -> None:
        own = self.model[claim.slot]
        if self.is_allowed(claim):
            slots.keep_checkpoint(self.store.engine, claim, f"at {own.step}", own.step)
            own.checkpoint_step = own.step
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
        expected = [number for number, own in self.model.items() if own.holder is not None and own.is_expired]
        assert reaper.reap(self.store.engine, self.stored.study_id) == expected
        for number in expected:
            own = self.model[number]
            if own.lost >= MAX_RETRIES:
                own.outcome, own.ended_by = "failed", None
            own.holder, own.lost = None, own.lost + 1

    def end(self, claim: Claim, outcome: str | None, *, keeps_checkpoint: bool = False) -> None:
        state = STATES.get(outcome or "", TrialState.FAIL)
        value = 0.25 if state == TrialState.COMPLETE else None
        trial = self.trials[claim.slot, claim.attempt]
        step = self.model[claim.slot].step
        end = {"outcome": outcome, "user_attrs": {}, "step": step, "keeps_checkpoint": keeps_checkpoint}
        end_trial(self.study, trial, claim, state, value, **end)

    @rule(claim=claims, outcome=st.sampled_from(["complete", "pruned", "failed"]), steps=st.integers(0, 20))
    def finish(self, claim: Claim, outcome: str, steps: int) -> None:
        own = self.model[claim.slot]
        if self.is_allowed(claim):
            self.train(own, own.step + steps)
            self.end(claim, outcome)
            own.holder, own.outcome, own.ended_by = None, outcome, claim
        else:
            with pytest.raises((*LOST, ValueError)):
                self.end(claim, outcome)

    @rule(claim=claims, keeps_checkpoint=st.booleans())
    def hand_back(self, claim: Claim, keeps_checkpoint: bool) -> None:
        own = self.model[claim.slot]
        if self.is_allowed(claim):
            self.end(claim, None, keeps_checkpoint=keeps_checkpoint)
            own.holder = None
            own.checkpoint_step = own.checkpoint_step if keeps_checkpoint else 0
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
        for row, (number, own) in zip(rows, self.model.items(), strict=True):
            held_by = own.holder or own.ended_by
            found = (row.slot, row.attempt, row.outcome, row.ended)
            assert found == (number, own.attempt, own.outcome, bool(own.outcome))
            assert row.worker_id == (held_by.worker_id if held_by else None)
            assert row.is_expired == (own.is_expired if own.holder else None)

    @invariant()
    def budgets_are_counted(self) -> None:
        counts = slots.count(self.store.engine, self.stored.study_id)
        ended = sum(own.outcome is not None for own in self.model.values())
        assert (counts.slots, counts.ended, counts.steps) == (self.n_slots, ended, self.steps)
        assert counts.is_done == (ended == self.n_slots or self.is_spent)

    @invariant()
    def whoever_holds_a_slot_has_the_one_trial_that_runs(self) -> None:
        everything = PoolStorage(self.store.engine)
        running = everything.get_all_trials(self.stored.study_id, states=(TrialState.RUNNING,))
        held = [self.trials[own.holder.slot, own.attempt].number for own in self.model.values() if own.holder]
        assert sorted(own.number for own in running) == sorted(held)

    def teardown(self) -> None:
        """Whatever happened, the rest can be worked off, and then exactly N slots have ended."""
        for own in self.model.values():
            if own.holder is not None:
                expire(self.store, own.holder)
                own.is_expired = True
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
        assert worked_off == sum(own.outcome is None for own in self.model.values())


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
