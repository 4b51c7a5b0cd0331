"""Slots against a model in memory: any order of claims, beats, expiries, reaps and endings ends exactly N slots."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from storage import reaper, slots
from storage.errors import LeaseLostError
from storage.slots import Claim
from storage.store import Store
from tests.storage.helpers import execute, expire, joined, make_study

NAMES = itertools.count()
N_WORKERS = 3


@dataclass
class Slot:
    """What a slot ought to be. ``holder`` is the claim that may write."""

    attempt: int = 0
    holder: Claim | None = None
    is_expired: bool = False
    outcome: str | None = None
    ended_by: Claim | None = None


class Machine(RuleBasedStateMachine):
    store: Store

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.n_slots = 2
        self.name = f"study {next(NAMES)}"
        self.stored = make_study(self.store, self.name, trials=self.n_slots)
        self.workers = [joined(self.store, self.stored, pid) for pid in range(N_WORKERS)]
        self.model = {slot: Slot() for slot in range(self.n_slots)}

    def is_allowed(self, claim: Claim) -> bool:
        return self.model[claim.slot].holder == claim

    @rule(target=claims, worker=st.integers(0, N_WORKERS - 1))
    def claim(self, worker: int) -> object:
        taken = slots.claim(self.store.engine, self.stored.study_id, self.workers[worker])
        open_slots = [number for number, own in self.model.items() if own.holder is None and own.outcome is None]
        if not open_slots:
            assert taken is None
            return multiple()
        assert taken is not None
        assert taken.slot == open_slots[0]
        own = self.model[taken.slot]
        assert taken.attempt == own.attempt + 1
        own.attempt, own.holder, own.is_expired = taken.attempt, taken, False
        return taken

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        if self.is_allowed(claim):
            slots.beat(self.store.engine, claim)
            self.model[claim.slot].is_expired = False
        else:
            with pytest.raises(LeaseLostError):
                slots.beat(self.store.engine, claim)

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
            self.model[number].holder = None

    @rule(claim=claims, outcome=st.sampled_from(["complete", "failed"]))
    def finish(self, claim: Claim, outcome: str) -> None:
        own = self.model[claim.slot]
        if self.is_allowed(claim):
            slots.finish(self.store.engine, claim, outcome)
            own.holder, own.outcome, own.ended_by = None, outcome, claim
        elif (own.ended_by, own.outcome) == (claim, outcome):
            slots.finish(self.store.engine, claim, outcome)
        else:
            with pytest.raises(LeaseLostError):
                slots.finish(self.store.engine, claim, outcome)

    @rule(claim=claims)
    def hand_back(self, claim: Claim) -> None:
        if self.is_allowed(claim):
            slots.hand_back(self.store.engine, claim)
            self.model[claim.slot].holder = None
        else:
            with pytest.raises(LeaseLostError):
                slots.hand_back(self.store.engine, claim)

    @rule(trials=st.integers(1, 4))
    def ask_for_trials(self, trials: int) -> None:
        slots.add(self.store.engine, self.stored.study_id, trials)
        self.n_slots = max(self.n_slots, trials)
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
            assert (row.slot, row.attempt, row.outcome, row.ended) == (
                number,
                own.attempt,
                own.outcome,
                bool(own.outcome),
            )
            assert row.worker_id == (held_by.worker_id if held_by else None)
            assert row.is_expired == (own.is_expired if own.holder else None)

    def teardown(self) -> None:
        """Whatever happened, the rest can be worked off, and then exactly N slots have ended."""
        for own in self.model.values():
            if own.holder is not None:
                expire(self.store, own.holder)
        reaper.reap(self.store.engine, self.stored.study_id)
        worked_off = 0
        while (claim := slots.claim(self.store.engine, self.stored.study_id, self.workers[0])) is not None:
            slots.finish(self.store.engine, claim, "complete")
            worked_off += 1
        counts = slots.count(self.store.engine, self.stored.study_id)
        assert counts.is_done
        assert (counts.slots, counts.leased) == (self.n_slots, 0)
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
