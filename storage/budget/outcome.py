"""How an attempt ended, and with it its slot: one definition for workers, statements and displays."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """How an attempt ended. Its value is what the storage holds and what users read.

    The first four end the slot. After the next three the slot is open for another attempt. An attempt whose lease was
    lost writes nothing: another worker has ended it.
    """

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"

    # The worker was asked to stop; a budget is spent; the attempt failed, and is tried again.
    STOPPED = "stopped"
    OVER = "over"
    RETRIED = "retried"

    LOST = "lost"

    def __str__(self) -> str:
        return self.value

    @property
    def ends_slot(self) -> bool:
        """Whether the slot ends with the attempt."""
        return self in ENDS_SLOT

    @property
    def opens_slot(self) -> bool:
        """Whether the slot is open for another attempt."""
        return self in (Outcome.STOPPED, Outcome.OVER, Outcome.RETRIED)


# In the order in which they are displayed.
ENDS_SLOT = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED, Outcome.FAILED)
