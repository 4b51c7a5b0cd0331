"""Signals as requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from castpool.workers.support.signals import EXIT_STOPPED, StopRequest


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
        "import os, signal, time\nfrom castpool.workers.support.signals import StopRequest\n"
        "with StopRequest() as stop:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    assert stop.wait(5)\n"
        "    print('an echo of the first changes nothing', flush=True)\n"
        "    stop._asked_at -= 1\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (EXIT_STOPPED, "an echo of the first changes nothing\n")


def test_a_pools_worker_takes_repeats_for_echoes() -> None:
    with StopRequest(is_ours=False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        stop._asked_at -= 1
        os.kill(os.getpid(), signal.SIGTERM)


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
