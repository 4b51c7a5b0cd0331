"""`castpool sync`: all that studies have, in MLflow."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sampler_policies.errors import InputError
from storage.engine import patiently
from storage.store import Store
from storage.studies import list_studies, open_study
from workers.tracking_client import TrackingError, tracking_uri

WAIT_SECONDS = 60.0
AGAIN_SECONDS = 0.5


def sync_studies(store: Store, names: Sequence[str], uri: str | None) -> list[dict[str, Any]]:
    """Add what MLflow lacks of the named studies, or of all; return what it has of each (`workers.tracking.Synced`).

    Raises:
        InputError: nobody has said where MLflow is.
        StudyNotFoundError: no study of a name.
        TrackingError: MLflow does not answer, or another process has been at it for a minute.
    """
    found = tracking_uri(uri)
    if found is None:
        raise InputError(
            "tracking_uri", "nothing", "write --tracking-uri http://host:5000, or set MLFLOW_TRACKING_URI."
        )
    studies = [open_study(store, name) for name in names or [own.name for own in reversed(list_studies(store))]]
    from workers.tracking import Tracker

    synced = []
    for stored in studies:
        tracker = Tracker(store, stored, found)
        deadline = time.monotonic() + WAIT_SECONDS
        while (done := patiently(tracker.sync)) is None:
            if time.monotonic() > deadline:
                raise TrackingError(f"study: {stored.name!r} is being synced by another process; try again later.")
            time.sleep(AGAIN_SECONDS)
        synced.append({"study": stored.name, **asdict(done)})
    return synced
