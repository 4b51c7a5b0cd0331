"""The background thread that keeps MLflow up to date: what it displays, and that an unreachable MLflow is no error."""

from __future__ import annotations

import threading

from castpool.storage.store import Store
from castpool.workers.mlflow_tracking.background import BackgroundTracker
from tests.storage.helpers import make_study


def test_an_unreachable_mlflow_is_one_warning_and_the_remedy(store: Store) -> None:
    lines: list[str] = []
    study, is_warned = make_study(store, "air"), threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("warning: "):
            is_warned.set()

    with BackgroundTracker(store, [study], "http://user:canary@127.0.0.1:9", say):
        assert is_warned.wait(120)
    address, warning, remedy = lines
    assert address == "MLflow: http://127.0.0.1:9, experiments air"
    assert warning.startswith("warning: tracking_uri: http://127.0.0.1:9 does not answer as MLflow")
    assert remedy == "MLflow does not have all data of this run; castpool sync air adds the rest."
    assert "canary" not in "".join(lines)


def test_without_an_address_nothing_is_displayed(store: Store) -> None:
    lines: list[str] = []
    with BackgroundTracker(store, [make_study(store, "air")], None, lines.append):
        pass
    assert lines == []
