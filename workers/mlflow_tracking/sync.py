"""`castpool sync`: add what MLflow lacks of the studies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from castpool.sampler_policies.errors import InputError
from castpool.storage.connection.engine import retry_during_outage
from castpool.storage.store import Store
from castpool.storage.study.studies import list_studies, open_study
from castpool.workers.mlflow_tracking.client import TrackingError, tracking_uri

WAIT_SECONDS = 60.0
AGAIN_SECONDS = 0.5


def sync_studies(store: Store, names: Sequence[str], uri: str | None) -> list[dict[str, Any]]:
    """Add what MLflow lacks of the named studies, or of all; return the state of each (`tracker.Synced`).

    Raises:
        InputError: MLflow's address is not set.
        StudyNotFoundError: no study has a given name.
        TrackingError: MLflow does not answer, or another process has been synchronizing for a minute.
    """
    found = tracking_uri(uri)
    if found is None:
        raise InputError(
            "tracking_uri", "nothing", "write --tracking-uri http://host:5000, or set MLFLOW_TRACKING_URI."
        )
    studies = [open_study(store, name) for name in names or [summary.name for summary in reversed(list_studies(store))]]
    from castpool.workers.mlflow_tracking.tracker import Tracker

    synced = []
    for stored in studies:
        tracker = Tracker(store, stored, found)
        deadline = time.monotonic() + WAIT_SECONDS
        while (done := retry_during_outage(tracker.sync)) is None:
            if time.monotonic() > deadline:
                raise TrackingError(
                    f"study: {stored.name!r} is being synchronized by another process; try again later."
                )
            time.sleep(AGAIN_SECONDS)
        synced.append({"study": stored.name, **asdict(done)})
    return synced
