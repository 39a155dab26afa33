"""What a preview was computed from, as one fingerprint, and the signed token that carries it to the save.

The fingerprint covers what an operator decides on: versions in force, entitlements and their states, capacity profiles,
ready replicas and their bounds. It leaves out the second-by-second counters, which move all the time.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db import connection
from django.db.models import Count

from pools.choices import EndpointState, EntitlementState
from pools.models import Endpoint, Entitlement, Pool
from pools.services.tier_terms import TierTerms
from portal.lib.errors import DomainError

MOST_POOLS = 12
"""A preview computes the pools where most entitlements of the tier live; the page says when there are more."""
SALT = "pools.tier-preview"
TOKEN_LASTS_S = 3600
POOL_FACTS = (
    "pk",
    "current_profile_id",
    "min_replicas",
    "max_replicas",
    "manual_replicas",
    "oversubscription",
    "elastic_share",
    "spot_share",
    "fill",
    "weight_input",
    "weight_output",
    "alpha_slo",
    "alpha_burst",
    "alpha_debt",
    "accelerators_per_replica",
)
ENTITLEMENT_FACTS = """
SELECT e.pool_id,
       md5(string_agg(concat_ws(':', e.id, e.revision, e.state, e.tier_id, t.current_id), ',' ORDER BY e.id))
FROM pools_entitlement e JOIN pools_tier t ON t.id = e.tier_id
WHERE e.pool_id = ANY(%s) AND e.state <> %s GROUP BY e.pool_id ORDER BY e.pool_id
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a tier lives: the pools a preview computes, how many there are, how many entitlements in all."""

    pool_ids: tuple[int, ...]
    pools: int
    entitlements: int


def reach_of(tier_id: int) -> Reach:
    """The pools of a tier, those with most of its entitlements first. One query."""
    rows = list(
        Entitlement.objects.filter(tier_id=tier_id, pool__archived_at__isnull=True)
        .exclude(state=EntitlementState.EXPIRED.value)
        .values("pool_id")
        .annotate(held=Count("pk"))
        .order_by("-held", "pool_id")
        .values_list("pool_id", "held")
    )
    chosen = sorted(pool_id for pool_id, _ in rows[:MOST_POOLS])
    return Reach(tuple(chosen), len(rows), sum(held for _, held in rows))


def fingerprint_of(tier_id: int, current_id: int | None, reach: Reach) -> str:
    """Hex digest of everything a preview of these pools depends on, counters left out. Three queries."""
    pool_ids = list(reach.pool_ids)
    endpoints = Endpoint.objects.filter(pool_id__in=pool_ids, state=EndpointState.READY.value)
    with connection.cursor() as cursor:
        cursor.execute(ENTITLEMENT_FACTS, [pool_ids, EntitlementState.EXPIRED.value])
        entitlements = cursor.fetchall()
    facts: list[Any] = [
        [tier_id, current_id, reach.pools, reach.entitlements],
        list(Pool.objects.filter(pk__in=pool_ids).order_by("pk").values_list(*POOL_FACTS)),
        list(endpoints.order_by("pk").values_list("pk", "profile_id")),
        entitlements,
    ]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def token_make(tier_id: int, fingerprint: str, terms: TierTerms) -> str:
    """The signed token of a preview of these terms on that state."""
    return signing.dumps({"tier": tier_id, "state": fingerprint, "terms": _digest(terms)}, salt=SALT)


def token_check(token: str, tier_id: int, current_id: int | None, terms: TierTerms) -> None:
    """Whether a save was previewed as things stand now. Raises DomainError ``preview_stale``, ``preview_missing``."""
    try:
        seen = signing.loads(token, salt=SALT, max_age=TOKEN_LASTS_S)
    except signing.BadSignature:
        raise DomainError(
            "preview_missing",
            "Nothing was saved: these terms were not previewed, or the preview is over an hour old. "
            "Look at the fresh preview, then save again.",
            status=409,
        ) from None
    if seen.get("tier") != tier_id or seen.get("terms") != _digest(terms):
        raise DomainError(
            "preview_missing",
            "Nothing was saved: the terms were changed after the preview was made. "
            "Look at the fresh preview, then save again.",
            status=409,
        )
    if seen.get("state") != fingerprint_of(tier_id, current_id, reach_of(tier_id)):
        raise DomainError(
            "preview_stale",
            "Nothing was saved: entitlements, replicas or versions moved after the preview was made. "
            "Look at the fresh preview, then save again.",
            status=409,
        )


def _digest(terms: TierTerms) -> str:
    return hashlib.sha256(json.dumps(terms.canonical(), sort_keys=True).encode()).hexdigest()
