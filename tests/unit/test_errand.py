"""Calls made in a fork: what they return, raise and say comes back, and what dies is told of."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from sampler_policies.errors import InputError
from workers.errand import ErrandError, in_this_process, run_errand
from workers.pool import cores
from workers.signals import StoppedError, StopRequest


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
        raise TimeoutError("nobody said stop")
    say("ending")
    raise StoppedError("stopped as asked for")


def test_it_runs_elsewhere_with_neuralforecast_loaded_and_all_cores() -> None:
    pid, is_loaded, threads = run_errand(where)
    assert pid != os.getpid()
    assert is_loaded
    assert threads == cores()
    assert in_this_process(os.getpid) == os.getpid()


def test_what_a_user_can_mend_arrives_as_it_was_raised() -> None:
    with pytest.raises(InputError) as caught:
        run_errand(refuse, "horizon")
    assert str(caught.value) == "horizon: got 3; write 4."


def test_a_bug_arrives_with_its_traceback() -> None:
    with pytest.raises(ErrandError, match=r"(?s)Traceback.*in fall.*KeyError: 'a bug'") as caught:
        run_errand(fall)
    assert not hasattr(caught.value, "exit_code"), "a bug is to be seen"


def test_a_death_is_told_of_in_a_sentence() -> None:
    with pytest.raises(ErrandError, match=r"exit code -9.*the same command") as caught:
        run_errand(die)
    assert getattr(caught.value, "exit_code", None) == 1


def test_a_request_to_stop_goes_there_and_what_is_said_comes_back() -> None:
    said: list[str] = []
    with StopRequest() as stop:

        def hear(line: str) -> None:
            said.append(line)
            threading.Timer(0.05, stop.set).start()

        with pytest.raises(StoppedError, match="as asked for"):
            run_errand(until_stopped, stop=stop, say=hear)
    assert said == ["begun", "ending"]
