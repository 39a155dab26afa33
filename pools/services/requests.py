"""Requests for more: a tenant asks, an operator approves (the entitlement changes at once) or denies, with a reason."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Q

from pools.choices import CLASS_RULES, EntitlementState, ServiceClass
from pools.mechanism.amounts import Rate
from pools.models import Entitlement, EntitlementRequest, Pool, Tier
from pools.models.requests import RequestState
from pools.services.entitlements import EntitlementResult, entitlement_change, entitlement_create
from pools.services.lease_check import LeaseCheck, lease_checks
from portal.accounts.models import Tenant
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

NAMES = ("tokens_per_second", "kv_bytes", "concurrency")
MOST_AMOUNTS = (2**62, 2**62, 2**31 - 1)


@recorded()
def request_create(
    *, actor: Actor, now: datetime, tenant: Tenant, pool: Pool, asked: Rate, reason: str
) -> EntitlementRequest:
    """Asks for ``asked`` as the whole promise (not the difference) of a tenant in a pool.

    Raises DomainError ``bad_request`` (field sentences) and ``open_already``: one open request for each pool.
    """
    problems = {}
    if not any(asked.as_tuple()):
        problems["tokens_per_second"] = "Ask for something: all three amounts are 0."
    for name, value, most in zip(NAMES, asked.as_tuple(), MOST_AMOUNTS, strict=True):
        if value > most:
            problems[name] = f"{name} is at most {most:,}, got {value:,}."
    if not reason.strip():
        problems["reason"] = "Say what it is for: the operator decides by it."
    if problems:
        raise DomainError("bad_request", " ".join(problems.values()), fields=problems)
    held = entitlement_held(tenant, pool)
    try:
        with transaction.atomic():
            made = EntitlementRequest.objects.create(
                tenant=tenant,
                pool=pool,
                entitlement=held,
                asked_tokens_per_second=asked.tokens_per_second,
                asked_kv_bytes=asked.kv_bytes,
                asked_concurrency=asked.concurrency,
                reason=reason.strip(),
                created_by=actor.user,
                created_at=now,
            )
    except IntegrityError:
        sentence = f"{tenant.name} has an open request for {pool.name} already; withdraw it first."
        raise DomainError("open_already", sentence, status=409, fields={"pool": sentence}) from None
    _record(actor, now, "request_create", made, reason)
    return made


def request_withdraw(*, actor: Actor, now: datetime, request_id: int) -> EntitlementRequest:
    """Takes an open request back. Raises DomainError ``not_found``, ``decided``."""
    return _decide(actor, now, request_id, RequestState.WITHDRAWN, "")


def request_deny(*, actor: Actor, now: datetime, request_id: int, reason: str) -> EntitlementRequest:
    """Refuses an open request; the tenant reads the reason. Raises ``not_found``, ``decided``, ``reason_missing``."""
    _reason_check(reason)
    return _decide(actor, now, request_id, RequestState.DENIED, reason)


@recorded()
def request_approve(
    *, actor: Actor, now: datetime, request_id: int, reason: str, tier: Tier | None = None
) -> EntitlementResult:
    """Promises what was asked, at once; the request and the entitlement change together or not at all.

    ``tier`` is needed where the tenant holds nothing in the pool yet. Raises DomainError ``not_found``, ``decided``,
    ``reason_missing``, ``tier_missing`` and whatever the entitlement itself refuses (``never_fits`` with the numbers).
    """
    _reason_check(reason)
    request = _decide(actor, now, request_id, RequestState.APPROVED, reason)
    held = entitlement_held(request.tenant, request.pool)
    why = f"Request #{request.pk}: {reason.strip()}"
    if held is not None:
        changes = asked_changes(held, request, tier)
        made = entitlement_change(actor=actor, now=now, entitlement_id=held.pk, changes=changes, reason=why)
    else:
        if tier is None:
            sentence = f"{request.tenant.name} holds nothing in {request.pool.name} yet: choose a tier."
            raise DomainError("tier_missing", sentence, fields={"tier": sentence})
        new = _new(request, tier)
        made = entitlement_create(
            actor=actor,
            now=now,
            tenant=request.tenant,
            pool=request.pool,
            tier=tier,
            base=Rate(new.base_tokens_per_second, new.base_kv_bytes, new.base_concurrency),
            cap=(new.cap_tokens_per_second, new.cap_kv_bytes, new.cap_concurrency),
            reason=why,
        )
    EntitlementRequest.objects.filter(pk=request.pk).update(entitlement=made.entitlement)
    return made


def entitlement_held(tenant: Tenant, pool: Pool) -> Entitlement | None:
    """The tenant's living entitlement in a pool, the latest window first."""
    rows = Entitlement.objects.filter(tenant=tenant, pool=pool).exclude(state=EntitlementState.EXPIRED.value)
    return rows.select_related("tier__current", "pool__current_profile", "tenant").order_by("-valid_from").first()


