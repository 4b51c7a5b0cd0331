"""The running trial of a slot that this process holds, and how it ends."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from storage.changes import Changes
from storage.slots import Claim

REPORT_SECONDS = 1.0
SHORT_REPORT_SECONDS = 10.0


@dataclass
class OwnTrial:
    """A running trial of a slot that this process holds.

    Attributes:
        study_id: its study.
        created: the trial as it was created; None of one that somebody else has made.
        gathered: what is still to be written.
        written: what the server has seen, but perhaps not its disk; and all system attributes.
        written_at: when that was, by the monotonic clock.
    """

    study_id: int
    created: FrozenTrial | None
    gathered: Changes = field(default_factory=Changes)
    written: Changes = field(default_factory=Changes)
    written_at: float = 0.0

    @property
    def everything(self) -> Changes:
        """What was written, and what is still to be."""
        changes = Changes()
        changes.add(self.written)
        changes.add(self.gathered)
        return changes

    def as_it_is(self) -> FrozenTrial | None:
        """Return the trial as it is now, or None where somebody else has made it."""
        trial = copy.deepcopy(self.created)
        if trial is not None:
            self.everything.apply(trial)
        return trial

    def has_just_written(self, *, is_short: bool) -> bool:
        """Whether the last write is so recent that a report may wait for the next."""
        return time.monotonic() - self.written_at < (SHORT_REPORT_SECONDS if is_short else REPORT_SECONDS)


@dataclass(frozen=True)
class SlotEnd:
    """How the slot of a trial ends together with the trial.

    Attributes:
        claim: the slot.
        outcome: how it ends; None opens it for another attempt.
        user_attrs: what is written with it.
        step: how many training steps the trial has come.
        failure: the class of failure that is counted.
        reason: why, for people.
        keeps_checkpoint: whether the next attempt goes on from the slot's checkpoint.
    """

    claim: Claim
    outcome: str | None
    user_attrs: Mapping[str, Any]
    step: int = 0
    failure: str | None = None
    reason: str | None = None
    keeps_checkpoint: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """What the statement that ends both is told of the slot."""
        names = ("outcome", "step", "failure", "reason", "keeps_checkpoint")
        return {**self.claim.key, **{name: getattr(self, name) for name in names}}
