"""Log lines: JSON with what they belong to, words for a terminal."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.support import logs
from castpool.workers.support.logs import CONTEXT, FORMAT_VARIABLE, about, get_logger, log_format, set_up


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (FORMAT_VARIABLE, logs.RUN_VARIABLE):
            patch.setenv(name, "as if")  # so that what a test sets is taken back
            patch.delenv(name)
        root, ours = logging.getLogger(), logging.getLogger("castpool")
        kept, levels = list(root.handlers), (root.level, ours.level)
        yield
        root.handlers[:] = kept
        root.setLevel(levels[0])
        ours.setLevel(levels[1])
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook = sys.__excepthook__, threading.__excepthook__


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_line_of_json_says_what_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    with about(study="air", trial=3, slot=2, attempt=1, worker=7):
        get_logger("worker").info("trial ended", loss=1.5, value=float("inf"))
    logging.getLogger("castpool.storage").warning("the storage %s", "does not answer")
    ours, theirs = lines(capsys)
    assert ours["value"] is None
    assert {name: ours[name] for name in ("event", "study", "trial", "slot", "attempt", "worker", "loss", "level")} == {
        "event": "trial ended", "study": "air", "trial": 3, "slot": 2, "attempt": 1, "worker": 7, "loss": 1.5,
        "level": "info",
    }  # fmt: skip
    assert theirs["event"] == "the storage does not answer"
    assert theirs["study"] is None
    assert set(CONTEXT) <= theirs.keys()
    assert ours["run_id"] == theirs["run_id"] is not None
    assert ours["logger"] == "castpool.worker"


def test_a_thread_takes_its_context_along(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    with about(study="air", trial=3):
        context = copy_context()
    thread = threading.Thread(target=context.run, args=(get_logger("worker").warning, "lost"))
    thread.start()
    thread.join()
    assert lines(capsys)[0]["trial"] == 3


def test_warnings_and_errors_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    try:
        raise ValueError("does\nnot fit")
    except ValueError:
        get_logger("worker").warning("an attempt failed", exc_info=True)
    logging.getLogger("pytorch_lightning").warning("noise")
    logging.getLogger("sqlalchemy").warning("of interest")
    failed, told = lines(capsys)
    assert "ValueError: does\nnot fit" in failed["exception"]
    assert told["event"] == "of interest"


def test_a_person_reads_words(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("text")
    with about(study="air", trial=3, slot=2, attempt=1, worker=7):
        get_logger("worker").info("trial ended", loss=1.23456789, outcome="complete")
        get_logger("worker").warning("no picture")
    assert capsys.readouterr().err.splitlines() == [
        "study air trial 3: trial ended (loss 1.23457, outcome complete)",
        "warning: study air trial 3: no picture",
    ]


def test_a_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("text", logging.WARNING)
    get_logger("worker").info("trial ended")
    set_up("text")
    get_logger("worker").info("once")
    assert capsys.readouterr().err.splitlines() == ["once"]


def test_the_environment_decides_then_the_command_then_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_format() == "json", "standard error is no terminal here"
    assert log_format("text") == "text"
    monkeypatch.setenv(FORMAT_VARIABLE, "json")
    assert log_format("text") == "json"
    monkeypatch.setenv(FORMAT_VARIABLE, "xml")
    with pytest.raises(InputError, match="CASTPOOL_LOG_FORMAT: got 'xml'; write json or text"):
        log_format()


def test_a_service_says_even_its_errors_as_json() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "castpool", "worker", "--storage", "mysql://somewhere/db"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    (line,) = [json.loads(line) for line in ran.stderr.splitlines()]
    assert line["level"] == "error"
    assert "mysql" in line["event"]


def test_in_a_library_lines_are_words_for_whoever_logs(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, logs._StandardError)]
    with about(study="air", trial=3):
        get_logger("worker").warning("100% lost", slot=2)
        try:
            raise ValueError("does not fit")
        except ValueError:
            get_logger("worker").warning("no picture", exc_info=True)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "study air trial 3: 100% lost"
    assert second.startswith("study air trial 3: no picture\n")
    assert second.endswith("ValueError: does not fit")
