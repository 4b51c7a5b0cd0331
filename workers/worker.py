"""A worker: claim a slot, train its trial, tell how it ended; until no slot is left or somebody says stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from storage.slots import Claim
from storage.store import Store
from storage.studies import StoredStudy
from workers.desk import Desk
from workers.extras import Extras
from workers.signals import StopRequest
from workers.time_spent import TimeSpent

IDLE_SECONDS = 1.0


class Worker:
    """One of a pool of equals, with a desk at each study. All that they share is in the storage.

    Args:
        store: where the studies are.
        studies: on which to work; each gets slots filled by the share of its budget that is left.
        stop: the request to end early.
        extras: Python objects by the name of the study that needs them.

    Raises:
        InputError: a study needs Python objects that are not among ``extras``.
    """

    def __init__(
        self,
        store: Store,
        studies: Sequence[StoredStudy],
        stop: StopRequest,
        extras: Mapping[str, Extras] | None = None,
    ) -> None:
        self.stop = stop
        self.spent = TimeSpent()
        self.desks = [Desk(store, own, stop, (extras or {}).get(own.name), self.spent) for own in studies]

    def run(self) -> bool:
        """Work until every slot of every study has ended, a stop is asked for, or it is time for a new process.

        Returns:
            Whether this process is to be replaced.
        """
        limits = [own.job.spec.recycle_after for own in self.desks]
        left = min((own for own in limits if own is not None), default=None)
        with ExitStack() as seats:
            for desk in self.desks:
                seats.enter_context(desk)
            while not self.stop.is_set:
                desks = by_what_is_left(self.desks)
                if not desks:
                    break
                if (found := _first_claim(desks)) is not None:
                    desk, claim = found
                    desk.fill(claim)
                    left = None if left is None else left - 1
                    if left == 0:
                        return not all(own.counts().is_done for own in self.desks)
                    continue
                with self.spent.on("idle"):
                    for desk in desks:
                        desk.beat()
                    self.stop.wait(IDLE_SECONDS)
        return False


def by_what_is_left(desks: Sequence[Desk]) -> list[Desk]:
    """Return the desks at studies that are not done, first where the largest share of the slots is open."""
    counts = {desk: desk.counts() for desk in desks}
    unfinished = [desk for desk in desks if not counts[desk].is_done]
    return sorted(unfinished, key=lambda desk: counts[desk].open / counts[desk].slots, reverse=True)


def _first_claim(desks: Sequence[Desk]) -> tuple[Desk, Claim] | None:
    for desk in desks:
        if (claim := desk.claim()) is not None:
            return desk, claim
    return None
