"""Why an entitlement has the weight, limits and debt it has, and what a usual request would meet now.

1 the kept inputs of the latest tick and the latest debt step; 2 the tick's own answers to them, computed again; 3 the
counters as they are now for the admission. Writes nothing but the wish to keep this pool's next ticks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import redis

from pools.counters import records
from pools.counters.snapshot import PoolCounters
from pools.counters.types import CounterUnavailable
from pools.mechanism.admission import Ask
from pools.mechanism.amounts import request_cost
from pools.mechanism.explain import (
    DebtStory,
    LimitStory,
    WeightStory,
    debt_story,
    limit_story,
    weight_story,
)
from pools.mechanism.explain_admission import AdmissionStory, admission_story
from pools.mechanism.hot import EntitlementHot, Terms
from pools.mechanism.ordering import StateCode
from pools.mechanism.tick import tick
from pools.mechanism.tick_record import TickRecord
from pools.mechanism.what_if import WhatIf, what_ifs
from pools.models import Entitlement, Pool
from pools.selectors.explain import records_read
from pools.services.store import counters
from pools.services.tick_explain import explain_ask
from pools.services.tick_show import boards

log = logging.getLogger(__name__)
AWAY = (redis.RedisError, CounterUnavailable)


@dataclass(frozen=True, slots=True)
class Explanation:
    """``at_ms`` of the latest tick, ``debt_at_ms`` of the latest debt step; a story is None where nothing is known.
    ``members`` bound entitlements of the pool; ``literal``: the pool ran the paper's literal formulas."""

    at_ms: int | None = None
    debt_at_ms: int | None = None
    weight: WeightStory | None = None
    limits: LimitStory | None = None
    debt: DebtStory | None = None
    what_ifs: tuple[WhatIf, ...] = ()
    admission: AdmissionStory | None = None
    ask: Ask | None = None
    members: int = 0
    literal: bool = False
    fill: str = "max_min"


def explain(entitlement: Entitlement, usual: tuple[float, float, float], now_ms: int) -> Explanation:
    """Everything there is to tell. ``entitlement`` with its pool and the pool's profile; ``usual`` the request to
    judge: (tokens, KV bytes, sequences). Never raises for an absent hot store: nothing is known then."""
    pool_id = entitlement.pool_id
    ask = usual_ask(entitlement, usual)
    try:
        explain_ask(pool_id, now_ms)
        latest, debt_step = records_read(pool_id)
        admission = _admission(ask)
        ready = boards([pool_id])[0].ready
    except AWAY as error:
        log.warning("an explanation without live figures: %s", error)
        return Explanation(ask=ask)
    told = Explanation(ask=ask, admission=admission)
    return _told(entitlement.pk, latest, debt_step, ready, told)


def usual_ask(entitlement: Entitlement, usual: tuple[float, float, float]) -> Ask:
    """The request to judge; its KV bytes from the profile's typical one where none was ever served."""
    tokens, kv_bytes, slots = usual
    if kv_bytes <= 0:
        tokens, kv_bytes = _typical(entitlement.pool, tokens)
    return Ask(
        entitlement.pool_id,
        entitlement.pk,
        "explain",
        max(1, round(tokens)),
        max(1, round(kv_bytes)),
        max(1, round(slots)),
    )


def _typical(pool: Pool, tokens: float) -> tuple[float, float]:
    profile = pool.current_profile
    if profile is None:
        return tokens, 1.0
    cost = request_cost(
        input_tokens=round(profile.mean_input_tokens),
        max_tokens=round(profile.mean_output_tokens),
        choices=1,
        block_tokens=profile.block_tokens,
        bytes_per_token=profile.kv_bytes_per_token,
        weight_input=pool.weight_input,
        weight_output=pool.weight_output,
    )
    return float(cost.tokens), float(cost.kv_bytes)


def _told(
    entitlement_id: int, latest: TickRecord | None, debt_step: TickRecord | None, ready: int, told: Explanation
) -> Explanation:
    row = _row(latest, entitlement_id)
    if latest is not None and row is not None:
        given = latest.given
        result = tick(given)
        literal = given.settings.mode == "paper"
        told = replace(
            told,
            at_ms=latest.at_ms,
            weight=weight_story(given, result, row),
            limits=None if literal else limit_story(given, result, row),
            what_ifs=() if literal else tuple(what_ifs(given, result, row, ready)),
            members=int((given.entitlements.state == StateCode.BOUND).sum()),
            literal=literal,
            fill=given.settings.fill,
        )
    row = _row(debt_step, entitlement_id)
    if debt_step is not None and row is not None and debt_step.given.settings.mode == "strict":
        given = debt_step.given
        told = replace(told, debt_at_ms=debt_step.at_ms, debt=debt_story(given, tick(given), row))
    return told


def _row(record: TickRecord | None, entitlement_id: int) -> int | None:
    if record is None:
        return None
    found = np.flatnonzero(record.ids == entitlement_id)
    return int(found[0]) if found.size else None


def _admission(ask: Ask) -> AdmissionStory | None:
    """What the request would meet; None for an entitlement that the counters do not know."""
    seen = counters().snapshot(ask.pool_id, [ask.entitlement_id])
    if not seen.known.size or not seen.known[0]:
        return None
    return admission_story(seen.pool, _hot(seen), _terms(seen), ask, seen.at_ms)


def _hot(seen: PoolCounters) -> EntitlementHot:
    fields = zip(records.ENTITLEMENT, seen.hot[0].tolist(), strict=True)
    values: dict[str, Any] = {name: int(value) for name, value in fields}
    return EntitlementHot(**values)


def _terms(seen: PoolCounters) -> Terms:
    return Terms(*(int(value) for value in seen.terms[0].tolist()))
