"""A rolling restart: one endpoint after the other, never two at once, and it survives whatever happens meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.choices import EndpointDeed, EndpointState
from pools.models import Endpoint, Pool, RollingRestart
from pools.services import endpoint_rolling
from pools.services.binding import binding_reconcile
from pools.services.endpoint_deeds import endpoint_ask, endpoint_resume
from pools.services.endpoint_rolling import rolling_cancel, rolling_start, rolling_step, unkept_without
from pools.services.pools import pool_archive
from pools.services.preview_state import pool_token_make
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import OLGA, later, pool_make, promise, replica_ready, slots, tenant_make, tier_make
from tests.services.test_endpoints import Machines, machines, serving, step, wish

__all__ = ["machines"]
READY, DRAINING, STOPPED = (EndpointState.READY, EndpointState.DRAINING, EndpointState.STOPPED)


@dataclass
class Story:
    """A pool, its machines, and the passes of the reconciler every two seconds."""

    machines: Machines
    pool: Pool
    second: float = 2
    busy: dict[str, int] = field(default_factory=dict)
    away_at_once: int = 0

    def passes(self, count: int = 1, *, comes_up: bool = True) -> None:
        """So many passes; what was started is ready at the next one."""
        for _ in range(count):
            self.second += 2
            living = Endpoint.objects.filter(pool=self.pool).exclude(state__in=["stopped", "failed"])
            step(self.pool, self.second, {row.name: self.busy.get(row.name, 0) for row in living})
            if comes_up:
                starting = [name for name, state in self.machines.states.items() if state is EndpointState.STARTING]
                self.machines.states |= dict.fromkeys(starting, READY)
            away = self.pool_now.wanted_replicas - living.filter(state="ready").count()
            self.away_at_once = max(self.away_at_once, away)

    def start(self, **options: object) -> RollingRestart:
        given = {"actor": OLGA, "now": later(self.second), "pool_id": self.pool.pk, "reason": "new driver", **options}
        return rolling_start(**given)  # type: ignore[arg-type]

    @property
    def pool_now(self) -> Pool:
        return Pool.objects.get(pk=self.pool.pk)

    @property
    def rolling(self) -> RollingRestart:
        return RollingRestart.objects.select_related("current").get()

    def names(self, state: EndpointState) -> list[str]:
        rows = Endpoint.objects.filter(pool=self.pool, state=state.value)
        return list(rows.order_by("pk").values_list("name", flat=True))


@pytest.fixture
def story(machines: Machines) -> Story:
    pool, _ = serving(machines, 3)
    return Story(machines, pool)


def test_one_after_the_other_each_ready_before_the_next_begins(story: Story) -> None:
    story.busy = {"chat-8b-1": 2}
    story.start()
    story.passes(3)
    assert story.names(DRAINING) == ["chat-8b-1"] and story.rolling.said.startswith("chat-8b-1 takes no new request; 2")
    story.busy = {}
    story.passes(1)
    assert story.names(READY) == ["chat-8b-2", "chat-8b-3"]
    story.passes(2)
    assert (story.rolling.position, str(story.rolling.current)) == (1, "chat-8b-2")
    story.passes(20)
    assert story.rolling.state == "done" and story.rolling.said == "3 of 3 were restarted."
    assert story.names(READY) == ["chat-8b-4", "chat-8b-5", "chat-8b-6"]
    assert story.names(STOPPED) == ["chat-8b-1", "chat-8b-2", "chat-8b-3"]
    assert story.machines.replaced == ["chat-8b-1", "chat-8b-2", "chat-8b-3"], "in its own place, one by one"
    assert story.away_at_once == 1
    verbs = AuditRecord.objects.filter(object_id=str(story.pool.pk), verb__startswith="pool_rolling")
    assert list(verbs.order_by("id").values_list("verb", "reason")) == [
        ("pool_rolling_start", "new driver"),
        ("pool_rolling_end", "3 of 3 were restarted."),
    ]


def test_a_pass_that_is_repeated_or_lost_changes_nothing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.start()
    story.busy = {"chat-8b-1": 1}
    for _ in range(5):
        rolling_step(story.pool.pk, later(story.second))
    assert story.names(DRAINING) == ["chat-8b-1"]

    def killed(*args: object, **given: object) -> None:
        raise KeyboardInterrupt

    story.busy = {}
    story.passes(3)
    assert story.names(DRAINING) == ["chat-8b-2"]
    story.passes(3, comes_up=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(endpoint_rolling._Look, "_waits", lambda look, row: "")
        patch.setattr(endpoint_rolling._Look, "_away", lambda look, row: look._behind() or "")
        patch.setattr(endpoint_rolling, "endpoint_ask", killed)
        rolling_step(story.pool.pk, later(story.second))
    assert (story.rolling.position, str(story.rolling.current)) == (1, "chat-8b-2"), "nothing half done"
    story.passes(20)
    assert story.rolling.state == "done" and story.away_at_once == 1


def test_it_costs_one_query_where_nothing_runs(story: Story) -> None:
    with CaptureQueriesContext(connection) as seen:
        rolling_step(story.pool.pk, later(3))
    assert len(seen) == 1


def test_the_rest_is_left_alone_when_it_is_cancelled(story: Story) -> None:
    made = story.start()
    story.passes(1)
    with pytest.raises(DomainError) as refused:
        rolling_cancel(actor=OLGA, now=later(4), pool_id=story.pool.pk + 1, rolling_id=made.pk)
    assert refused.value.status == 404
    rolling_cancel(actor=OLGA, now=later(4), pool_id=story.pool.pk, rolling_id=made.pk)
    assert story.rolling.said == "chat-8b-1 still finishes its restart; 2 of 3 were left alone."
    story.passes(10)
    assert story.names(READY) == ["chat-8b-2", "chat-8b-3", "chat-8b-4"]
    with pytest.raises(DomainError, match="cancelled already"):
        rolling_cancel(actor=OLGA, now=later(4), pool_id=story.pool.pk, rolling_id=made.pk)
    assert AuditRecord.objects.filter(verb="pool_rolling_cancel").count() == 1
    assert story.start().pk != made.pk, "another one may begin"


def test_a_second_one_and_one_of_nothing_are_refused(story: Story) -> None:
    story.start()
    with pytest.raises(DomainError, match="runs already") as refused:
        story.start()
    assert refused.value.status == 409
    empty = pool_make("empty")
    with pytest.raises(DomainError, match="none to restart"):
        story.start(pool_id=empty.pk)


def test_it_waits_while_a_replica_is_missing_for_any_reason(story: Story) -> None:
    story.start()
    last = Endpoint.objects.get(name="chat-8b-3")
    endpoint_ask(actor=OLGA, now=later(2), endpoint_id=last.pk, deed=EndpointDeed.DRAIN)
    story.busy = {"chat-8b-3": 1}
    story.passes(1, comes_up=False)
    assert story.names(DRAINING) == ["chat-8b-3"] and "next once the pool is whole: 1 of 3" in story.rolling.said
    story.passes(20)
    assert story.rolling.state == "done"
    assert story.rolling.said == "2 of 3 were restarted, 1 went another way."


def test_who_takes_a_restart_back_is_passed_over(story: Story) -> None:
    story.start()
    story.busy = {"chat-8b-1": 1}
    story.passes(1)
    endpoint_resume(actor=OLGA, now=later(5), endpoint_id=Endpoint.objects.get(name="chat-8b-1").pk)
    story.passes(20)
    assert story.rolling.said == "2 of 3 were restarted, 1 went another way."
    assert "chat-8b-1" in story.names(READY)


def test_it_halts_when_replacements_do_not_come_up(story: Story) -> None:
    story.start()
    story.passes(1, comes_up=False)
    story.machines.refuse = True
    story.passes(30, comes_up=False)
    assert story.rolling.state == "halted"
    assert story.rolling.said.startswith("3 starts in place of chat-8b-1 failed, the last: No machine is free.")
    assert "2 of 3 were left alone" in story.rolling.said and story.names(READY) == ["chat-8b-2", "chat-8b-3"]


def test_it_halts_when_a_replacement_is_not_ready_for_too_long(story: Story) -> None:
    story.start()
    story.passes(4, comes_up=False)
    assert "is starting in its place" in story.rolling.said
    story.second += 40 * 60
    story.passes(1, comes_up=False)
    assert story.rolling.state == "halted" and "was ready after 30 minutes" in story.rolling.said


def test_fewer_wanted_replicas_and_an_archived_pool_end_it(story: Story) -> None:
    story.start()
    story.passes(2, comes_up=False)
    wish(story.pool, 2)
    story.passes(20)
    assert story.rolling.state == "done" and len(story.names(READY)) == 2
    story.start()
    pool_archive(actor=OLGA, now=later(story.second), pool_id=story.pool.pk)
    story.passes(1)
    assert RollingRestart.objects.latest("pk").said == "The pool was archived."


def test_no_more_promises_are_broken_than_were_agreed_to(story: Story) -> None:
    gold = tier_make("guaranteed")
    promise(story.pool, tenant_make("alice"), gold, slots(30))
    for second in (3, 4):
        binding_reconcile(story.pool.pk, later(second))
    assert unkept_without(story.pool) == 0
    story.start()
    late = promise(story.pool, tenant_make("late"), gold, slots(10))
    for second in (3, 4):
        binding_reconcile(story.pool.pk, later(second))
    late.refresh_from_db()
    assert late.state in ("bound", "draining")
    story.passes(3)
    assert story.names(DRAINING) == []
    assert "without it 1 reserved promise could not be kept, and 0 were agreed to" in story.rolling.said
    rolling_cancel(actor=OLGA, now=later(9), pool_id=story.pool.pk, rolling_id=story.rolling.pk)
    assert story.start().accepted == 1
    story.passes(1)
    assert story.names(DRAINING) == ["chat-8b-1"]


def test_a_start_whose_preview_has_moved_is_refused(story: Story) -> None:
    token = pool_token_make(story.pool.pk, "rolling", None)
    replica_ready(story.pool, 9)
    with pytest.raises(DomainError, match="moved after the preview") as refused:
        story.start(preview_token=token)
    assert refused.value.status == 412 and not RollingRestart.objects.exists()
    assert story.start(preview_token=pool_token_make(story.pool.pk, "rolling", None)).total == 4
