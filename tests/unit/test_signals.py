"""Signals as requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from workers.signals import EXIT_STOPPED, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) == before


def test_the_second_signal_ends_the_process_at_once() -> None:
    code = (
        "import os, signal, time\nfrom workers.signals import StopRequest\n"
        "with StopRequest():\n    os.kill(os.getpid(), signal.SIGTERM)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == EXIT_STOPPED


def test_in_a_thread_there_are_no_handlers_and_set_does_the_same() -> None:
    seen: list[bool] = []

    def work() -> None:
        with StopRequest() as stop:
            stop.set()
            seen.append(stop.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
