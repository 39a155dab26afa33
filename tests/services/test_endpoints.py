"""The endpoint reconciler with a provider of its own: what is started, watched, drained, replaced."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import orjson
import pytest

from pools.choices import EndpointDeed, EndpointState
from pools.counters.types import CounterUnavailable
from pools.models import Endpoint, Pool
from pools.providers.base import Probe, ReplicaSpec
from pools.providers.exposition import EndpointMetrics
from pools.providers.metrics import Scrape
from pools.services import endpoints
from pools.services.endpoint_deeds import endpoint_ask, endpoint_drain, endpoint_resume
from pools.services.endpoints import LOST_AFTER, EndpointPass, endpoints_reconcile, pools_retiring
from pools.services.pools import pool_archive
from pools.services.routes import route_of
from pools.services.scaling import scaling_reconcile
from pools.services.store import counters
from portal.lib.errors import DomainError
from tests.cast import NOW, OLGA, later, pool_make


class Machines:
    """A provider whose replicas are what the test says."""

    fixed_places = False

    def __init__(self) -> None:
        self.started: dict[str, ReplicaSpec] = {}
        self.stopped: list[str] = []
        self.replaced: list[str] = []
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

    def replace(self, ref: str) -> None:
        self.replaced.append(ref)
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


def test_a_replica_that_was_taken_away_has_not_failed_and_is_replaced_at_once(machines: Machines) -> None:
    """As everything is stopped and started again, or somebody deletes a pod."""
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.READY
    step(pool, 2)
    machines.states["chat-8b-1"] = EndpointState.STOPPED
    silent = {"http://chat-8b-1": Scrape("http://chat-8b-1", None, None, "No answer.")}
    endpoints_reconcile(pool.pk, later(4), silent)
    row = Endpoint.objects.get(name="chat-8b-1")
    assert (row.state, row.state_reason) == ("stopped", "It was taken away. As told.") and row.stopped_at is not None
    step(pool, 6)
    assert states(pool) == ["stopped", "starting"]


def test_an_operator_drains_an_endpoint_and_another_takes_its_place(machines: Machines) -> None:
    pool = pool_make()
    step(pool, 0)
    machines.states["chat-8b-1"] = EndpointState.READY
    step(pool, 2)
    endpoint_drain(actor=OLGA, now=later(3), endpoint_id=Endpoint.objects.get().pk, reason="kernel update")
    step(pool, 4, {"chat-8b-1": 1})
    assert states(pool) == ["draining", "starting"]
    with pytest.raises(DomainError, match="nothing to drain"):
        endpoint_drain(actor=OLGA, now=later(5), endpoint_id=Endpoint.objects.order_by("pk")[0].pk)


def test_a_pool_without_replicas_has_no_capacity_and_no_counters_yet(machines: Machines) -> None:
    pool = pool_make()
    wish(pool, 0)
    step(pool, 0)
    with pytest.raises(CounterUnavailable):
        counters().snapshot(pool.pk)
    assert later(1) > NOW


def serving(machines: Machines, replicas: int) -> tuple[Pool, list[Endpoint]]:
    """A pool whose replicas are all ready at second 2."""
    pool = pool_make()
    wish(pool, replicas)
    step(pool, 0)
    machines.states = dict.fromkeys(machines.states, EndpointState.READY)
    step(pool, 2)
    return pool, list(Endpoint.objects.filter(pool=pool).order_by("pk"))


def ask(row: Endpoint, deed: EndpointDeed, second: float) -> Endpoint:
    return endpoint_ask(actor=OLGA, now=later(second), endpoint_id=row.pk, deed=deed, reason="kernel update")


def test_capacity_leaves_at_once_and_gateways_hear_of_it(machines: Machines, commits: None) -> None:
    pool, rows = serving(machines, 2)
    ask(rows[0], EndpointDeed.DRAIN, 3)
    assert counters().snapshot(pool.pk).pool.capacity_seats == 16
    route = orjson.loads(route_of(pool.pk, later(3)) or b"")
    assert [one["state"] for one in route["endpoints"]] == ["draining", "ready"]


def test_what_could_not_be_published_is_told_by_the_next_pass(machines: Machines) -> None:
    pool, rows = serving(machines, 2)
    ask(rows[0], EndpointDeed.DRAIN, 3)  # nothing commits in this test, so nothing is published
    assert counters().snapshot(pool.pk).pool.capacity_seats == 32
    step(pool, 4, {"chat-8b-1": 1, "chat-8b-2": 0})
    assert counters().snapshot(pool.pk).pool.capacity_seats == 16


def test_a_restart_waits_for_its_own_place(machines: Machines) -> None:
    pool, rows = serving(machines, 2)
    busy = {"chat-8b-1": 3, "chat-8b-2": 0}
    ask(rows[0], EndpointDeed.RESTART, 3)
    step(pool, 6, busy)
    assert states(pool) == ["draining", "ready"], "its replacement needs its accelerators"
    step(pool, 8, {"chat-8b-1": 0, "chat-8b-2": 0})
    assert machines.replaced == ["chat-8b-1"] and not machines.stopped
    assert states(pool) == ["stopped", "ready", "starting"]
    assert Endpoint.objects.get(name="chat-8b-3").ordinal == 0, "the same number"


def test_a_stop_cuts_what_runs_and_the_pool_replaces_it(machines: Machines) -> None:
    pool, rows = serving(machines, 2)
    ask(rows[1], EndpointDeed.STOP, 3)
    step(pool, 4, {"chat-8b-1": 0, "chat-8b-2": 7})
    assert states(pool) == ["ready", "draining", "starting"], "gateways learn of it first"
    step(pool, 6, {"chat-8b-1": 0, "chat-8b-2": 7})
    assert machines.stopped == ["chat-8b-2"]
    assert states(pool) == ["ready", "stopped", "starting"]


def test_a_drain_that_takes_too_long_may_become_a_stop(machines: Machines) -> None:
    pool, rows = serving(machines, 1)
    ask(rows[0], EndpointDeed.DRAIN, 3)
    step(pool, 10, {"chat-8b-1": 1})
    ask(rows[0], EndpointDeed.STOP, 20)
    step(pool, 23, {"chat-8b-1": 1})
    assert machines.stopped == ["chat-8b-1"]
    with pytest.raises(DomainError, match="nothing to stop"):
        ask(rows[0], EndpointDeed.STOP, 24)


def test_a_resumed_endpoint_serves_on_and_its_replacement_is_given_up(machines: Machines, commits: None) -> None:
    pool, rows = serving(machines, 1)
    ask(rows[0], EndpointDeed.DRAIN, 3)
    step(pool, 4, {"chat-8b-1": 2})
    assert states(pool) == ["draining", "starting"]
    endpoint_resume(actor=OLGA, now=later(5), endpoint_id=rows[0].pk)
    assert counters().snapshot(pool.pk).pool.capacity_seats == 16
    step(pool, 6, {"chat-8b-1": 2})
    assert states(pool) == ["ready", "draining"]
    rows[0].refresh_from_db()
    assert rows[0].asked == ""


def test_what_has_stopped_or_is_not_wanted_cannot_be_resumed(machines: Machines) -> None:
    pool, rows = serving(machines, 2)
    ask(rows[0], EndpointDeed.DRAIN, 3)
    step(pool, 6, {"chat-8b-1": 0, "chat-8b-2": 0})
    with pytest.raises(DomainError, match="cannot be resumed"):
        endpoint_resume(actor=OLGA, now=later(7), endpoint_id=rows[0].pk)
    ask(rows[1], EndpointDeed.STOP, 8)
    with pytest.raises(DomainError, match="its streams are cut"):
        endpoint_resume(actor=OLGA, now=later(9), endpoint_id=rows[1].pk)
    wish(pool, 0)
    step(pool, 9)
    surplus = Endpoint.objects.filter(pool=pool, state="draining", asked="").first()
    assert surplus is not None
    with pytest.raises(DomainError, match="fewer replicas are wanted"):
        endpoint_resume(actor=OLGA, now=later(10), endpoint_id=surplus.pk)


def test_numbered_places_are_replaced_one_after_the_other(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, rows = serving(machines, 2)
    machines.fixed_places = True

    def not_last(ref: str) -> None:
        raise DomainError("not_last", "Higher ordinals run.")

    monkeypatch.setattr(machines, "stop", not_last)
    ask(rows[0], EndpointDeed.DRAIN, 3)
    step(pool, 4, {"chat-8b-1": 1, "chat-8b-2": 0})
    assert states(pool) == ["draining", "ready"]
    step(pool, 6, {"chat-8b-1": 0, "chat-8b-2": 0})
    assert machines.replaced == ["chat-8b-1"]
    assert states(pool) == ["stopped", "ready", "starting"]


def test_scaling_does_not_fight_a_deed(machines: Machines) -> None:
    pool, rows = serving(machines, 2)
    ask(rows[0], EndpointDeed.RESTART, 3)
    step(pool, 4, {"chat-8b-1": 1, "chat-8b-2": 0})
    row = scaling_reconcile(pool.pk, later(5))
    assert row is not None and (row.code, row.chosen) == ("hold", 2)
    pool.refresh_from_db()
    assert pool.wanted_replicas == 2


def test_the_endpoints_of_an_archived_pool_drain_and_stop(machines: Machines) -> None:
    pool, _ = serving(machines, 2)
    pool_archive(actor=OLGA, now=later(3), pool_id=pool.pk, reason="done")
    assert pools_retiring(0) == [pool.pk]
    idle = {"chat-8b-1": 0, "chat-8b-2": 0}
    step(pool, 4, idle)
    assert states(pool) == ["draining", "draining"]
    step(pool, 8, idle)
    assert states(pool) == ["stopped", "stopped"] and len(machines.stopped) == 2
    assert pools_retiring(0) == []
