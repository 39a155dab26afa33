"""All entitlements of one tenant moved at once: locked together, written together, told to the counters row by row.

A tenant may hold hundreds in as many pools. One by one that is seconds in which its requests are still let in; together
it is a handful of statements, and the counters hear of this tenant's terms only, not of every pool as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import QuerySet

from pools.choices import EntitlementState
from pools.mechanism.lease import Verdict
from pools.mechanism.windows import fit_within
from pools.models import Entitlement, Pool
from pools.services.amounts import CLASS_CODES, base_of
from pools.services.configuring import entitlement_config, terms_key
from pools.services.entitlements import state_apply
from pools.services.spans import span_promised, spans_of, window_of
from pools.services.store import counters, hot
from pools.services.supply import supplies_of
from portal.audit.services import Actor, audit_record

SAME = ("state", "state_reason", "state_since", "suspended_with_tenant")
WRITTEN = {
    EntitlementState.SUSPENDED: (*SAME, "suspended_at"),
    EntitlementState.PENDING: SAME,
    EntitlementState.EXPIRED: (*SAME, "valid_until"),
}
"""What ``state_apply`` changes for each of the states a tenant's entitlements are moved to."""
Stayed = tuple[str, str]


def entitlements_locked(rows: QuerySet[Entitlement]) -> list[Entitlement]:
    """The rows, locked; their pools first, in the order of their ids, as every deed on an entitlement does."""
    pool_ids = set(rows.values_list("pool_id", flat=True))
    list(Pool.objects.select_for_update(no_key=True).filter(pk__in=pool_ids).order_by("pk").values_list("pk"))
    locked = rows.filter(pool_id__in=pool_ids).select_for_update(of=("self",), no_key=True)
    return list(locked.select_related("tier__current", "pool__current_profile", "tenant").order_by("pool_id", "pk"))


def entitlements_move(
    actor: Actor, now: datetime, rows: Sequence[Entitlement], state: EntitlementState, reason: str, verb: str
) -> None:
    """Moves locked rows to a state, with an audit record each. What is written is the same in all of them, so it is one
    statement (two where windows end: a window that has not begun keeps its end open)."""
    for row in rows:
        before = row.state
        state_apply(row, state, reason, now)
        audit_record(
            actor=actor,
            verb=verb,
            target=row,
            before={"state": before},
            after={"state": state.value},
            reason=reason,
            now=now,
            tenant=row.tenant,
        )
    groups: defaultdict[bool, list[Entitlement]] = defaultdict(list)
    for row in rows:
        groups[state is EntitlementState.EXPIRED and row.valid_until is None].append(row)
    for same in groups.values():
        written = {name: getattr(same[0], name) for name in WRITTEN[state]}
        Entitlement.objects.filter(pk__in=[row.pk for row in same]).update(**written)


def entitlements_that_fit(rows: Iterable[Entitlement], now: datetime) -> tuple[list[Entitlement], list[Stayed]]:
    """Which of the locked, suspended rows could be promised again, one after the other; the others with the reason.

    Three queries, whatever their number.
    """
    found = list(rows)
    pools = {row.pool_id: row.pool for row in found}
    asked = max((row.valid_from for row in found), default=now)
    supplies, spans = supplies_of(pools.values()), spans_of(pools, now, asked=max(asked, now))
    good: list[Entitlement] = []
    stayed: list[Stayed] = []
    for row in found:
        code, over = CLASS_CODES[row.tier.service_class], row.pool.oversubscription
        others, supply = spans[row.pool_id], supplies[row.pool_id]
        answer = fit_within(base_of(row), code, others, supply, over, window_of(row, now))
        if answer.verdict is Verdict.NEVER:
            stayed.append((row.slug, f"{row.pool.name} cannot promise this. {answer.sentence}"))
            continue
        good.append(row)
        if (span := span_promised(row, now)) is not None:
            others.append(span)
    return good, stayed


def entitlements_publish(rows: Iterable[Entitlement]) -> None:
    """Tells the counters these entitlements' terms; the next tick reads their pools anew. Errors of the store pass."""
    by_pool: defaultdict[int, list[Entitlement]] = defaultdict(list)
    for row in rows:
        if row.tier.current is not None and row.pool.current_profile is not None:
            by_pool[row.pool_id].append(row)
    for pool_id, mine in by_pool.items():
        counters().configure_entitlements(pool_id, [entitlement_config(row, row.pool, False) for row in mine])
        hot().incr(terms_key(pool_id))
