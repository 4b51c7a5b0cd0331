"""Measures of studies for Prometheus, read from the storage whenever it asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sampler_policies.errors import InputError
from storage.store import Store
from storage.studies import StoredStudy
from workers.measures import read_measures


class Measures(Collector):
    """The measures of studies, by name."""

    def __init__(self, store: Store, studies: Sequence[StoredStudy]) -> None:
        self._store = store
        self._studies = studies
        self._one = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a family a measure, with a value a study; one without a value yet is left out."""
        if not self._one.acquire(blocking=False):
            return  # the storage is away: whoever asked before still waits for it
        try:
            yield from self._families()
        finally:
            self._one.release()

    def _families(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for stored in self._studies:
            for own in read_measures(self._store, stored):
                if own.value is None:
                    continue
                family = families.setdefault(
                    own.name, GaugeMetricFamily(f"castpool_{own.name}", own.meaning, labels=["study"])
                )
                family.add_metric([stored.name], own.value)
        yield from families.values()


@contextmanager
def exporting(
    store: Store, studies: Sequence[StoredStudy], host: str, port: int | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Serve ``/metrics`` for the block, and say where; without a port, do nothing.

    Raises:
        InputError: the port is not to be had.
    """
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(Measures(store, studies))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        remedy = f"it cannot be listened on ({error.strerror}): write another."
        raise InputError("metrics_port", f"{host}:{port}", remedy) from None
    say(f"measures for Prometheus at http://{host}:{server.server_port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
