"""What happened before now: samples and usage, made inside the database, and a ledger whose transfers balance.

Noise is a hash of row and time, so the same world has the same history; use follows the hour of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from pools.models import RollupMark

# In 0..1, smooth over a day, another phase for every pool; then a little noise for every row.
_WAVE = "(0.55 + 0.3 * sin(extract(epoch FROM {at}) / 13750.99 + {pool} * 0.7))"
_NOISE = "((hashint8({row} * 7919 + extract(epoch FROM {at})::bigint) & 1023) / 1023.0)"
_LUCK = "((hashint8({row} * 104729) & 1023) / 1023.0)"

ENTITLEMENTS = f"""
INSERT INTO {{table}} (at, entitlement_id, pool_id, tenant_id, elapsed_s, use_tokens_per_second,
    use_kv_bytes, use_concurrency, limit_tokens_per_second, limit_kv_bytes, limit_concurrency,
    demand_tokens_per_second, weight, debt, burst, gap_tokens, admitted, refused)
SELECT at, id, pool_id, tenant_id, step, busy * tokens, (busy * kv)::bigint, busy * slots,
    limited * tokens, (limited * kv)::bigint, ceil(limited * slots)::int, busy * tokens * 1.15, weight * (1 + 2 * debt),
    debt, greatest(0, busy - 1), debt * tokens * step * 0.4, ceil(busy * tokens * step / 1200)::int,
    CASE WHEN busy = 0 OR luck < 0.6 THEN '{{{{}}}}'::jsonb
         WHEN rank > 1 THEN jsonb_build_object('low_priority', ceil(busy * 20)::int, 'pool_full', ceil(luck * 5)::int)
         ELSE jsonb_build_object('concurrency', ceil(busy * 6)::int, 'token_budget', ceil(luck * 3)::int) END
FROM (
    SELECT s.at, e.id, e.pool_id, e.tenant_id, %(step)s::float AS step, v.class_weight AS weight, k.rank,
        k.luck, k.tokens, k.kv, k.slots,
        CASE WHEN e.state <> 'bound' THEN 0 ELSE least(k.most, {_WAVE.format(at="s.at", pool="e.pool_id")}
            * (0.5 + 0.7 * k.luck) + 0.25 * {_NOISE.format(row="e.id", at="s.at")}) END AS busy,
        CASE WHEN k.rank = 0 THEN 1 ELSE k.most * (0.75 + 0.25 * {_NOISE.format(row="e.id", at="s.at")}) END AS limited,
        CASE WHEN t.service_class = 'elastic' AND k.luck > 0.85
             THEN 0.4 * {_WAVE.format(at="s.at", pool="e.pool_id")} - 0.1 ELSE 0 END AS debt
    FROM pools_entitlement e
    JOIN pools_tier t ON t.id = e.tier_id JOIN pools_tierversion v ON v.id = t.current_id
    CROSS JOIN LATERAL (SELECT {_LUCK.format(row="e.id")} AS luck,
        CASE t.service_class WHEN 'elastic' THEN 1 WHEN 'spot' THEN 2 WHEN 'preemptible' THEN 3 ELSE 0 END AS rank,
        CASE WHEN t.service_class = 'elastic' THEN 1.3 WHEN e.base_concurrency = 0 THEN 0.4 ELSE 1.0 END AS most,
        greatest(e.base_tokens_per_second, coalesce(e.cap_tokens_per_second, 0)) AS tokens,
        greatest(e.base_kv_bytes, coalesce(e.cap_kv_bytes, 0)) AS kv,
        greatest(e.base_concurrency, coalesce(e.cap_concurrency, 0)) AS slots) k
    CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
    WHERE e.pool_id = ANY(%(pools)s) AND e.state <> 'expired'
) made
"""  # noqa: S608  built from constants only
POOLS = f"""
INSERT INTO {{table}} (at, pool_id, capacity, promised, use, hold, ready, pending, wanted, needed, contended, lag_ms,
    refused{{more}})
