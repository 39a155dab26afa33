"""What people and the autoscaler did: audit records in one chain, scaling decisions, requests for more, bulk jobs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from pools.models import BulkItem, BulkJob, Entitlement, EntitlementRequest, Pool, SavedView, ScalingDecision, Tier
from pools.models.jobs import ItemState, JobState
from pools.models.requests import RequestState
from pools.services.bulk_actions import shown
from pools.services.entitlements import terms_of
from portal.accounts.models import Tenant, User
from portal.audit.models import AuditRecord, Source
from portal.audit.services import audit_import
from portal.lib.copying import copy_models
from portal.seed.names import REASONS
from portal.seed.products import Place

DECIDED = (RequestState.APPROVED, RequestState.DENIED, RequestState.WITHDRAWN)
VIEWS = (
    ("Ending within 30 days", "expiring=30&sort=until"),
    ("Waiting for capacity", "state=pending"),
    ("Suspended", "state=suspended&sort=-changed"),
    ("Largest promises", "sort=-tokens&cols=tenant,pool,tier,tokens,kv,slots"),
)


def audit_write(
    tenants: Sequence[Tenant],
    tiers: Sequence[Tier],
    places: Sequence[Place],
    rows: Sequence[Entitlement],
    operator: User,
    dice: random.Random,
) -> int:
    """One record for everything that was made, one for each later change; oldest first."""
    found = [
        *(_made("tenant_create", one, one.created_at, {"slug": one.slug}, tenant=one) for one in tenants),
        *(_made("tier_create", one, one.created_at, {"slug": one.slug}) for one in tiers),
        *(_made("pool_create", one.pool, one.pool.created_at, {"slug": one.pool.slug}) for one in places),
        *(record for row in rows for record in _entitlement(row, operator, dice)),
    ]
    found.sort(key=lambda record: record.at)
    return audit_import(found)


def _entitlement(row: Entitlement, operator: User, dice: random.Random) -> Iterator[AuditRecord]:
    terms = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in terms_of(row).items()}
    tenant = row.tenant
    yield _made("entitlement_create", row, row.created_at, terms, tenant=tenant, who=operator)
    for number in range(1, row.revision):
        slots = max(1, row.base_concurrency or row.cap_concurrency or 1)
        before = {**terms, "base_concurrency": slots + number}
        at = row.created_at + timedelta(minutes=30 * number)
        yield _record("entitlement_change", row, at, before, terms, dice.choice(REASONS), tenant, operator)
    if row.state == "suspended":
        reason = "Suspended by an operator."
        before, after = {"state": "bound"}, {"state": "suspended"}
        yield _record("entitlement_suspend", row, row.state_since, before, after, reason, tenant, operator)


def _made(
    verb: str, target: Any, at: datetime, after: dict[str, Any], tenant: Tenant | None = None, who: User | None = None
) -> AuditRecord:
    return _record(verb, target, at, {}, after, "", tenant, who)


def _record(
    verb: str,
    target: Any,
    at: datetime,
    before: dict[str, Any],
    after: dict[str, Any],
    reason: str,
    tenant: Tenant | None,
    who: User | None,
) -> AuditRecord:
    return AuditRecord(
        at=at,
        actor=who,
        actor_label=who.email if who else "seed",
        source=(Source.PAGE if who else Source.COMMAND).value,
        verb=verb,
        object_type=target._meta.label_lower,
        object_id=str(target.pk),
        object_label=str(target)[:254],
        tenant=tenant,
        before=before,
        after=after,
        reason=reason,
    )


def decisions_write(places: Sequence[Place], each: int, dice: random.Random, now: datetime) -> int:
    """A month of scaling decisions for every pool that has replicas, the last one as things stand."""
    return copy_models(
        [decision for place in places if place.pool.max_replicas > 2 for decision in _decisions(place, each, dice, now)]
    )


def _decisions(place: Place, each: int, dice: random.Random, now: datetime) -> Iterator[ScalingDecision]:
    pool, before = place.pool, max(1, place.pool.wanted_replicas)
    for number in range(each, 0, -1):
        chosen = dice.randint(max(1, pool.min_replicas), pool.max_replicas) if number > 1 else pool.wanted_replicas
        need = round(chosen * dice.uniform(0.72, 0.99), 2)
        yield ScalingDecision(
            pool=pool,
            at=now - timedelta(hours=number**1.6 * dice.uniform(0.8, 1.2)),
            ready=before,
            pending=max(0, chosen - before),
            before=before,
            floor=max(1, pool.min_replicas),
            need=need,
            chosen=chosen,
            code="up" if chosen > before else "down" if chosen < before else "hold",
            reason=f"Demand needs {need} replicas of 0.85 use, the promises {pool.min_replicas}.",
            dimension=dice.choice(("tokens", "kv_bytes", "concurrency")),
            inputs={"need": need, "ready": before},
            profile=place.replica,
            applied=pool.scaling_mode == "automatic",
        )
        before = chosen


def requests_write(
    rows: Sequence[Entitlement],
    people: Sequence[User],
    open_ones: int,
    decided: int,
    dice: random.Random,
    now: datetime,
) -> int:
    """Requests for more, of tenants that hold something: some wait, some were decided by the first of ``people``."""
    living = [row for row in rows if row.state == "bound"]
    chosen = dice.sample(living, min(len(living), open_ones + decided))
    seen: set[tuple[int, int]] = set()
    found = []
    for number, row in enumerate(chosen):
        waits = number < open_ones and (row.tenant_id, row.pool_id) not in seen
        seen.add((row.tenant_id, row.pool_id))
        state = RequestState.OPEN if waits else dice.choice(DECIDED)
        at = now - timedelta(hours=dice.uniform(0.2, 40) + (0 if waits else 300))
        times = dice.choice((1.5, 2, 3, 40))
        found.append(
            EntitlementRequest(
                tenant=row.tenant,
                pool=row.pool,
                entitlement=row,
                asked_tokens_per_second=round(max(row.base_tokens_per_second, row.cap_tokens_per_second or 0) * times),
                asked_kv_bytes=round(max(row.base_kv_bytes, row.cap_kv_bytes or 0) * times),
                asked_concurrency=round(max(row.base_concurrency, row.cap_concurrency or 0) * times),
                reason=dice.choice(REASONS),
                created_by=dice.choice(people),
                state=state.value,
                created_at=at,
                decided_by=None if waits else people[0],
                decided_at=None if waits else at + timedelta(hours=3),
                decision_reason="" if waits else "Agreed with the owner of the pool.",
            )
        )  # fmt: skip
    return copy_models(found)


def jobs_write(rows: Sequence[Entitlement], operator: User, now: datetime) -> int:
    """Two bulk jobs that are at their end, with their items."""
    items = 0
    for days, key, parameters in ((9, "scale", {"factor": "1.2"}), (2, "end", {"until": ""})):
        part = rows[items : items + min(200, len(rows) // 4)]
        at = now - timedelta(days=days)
        job = BulkJob.objects.create(
            action=key,
            parameters=parameters,
            selection={"filter": "tier=elastic-gold"},
            actor=operator,
            reason=REASONS[days % len(REASONS)],
            state=JobState.DONE.value,
            total=len(part),
            finished=len(part),
            published=len(part),
            created_at=at,
            started_at=at,
            heartbeat_at=at,
            ended_at=at + timedelta(seconds=20),
        )
        made = [
            BulkItem(
                job=job,
                entitlement=row,
                position=place,
                state=(ItemState.UNCHANGED if key == "end" else ItemState.DONE).value,
                before=_smaller(row) if key == "scale" else shown(row),
                after=shown(row),
            )
            for place, row in enumerate(part, 1)
        ]
        items += copy_models(made)
    return items


def _smaller(row: Entitlement) -> dict[str, Any]:
    """The entitlement as it was before it was scaled by 1.2."""
    return {key: round(value / 1.2) if isinstance(value, int) else value for key, value in shown(row).items()}


def views_write(operator: User) -> int:
    """Saved views of the entitlement grid, shared with everybody."""
    views = [
        SavedView(user=operator, page="entitlements", name=name, query=query, shared=True) for name, query in VIEWS
    ]
    return copy_models(views)


def pools_of(places: Sequence[Place]) -> list[Pool]:
    """The pools alone."""
    return [place.pool for place in places]
