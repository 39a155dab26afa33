"""A tier's terms in force, brought to the counters of its pools and the documents of its tenants' keys.

A tier with few entitlements is spread as soon as its change is committed. One that lives in very many is left to the
reconciler, so that nobody waits for it; so is whatever could not be reached or was interrupted.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial

from django.db import connection, transaction
from django.db.models import F, Q

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool, Tier, TierVersion
from pools.services.configuring import KEPT_AFTER_END, entitlement_config, terms_key
from pools.services.documents import keys_publish
from pools.services.store import counters, hot

SPREAD_LOCK = 0x746F6B73  # advisory lock: older terms never overtake newer ones on their way to the pools
MOST_AT_ONCE = 2500
"""Entitlements that are spread while somebody waits."""
IN_DOCUMENTS = ("default_max_tokens", "largest_max_tokens", "hold_ms", "fail_mode")
"""Terms that gateways read from the documents of keys; the others live in the counters."""


def tier_spread_soon(tier_id: int, now: datetime) -> None:
    """After the commit: at once, or by the next run of :func:`tiers_spread`. An error leaves it to that run, too."""

    def spread() -> None:
        if Entitlement.objects.filter(tier_id=tier_id)[: MOST_AT_ONCE + 1].count() <= MOST_AT_ONCE:
            tier_spread(tier_id, now)

    transaction.on_commit(partial(spread), robust=True)


def tiers_spread(now: datetime) -> int:
    """Spreads every tier whose terms in force have not reached all of its pools; returns how many. Safe at any time."""
    behind = Tier.objects.filter(archived_at__isnull=True, current__isnull=False)
    behind = behind.filter(Q(spread__isnull=True) | ~Q(spread=F("current")))
    waiting = list(behind.order_by("pk").values_list("pk", flat=True))
    for tier_id in waiting:
        tier_spread(tier_id, now)
    return len(waiting)


@transaction.atomic
def tier_spread(tier_id: int, now: datetime) -> bool:
    """Writes a tier's terms to every pool it lives in. Errors of the store pass through; it may be done again.

    False: somebody else does so right now, with these terms or older ones, and the next run looks again.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [SPREAD_LOCK, tier_id])
        row = cursor.fetchone()
    if row is None or not row[0]:
        return False
    _spread(tier_id, now)
    return True


def _spread(tier_id: int, now: datetime) -> None:
    tier = Tier.objects.select_related("current", "spread").get(pk=tier_id)
    current, before = tier.current, tier.spread
    if current is None:
        return
    rows = Entitlement.objects.filter(tier=tier, pool__archived_at__isnull=True).filter(
        ~Q(state=EntitlementState.EXPIRED.value) | Q(state_since__gt=now - KEPT_AFTER_END)
    )
    by_pool: dict[int, list[Entitlement]] = defaultdict(list)
    tenant_ids: set[int] = set()
    for row in rows.order_by("pk"):
        row.tier = tier
        by_pool[row.pool_id].append(row)
        tenant_ids.add(row.tenant_id)
    pools = Pool.objects.filter(pk__in=by_pool, current_profile__isnull=False).select_related("current_profile")
    for pool in pools.order_by("pk"):
        configs = [entitlement_config(row, pool, False) for row in by_pool[pool.pk]]
        counters().configure_entitlements(pool.pk, configs)
        hot().incr(terms_key(pool.pk))
    if before is None or _differ(before, current):
        keys_publish(tenant_ids, now)
    Tier.objects.filter(pk=tier.pk, current=current).update(spread=current)


def _differ(one: TierVersion, other: TierVersion) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in IN_DOCUMENTS)
