"""The scaling reconciler: 1 what is asked for; 2 how many replicas that needs (``pools.mechanism.scaling``); 3 say so.

Automatic pools follow the decision, advisory ones only record it, a manual override holds until its end.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import orjson

from pools.choices import EndpointState, ScalingMode
from pools.mechanism.amounts import DIMENSIONS, Rate
from pools.mechanism.ordering import ClassCode
from pools.mechanism.scaling import Asked, Replicas, ScalingSettings, ScalingState, decide
from pools.mechanism.scaling import ScalingDecision as Decided
from pools.models import Endpoint, Entitlement, Pool, ScalingDecision
from pools.selectors.live import live_latest
from pools.services.amounts import CLASS_CODES, base_of, cap_of, replica_of
from pools.services.ceiling import ceiling_lock, ceiling_now
from pools.services.supply import PROMISED_STATES
from pools.services.tick_show import board_write
from portal.audit.services import SYSTEM, audit_record, recorded
from portal.lib.hot import hot

log = logging.getLogger(__name__)
UNKNOWN_AFTER_MS = 15_000
"""Live figures older than this are no figures: the pool holds."""
REPEATED_AFTER = timedelta(minutes=5)


def scaling_reconcile(pool_id: int, now: datetime) -> ScalingDecision | None:
    """One decision for one pool; the row when one was written (the choice or its reason changed, or minutes passed)."""
    pool = Pool.objects.select_related("current_profile").filter(pk=pool_id, archived_at__isnull=True).first()
    if pool is None or pool.current_profile is None:
        return None
    pool = _override_lifted(pool, now)
    asked = _asked(pool, now)
    have = _replicas(pool)
    state = _state(pool_id, now)
    rules = rules_of(pool)
    replica = replica_of(pool.current_profile)
    decided = decide(asked, replica, have, state, now.timestamp(), rules)
    manual = pool.manual_replicas is not None
    automatic = pool.scaling_mode == ScalingMode.AUTOMATIC.value and not manual
    if not automatic:
        # What was not done was not started either: the windows keep watching, the pauses do not begin.
        decided = replace(decided, state=replace(decided.state, started=state.started, removed_at_s=state.removed_at_s))
    chosen = pool.manual_replicas if manual and pool.manual_replicas is not None else decided.target
    row = _written(pool, decided, have, chosen, automatic, replica, now)
    hot().set(_state_key(pool_id), orjson.dumps(decided.state.as_document()))
    need, _ = _need(decided, replica, rules)
    board_write(
        pool_id,
        need=round(need, 2),
        needed=decided.wanted if asked is not None else None,
        reason=row.reason if row else _reason(pool, decided),
        wanted=_wanted(pool_id),
    )
    return row


def _reason(pool: Pool, decided: Decided) -> str:
    if pool.manual_replicas is not None:
        until = f" until {pool.manual_until:%H:%M} UTC" if pool.manual_until else ""
        return f"Held at {pool.manual_replicas} replicas by hand{until}; the rules would have {decided.target}."[:300]
    if pool.scaling_mode != ScalingMode.AUTOMATIC.value:
        return f"Advice only: {decided.reason}"[:300]
    return decided.reason[:300]


@recorded()
def _written(
    pool: Pool, decided: Decided, have: Replicas, chosen: int, automatic: bool, replica: Rate, now: datetime
) -> ScalingDecision | None:
    """Applies the choice and appends the row when it says something new."""
    locked = Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
    before = locked.wanted_replicas
    if automatic and decided.action == "up" and chosen > before and _beyond_ceiling(locked, chosen):
        return None  # another pool was faster; the next look knows
    if automatic and decided.action != "hold" and chosen != before and locked.manual_replicas is None:
        locked.wanted_replicas = min(max(chosen, locked.min_replicas), locked.max_replicas)
        locked.save(update_fields=["wanted_replicas"])
    elif automatic and decided.action == "hold":
        chosen = before
        if not locked.min_replicas <= before <= locked.max_replicas:
            chosen = locked.wanted_replicas = min(max(before, locked.min_replicas), locked.max_replicas)
            locked.save(update_fields=["wanted_replicas"])
    reason = _reason(pool, decided)
    code = "manual" if pool.manual_replicas is not None else decided.action
    last = ScalingDecision.objects.filter(pool=pool).order_by("-at", "-pk").first()
    if last is not None and not _says_more(last, chosen, code, reason, now) and locked.wanted_replicas == before:
        return None
    need, dimension = _need(decided, replica, ScalingSettings())
    row = ScalingDecision.objects.create(
        pool=pool,
        at=now,
        ready=have.ready,
        pending=have.pending,
        before=before,
        floor=decided.floor_replicas,
        need=round(need, 4),
        chosen=chosen,
        code=code,
        reason=reason,
        dimension=dimension,
        inputs={
            "wanted": decided.wanted,
            "target": decided.target,
            "commit": decided.commit,
            "need": decided.need,
            "replica": replica.as_tuple(),
            "least": have.least,
            "most": have.most,
            "draining": have.draining,
            "ceiling_left": have.ceiling_left,
            "mode": pool.scaling_mode,
        },
        profile=pool.current_profile,
        applied=automatic and locked.wanted_replicas == chosen,
    )
    if locked.wanted_replicas != before:
        audit_record(
            actor=SYSTEM,
            verb="pool_scale",
            target=pool,
            before={"wanted_replicas": before},
            after={"wanted_replicas": locked.wanted_replicas},
            reason=reason,
            now=now,
        )
    return row


def _says_more(last: ScalingDecision, chosen: int, code: str, reason: str, now: datetime) -> bool:
    """Numbers in a reason flicker; the row is for another choice, another cause, or so that silence is not doubt."""
    return (
        (last.chosen, last.code) != (chosen, code)
        or re.sub(r"[\d.,]+", "#", last.reason) != re.sub(r"[\d.,]+", "#", reason)
        or now - last.at >= REPEATED_AFTER
    )


def rules_of(pool: Pool) -> ScalingSettings:
    """The rules with the pool's shares; a simulated pool, whose days are minutes, may have shorter windows (s)."""
    given = (pool.provider_config or {}).get("scaling", {}) if pool.provider == "process" else {}
    windows = {name: float(given[name]) for name in ("up_window_s", "down_window_s", "down_pause_s") if name in given}
    return ScalingSettings(elastic_share=pool.elastic_share, spot_share=pool.spot_share, **windows)


