"""Sums over all pools: sent once a second to whoever looks at the overview, and kept every five as pool 0's sample.

Every shard writes its pools' rows; one shard adds them up. Refusals are counted when a row is new, so that a shard that
ticked late is not counted twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, cast

import orjson
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as DatabaseError

from pools.models import PoolSample
from pools.selectors.live import KEPT_S, MESSAGE_TYPE
from pools.selectors.overview import (
    ALL_POOLS,
    FRESH_MS,
    GROUP,
    LATEST_KEY,
    MOST_ROWS,
    ROWS_KEY,
    VERSION,
    PoolRow,
    Totals,
    overview_sentence,
    rows_read,
    totals_of,
)
from pools.services.books import books_away, books_failed
from portal.lib.hot import hot

log = logging.getLogger(__name__)
SHARD = 0
"""The shard whose tick adds up."""
SAMPLE_MS = 5_000
FORGOTTEN_MS = 600_000
REFUSED_KEY, SAMPLED_KEY = "tp:overview:refused", "tp:overview:sampled"


def overview_send(now_ms: int) -> Totals | None:
    """Adds up the rows and sends the sums; None when no pool reports. Errors of the hot store pass through."""
    rows = rows_read()
    fresh = [row for row in rows if now_ms - row.at < FRESH_MS]
    gone = [row.pool_id for row in rows if now_ms - row.at >= FORGOTTEN_MS]
    if gone:
        hot().hdel(ROWS_KEY, *(str(pool_id) for pool_id in gone))
    if not fresh:
        return None
    totals = totals_of(fresh, _refused(fresh))
    free = [(row.slug, row.free if now_ms - row.at < FRESH_MS else None) for row in rows if row.pool_id not in gone]
    fresh.sort(key=lambda row: (row.free, row.pool_id))
    message = {
        "v": VERSION,
        "at": max(row.at for row in fresh),
        "sentence": overview_sentence(free, totals.refused_per_minute),
        "totals": asdict(totals),
        "seen": {row.pool_id: row.at for row in fresh},
        "rows": [row.wire() for row in fresh[:MOST_ROWS]],
    }
    _publish(orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS), totals.refused)
    _sample(totals, now_ms)
    return totals


def _refused(fresh: Sequence[PoolRow]) -> dict[str, int]:
    """Refusals by reason in the rows that were not added up before."""
    text = cast(bytes | None, hot().get(LATEST_KEY))
    seen: dict[str, int] = orjson.loads(text).get("seen", {}) if text else {}
    counted: Counter[str] = Counter()
    for row in fresh:
        if seen.get(str(row.pool_id)) != row.at:
            counted.update(row.refused)
    return dict(counted)


def _publish(encoded: bytes, refused: dict[str, int]) -> None:
    layer = get_channel_layer()
    config: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
    pipe = hot().pipeline(transaction=False)
    pipe.set(LATEST_KEY, encoded, ex=KEPT_S)
    packed = layer.serialize({"type": MESSAGE_TYPE, "text": encoded.decode()})
    pipe.publish(f"{config['prefix']}__group__{GROUP}", packed)
    for code, count in refused.items():
        pipe.hincrby(REFUSED_KEY, code, count)
    pipe.execute()


def _sample(totals: Totals, now_ms: int) -> None:
    """One row of history every five seconds; the refusals wait while the books are away."""
    last = int(cast(bytes | None, hot().get(SAMPLED_KEY)) or 0)
    if now_ms - last < SAMPLE_MS - 500 or books_away():
        return
    refused = cast(dict[bytes, bytes], hot().hgetall(REFUSED_KEY))
    try:
        PoolSample.objects.create(
            at=datetime.fromtimestamp(now_ms / 1000, UTC),
            pool_id=ALL_POOLS,
            **{name: getattr(totals, name) for name in ("capacity", "promised", "use", "hold")},
            **{name: getattr(totals, name) for name in ("ready", "pending", "wanted", "lag_ms")},
            contended=totals.contended > 0,
            refused={code.decode(): int(count) for code, count in refused.items()},
        )
    except DatabaseError as error:
        log.warning("the sums over all pools are not kept: the books cannot be written (%s)", type(error).__name__)
        books_failed()
        return
    pipe = hot().pipeline(transaction=False)
    for code, count in refused.items():
        pipe.hincrby(REFUSED_KEY, code.decode(), -int(count))
    pipe.set(SAMPLED_KEY, now_ms)
    pipe.execute()
