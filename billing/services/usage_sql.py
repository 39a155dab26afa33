"""The statements of the usage drain. They run in order in one transaction; ``usage_new`` holds only rows stored now."""

from __future__ import annotations

COLUMNS = """settled_at, event_id, request_id, pool_id, entitlement_id, tenant_id, key_id, endpoint_id,
capacity_version, outcome, source, reserved_tokens, charged_tokens, spilled_tokens, overrun_tokens,
input_tokens, output_tokens, cached_tokens, prompt_bytes, kv_bytes, concurrency, started_at, ttft_ms, duration_ms"""
STAGE = """
CREATE TEMPORARY TABLE usage_stage (LIKE billing_usageevent) ON COMMIT DROP;
CREATE TEMPORARY TABLE usage_new (LIKE billing_usageevent) ON COMMIT DROP
"""
UNSTAGE = "DROP TABLE usage_stage, usage_new"
COPY = f"COPY usage_stage ({COLUMNS}) FROM STDIN"
INSERT = f"""
WITH stored AS (
    INSERT INTO billing_usageevent ({COLUMNS}) SELECT {COLUMNS} FROM usage_stage
    ON CONFLICT (settled_at, event_id) DO NOTHING RETURNING {COLUMNS}
)
INSERT INTO usage_new ({COLUMNS}) SELECT {COLUMNS} FROM stored
"""  # noqa: S608  built from the names above only
FAILED = "('upstream_error', 'timeout', 'expired', 'preempted')"


SUMS = (
    "requests",
    "failed",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "charged_tokens",
    "overrun_tokens",
    "ttft_ms_sum",
    "ttft_count",
    "duration_ms_sum",
)
"""What a minute and an hour of usage add up, in the order of their columns."""


def rollup(table: str, span: str) -> str:
    """Adds the new rows to the sums of their minute or hour."""
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    return f"""
    INSERT INTO {table} (at, entitlement_id, key_id, pool_id, tenant_id, {", ".join(SUMS)})
    SELECT date_trunc('{span}', settled_at, 'UTC'), entitlement_id, coalesce(key_id, 0), pool_id, tenant_id,
           count(*), count(*) FILTER (WHERE outcome IN {FAILED}), sum(input_tokens), sum(output_tokens),
           sum(cached_tokens), sum(charged_tokens), sum(overrun_tokens),
           coalesce(sum(ttft_ms), 0), count(ttft_ms), sum(duration_ms)
    FROM usage_new GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3
    ON CONFLICT (at, entitlement_id, key_id) DO UPDATE SET {added}
    """  # noqa: S608  built from the names above only


ROLLUPS = (rollup("billing_usageminute", "minute"), rollup("billing_usagehour", "hour"))
LAST_USED = """
UPDATE accounts_apikey SET last_used_at = latest.at
FROM (SELECT key_id, max(settled_at) AS at FROM usage_new WHERE key_id IS NOT NULL GROUP BY key_id) latest
WHERE id = latest.key_id AND (last_used_at IS NULL OR last_used_at < latest.at - interval '60 seconds')
"""
"""At most once a minute and key: a row that changes every second only bloats its table."""
LEARN = """
SELECT pool_id, sum(prompt_bytes), sum(input_tokens) FROM usage_new
WHERE source = 'engine' AND prompt_bytes > 0 AND input_tokens > 0 GROUP BY pool_id HAVING sum(input_tokens) >= 100
"""
