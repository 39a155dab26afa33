"""The endpoint reconciler with a provider of its own: what is started, watched, drained, replaced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pytest

from pools.choices import EndpointState
from pools.counters.types import CounterUnavailable
from pools.models import Endpoint, Pool
from pools.providers.base import Probe, ReplicaSpec
from pools.providers.exposition import EndpointMetrics
from pools.providers.metrics import Scrape
from pools.services import endpoints
from pools.services.endpoints import LOST_AFTER, EndpointPass, endpoint_drain, endpoints_reconcile
from pools.services.store import counters
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, later, pool_make


class Machines:
    """A provider whose replicas are what the test says."""

    def __init__(self) -> None:
        self.started: dict[str, ReplicaSpec] = {}
        self.stopped: list[str] = []
        self.states: dict[str, EndpointState] = {}
        self.refuse = False

    def start(self, spec: ReplicaSpec) -> str:
        if self.refuse:
            raise DomainError("cannot_start", "No machine is free.")
        self.started[spec.name] = spec
        self.states.setdefault(spec.name, EndpointState.STARTING)
        return spec.name

    def stop(self, ref: str) -> None:
        self.stopped.append(ref)
        self.states[ref] = EndpointState.STOPPED

    def probe(self, ref: str) -> Probe:
        return Probe(self.states.get(ref, EndpointState.STOPPED), f"http://{ref}", "As told.")

    def list(self) -> tuple[str, ...]:
        return tuple(self.states)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    made = Machines()
    monkeypatch.setattr(endpoints, "provider_of", lambda pool: made)
    return made


def answers(now: datetime, running: Mapping[str, int]) -> dict[str, Scrape]:
    """Every named endpoint answers with so many running requests; others do not answer."""
    return {
        f"http://{name}": Scrape(f"http://{name}", 200, EndpointMetrics(count, 0, 0.1, 0, 16, 100, 100, now))
        for name, count in running.items()
    }


def step(pool: Pool, second: float, running: Mapping[str, int] | None = None) -> EndpointPass:
    return endpoints_reconcile(pool.pk, later(second), answers(later(second), running or {}))


def states(pool: Pool) -> list[str]:
    return list(Endpoint.objects.filter(pool=pool).order_by("pk").values_list("state", flat=True))


def wish(pool: Pool, replicas: int) -> None:
    Pool.objects.filter(pk=pool.pk).update(wanted_replicas=replicas)


def test_a_wanted_replica_is_started_and_counts_when_it_is_ready(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    assert states(pool) == ["starting"]
    assert machines.started["chat-8b-1"].slots == 16
    machines.states["chat-8b-1"] = EndpointState.READY
    done = step(pool, 2)
    assert (done.ready, done.pending) == (1, 0)
    assert counters().snapshot(pool.pk).pool.capacity_seats == 16


def test_a_pass_that_is_repeated_starts_nothing_twice(machines: Machines) -> None:
    pool = pool_make()
    for second in range(0, 10, 2):
        step(pool, second)
    assert list(machines.started) == ["chat-8b-1"]
    assert states(pool) == ["starting"]


def test_a_draining_replica_leaves_capacity_at_once_and_stops_after_its_last_stream(machines: Machines) -> None:
    pool = pool_make()
    wish(pool, 2)
    step(pool, 0)
    machines.states = dict.fromkeys(machines.states, EndpointState.READY)
    step(pool, 2)
    busy = {"chat-8b-1": 3, "chat-8b-2": 5}
    wish(pool, 1)
    step(pool, 4, busy)
    assert states(pool) == ["ready", "draining"]
    assert counters().snapshot(pool.pk).pool.capacity_seats == 16
    step(pool, 10, busy)
    assert not machines.stopped
    step(pool, 12, {"chat-8b-1": 3, "chat-8b-2": 0})
    assert machines.stopped == ["chat-8b-2"]
    assert states(pool) == ["ready", "stopped"]


def test_a_replica_that_starts_is_given_up_before_one_that_serves(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.READY
    step(pool, 2)
    wish(pool, 2)
    step(pool, 4, {"chat-8b-1": 0})
    wish(pool, 1)
    step(pool, 6, {"chat-8b-1": 0})
    assert states(pool) == ["ready", "draining"]


def test_a_failed_replica_is_replaced_after_a_growing_pause(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.FAILED
    step(pool, 2)
    assert states(pool) == ["failed"]
    step(pool, 4)
    assert states(pool) == ["failed"]
    step(pool, 7)
    assert states(pool) == ["failed", "starting"]
    machines.states["chat-8b-2"] = EndpointState.FAILED
    step(pool, 9)
    step(pool, 15)
    assert len(states(pool)) == 2
    step(pool, 19)
    assert states(pool) == ["failed", "failed", "starting"]


def test_a_provider_that_refuses_fails_the_replica_with_its_sentence(machines: Machines) -> None:
    pool = pool_make()
    machines.refuse = True
    step(pool, 0)
    row = Endpoint.objects.get(pool=pool)
    assert (row.state, row.state_reason) == ("failed", "No machine is free.")


def test_a_replica_that_falls_silent_is_kept_for_a_while_and_then_lost(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.READY
    step(pool, 2)
    silent = {"http://chat-8b-1": Scrape("http://chat-8b-1", None, None, "No answer.")}
    for number in range(LOST_AFTER):
        endpoints_reconcile(pool.pk, later(4 + 2 * number), silent)
    assert states(pool) == ["ready"]
    endpoints_reconcile(pool.pk, later(4 + 2 * LOST_AFTER), silent)
    assert states(pool) == ["failed"]
    assert counters().snapshot(pool.pk).pool.capacity_seats == 0


def test_an_operator_drains_an_endpoint_and_another_takes_its_place(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.READY
    step(pool, 2)
    endpoint_drain(actor=OLGA, now=later(3), endpoint_id=Endpoint.objects.get().pk, reason="kernel update")
    step(pool, 4, {"chat-8b-1": 1})
    assert states(pool) == ["draining", "starting"]
    with pytest.raises(DomainError, match="nothing is to be drained"):
        endpoint_drain(actor=OLGA, now=later(5), endpoint_id=Endpoint.objects.order_by("pk")[0].pk)


def test_a_pool_without_replicas_has_no_capacity_and_no_counters_yet(machines: Machines) -> None:
    pool = pool_make()
    wish(pool, 0)
    step(pool, 0)
    with pytest.raises(CounterUnavailable):
        counters().snapshot(pool.pk)
    assert later(1) > NOW
