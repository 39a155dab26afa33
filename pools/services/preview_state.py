"""What a preview was computed from, as one fingerprint, and the signed token that carries it to the save.

The fingerprint covers what an operator decides on: versions in force, entitlements and their states, capacity profiles,
ready replicas and their bounds. It leaves out the second-by-second counters, which move all the time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.db import connection
from django.db.models import Count

from pools.choices import EndpointState, EntitlementState
from pools.models import Endpoint, Entitlement, Pool
from pools.services.ceiling import ceiling_now
from pools.services.tier_terms import TierTerms
from portal.lib.errors import DomainError

MOST_POOLS = 12
"""A preview computes the pools where most entitlements of the tier live; the page says when there are more."""
SALT = "pools.preview"
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
    return _digest([[tier_id, current_id, reach.pools, reach.entitlements], *_pool_facts(reach.pool_ids)])


def pool_fingerprint(pool_id: int) -> str:
    """Hex digest of everything a preview of one pool's change depends on: its settings and replicas wanted, what it
    promised, what is ready, and under a ceiling what all pools take of it. Four queries, counters left out."""
    ceiling = ceiling_now()
    wanted = list(Pool.objects.filter(pk=pool_id).values_list("wanted_replicas", "scaling_mode"))
    return _digest([wanted, ceiling.used if ceiling.limit else 0, *_pool_facts([pool_id])])


def token_make(tier_id: int, fingerprint: str, terms: TierTerms) -> str:
    """The signed token of a preview of these terms on that state."""
    return _sign(f"tier:{tier_id}", fingerprint, terms.canonical())


def token_check(token: str, tier_id: int, current_id: int | None, terms: TierTerms) -> None:
    """Whether a save was previewed as things stand now. Raises DomainError ``preview_stale``, ``preview_missing``."""
    fingerprint = fingerprint_of(tier_id, current_id, reach_of(tier_id))
    _check(token, f"tier:{tier_id}", fingerprint, terms.canonical(), "these terms were", 409)


def pool_token_make(pool_id: int, deed: str, given: Any) -> str:
    """The signed token of a preview of a deed on a pool (its name, what was typed) as things stand now: ask for it
    before the preview is computed."""
    return _sign(f"{deed}:{pool_id}", pool_fingerprint(pool_id), given)


def pool_token_check(token: str | None, pool_id: int, deed: str, given: Any) -> None:
    """Whether a save was previewed with what it says and as things stand now; nothing to check for None, a deed that is
    not a form's. Call it under the pool's lock, before anything is written.

    Raises DomainError ``preview_stale``, ``preview_missing``, both 412.
    """
    if token is not None:
        _check(token, f"{deed}:{pool_id}", pool_fingerprint(pool_id), given, "this was", 412)


def _pool_facts(pool_ids: Sequence[int]) -> list[Any]:
    """What is decided on in these pools: their settings, ready replicas, entitlements with their states and terms."""
    ids = list(pool_ids)
    endpoints = Endpoint.objects.filter(pool_id__in=ids, state=EndpointState.READY.value)
    with connection.cursor() as cursor:
        cursor.execute(ENTITLEMENT_FACTS, [ids, EntitlementState.EXPIRED.value])
        entitlements = cursor.fetchall()
    return [
        list(Pool.objects.filter(pk__in=ids).order_by("pk").values_list(*POOL_FACTS)),
        list(endpoints.order_by("pk").values_list("pk", "profile_id")),
        entitlements,
    ]


def _sign(what: str, fingerprint: str, given: Any) -> str:
    return signing.dumps({"what": what, "state": fingerprint, "given": _digest(given)}, salt=SALT)


def _check(token: str, what: str, fingerprint: str, given: Any, named: str, status: int) -> None:
    try:
        seen = signing.loads(token, salt=SALT, max_age=TOKEN_LASTS_S)
    except signing.BadSignature:
        raise _refused(
            "preview_missing", f"{named} not previewed, or the preview is over an hour old", status
        ) from None
    if seen.get("what") != what or seen.get("given") != _digest(given):
        typed = "the terms were" if what.startswith("tier:") else "the form was"
        raise _refused("preview_missing", f"{typed} changed after the preview was made", status)
    if seen.get("state") != fingerprint:
        of_tier = what.startswith("tier:")
        parts = "entitlements, replicas or versions" if of_tier else "promises, replicas or the ceiling"
        moved = f"{parts} moved after the preview was made"
        raise _refused("preview_stale", moved, status)


def _refused(code: str, why: str, status: int) -> DomainError:
    return DomainError(code, f"Nothing was saved: {why}. Look at the fresh preview, then save again.", status=status)


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()
