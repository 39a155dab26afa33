"""The endpoint reconciler: as many replicas as are wanted, each started, watched, drained and stopped.

pending → starting → ready → draining → stopped; failed from any of them, started again with growing pauses. A draining
endpoint's capacity leaves the pool at once, its last stream ends, then it stops. What operators ask of single endpoints
(``endpoint_deeds``) is carried out here; the endpoints of an archived pool, which wants none, drain here too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from pools.choices import EndpointDeed, EndpointState
from pools.models import CapacityProfile, Endpoint, Pool
from pools.providers.base import Provider
from pools.providers.metrics import Scrape, scrape_all
from pools.services.configuring import counters_configure
from pools.services.endpoint_rolling import rolling_step
from pools.services.endpoint_rows import ALIVE, SUPPLY, endpoint_set
from pools.services.providing import provider_of, spec_of
from pools.services.routes import route_publish
from pools.services.tick_show import board_write, boards
from portal.audit.services import SYSTEM, audit_record, recorded
from portal.lib.errors import DomainError

log = logging.getLogger(__name__)
State = EndpointState
LONGEST_START = timedelta(minutes=15)
LONGEST_DRAIN = timedelta(minutes=30)
LOST_AFTER = 15
"""Missed scrapes (about 30 s) after which a ready endpoint counts as failed."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
FAILURES_COUNT_FOR = timedelta(minutes=15)
SCRAPE_S = 1.5


@dataclass(frozen=True, slots=True)
class EndpointPass:
    """What one pass did: endpoints by state after it, and how many changed state."""

    ready: int
    pending: int
    draining: int
    changed: int


def endpoints_scrape(pool_ids: Sequence[int], now: datetime) -> dict[str, Scrape]:
    """One scrape of every living endpoint of the pools, all at once; by URL."""
    urls = Endpoint.objects.filter(pool_id__in=pool_ids, state__in=ALIVE).exclude(url="").values_list("url", flat=True)
    return scrape_all(list(urls), now, SCRAPE_S)


def pools_retiring(shard: int) -> list[int]:
    """Archived pools of a shard whose endpoints still run."""
    rows = Endpoint.objects.filter(state__in=ALIVE, pool__archived_at__isnull=False)
    found = rows.values_list("pool_id", flat=True).distinct().order_by("pool_id")
    return [pool_id for pool_id in found if pool_id % settings.TICK_SHARDS == shard]


def endpoints_reconcile(pool_id: int, now: datetime, scrapes: Mapping[str, Scrape] | None = None) -> EndpointPass:
    """One pass over one pool. The caller holds the pool's lock: two passes at once would start too many.

    ``scrapes`` are fresh ones of :func:`endpoints_scrape`; without them the pool is scraped here.
    """
    rolling_step(pool_id, now)
    pool = Pool.objects.select_related("current_profile").filter(pk=pool_id).first()
    profile = pool.current_profile if pool is not None else None
    if pool is None or profile is None:
        return EndpointPass(0, 0, 0, 0)
    return _Pass(pool, profile, now).run(endpoints_scrape([pool_id], now) if scrapes is None else scrapes)


