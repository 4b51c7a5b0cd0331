"""The storages of the comparison: castpool's and Optuna's three."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages._grpc import servicer
from optuna.storages._grpc.auto_generated import api_pb2_grpc
from optuna.storages.journal import JournalFileBackend

from castpool.storage.store import open_store

Opener = Callable[[str, Path], "Iterator[BaseStorage]"]


@contextmanager
def castpool(url: str, folder: Path) -> Iterator[BaseStorage]:
    """castpool's storage."""
    with open_store(url) as store:
        yield store.trials


@contextmanager
def rdb(url: str, folder: Path) -> Iterator[BaseStorage]:
    """Optuna's RDBStorage behind its cache, with Optuna's default settings."""
    plain = RDBStorage(url, skip_table_creation=True)
    try:
        yield optuna.storages.get_storage(plain)
    finally:
        plain.remove_session()
        plain.engine.dispose()


@contextmanager
def journal(url: str, folder: Path) -> Iterator[BaseStorage]:
    """Optuna's journal in a file."""
    yield JournalStorage(JournalFileBackend(str(folder / "journal.log")))


@contextmanager
def proxy(url: str, folder: Path) -> Iterator[BaseStorage]:
    """Optuna's gRPC proxy, its server in a thread of this process, in front of an RDBStorage."""
    with ExitStack() as stack:
        backend = stack.enter_context(rdb(url, folder))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = grpc.server(ThreadPoolExecutor(10))
        api_pb2_grpc.add_StorageServiceServicer_to_server(servicer.OptunaStorageProxyService(backend), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        stack.callback(lambda: server.stop(None).wait())
        client = GrpcStorageProxy(host="127.0.0.1", port=port)
        client.wait_server_ready(timeout=30)
        stack.callback(client.close)
        yield client


STORAGES = {"castpool": castpool, "RDBStorage": rdb, "JournalStorage": journal, "gRPC proxy": proxy}
