"""A background thread that keeps MLflow up to date during a run: an unreachable MLflow delays no trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from castpool.storage.connection.engine import is_transient
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.mlflow_tracking.client import TrackingError, describe_error, redacted_uri
from castpool.workers.support.logs import get_logger

if TYPE_CHECKING:
    from castpool.workers.mlflow_tracking.tracker import Tracker

log = get_logger("tracking")

SYNC_SECONDS = 5.0
# The time limit of the last synchronization at the end of a run; the second one where earlier ones have failed.
LAST_SECONDS, LAST_SECONDS_BEHIND = 30.0, 5.0


class BackgroundTracker:
    """Synchronizes studies with MLflow during a block, and once more at its end.

    Args:
        store: contains the studies.
        studies: the studies to synchronize.
        uri: MLflow's address; None does nothing.
        say: displays a message to the user.
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

    def __enter__(self) -> BackgroundTracker:
        if self._uri is not None:
            self._say(
                f"MLflow: {redacted_uri(self._uri)}, experiments {', '.join(study.name for study in self._studies)}"
            )
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._uri is None:
            return
        self._is_ending.set()
        self._thread.join(LAST_SECONDS_BEHIND if self._is_behind else LAST_SECONDS)
        if self._thread.is_alive() or self._is_behind:
            names = " ".join(study.name for study in self._studies)
            self._say(f"MLflow does not have all data of this run; castpool sync {names} adds the rest.")

    def _run(self) -> None:
        from castpool.workers.mlflow_tracking.tracker import Tracker

        assert self._uri is not None
        try:
            trackers = [Tracker(self._store, study, self._uri) for study in self._studies]
        except Exception as error:  # for some addresses the client connects at once
            self._is_behind = True
            self._say(f"warning: tracking_uri: {describe_error(error, self._uri)}")
            return
        while True:
            is_last = self._is_ending.is_set()
            self._sync(trackers, is_last)
            if is_last:
                return
            self._is_ending.wait(SYNC_SECONDS)

    def _sync(self, trackers: Sequence[Tracker], is_last: bool) -> None:
        was_behind, self._is_behind = self._is_behind, False
        for tracker in trackers:
            try:
                synced = tracker.sync()
            except TrackingError as error:
                self._is_behind = True
                if not was_behind:
                    self._say(f"warning: {error}")
                return  # the other studies would wait for the same server
            except Exception as error:
                # No error of MLflow may stop the trials; the storage has all data.
                self._is_behind = True
                if not was_behind:
                    log.warning(
                        "MLflow cannot be updated; the next attempt follows in seconds",
                        exc_info=not is_transient(error),
                    )
                return
            # At the end, another process may be synchronizing that has read an earlier state.
            self._is_behind = self._is_behind or (is_last and (synced is None or synced.runs < synced.attempts))
        if was_behind and not self._is_behind:
            self._say("MLflow answers again and is up to date.")
