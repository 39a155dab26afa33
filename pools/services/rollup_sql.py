"""The statements of the roll-ups; parameters: from, until. Amounts are averaged, counts summed, levels as at last."""

from __future__ import annotations

AMOUNTS = (
    "use_tokens_per_second",
    "use_kv_bytes",
    "use_concurrency",
    "limit_tokens_per_second",
    "limit_kv_bytes",
    "limit_concurrency",
    "demand_tokens_per_second",
    "weight",
    "debt",
    "burst",
)
SUMS = ("elapsed_s", "gap_tokens", "admitted")
SOURCES = {"minute": "sample", "hour": "minute"}
_SPAN = """
span AS MATERIALIZED (
    SELECT date_trunc('{level}', at, 'UTC') AS bin, * FROM {source} WHERE at >= %s AND at < %s
),
counted AS (
    SELECT bin, {key}, r.key AS code, sum(r.value::bigint) AS n
    FROM span, LATERAL jsonb_each_text(refused) AS r WHERE refused <> '{{}}' GROUP BY 1, 2, 3
),
reasons AS (SELECT bin, {key}, jsonb_object_agg(code, n) AS refused FROM counted GROUP BY 1, 2)
"""


def entitlement_sql(level: str) -> str:
    """Of ``pools_entitlementminute`` or ``-hour``."""
    averages = ", ".join(f"avg({name})::float" for name in AMOUNTS)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    span = _SPAN.format(level=level, source=f"pools_entitlement{SOURCES[level]}", key="entitlement_id")
    return f"""
    WITH {span}
    INSERT INTO pools_entitlement{level}
        (at, entitlement_id, pool_id, tenant_id, {", ".join(AMOUNTS)}, {", ".join(SUMS)}, refused)
    SELECT span.bin, span.entitlement_id, min(pool_id), min(tenant_id), {averages}, {sums},
           coalesce(reasons.refused, '{{}}')
    FROM span LEFT JOIN reasons ON reasons.bin = span.bin AND reasons.entitlement_id = span.entitlement_id
    GROUP BY span.bin, span.entitlement_id, reasons.refused
    """  # noqa: S608  built from the names above only


def pool_sql(level: str) -> str:
    """Of ``pools_poolminute`` or ``-hour``."""
    span = _SPAN.format(level=level, source=f"pools_pool{SOURCES[level]}", key="pool_id")
    raw = level == "minute"
    free = "min(greatest(0, capacity[{0}] - hold[{0}] - use[{0}]))" if raw else "min(headroom[{0}])"
    least = ", ".join(free.format(index) for index in (1, 2, 3))
    return f"""
    WITH {span}
    INSERT INTO pools_pool{level} (at, pool_id, capacity, promised, use, hold, headroom, ready, ready_least, pending,
                                   wanted, needed, contended, lag_ms, refused)
    SELECT span.bin, span.pool_id, {_array(_LAST, "capacity")}, {_array(_LAST, "promised")},
           {_array("avg({0})", "use")}, {_array("avg({0})", "hold")}, ARRAY[{least}],
           {_LAST.format("ready")}, min({"ready" if raw else "ready_least"}), {_LAST.format("pending")},
           {_LAST.format("wanted")}, max(needed), bool_or(contended), max(lag_ms), coalesce(reasons.refused, '{{}}')
    FROM span LEFT JOIN reasons ON reasons.bin = span.bin AND reasons.pool_id = span.pool_id
    GROUP BY span.bin, span.pool_id, reasons.refused
    """  # noqa: S608  built from the names above only


_LAST = "(array_agg({0} ORDER BY at DESC))[1]"


def _array(pattern: str, column: str) -> str:
    return f"ARRAY[{', '.join(pattern.format(f'{column}[{i}]') for i in (1, 2, 3))}]"