SELECT s.at, p.id, ARRAY[r.ready * c.tokens_per_second, r.ready * c.kv_bytes, r.ready * c.concurrency]::float[],
    ARRAY[h.tokens, h.kv, h.slots]::float[],
    ARRAY[h.tokens * w.busy, h.kv * w.busy, h.slots * w.busy]::float[],
    ARRAY[0, h.kv * (1 - w.busy) * 0.4, h.slots * (1 - w.busy) * 0.4]::float[],
    r.ready, r.waiting, p.wanted_replicas, p.wanted_replicas, w.busy > 0.8, 2 + (w.noise * 8)::int,
    CASE WHEN w.busy > 0.75 THEN jsonb_build_object('low_priority', (w.noise * 40)::int, 'pool_full',
        (w.noise * 9)::int, 'concurrency', 3, 'token_budget', (w.busy * 9)::int) ELSE '{{{{}}}}'::jsonb END{{values}}
FROM pools_pool p JOIN pools_capacityprofile c ON c.id = p.current_profile_id
CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'ready') AS ready,
    count(*) FILTER (WHERE state = 'starting') AS waiting FROM pools_endpoint WHERE pool_id = p.id) r
CROSS JOIN LATERAL (SELECT coalesce(sum(base_tokens_per_second), 0) AS tokens, coalesce(sum(base_kv_bytes), 0) AS kv,
    coalesce(sum(base_concurrency), 0) AS slots FROM pools_entitlement WHERE pool_id = p.id AND state = 'bound') h
CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
CROSS JOIN LATERAL (SELECT least(1.05, {_WAVE.format(at="s.at", pool="p.id")}
    + 0.1 * {_NOISE.format(row="p.id", at="s.at")}) AS busy, {_NOISE.format(row="p.id", at="s.at")} AS noise) w
WHERE p.id = ANY(%(pools)s)
"""  # noqa: S608  built from constants only
ROLLUP = """
INSERT INTO {table} (at, entitlement_id, key_id, pool_id, tenant_id, requests, failed, input_tokens, output_tokens,
    cached_tokens, charged_tokens, overrun_tokens, ttft_ms_sum, ttft_count, duration_ms_sum)
SELECT at, id, key_id, pool_id, tenant_id, n, n / 50, n * 900, n * 260, n * 120, n * 1160, n * 3, n * 240, n, n * 5200
FROM (
    SELECT s.at, e.id, e.pool_id, e.tenant_id, coalesce(k.id, 0) AS key_id,
        ceil({wave} * (1 + {noise}) * %(rate)s)::bigint AS n
    FROM (SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY id) AS place FROM pools_entitlement
          WHERE tenant_id = ANY(%(tenants)s) AND state = 'bound') e
    LEFT JOIN LATERAL (SELECT id FROM accounts_apikey WHERE tenant_id = e.tenant_id AND kind = 'gateway'
        ORDER BY id LIMIT 1) k ON true
    CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
    WHERE e.place <= %(each)s
) made
"""
EVENTS = """
INSERT INTO billing_usageevent (settled_at, event_id, request_id, pool_id, entitlement_id, tenant_id, key_id,
    endpoint_id, capacity_version, outcome, source, reserved_tokens, charged_tokens, spilled_tokens, overrun_tokens,
    input_tokens, output_tokens, cached_tokens, prompt_bytes, kv_bytes, concurrency, started_at, ttft_ms, duration_ms)
SELECT at, 'seed-' || e.id || '-' || n, 'seed-' || e.id || '-' || n, e.pool_id, e.id, e.tenant_id, NULL,
    NULL, 1, CASE WHEN noise > 0.985 THEN 'upstream_error' WHEN noise > 0.97 THEN 'client_gone' ELSE 'completed' END,
    'engine', 1200, (600 + 900 * noise)::bigint, 0, 0, (500 + 700 * noise)::bigint, (100 + 200 * noise)::bigint,
    (100 * noise)::bigint, 4000, 300000000, 1, at - (1000 + 8000 * noise) * interval '1 millisecond',
    (80 + 900 * noise * noise)::int, (1000 + 8000 * noise)::int
FROM (
    SELECT e.*, n, %(end)s::timestamptz - (n * %(step)s + e.id %% 900) * interval '1 second' AS at,
        ((hashint8(e.id * 31 + n) & 1023) / 1023.0) AS noise
    FROM pools_entitlement e CROSS JOIN generate_series(0, %(each)s - 1) AS n
    WHERE e.pool_id = ANY(%(pools)s) AND e.state = 'bound'
) e
"""


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of history in equal steps, from so long ago until so long ago."""

    begins: timedelta
    ends: timedelta
    step_s: int


