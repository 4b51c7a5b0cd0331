"""A way to the server that can be cut: a TCP proxy in front of its socket."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

CHUNK = 1 << 16


class _Link:
    """One connection through the proxy. While it is stalled, nothing passes either way, and neither end is closed."""

    def __init__(self) -> None:
        self.passes = asyncio.Event()
        self.passes.set()
        self.writers: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self.passes.wait()
            writer.write(chunk)
            await writer.drain()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()  # a reset, not an orderly close


class Proxy:
    """Carries connections from a TCP port to the server's socket. Use as a context manager.

    Args:
        socket: the path of the server's socket.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._links: set[_Link] = set()
        self._refuses = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def stall(self, chance: random.Random, share: float) -> Callable[[], None]:
        """Let nothing pass on a share of the connections; return what ends that."""
        stalled = [link for link in list(self._links) if chance.random() < share]
        self._call(lambda: [link.passes.clear() for link in stalled])
        return lambda: self._call(lambda: [link.passes.set() for link in stalled])

    def cut(self, chance: random.Random, share: float) -> None:
        """Reset a share of the connections."""
        cut = [link for link in list(self._links) if chance.random() < share]
        self._call(lambda: [link.cut() for link in cut])

    def refuse(self) -> Callable[[], None]:
        """Refuse new connections; return what ends that."""
        self._refuses = True

        def end() -> None:
            self._refuses = False

        return end

    def _call(self, action: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(action)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link()
        link.writers.append(writer)
        if self._refuses:
            link.cut()
            return
        self._links.add(link)
        try:
            there, back = await asyncio.open_unix_connection(self._socket)
            link.writers.append(back)
            carriers = [asyncio.ensure_future(link.carry(*ends)) for ends in ((reader, back), (there, writer))]
            await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
            for carrier in carriers:
                carrier.cancel()
            await asyncio.gather(*carriers, return_exceptions=True)
        except OSError:
            pass  # the server is away
        finally:
            self._links.discard(link)
            with contextlib.suppress(RuntimeError):
                link.cut()