class Checked(NamedTuple):
    """A request with what its tenant holds there, and whether granting it would fit (None: a tier must be chosen)."""

    request: EntitlementRequest
    held: Entitlement | None
    check: LeaseCheck | None


def requests_checked(requests: Sequence[EntitlementRequest], now: datetime) -> list[Checked]:
    """The requests with what is held, in their order; open ones with their check. Three queries at most."""
    waiting = [one for one in requests if one.state == RequestState.OPEN]
    places = [Q(tenant_id=one.tenant_id, pool_id=one.pool_id) for one in waiting]
    held: dict[tuple[int, int], Entitlement] = {}
    if places:
        rows = Entitlement.objects.filter(reduce(or_, places)).exclude(state=EntitlementState.EXPIRED.value)
        for row in rows.select_related("tier__current", "pool__current_profile", "tenant").order_by("valid_from"):
            held[row.tenant_id, row.pool_id] = row
    mine = [held.get((one.tenant_id, one.pool_id)) if one.state == RequestState.OPEN else None for one in requests]
    pairs = [
        (after, row) for one, row in zip(requests, mine, strict=True) if (after := asked_entitlement(one, row, None))
    ]
    checks = iter(lease_checks(pairs, now))
    return [
        Checked(one, row, next(checks) if row is not None else None) for one, row in zip(requests, mine, strict=True)
    ]


def asked_entitlement(request: EntitlementRequest, held: Entitlement | None, tier: Tier | None) -> Entitlement | None:
    """The entitlement as it would be, for a check; never saved. None while nobody said under which tier."""
    if held is None:
        return _new(request, tier) if tier is not None else None
    after = copy.copy(held)
    for name, value in asked_changes(held, request, tier).items():
        setattr(after, name, value)
    return after


def asked_changes(held: Entitlement, request: EntitlementRequest, tier: Tier | None = None) -> dict[str, Any]:
    """The change of terms that grants a request; explicit caps follow where they would be below the new base."""
    chosen = tier or held.tier
    changes: dict[str, Any] = {"tier": chosen} if tier is not None else {}
    promises = CLASS_RULES[ServiceClass(chosen.service_class)].rank <= 1
    for name in NAMES:
        asked, cap = getattr(request, f"asked_{name}"), getattr(held, f"cap_{name}")
        changes[f"base_{name}"] = asked if promises else 0
        if not promises:
            changes[f"cap_{name}"] = asked
        elif cap is not None:
            never_bursts = chosen.service_class == ServiceClass.GUARANTEED
            changes[f"cap_{name}"] = asked if never_bursts else max(cap, asked)
    return changes


def _new(request: EntitlementRequest, tier: Tier) -> Entitlement:
    promises = CLASS_RULES[ServiceClass(tier.service_class)].rank <= 1
    side = "base" if promises else "cap"
    amounts = {f"{side}_{name}": getattr(request, f"asked_{name}") for name in NAMES}
    return Entitlement(slug="", tenant=request.tenant, pool=request.pool, tier=tier, **amounts)


@recorded()
def _decide(actor: Actor, now: datetime, request_id: int, state: RequestState, reason: str) -> EntitlementRequest:
    rows = EntitlementRequest.objects.select_for_update(of=("self",), no_key=True)
    request = rows.select_related("tenant", "pool__current_profile").filter(pk=request_id).first()
    if request is None:
        raise DomainError("not_found", f"There is no request {request_id}.", status=404)
    if request.state != RequestState.OPEN:
        sentence = f"Request #{request.pk} is {request.get_state_display().lower()} already."
        raise DomainError("decided", sentence, status=409)
    request.state, request.decided_by, request.decided_at = state, actor.user, now
    request.decision_reason = reason.strip()
    request.save(update_fields=["state", "decided_by", "decided_at", "decision_reason"])
    _record(actor, now, f"request_{state.value}", request, reason)
    return request


def _reason_check(reason: str) -> None:
    if not reason.strip():
        sentence = "Give a reason: the tenant reads it."
        raise DomainError("reason_missing", sentence, fields={"reason": sentence})


def _record(actor: Actor, now: datetime, verb: str, request: EntitlementRequest, reason: str) -> None:
    after = {"pool": request.pool.slug, **{name: getattr(request, f"asked_{name}") for name in NAMES}}
    audit_record(
        actor=actor,
        verb=verb,
        target=request,
        before={},
        after={**after, "state": str(request.state)},
        reason=reason,
        now=now,
        tenant=request.tenant,
    )
