"""Documents the gateways read: one per API key, one route per pool; and the counters' copy of the entitlements' terms.

Postgres is the truth. A deed publishes what it touched as soon as it is committed; :func:`documents_refresh` repairs
what could not be reached then, and builds everything anew when the store lost its data (its epoch is gone).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

import orjson
from django.db.models import Q

from pools.choices import EntitlementState
from pools.counters.keys import POOLS_KEY, REVOKED_CHANNEL, key_document
from pools.models import Entitlement, Pool, Tier
from pools.services.configuring import counters_configure
from pools.services.routes import route_publish
from pools.services.store import counters, hot
from portal.accounts.choices import KeyKind, TenantState
from portal.accounts.models import ApiKey

EPOCH_KEY = "tp:epoch"
KEYS_INDEX = "tp:keys"
"""Digests of every published key, to find documents whose key no longer works."""
BATCH = 500


def pool_publish(pool_id: int, now: datetime, *, keys_of: Iterable[int] | None = None) -> None:
    """Writes a pool's counter terms, its route and the keys of the given tenants (None: of all who are in it)."""
    counters_configure(pool_id, now)
    route_publish(pool_id, now)
    pools_publish()
    if keys_of is None:
        tenants = Entitlement.objects.filter(pool_id=pool_id).exclude(state=EntitlementState.EXPIRED.value)
        keys_of = list(tenants.values_list("tenant_id", flat=True).distinct())
    keys_publish(keys_of, now)


def pools_publish() -> None:
    """Writes the list of pool ids."""
    ids = list(Pool.objects.filter(archived_at__isnull=True).order_by("pk").values_list("pk", flat=True))
    counters().put_document(POOLS_KEY, orjson.dumps(ids))


def key_publish(key_id: int, now: datetime) -> None:
    """Writes the document of one key, or takes it away when the key no longer works."""
    _write(list(_living_keys(now).filter(pk=key_id)), now)


def key_forget(digests: Sequence[str]) -> None:
    """Takes documents away and tells every gateway to drop its cached copy."""
    if not digests:
        return
    pipe = hot().pipeline(transaction=False)
    pipe.delete(*(key_document(digest) for digest in digests))
    pipe.srem(KEYS_INDEX, *digests)
    for digest in digests:
        pipe.publish(REVOKED_CHANNEL, digest)
    pipe.execute()


def keys_publish(tenant_ids: Iterable[int] | None, now: datetime) -> int:
    """Writes the documents of every working key of the tenants (None: all); returns how many."""
    keys = _living_keys(now)
    if tenant_ids is not None:
        keys = keys.filter(tenant_id__in=tenant_ids)
    found = list(keys)
    _write(found, now)
    return len(found)


def keys_republish(tenant_id: int, now: datetime) -> int:
    """Writes a tenant's key documents and makes every gateway read them anew at once; returns how many."""
    found = list(_living_keys(now).filter(tenant_id=tenant_id))
    _write(found, now)
    pipe = hot().pipeline(transaction=False)
    for key in found:
        pipe.publish(REVOKED_CHANNEL, key.digest)
    pipe.execute()
    return len(found)


def documents_refresh(now: datetime, *, full: bool = False) -> bool:
    """Republishes every key and takes stale ones away; with ``full``, or when the store lost its epoch, every pool too.

    Returns whether everything was rebuilt. Errors of the store pass through.
    """
    client = hot()
    lost = full or not client.exists(EPOCH_KEY)
    if lost:
        for pool_id in Pool.objects.filter(archived_at__isnull=True).values_list("pk", flat=True):
            counters_configure(pool_id, now, force_limits=False)
            route_publish(pool_id, now)
    pools_publish()
    published = {digest.decode() for digest in cast(set[bytes], client.smembers(KEYS_INDEX))}
    keys = list(_living_keys(now))
    _write(keys, now)
    stale = published - {key.digest for key in keys}
    key_forget(sorted(stale))
    if lost:
        client.set(EPOCH_KEY, now.isoformat())
    return lost


def _living_keys(now: datetime) -> Any:
    return (
        ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)
        .exclude(tenant__state=TenantState.OFFBOARDED)
        .filter(kind=KeyKind.GATEWAY)
        .select_related("tenant")
        .order_by("pk")
    )


def _write(keys: Sequence[ApiKey], now: datetime) -> None:
    models = models_of({key.tenant_id for key in keys}, now)
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        pipe = hot().pipeline(transaction=False)
        for key in part:
            pipe.set(key_document(key.digest), document_of(key, models.get(key.tenant_id, {})))
        pipe.sadd(KEYS_INDEX, *(key.digest for key in part))
        pipe.execute()


def document_of(key: ApiKey, models: dict[str, Any]) -> bytes:
    """The JSON a gateway reads for one key."""
    return orjson.dumps(
        {
            "v": 1,
            "key_id": key.pk,
            "tenant_id": key.tenant_id,
            "tenant": key.tenant.slug,
            "kind": key.kind,
            "expires_at": int(key.expires_at.timestamp()) if key.expires_at else None,
            "suspended": key.tenant.state == TenantState.SUSPENDED,
            "models": models,
        }
    )


def models_of(tenant_ids: Iterable[int], now: datetime) -> dict[int, dict[str, Any]]:
    """Tenant id → model name → what its keys may use there. Of several windows in a pool, the present one counts."""
    # Plain rows, with pools and tiers read once: this runs every few seconds over every entitlement there is.
    rows = (
        Entitlement.objects.filter(tenant_id__in=list(tenant_ids), pool__archived_at__isnull=True)
        .filter(Q(valid_until__isnull=True) | Q(valid_until__gt=now - timedelta(hours=1)))
        .order_by("pool_id", "-valid_from", "pk")
        .values_list("pk", "tenant_id", "pool_id", "tier_id", "state", "valid_from", "valid_until")
    )
    chosen: dict[tuple[int, int], _Window] = {}
    for row in map(_Window._make, rows.iterator(chunk_size=5000)):
        best = chosen.get((row.tenant_id, row.pool_id))
        if best is None or _standing(row, now) > _standing(best, now):
            chosen[row.tenant_id, row.pool_id] = row
    pools = dict(Pool.objects.values_list("pk", "model_name"))
    tiers = {tier.pk: tier for tier in Tier.objects.select_related("current")}
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for row in chosen.values():
        tier = tiers[row.tier_id]
        version = tier.current
        if version is None:
            continue
        found[row.tenant_id][pools[row.pool_id]] = {
            "pool_id": row.pool_id,
            "entitlement_id": row.pk,
            "service_class": tier.service_class,
            "tier": tier.slug,
            "default_max_tokens": version.default_max_tokens,
            "largest_max_tokens": version.largest_max_tokens,
            "hold_ms": version.hold_ms,
            "fail_mode": version.fail_mode,
        }
    return found


class _Window(NamedTuple):
    """What :func:`models_of` reads of an entitlement, in the order of its columns."""

    pk: int
    tenant_id: int
    pool_id: int
    tier_id: int
    state: str
    valid_from: datetime
    valid_until: datetime | None


def _standing(row: _Window, now: datetime) -> int:
    """2: its window is open; 1: it is still to come; 0: it is over (kept an hour, so that the refusal can say so)."""
    if row.state == EntitlementState.EXPIRED or (row.valid_until is not None and row.valid_until <= now):
        return 0
    return 2 if row.valid_from <= now else 1
