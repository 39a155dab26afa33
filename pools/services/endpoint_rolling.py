"""Restarting every endpoint of a pool, one after the other: the next begins only when the pool is whole again.

The wish is a row; the endpoint reconciler drives it, one look at each pass, so a worker that dies leaves nothing half
done. Only one endpoint is ever away by it. It waits while a replica that is wanted is missing for any reason, and while
more promises could not be kept than whoever started it saw; it halts when replacements do not come up.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from pools.choices import EndpointDeed, EndpointState
from pools.models import Endpoint, Pool, RollingRestart
from pools.models.rolling import RollingState
from pools.services.amounts import replica_of
from pools.services.endpoint_deeds import endpoint_ask
from pools.services.endpoint_rows import ALIVE
from pools.services.pool_rows import pool_locked
from pools.services.preview_state import pool_token_check
from pools.services.promises import degraded_by
from pools.services.supply import capacity_less, ready_rates
from portal.audit.models import Source
from portal.audit.services import SYSTEM, Actor, audit_record, recorded
from portal.lib.errors import DomainError

log = logging.getLogger(__name__)
State = EndpointState
GONE = (State.STOPPED.value, State.FAILED.value)
MOST_FAILURES = 3
"""So many starts in a row that fail halt it."""
LONGEST_ABSENCE = timedelta(minutes=30)
"""A replacement that is not ready so long after the old one stopped halts it."""


@recorded()
def rolling_start(
    *, actor: Actor, now: datetime, pool_id: int, reason: str = "", preview_token: str | None = None
) -> RollingRestart:
    """Writes the wish for all endpoints that are ready now, in the order of their places.

    ``preview_token``: refuse unless what it means was seen as things stand now. Raises DomainError ``not_found``,
    ``nothing_runs``, ``rolling_already``, ``preview_stale``, ``preview_missing``.
    """
    pool = pool_locked(pool_id)
    ready = Endpoint.objects.filter(pool=pool, state=State.READY.value).order_by("ordinal", "pk")
    ids = list(ready.values_list("pk", flat=True))
    if not ids:
        sentence = f"No endpoint of {pool.name} is ready, so there is none to restart."
        raise DomainError("nothing_runs", sentence, status=409)
    pool_token_check(preview_token, pool_id, "rolling", None)
    try:
        with transaction.atomic():
            made = RollingRestart.objects.create(
                pool=pool,
                endpoints=ids,
                accepted=unkept_without(pool),
                actor=actor.user,
                reason=reason.strip()[:300],
                said="It begins within seconds.",
                created_at=now,
                looked_at=now,
            )
    except IntegrityError:
        sentence = f"A rolling restart of {pool.name} runs already; cancel its rest first."
        raise DomainError("rolling_already", sentence, status=409) from None
    _record(actor, now, "pool_rolling_start", made, {"endpoints": len(ids)}, made.reason)
    return made


@recorded()
def rolling_cancel(*, actor: Actor, now: datetime, pool_id: int, rolling_id: int) -> RollingRestart:
    """Leaves the endpoints alone that did not have their turn yet; the one that is away finishes its restart.

    Raises DomainError ``not_found``, ``ended``.
    """
    rows = RollingRestart.objects.select_for_update(of=("self",), no_key=True).select_related("pool", "current")
    found = rows.filter(pk=rolling_id, pool_id=pool_id).first()
    if found is None:
        raise DomainError("not_found", f"There is no rolling restart #{rolling_id} of this pool.", status=404)
    if found.state != RollingState.RUNNING:
        sentence = f"Rolling restart #{found.pk} is {found.get_state_display().lower()} already."
        raise DomainError("ended", sentence, status=409)
    left = found.total - found.position - (found.current is not None)
    begun = f"{found.current} still finishes its restart" if found.current is not None else "No endpoint is away by it"
    _end(found, RollingState.CANCELLED, f"{begun}; {left} of {found.total} were left alone.", now, actor)
    return found


def unkept_without(pool: Pool) -> int:
    """Reserved promises that could not be kept while the largest ready endpoint is away."""
    rates = ready_rates(pool.pk)
    lost = [len(degraded_by(pool.pk, capacity_less(rates, rate))) for rate in set(rates)]
    return max(lost, default=0)


def rolling_step(pool_id: int, now: datetime) -> None:
    """One look: begin with the next endpoint, see how far the present one is, or end. The caller holds the pool's
    endpoint lock; a second caller finds the row locked and waits. One query where nothing runs."""
    if not RollingRestart.objects.filter(pool_id=pool_id, state=RollingState.RUNNING).exists():
        return
    try:
        with recorded():
            rows = RollingRestart.objects.select_for_update(of=("self",), no_key=True)
            found = rows.select_related("pool", "current", "actor").filter(pool_id=pool_id, state=RollingState.RUNNING)
            if (rolling := found.first()) is not None:
                _Look(rolling, now).run()
    except DomainError as error:  # somebody was faster with a deed of their own; the next pass sees it
        log.info("rolling restart in pool %s waits: %s", pool_id, error)


class _Look:
    """One look at a rolling restart, under the lock of its row."""

    def __init__(self, rolling: RollingRestart, now: datetime) -> None:
        self.rolling, self.pool, self.now = rolling, rolling.pool, now
        self.alive = list(Endpoint.objects.filter(pool=self.pool, state__in=ALIVE).select_related("profile"))

    def run(self) -> None:
        """1 the one that is away; 2 the next one; 3 the end."""
        rolling = self.rolling
        if self.pool.archived_at is not None:
            return _end(rolling, RollingState.CANCELLED, "The pool was archived.", self.now, SYSTEM)
        said = self._away(rolling.current) if rolling.current is not None else ""
        if rolling.state != RollingState.RUNNING:
            return None
        if not said:
            said = self._next()
        if not said:
            over = f", {rolling.passed_over} went another way" if rolling.passed_over else ""
            text = f"{rolling.restarted} of {rolling.total} were restarted{over}."
            return _end(rolling, RollingState.DONE, text, self.now, SYSTEM)
        rolling.said, rolling.looked_at = said[:500], self.now
        rolling.save(update_fields=["said", "looked_at", "position", "passed_over", "current"])
        return None

    def _away(self, row: Endpoint) -> str:
        """What the endpoint that is away waits for; "" once its place is taken again."""
        if row.state == State.DRAINING:
            return f"{row.name} takes no new request; {row.running} running and {row.waiting} waiting there end first."
        if row.state not in GONE:  # somebody took its restart back
            self._behind(passed_over=True)
            return ""
        newer = [one for one in self.alive if one.pk > row.pk and one.ordinal == row.ordinal]
        if any(one.state == State.READY for one in newer) or self._missing() <= 0:
            self._behind()
            return ""
        failed = Endpoint.objects.filter(
            pool=self.pool, state=State.FAILED.value, pk__gt=row.pk, state_since__gte=row.state_since
        ).order_by("-state_since")[:MOST_FAILURES]
        if len(failed) >= MOST_FAILURES:
            self._halt(f"{len(failed)} starts in place of {row.name} failed, the last: {failed[0].state_reason}")
        elif self.now - row.state_since > LONGEST_ABSENCE:
            self._halt(f"Nothing in place of {row.name} was ready after {LONGEST_ABSENCE.seconds // 60} minutes.")
        starting = next((f"; {one.name} is {one.state} in its place" for one in newer), "; another starts in its place")
        return f"{row.name} has stopped{starting}."

    def _next(self) -> str:
        """Begins with the next one, or says what it waits for; "" when none is left."""
        ready = {row.pk: row for row in self.alive if row.state == State.READY}
        while self.rolling.position < self.rolling.total:
            row = ready.get(self.rolling.endpoints[self.rolling.position])
            if row is None:
                self._behind(passed_over=True)
                continue
            if waits := self._waits(row):
                return waits
            actor = Actor(self.rolling.actor, Source.TASK)
            reason = f"Rolling restart #{self.rolling.pk}. {self.rolling.reason}".strip()
            endpoint_ask(actor=actor, now=self.now, endpoint_id=row.pk, deed=EndpointDeed.RESTART, reason=reason)
            self.rolling.current = row
            return f"{row.name} takes no new request; {row.running} running and {row.waiting} waiting there end first."
        return ""

    def _waits(self, row: Endpoint) -> str:
        """Why the next one may not go yet: a replica is missing, or a promise would be that nobody agreed to break."""
        if (missing := self._missing()) > 0:
            return f"{row.name} is next once the pool is whole: {missing} of {self.pool.wanted_replicas} are not ready."
        rates = [replica_of(one.profile) for one in self.alive if one.state == State.READY and one.profile is not None]
        unkept = len(degraded_by(self.pool.pk, capacity_less(rates, replica_of(row.profile))))
        if unkept > self.rolling.accepted:
            promises = f"{unkept} reserved promise{'s' if unkept > 1 else ''}"
            return (
                f"{row.name} is next, but without it {promises} could not be kept, and {self.rolling.accepted} were "
                "agreed to. It goes on once there is room; or cancel it and start anew."
            )
        return ""

    def _missing(self) -> int:
        return self.pool.wanted_replicas - sum(row.state == State.READY for row in self.alive)

    def _behind(self, *, passed_over: bool = False) -> None:
        self.rolling.position += 1
        self.rolling.passed_over += passed_over
        self.rolling.current = None

    def _halt(self, why: str) -> None:
        left = self.rolling.total - self.rolling.position - 1
        _end(
            self.rolling,
            RollingState.HALTED,
            f"{why} {left} of {self.rolling.total} were left alone.",
            self.now,
            SYSTEM,
        )


def _end(rolling: RollingRestart, state: RollingState, said: str, now: datetime, actor: Actor) -> None:
    rolling.state, rolling.said, rolling.ended_at, rolling.looked_at = state, said[:500], now, now
    rolling.save(update_fields=["state", "said", "ended_at", "looked_at", "position", "passed_over", "current"])
    after = {"state": state.value, "restarted": rolling.restarted, "of": rolling.total}
    _record(actor, now, "pool_rolling_cancel" if actor is not SYSTEM else "pool_rolling_end", rolling, after, said)


def _record(
    actor: Actor, now: datetime, verb: str, rolling: RollingRestart, after: dict[str, object], reason: str
) -> None:
    known = {"rolling_restart": rolling.pk, **after}
    audit_record(actor=actor, verb=verb, target=rolling.pool, before={}, after=known, reason=reason, now=now)
