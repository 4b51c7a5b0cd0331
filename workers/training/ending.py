"""How an attempt ended: what training returns, and what the trial runner records."""

from __future__ import annotations

from dataclasses import dataclass

from castpool.storage.budget.outcome import Outcome


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, and why.

    Attributes:
        outcome: ``complete``, ``pruned``, ``diverged`` and ``failed`` end the slot; ``stopped``, ``over`` (a budget is
            spent) and ``retried`` open it for another attempt; after ``lost`` this attempt may write nothing.
        reason: a sentence for the user.
        failure: the class of a failure (`castpool.workers.training.failures`).
        starts_anew: whether the next attempt restarts at step 0, not at the checkpoint.
        pause_seconds: how long to wait before the slot is opened.
    """

    outcome: Outcome
    reason: str | None = None
    failure: str | None = None
    starts_anew: bool = False
    pause_seconds: float = 0.0

    @property
    def is_followed(self) -> bool:
        """Whether the slot is open for another attempt."""
        return self.outcome.opens_slot

    @property
    def resumes_from_checkpoint(self) -> bool:
        """Whether another attempt resumes from this one's checkpoint."""
        return self.is_followed and not self.starts_anew
