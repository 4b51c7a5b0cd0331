"""Measures of studies for Prometheus, read from the storage at each scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from castpool.sampler_policies.errors import InputError
from castpool.storage.store import Store
from castpool.storage.study.studies import StoredStudy
from castpool.workers.monitoring.run_metrics import read_measures


class MeasureCollector(Collector):
    """Collects the measures of studies, labelled with the study's name."""

    def __init__(self, store: Store, studies: Sequence[StoredStudy]) -> None:
        self._store = store
        self._studies = studies
        self._collecting = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a family for each measure with a value for each study; measures without a value are omitted."""
        if not self._collecting.acquire(blocking=False):
            return  # the storage does not answer: the previous scrape still waits for it
        try:
            yield from self._families()
        finally:
            self._collecting.release()

    def _families(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for stored in self._studies:
            for measure in read_measures(self._store, stored):
                if measure.value is None:
                    continue
                family = families.setdefault(
                    measure.name, GaugeMetricFamily(f"castpool_{measure.name}", measure.meaning, labels=["study"])
                )
                family.add_metric([stored.name], measure.value)
        yield from families.values()


@contextmanager
def serve_metrics(
    store: Store, studies: Sequence[StoredStudy], host: str, port: int | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Serve ``/metrics`` during the block and display the address; without a port, do nothing.

    Raises:
        InputError: the port cannot be opened.
    """
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(MeasureCollector(store, studies))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        remedy = f"the port cannot be opened ({error.strerror}): write another."
        raise InputError("metrics_port", f"{host}:{port}", remedy) from None
    say(f"measures for Prometheus at http://{host}:{server.server_port}/metrics")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
