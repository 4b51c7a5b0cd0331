"""One call in a process that has neuralforecast loaded, for one that would take seconds to load it itself.

The process is a fork of the pool's fork server. What goes there and comes back goes through a pipe between processes of
one user, as a pool's extras do (`workers.extras`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import cloudpickle

from workers.pool import cores, forking
from workers.signals import StopRequest

POLL_SECONDS = 0.1


class ErrandError(RuntimeError):
    """The process died, or failed in a way that is a bug; the message holds its traceback."""


class _LostError(ErrandError):
    exit_code = 1


def run_errand(
    function: Callable[..., Any],
    *arguments: Any,
    stop: StopRequest | None = None,
    say: Callable[[str], None] | None = None,
) -> Any:
    """Call the function with the arguments in a fork, and return what it returns; it may use all cores.

    Args:
        function: of a module that is quick to import; it imports what it needs when it is called.
        *arguments: whatever cloudpickle takes.
        stop: with it, the function gets a ``stop`` of its own, which is set when this one is.
        say: with it, the function gets a ``say``, and what it says is said here.

    Raises:
        ErrandError: the process died.
        Exception: what the function raised.
    """
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    voices = stop is not None, say is not None
    payload = cloudpickle.dumps((function, arguments))
    process = context.Process(target=_run, args=(there, payload, voices), name="castpool-errand")
    with here, forking(cores()):
        process.start()
        there.close()
        try:
            return _wait(here, process, stop, say)
        finally:
            process.join()


def in_this_process(function: Callable[..., Any], *arguments: Any, **voices: Any) -> Any:
    """Call the function here: for where there is no fork server."""
    return function(*arguments, **voices)


def _wait(
    here: Connection, process: ForkServerProcess, stop: StopRequest | None, say: Callable[[str], None] | None
) -> Any:
    is_told = False
    while True:
        if stop is not None and stop.is_set and not is_told:
            is_told = True
            process.terminate()
        if not here.poll(POLL_SECONDS):
            continue
        try:
            kind, value = cloudpickle.loads(here.recv_bytes())
        except EOFError:
            process.join()
            remedy = "the same command does that again"
            raise _LostError(f"a process died at its work (exit code {process.exitcode}); {remedy}.") from None
        if kind == "raised":
            raise value
        if kind == "returned":
            return value
        if say is not None:
            say(value)


def _run(there: Connection, payload: bytes, voices: tuple[bool, bool]) -> None:
    from workers.entry import as_part_of_a_pool

    def tell(kind: str, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever asked is gone
            there.send_bytes(cloudpickle.dumps((kind, value)))

    with as_part_of_a_pool(cores()) as stop:
        function, arguments = cloudpickle.loads(payload)
        given: dict[str, Any] = {"stop": stop} if voices[0] else {}
        if voices[1]:
            given["say"] = lambda line: tell("said", line)
        try:
            tell("returned", function(*arguments, **given))
        except Exception as error:
            is_for_people = getattr(error, "exit_code", None) is not None
            tell("raised", error if is_for_people else ErrandError(traceback.format_exc()))