class _Pass:
    """Numbered steps over one pool's endpoints; each change of state is committed by itself."""

    def __init__(self, pool: Pool, profile: CapacityProfile, now: datetime) -> None:
        self.pool, self.profile, self.now = pool, profile, now
        self.provider: Provider = provider_of(pool)
        self.rows = list(
            Endpoint.objects.filter(pool=pool, state__in=ALIVE).select_related("profile").order_by("ordinal", "pk")
        )
        self.changed = 0
        self.capacity_moved = False

    def run(self, seen: Mapping[str, Scrape]) -> EndpointPass:
        """1 look at what runs; 2 move what changed; 3 drain what is too much; 4 start what is missing; 5 publish."""
        for row in self.rows:
            self._guarded(row, seen.get(row.url))
        self._surplus()
        self._missing()
        count = {state: sum(row.state == state for row in self.rows) for state in ALIVE}
        pending = count[State.PENDING.value] + count[State.STARTING.value]
        ready, draining = count[State.READY.value], count[State.DRAINING.value]
        # An operator's deed moves capacity outside of a pass; what could not be published then is told now.
        if self.capacity_moved or boards([self.pool.pk])[0].ready != ready:
            counters_configure(self.pool.pk, self.now)
        route_publish(self.pool.pk, self.now)
        waiting = sum(row.waiting for row in self.rows if row.state in (State.READY.value, State.DRAINING.value))
        board = {"ready": ready, "pending": pending, "draining": draining, "waiting": waiting}
        board_write(self.pool.pk, **board, wanted=self.pool.wanted_replicas)
        return EndpointPass(ready, pending, draining, self.changed)

    def _guarded(self, row: Endpoint, scrape: Scrape | None) -> None:
        try:
            self._look(row, scrape)
        except DomainError as error:
            if row.state in (State.PENDING.value, State.STARTING.value):
                self._move(row, State.FAILED, error.sentence)
            else:
                log.warning("endpoint %s: %s", row.name, error)

    def _look(self, row: Endpoint, scrape: Scrape | None) -> None:
        if scrape is not None:
            self._measure(row, scrape)
        if row.state == State.PENDING:
            self._start(row)
        elif row.state == State.STARTING:
            self._starting(row)
        elif row.state == State.READY:
            self._ready(row)
        elif row.state == State.DRAINING:
            self._draining(row, scrape)

    def _start(self, row: Endpoint) -> None:
        row.provider_ref = self.provider.start(spec_of(self.pool, row.profile or self.profile, row.name, row.ordinal))
        self._move(row, State.STARTING, "It was started and is not ready yet.", "provider_ref")

    def _starting(self, row: Endpoint) -> None:
        probe = self.provider.probe(row.provider_ref)
        if probe.state is State.READY:
            row.url, row.ready_at, row.missed_scrapes = probe.url, self.now, 0
            self._move(row, State.READY, "Ready.", "url", "ready_at", "missed_scrapes")
        elif probe.state in (State.FAILED, State.STOPPED):
            self._move(row, State.FAILED, probe.detail or "It ended before it was ready.")
            self.provider.stop(row.provider_ref)
        elif self.now - row.state_since > LONGEST_START:
            self._move(row, State.FAILED, f"It was not ready after {LONGEST_START}.")
            self.provider.stop(row.provider_ref)

    def _ready(self, row: Endpoint) -> None:
        if row.missed_scrapes == 0:
            return
        probe = self.provider.probe(row.provider_ref)
        if probe.state is State.STOPPED:  # by whoever stopped everything, or took the pod away: nothing failed
            row.stopped_at = self.now
            self._move(row, State.STOPPED, f"It was taken away. {probe.detail}".strip(), "stopped_at")
            self.provider.stop(row.provider_ref)
        elif probe.state is State.FAILED or row.missed_scrapes > LOST_AFTER:
            self._move(row, State.FAILED, probe.detail or f"It did not answer {row.missed_scrapes} times in a row.")
            self.provider.stop(row.provider_ref)

    def _draining(self, row: Endpoint, scrape: Scrape | None) -> None:
        idle = scrape is not None and scrape.metrics is not None and not (row.running or row.waiting)
        idle |= row.asked == EndpointDeed.STOP.value
        settled = self.now - row.state_since >= timedelta(seconds=2)  # gateways learn of it within a second
        gone = (
            self.provider.probe(row.provider_ref).state in (State.FAILED, State.STOPPED)
            if row.missed_scrapes
            else False
        )
        if (idle and settled) or gone or not row.url or self.now - row.state_since > LONGEST_DRAIN:
            if row.provider_ref:
                self._end(row)
            row.stopped_at = self.now
            said = "Stopped." if row.asked == EndpointDeed.STOP.value else "Drained and stopped."
            self._move(row, State.STOPPED, said, "stopped_at")

    def _end(self, row: Endpoint) -> None:
        """Takes the replica away; where its place cannot go (Kubernetes removes the highest first), it is emptied."""
        if row.asked == EndpointDeed.RESTART.value:
            self.provider.replace(row.provider_ref)
            return
        try:
            self.provider.stop(row.provider_ref)
        except DomainError as error:
            if error.code != "not_last" or not row.asked:
                raise
            self.provider.replace(row.provider_ref)

    def _measure(self, row: Endpoint, scrape: Scrape) -> None:
        metrics = scrape.metrics
        if metrics is None:
            row.missed_scrapes += 1
            row.save(update_fields=["missed_scrapes"])
            return
        total = metrics.generation_tokens_total + metrics.prompt_tokens_total
        if row.scraped_at is not None and self.now > row.scraped_at and total >= row.generation_tokens_total:
            seconds = (self.now - row.scraped_at).total_seconds()
            row.tokens_per_second = round((total - row.generation_tokens_total) / seconds, 2)
        row.generation_tokens_total = total
        row.running, row.waiting, row.kv_usage = metrics.running, metrics.waiting, metrics.kv_usage
        row.scraped_at, row.missed_scrapes = self.now, 0
        row.save(update_fields=list(MEASURED))

    def _surplus(self) -> None:
        supply = [row for row in self.rows if row.state in SUPPLY]
        excess = len(supply) - self.pool.wanted_replicas
        if excess <= 0:
            return
        unready = [row for row in supply if row.state != State.READY]
        ready = [row for row in supply if row.state == State.READY]
        by_ordinal = sorted(unready, key=lambda row: -row.ordinal) + sorted(ready, key=lambda row: -row.ordinal)
        wanted = self.pool.wanted_replicas
        said = "1 replica is wanted." if wanted == 1 else f"{wanted} replicas are wanted."
        for row in by_ordinal[:excess]:
            self._move(row, State.DRAINING, said)

    def _missing(self) -> None:
        lacking = self.pool.wanted_replicas - sum(row.state in SUPPLY or self._waits(row) for row in self.rows)
        if lacking <= 0 or self.now < self._next_start():
            return
        taken = {row.ordinal for row in self.rows if row.state in ALIVE}
        free = [number for number in range(lacking + len(taken)) if number not in taken][:lacking]
        for ordinal in free:
            row = self._create(ordinal)
            self.rows.append(row)
            self._guarded(row, None)

    def _waits(self, row: Endpoint) -> bool:
        """Whether the next replica waits for this one's place: a restart, or a provider whose places are numbered."""
        asked = row.asked == EndpointDeed.RESTART.value or (bool(row.asked) and self.provider.fixed_places)
        return asked and row.state == State.DRAINING.value

    @recorded()
    def _create(self, ordinal: int) -> Endpoint:
        number = Endpoint.objects.filter(pool=self.pool).count() + 1
        row = Endpoint.objects.create(
            pool=self.pool,
            name=f"{self.pool.slug}-{number}".lower().replace("_", "-"),
            ordinal=ordinal,
            profile=self.profile,
            created_at=self.now,
            state_since=self.now,
            state_reason="Wanted.",
        )
        after = {"state": State.PENDING.value, "profile": self.profile.version}
        audit_record(
            actor=SYSTEM, verb="endpoint_create", target=row, before={}, after=after, reason="wanted", now=self.now
        )
        self.changed += 1
        return row

    def _next_start(self) -> datetime:
        """When the next start is allowed: after n failures in the last minutes, 5 s x 2^(n-1) after the last one."""
        failures = list(
            Endpoint.objects.filter(
                pool=self.pool, state=State.FAILED.value, state_since__gt=self.now - FAILURES_COUNT_FOR
            )
            .order_by("-state_since")
            .values_list("state_since", flat=True)[:10]
        )
        if not failures:
            return self.now
        pause = min(FIRST_PAUSE_S * 2 ** (len(failures) - 1), LONGEST_PAUSE_S)
        return failures[0] + timedelta(seconds=pause)

    def _move(self, row: Endpoint, state: EndpointState, sentence: str, *fields: str) -> None:
        self.changed += 1
        self.capacity_moved |= State.READY.value in (row.state, state.value)
        with recorded():
            endpoint_set(row, state, sentence, self.now, SYSTEM, *fields)


MEASURED = (
    "running",
    "waiting",
    "kv_usage",
    "tokens_per_second",
    "generation_tokens_total",
    "scraped_at",
    "missed_scrapes",
)


def orphans_stop(pools: Sequence[Pool]) -> list[str]:
    """Stops processes that no living endpoint owns, for instance after the books were restored from a copy."""
    process = [pool for pool in pools if pool.provider == "process"]
    if not process:
        return []
    provider = provider_of(process[0])
    owned = set(Endpoint.objects.filter(state__in=ALIVE).values_list("name", flat=True))
    orphans = [ref for ref in provider.list() if ref not in owned]
    for ref in orphans:
        provider.stop(ref)
    return orphans
