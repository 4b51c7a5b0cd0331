"""MLflow beside a run: kept up to date by a thread of its own, so that a dead one costs no trial a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from storage.engine import is_passing
from storage.store import Store
from storage.studies import StoredStudy
from workers.logs import get_logger
from workers.tracking_client import TrackingError, in_words, redacted_uri

if TYPE_CHECKING:
    from workers.tracking import Tracker

log = get_logger("tracking")

SYNC_SECONDS = 5.0
# What the end of a run waits for the last look.
LAST_SECONDS, LAST_SECONDS_BEHIND = 30.0, 5.0


class Tracking:
    """Keeps studies in MLflow up to date for a block, and once more at its end.

    Args:
        store: where the studies are.
        studies: which.
        uri: where MLflow is; None does nothing.
        say: where a person reads what is wrong.
    """

    def __init__(
        self, store: Store, studies: Sequence[StoredStudy], uri: str | None, say: Callable[[str], None]
    ) -> None:
        self._store = store
        self._studies = studies
        self._uri = uri
        self._say = say
        self._is_ending = threading.Event()
        self._is_behind = False
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def __enter__(self) -> Tracking:
        if self._uri is not None:
            self._say(f"MLflow: {redacted_uri(self._uri)}, experiments {', '.join(own.name for own in self._studies)}")
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._uri is None:
            return
        self._is_ending.set()
        self._thread.join(LAST_SECONDS_BEHIND if self._is_behind else LAST_SECONDS)
        if self._thread.is_alive() or self._is_behind:
            names = " ".join(own.name for own in self._studies)
            self._say(f"MLflow lacks something of this run: castpool sync {names} adds it.")

    def _run(self) -> None:
        from workers.tracking import Tracker  # MLflow's client takes a second or two

        assert self._uri is not None
        try:
            trackers = [Tracker(self._store, own, self._uri) for own in self._studies]
        except Exception as error:  # its client opens some addresses at once
            self._is_behind = True
            self._say(f"warning: tracking_uri: {in_words(error, self._uri)}")
            return
        while True:
            is_last = self._is_ending.is_set()
            self._look(trackers, is_last)
            if is_last:
                return
            self._is_ending.wait(SYNC_SECONDS)

    def _look(self, trackers: Sequence[Tracker], is_last: bool) -> None:
        was_behind, self._is_behind = self._is_behind, False
        for tracker in trackers:
            try:
                synced = tracker.sync()
            except TrackingError as error:
                self._is_behind = True
                if not was_behind:
                    self._say(f"warning: {error}")
                return  # the others would wait for the same server
            except Exception as error:
                # Whatever it is, trials go on; the storage has it all.
                self._is_behind = True
                if not was_behind:
                    log.warning("MLflow is not kept up to date for now", exc_info=not is_passing(error))
                return
            # At the end another process may be at it, which has seen less.
            self._is_behind = self._is_behind or (is_last and (synced is None or synced.runs < synced.attempts))
        if was_behind and not self._is_behind:
            self._say("MLflow answers again, and has everything.")