DAY, HOUR, NOTHING = timedelta(days=1), timedelta(hours=1), timedelta(0)
Plan = dict[str, tuple[Spell, ...]]
"""Level (sample, minute, hour) → which stretches are filled there."""
FINE: Plan = {
    "sample": (Spell(timedelta(minutes=59), NOTHING, 60),),
    "minute": (Spell(DAY, HOUR, 1200), Spell(timedelta(minutes=55), timedelta(minutes=2), 120)),
    "hour": (Spell(7 * DAY, HOUR, 4 * 3600), Spell(30 * DAY, 8 * DAY, 86_400)),
}
COARSE: Plan = {
    "sample": (Spell(timedelta(minutes=50), NOTHING, 600),),
    "minute": (Spell(DAY, HOUR, 4 * 3600),),
    "hour": (Spell(7 * DAY, HOUR, 86_400),),
}
LONG: Plan = {
    "sample": (Spell(timedelta(minutes=59), NOTHING, 60),),
    "minute": (Spell(DAY, timedelta(minutes=5), 300),),
    "hour": (Spell(30 * DAY, HOUR, 7200),),
}
"""Of pools: a month."""
ROLLED_POOL = {
    "more": ", ready_least, headroom",
    "values": ", r.ready, ARRAY[r.ready * c.tokens_per_second - h.tokens * w.busy, r.ready * c.kv_bytes - h.kv *"
    " (w.busy + (1 - w.busy) * 0.4), r.ready * c.concurrency - h.slots * (w.busy + (1 - w.busy) * 0.4)]::float[]",
}


def entitlements_sample(pool_ids: Sequence[int], plan: Plan, now: datetime) -> int:
    """History of every living entitlement of the pools; returns how many rows."""
    return sum(
        run(ENTITLEMENTS.format(table=f"pools_entitlement{level}"), floor(now, level), spell, pools=list(pool_ids))
        for level, spells in plan.items()
        for spell in spells
    )


def pools_sample(pool_ids: Sequence[int], now: datetime) -> int:
    """History of the pools over a month."""
    done = 0
    for level, spells in LONG.items():
        more = {"more": "", "values": ""} if level == "sample" else ROLLED_POOL
        statement = POOLS.format(table=f"pools_pool{level}", **more)
        done += sum(run(statement, floor(now, level), spell, pools=list(pool_ids)) for spell in spells)
    return done


def rolled_up(now: datetime) -> None:
    """Says that what was made up is rolled up as well: the next roll-up begins now."""
    for level in ("minute", "hour"):
        RollupMark.objects.update_or_create(level=level, defaults={"until": floor(now, "minute")})


def floor(now: datetime, level: str) -> datetime:
    """Where the last row of a level begins."""
    at = now if level == "sample" else now.replace(second=0, microsecond=0)
    return at.replace(minute=0) if level == "hour" else at


def usage_roll(tenant_ids: Sequence[int], now: datetime) -> int:
    """A week by the hour and six hours by the minute, of the first entitlements of each tenant."""
    parts = {"wave": _WAVE.format(at="s.at", pool="e.pool_id"), "noise": _NOISE.format(row="e.id", at="s.at")}
    hour, minute = now.replace(minute=0, second=0, microsecond=0), now.replace(second=0, microsecond=0)
    hours = Spell(timedelta(days=7), timedelta(0), 3600)
    minutes = Spell(timedelta(hours=6), timedelta(0), 60)
    tenants = list(tenant_ids)
    done = run(ROLLUP.format(table="billing_usagehour", **parts), hour, hours, tenants=tenants, each=4, rate=220)
    return done + run(
        ROLLUP.format(table="billing_usageminute", **parts), minute, minutes, tenants=tenants, each=2, rate=4
    )


def events_write(pool_ids: Sequence[int], each: int, now: datetime) -> int:
    """Single requests of the last day, so many for every bound entitlement of the pools."""
    spell = Spell(timedelta(0), timedelta(0), 86_000 // max(1, each))
    return run(EVENTS, now, spell, pools=list(pool_ids), each=each)


def run(statement: str, now: datetime, spell: Spell, **values: Any) -> int:
    """Fills one spell with a statement; how many rows that made."""
    given: dict[str, Any] = {"start": now - spell.begins, "end": now - spell.ends, "step": spell.step_s, **values}
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        return int(cursor.rowcount)
