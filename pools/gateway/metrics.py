"""What Prometheus reads. Labels are bounded: pool, service class, code. With several workers the files of
prometheus_client's multiprocess mode (PROMETHEUS_MULTIPROC_DIR) add them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_FAST_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class PoolMeters:
    """The children of one pool and service class, looked up once."""

    __slots__ = ("admission", "duration", "first_token", "held", "in_flight", "input_tokens", "output_tokens")

    def __init__(self, meters: Meters, pool: str, service_class: str) -> None:
        names = (pool, service_class)
        self.admission = meters.admission.labels(*names)
        self.duration = meters.duration.labels(*names)
        self.first_token = meters.first_token.labels(*names)
        self.held = meters.held.labels(*names)
        self.in_flight = meters.in_flight.labels(*names)
        self.input_tokens = meters.tokens.labels(*names, "input")
        self.output_tokens = meters.tokens.labels(*names, "output")


class Meters:
    """Every metric of the gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        names = ("pool", "service_class")
        self.requests = Counter(
            "tp_gateway_requests", "Requests answered, by HTTP status code.", (*names, "code"), registry=registry
        )
        self.refusals = Counter(
            "tp_gateway_refusals", "Requests refused, by reason.", (*names, "code"), registry=registry
        )
        self.outcomes = Counter(
            "tp_gateway_outcomes", "Admitted requests, by how they ended.", (*names, "code"), registry=registry
        )
        self.tokens = Counter("tp_gateway_tokens", "Tokens served.", (*names, "direction"), registry=registry)
        self.upstream_errors = Counter(
            "tp_gateway_upstream_errors",
            "Failed attempts, by kind.",
            ("pool", "code"),
            registry=registry,
        )
        self.degraded = Counter(
            "tp_gateway_degraded", "Requests served without admission.", (*names, "code"), registry=registry
        )
        self.held = Counter("tp_gateway_held_seconds", "Time spent holding.", names, registry=registry)
        self.in_flight = Gauge(
            "tp_gateway_in_flight_requests",
            "Requests being served.",
            names,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.unsettled = Gauge(
            "tp_gateway_unsettled_requests",
            "Settlements waiting for the store.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.admission = Histogram(
            "tp_gateway_admission_seconds", "Time to a decision.", names, registry=registry, buckets=_FAST_S
        )
        self.first_token = Histogram(
            "tp_gateway_first_token_seconds", "Time to the first token.", names, registry=registry, buckets=_BUCKETS_S
        )
        self.duration = Histogram(
            "tp_gateway_request_duration_seconds",
            "Time from request to settlement.",
            names,
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._of_pool: dict[tuple[str, str], PoolMeters] = {}
        self._counters: dict[tuple[int, tuple[str, ...]], Callable[[], None]] = {}

    def of(self, pool: str, service_class: str) -> PoolMeters:
        """The meters of one pool and class."""
        found = self._of_pool.get((pool, service_class))
        if found is None:
            found = self._of_pool[pool, service_class] = PoolMeters(self, pool, service_class)
        return found

    def count(self, counter: Counter, *labels: str) -> None:
        """Adds one; the child is kept, for looking it up costs more than counting."""
        name = (id(counter), labels)
        add = self._counters.get(name)
        if add is None:
            add = self._counters[name] = counter.labels(*labels).inc
        add()

    def page(self) -> tuple[bytes, bytes]:
        """(content type, exposition text) of all workers."""
        registry = self.registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)