@recorded()
def _override_lifted(pool: Pool, now: datetime) -> Pool:
    if pool.manual_replicas is None or pool.manual_until is None or pool.manual_until > now:
        return pool
    before = {"manual_replicas": pool.manual_replicas}
    pool.manual_replicas = pool.manual_until = None
    pool.manual_reason = pool.manual_by = ""
    pool.save(update_fields=["manual_replicas", "manual_until", "manual_reason", "manual_by"])
    audit_record(
        actor=SYSTEM,
        verb="pool_set_replicas",
        target=pool,
        before=before,
        after={"manual_replicas": None},
        reason="The override has ended.",
        now=now,
    )
    return pool


def _asked(pool: Pool, now: datetime) -> list[Asked] | None:
    """Bound and waiting entitlements with their demand; None when the tick's figures are missing or old."""
    message = live_latest([pool.pk]).get(pool.pk)
    if message is None:
        return None
    live = orjson.loads(message)
    if now.timestamp() * 1000 - live["at"] > UNKNOWN_AFTER_MS:
        return None
    figures = {row[0]: row for row in live["rows"]}
    asked = []
    rows = Entitlement.objects.filter(pool=pool, state__in=PROMISED_STATES, valid_from__lte=now).select_related(
        "tier__current"
    )
    for row in rows:
        if row.tier.current is None:
            continue
        live_row = figures.get(row.pk)
        demand = tuple(live_row[13]) if live_row else (0.0, 0.0, 0.0)
        debt = float(live_row[7]) if live_row else 0.0
        asked.append(
            Asked(
                ClassCode(CLASS_CODES[row.tier.service_class]),
                base_of(row),
                cap_of(row, row.tier.current),
                cast(tuple[float, float, float], demand),
                debt,
            )
        )
    return asked


def _replicas(pool: Pool) -> Replicas:
    states = list(Endpoint.objects.filter(pool=pool).exclude(state__in=_GONE).values_list("state", flat=True))
    ready = states.count(EndpointState.READY.value)
    draining = states.count(EndpointState.DRAINING.value)
    # A replica that is wanted but not created yet (a pause after failures) is on its way too.
    pending = max(len(states) - ready - draining, pool.wanted_replicas - ready, 0)
    return Replicas(ready, pending, draining, pool.min_replicas, pool.max_replicas, _ceiling_left(pool))


_GONE = (EndpointState.STOPPED.value, EndpointState.FAILED.value)


def _ceiling_left(pool: Pool) -> int | None:
    """How many more replicas the cluster-wide accelerator ceiling allows; it counts what every pool wants."""
    return ceiling_now().replicas_left(pool.accelerators_per_replica)


def _beyond_ceiling(pool: Pool, chosen: int) -> bool:
    """Whether the choice would pass the ceiling as it stands now, under its lock: it fails closed."""
    ceiling_lock()
    each = pool.accelerators_per_replica
    return ceiling_now().refuses(pool.wanted_replicas * each, chosen * each)


def _need(decided: Decided, replica: Rate, rules: ScalingSettings) -> tuple[float, str]:
    """Replicas the demand needs before rounding, and the dimension that asks for most of them."""
    shares = [
        amount / (rules.target_use * each) if each else 0.0
        for amount, each in zip(decided.need, replica.as_tuple(), strict=True)
    ]
    most = max(range(3), key=lambda d: shares[d])
    return shares[most], str(DIMENSIONS[most]) if shares[most] else ""


def _state_key(pool_id: int) -> str:
    return f"tp:scaling:{pool_id}"


def _state(pool_id: int, now: datetime) -> ScalingState:
    """The windows so far; fresh when they were lost or the clock was set back (the rules then wait anew)."""
    stored = cast(bytes | None, hot().get(_state_key(pool_id)))
    state = ScalingState.from_document(cast(dict[str, Any], orjson.loads(stored))) if stored else ScalingState()
    if state.looks and state.looks[-1].at_s > now.timestamp():
        return ScalingState()
    return state


def _wanted(pool_id: int) -> int:
    return Pool.objects.values_list("wanted_replicas", flat=True).get(pk=pool_id)
