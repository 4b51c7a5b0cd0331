"""One call in a process that has neuralforecast loaded, for a caller that would take seconds to load it.

The process is a fork of the pool's fork server. Arguments and results pass through a pipe between processes of one
user, as a pool's Python objects do (`castpool.workers.spec.python_objects`).
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

from castpool.errors import CastpoolError
from castpool.workers.pool.process_pool import forking, likely_cause
from castpool.workers.support.machine import cores
from castpool.workers.support.signals import StopRequest

POLL_SECONDS = 0.1


class ForkedCallError(CastpoolError, RuntimeError):
    """The forked process crashed, or the function failed because of a bug; the message holds the traceback."""


class _LostError(ForkedCallError):
    exit_code = 1


def call_in_fork(
    function: Callable[..., Any],
    *arguments: Any,
    stop: StopRequest | None = None,
    say: Callable[[str], None] | None = None,
) -> Any:
    """Call the function with the arguments in a fork, and return what it returns; it may use all cores.

    Args:
        function: of a module that is quick to import; it imports what it needs when it is called.
        *arguments: objects that cloudpickle can serialize.
        stop: with it, the function gets a ``stop`` too, which is set when this one is.
        say: with it, the function gets a ``say``, whose lines are passed to this one.

    Raises:
        ForkedCallError: the process crashed.
        Exception: what the function raised.
    """
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe(duplex=False)
    voices = stop is not None, say is not None
    payload = cloudpickle.dumps((function, arguments))
    process = context.Process(target=_run, args=(there, payload, voices), name="castpool-call")
    with here, forking(cores()):
        process.start()
        there.close()
        try:
            return _wait(here, process, stop, say)
        finally:
            process.join()


def call_here(function: Callable[..., Any], *arguments: Any, **voices: Any) -> Any:
    """Call the function in this process, where there is no fork server."""
    return function(*arguments, **voices)


def _wait(
    here: Connection, process: ForkServerProcess, stop: StopRequest | None, say: Callable[[str], None] | None
) -> Any:
    is_stop_sent = False
    while True:
        if stop is not None and stop.is_set and not is_stop_sent:
            is_stop_sent = True
            process.terminate()
        if not here.poll(POLL_SECONDS):
            continue
        try:
            kind, value = cloudpickle.loads(here.recv_bytes())
        except EOFError:
            process.join()
            code = process.exitcode or 0
            cause = likely_cause(code)
            message = f"a forked process crashed (exit code {code}, {cause}); run the same command again."
            raise _LostError(message) from None
        if kind == "raised":
            raise value
        if kind == "returned":
            return value
        if say is not None:
            say(value)


def _run(there: Connection, payload: bytes, voices: tuple[bool, bool]) -> None:
    from castpool.workers.pool.worker_process import pool_member

    def send(kind: str, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # the caller is gone
            there.send_bytes(cloudpickle.dumps((kind, value)))

    with pool_member(cores()) as stop:
        function, arguments = cloudpickle.loads(payload)
        given: dict[str, Any] = {"stop": stop} if voices[0] else {}
        if voices[1]:
            given["say"] = lambda line: send("said", line)
        try:
            send("returned", function(*arguments, **given))
        except Exception as error:
            is_user_error = getattr(error, "exit_code", None) is not None
            send("raised", error if is_user_error else ForkedCallError(traceback.format_exc()))
