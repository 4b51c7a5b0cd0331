"""Calls made in a fork: what they return, raise and say comes back, and what dies is told of."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from castpool.sampler_policies.errors import InputError
from castpool.workers.pool.forked_call import ForkedCallError, call_here, call_in_fork
from castpool.workers.support.machine import cores
from castpool.workers.support.signals import StoppedError, StopRequest


def where() -> tuple[int, bool, int]:
    import torch

    return os.getpid(), "neuralforecast" in sys.modules, torch.get_num_threads()


def refuse(field: str) -> None:
    raise InputError(field, 3, "write 4.")


def fall() -> None:
    raise KeyError("a bug")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def until_stopped(*, stop: StopRequest, say: Callable[[str], None]) -> None:
    say("begun")
    if not stop.wait(60):
        raise TimeoutError("no stop request came")
    say("ending")
    raise StoppedError("stopped as asked for")


def test_it_runs_elsewhere_with_neuralforecast_loaded_and_all_cores() -> None:
    pid, is_loaded, threads = call_in_fork(where)
    assert pid != os.getpid()
    assert is_loaded
    assert threads == cores()
    assert call_here(os.getpid) == os.getpid()


def test_what_a_user_can_mend_arrives_as_it_was_raised() -> None:
    with pytest.raises(InputError) as caught:
        call_in_fork(refuse, "horizon")
    assert str(caught.value) == "horizon: got 3; write 4."


def test_a_bug_arrives_with_its_traceback() -> None:
    with pytest.raises(ForkedCallError, match=r"(?s)Traceback.*in fall.*KeyError: 'a bug'") as caught:
        call_in_fork(fall)
    assert not hasattr(caught.value, "exit_code"), "a bug is to be seen"


def test_a_death_is_told_of_in_a_sentence() -> None:
    with pytest.raises(ForkedCallError, match=r"exit code -9.*the same command") as caught:
        call_in_fork(die)
    assert getattr(caught.value, "exit_code", None) == 1


def test_a_request_to_stop_goes_there_and_what_is_said_comes_back() -> None:
    said: list[str] = []
    with StopRequest() as stop:

        def hear(line: str) -> None:
            said.append(line)
            threading.Timer(0.05, stop.set).start()

        with pytest.raises(StoppedError, match="as asked for"):
            call_in_fork(until_stopped, stop=stop, say=hear)
    assert said == ["begun", "ending"]
