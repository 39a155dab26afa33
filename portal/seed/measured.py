"""What was measured of every pool: how fairly it served, who borrowed of whom, how good the scaling advice was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from portal.seed.history import DAY, HOUR, NOTHING, Spell, floor, run

_MOMENT = """
    s.at, p.id, {seconds}, 6 + (n.noise * 20)::int, 0.82 + 0.18 * n.noise, 0.8 + 0.2 * n.noise, 0.25 * (1 - n.noise),
    ARRAY[c.tokens_per_second * n.noise, c.kv_bytes * n.noise, c.concurrency * n.noise]::float[],
    ARRAY[c.tokens_per_second * n.noise / 3, c.kv_bytes * n.noise / 3, c.concurrency * n.noise / 3]::float[],
    ARRAY[c.tokens_per_second * n.noise / 20, 0, c.concurrency * n.noise / 20]::float[],
    CASE WHEN p.id = ANY(%(shown)s) THEN l.loans ELSE '[]'::jsonb END
FROM pools_pool p JOIN pools_capacityprofile c ON c.id = p.current_profile_id
CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
CROSS JOIN LATERAL (SELECT (hashint8(p.id * 7919 + extract(epoch FROM s.at)::bigint) & 1023) / 1023.0 AS noise) n
LEFT JOIN LATERAL (
    SELECT coalesce(jsonb_agg(jsonb_build_array(a.id, b.id, 120 * {seconds_each}, 9e8 * {seconds_each},
        1.5 * {seconds_each})), '[]'::jsonb) AS loans
    FROM (SELECT e.id, row_number() OVER (ORDER BY e.id) AS place FROM pools_entitlement e
          JOIN pools_tier t ON t.id = e.tier_id
          WHERE e.pool_id = p.id AND e.state = 'bound' AND t.service_class = 'guaranteed' ORDER BY e.id LIMIT 8) a
    JOIN (SELECT e.id, row_number() OVER (ORDER BY e.id) AS place FROM pools_entitlement e
          JOIN pools_tier t ON t.id = e.tier_id
          WHERE e.pool_id = p.id AND e.state = 'bound' AND t.service_class IN ('elastic', 'spot')
          ORDER BY e.id LIMIT 8) b ON (a.place + b.place) %% 3 = 0
) l ON p.id = ANY(%(shown)s)
WHERE p.id = ANY(%(pools)s)
"""
_COLUMNS = "at, pool_id, elapsed_s, active, satisfied, jain, dispersion, lent, free, beyond, loans"
SAMPLES = f"""
INSERT INTO pools_fairnesssample ({_COLUMNS}) SELECT {_MOMENT.format(seconds="5", seconds_each="1")}
"""
SPANS = f"""
INSERT INTO pools_fairnessspan (span_s, satisfied_least, {_COLUMNS})
SELECT %(span)s, 0.7, {_MOMENT.format(seconds="%(span)s", seconds_each="%(span)s")}
"""
SUMS = """
INSERT INTO pools_pool{level} (at, pool_id, capacity, promised, use, hold, ready, pending, wanted, contended, lag_ms,
                               refused{names})
SELECT pool.at, 0, {levels}, sum(ready), sum(pending), sum(wanted), bool_or(contended),
       max(lag_ms), coalesce((
           SELECT jsonb_object_agg(code, n) FROM (
               SELECT r.key AS code, sum(r.value::bigint) AS n
               FROM pools_pool{level} one, LATERAL jsonb_each_text(one.refused) AS r
               WHERE one.at = pool.at AND one.pool_id = ANY(%(pools)s) GROUP BY r.key
           ) counted), '{{}}'){values}
FROM pools_pool{level} pool WHERE pool_id = ANY(%(pools)s) GROUP BY pool.at
ON CONFLICT (at, pool_id) DO NOTHING
"""
ADVICE = """
INSERT INTO pools_advicehour (pool_id, at, "right", few, many, ran_right, ran_few, ran_many)
SELECT p.id, s.at, 60 - w.off, w.off / 3, w.off - w.off / 3, 60 - w.off / 2, w.off / 4, w.off / 2 - w.off / 4
FROM unnest(%(pools)s) AS p(id)
CROSS JOIN generate_series(%(start)s, %(end)s, %(step)s * interval '1 second') AS s(at)
CROSS JOIN LATERAL (SELECT hashint8(p.id * 31 + extract(epoch FROM s.at)::bigint) & 15 AS off) w
"""


def fairness_write(pool_ids: Sequence[int], shown: Sequence[int], now: datetime) -> int:
    """The last hour as measured, a day by five minutes, a month by the hour; loans by name in the ``shown`` pools."""
    given = {"pools": list(pool_ids), "shown": list(shown)}
    done = run(SAMPLES, now, Spell(timedelta(minutes=59), NOTHING, 60), **given)
    five = floor(now, "minute").replace(minute=now.minute // 5 * 5)
    done += run(SPANS, five, Spell(DAY, timedelta(minutes=5), 300), span=300, **given)
    return done + run(SPANS, floor(now, "hour"), Spell(30 * DAY, HOUR, 7200), span=3600, **given)


def sums_write(pool_ids: Sequence[int]) -> int:
    """The sums over all pools, as the overview's tick keeps them: pool 0 at every level."""
    done = 0
    levels = ", ".join(_summed(name) for name in ("capacity", "promised", "use", "hold"))
    for level in ("sample", "minute", "hour"):
        rolled = level != "sample"
        names = ", ready_least, headroom" if rolled else ""
        values = f", sum(ready_least), {_summed('headroom')}" if rolled else ""
        done += _execute(SUMS.format(level=level, names=names, values=values, levels=levels), {"pools": list(pool_ids)})
    return done


def advice_write(pool_ids: Sequence[int], now: datetime) -> int:
    """Minutes of good and bad advice, by the hour over a week."""
    return run(ADVICE, floor(now, "hour"), Spell(7 * DAY, HOUR, 3600), pools=list(pool_ids))


def _summed(name: str) -> str:
    return f"ARRAY[{', '.join(f'sum({name}[{d}])' for d in (1, 2, 3))}]"


def _execute(statement: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
