"""Counters against the live reservations they should follow: measured for the alarm, put right by a deed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import orjson

from pools.counters.types import CounterUnavailable, Drift
from pools.models import Pool
from pools.selectors.alert_values import drift_key
from pools.services.configuring import counters_configure
from pools.services.store import counters, hot
from portal.audit.services import Actor, audit_record
from portal.lib.errors import DomainError

KEPT_S = 300
"""A measurement that is older says nothing about now."""


def drift_measure(pool_ids: Iterable[int], now: datetime) -> dict[int, Drift]:
    """Measures each pool and keeps the figures. A pool that is not in the store yet is left out; other errors of the
    store pass through."""
    found: dict[int, Drift] = {}
    for pool_id in pool_ids:
        try:
            found[pool_id] = counters().drift(pool_id)
        except CounterUnavailable as error:
            if "TPNOPOOL" not in str(error):
                raise
    pipe = hot().pipeline(transaction=False)
    for pool_id, drift in found.items():
        figures = {"at": int(now.timestamp() * 1000), "sequences": drift.sequences, **drift._asdict()}
        pipe.set(drift_key(pool_id), orjson.dumps(figures), ex=KEPT_S)
    pipe.execute()
    return found


def counters_recount(*, actor: Actor, now: datetime, pool: Pool, reason: str = "") -> Drift:
    """Makes a pool's counters follow its live reservations again and writes its terms anew from the books.

    Nothing in flight is forgotten. Returns the drift there was. Raises DomainError ``store_away``.
    """
    try:
        before = counters().drift(pool.pk)
        counters_configure(pool.pk, now)
        live = counters().recount(pool.pk)
        drift_measure([pool.pk], now)
    except CounterUnavailable as error:
        sentence = f"The hot store does not answer, so the counters of {pool.name} stay as they are; try again."
        raise DomainError("store_away", sentence, status=503) from error
    audit_record(
        actor=actor,
        verb="counters_recount",
        target=pool,
        before={"drift_sequences": before.sequences, **before._asdict()},
        after={"drift_sequences": 0, "live": live},
        reason=reason,
        now=now,
    )
    return before
