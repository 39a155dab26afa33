"""Entitlements: what one tenant is promised in one pool. Nothing is promised that could not be provisioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from pools.choices import EntitlementState
from pools.mechanism.amounts import Rate
from pools.mechanism.lease import Finding, LeaseFit, Verdict, check_entitlement
from pools.mechanism.windows import fit_within
from pools.models import Entitlement, Pool, Tier
from pools.services.amounts import CLASS_CODES, base_of, cap_of, mean_cost_tokens, mean_service_s
from pools.services.pools import pool_locked
from pools.services.publishing import publish_soon
from pools.services.spans import spans_of, window_of
from pools.services.supply import supply_of
from portal.accounts.models import Tenant
from portal.accounts.services import slug_check
from portal.accounts.tenants import tenant_active
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

AMOUNTS = (
    "base_tokens_per_second",
    "base_kv_bytes",
    "base_concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "cap_concurrency",
)
SLUG_LETTERS = 63
CHANGEABLE = (*AMOUNTS, "tier", "valid_from", "valid_until")
RESERVED_SLUGS = ("new", "rows", "live", "check", "tenants", "views", "bulk", "jobs")
"""Addresses of pages beside the entitlements' own."""


@dataclass(frozen=True, slots=True)
class EntitlementResult:
    """The entitlement, whether and when its lease fits, and remarks that do not refuse it."""

    entitlement: Entitlement
    fit: LeaseFit
    warnings: tuple[str, ...]


@recorded()
def entitlement_create(
    *,
    actor: Actor,
    now: datetime,
    tenant: Tenant,
    pool: Pool,
    tier: Tier,
    slug: str = "",
    base: Rate | None = None,
    cap: tuple[int | None, int | None, int | None] = (None, None, None),
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    reason: str = "",
) -> EntitlementResult:
    """Promises ``base`` (tokens/s, KV bytes, sequences) of a pool to a tenant; it is bound by the reconciler.

    Raises DomainError ``bad_entitlement`` (field sentences), ``slug_taken``, ``window_overlaps``, ``never_fits`` when
    not even all replicas could carry it.
    """
    tenant_active(tenant, "a promise")
    slug = slug or f"{tenant.slug}-{pool.slug}"
    slug_check(slug[:63], "entitlement")
    if slug in RESERVED_SLUGS:
        sentence = f"{slug!r} is the address of a page of the portal; choose another name."
        raise DomainError("bad_slug", sentence, fields={"slug": sentence})
    locked = pool_locked(pool.pk)
    wanted = base or Rate(0, 0, 0)
    entitlement = Entitlement(
        slug=slug,
        tenant=tenant,
        pool=locked,
        tier=tier,
        base_tokens_per_second=wanted.tokens_per_second,
        base_kv_bytes=wanted.kv_bytes,
        base_concurrency=wanted.concurrency,
        cap_tokens_per_second=cap[0],
        cap_kv_bytes=cap[1],
        cap_concurrency=cap[2],
        valid_from=valid_from or now,
        valid_until=valid_until,
        state_since=now,
        created_at=now,
        updated_at=now,
    )
    warnings = entitlement_findings(entitlement)
    answer = _fit(entitlement, now)
    entitlement.state_reason = answer.sentence
    _save(entitlement)
    _record(actor, now, "entitlement_create", entitlement, {}, terms_of(entitlement), reason)
    return EntitlementResult(entitlement, answer, warnings)


@recorded()
def entitlement_change(
    *,
    actor: Actor,
    now: datetime,
    entitlement_id: int,
    changes: Mapping[str, Any],
    reason: str = "",
    expected_revision: int | None = None,
) -> EntitlementResult:
    """Changes base, cap, tier or the window; a larger promise is checked like a new one. The beginning of the window
    can be moved as long as it has not come.

    The state stays when the new promise still fits ready capacity; otherwise it is pending again.
    Raises DomainError as :func:`entitlement_create`, ``expired``, and ``revision_moved`` when the entitlement is no
    longer at ``expected_revision``.
    """
    if unknown := set(changes) - set(CHANGEABLE):
        raise DomainError("bad_entitlement", f"These cannot be changed: {', '.join(sorted(unknown))}.")
    entitlement = _locked(entitlement_id)
    if expected_revision is not None and entitlement.revision != expected_revision:
        sentence = f"{entitlement.slug} was changed by somebody else while you edited it: look at theirs and yours."
        raise DomainError("revision_moved", sentence, status=412)
    if entitlement.state == EntitlementState.EXPIRED:
        raise DomainError("expired", f"{entitlement.slug} has expired; make a new entitlement.", status=409)
    before = terms_of(entitlement)
    begins = changes.get("valid_from", entitlement.valid_from)
    if begins != entitlement.valid_from and entitlement.valid_from <= now:
        sentence = f"It has been effective since {entitlement.valid_from:%Y-%m-%d %H:%M} UTC; that cannot be moved."
        raise DomainError("bad_entitlement", sentence, fields={"valid_from": sentence})
    for key, value in changes.items():
        setattr(entitlement, key, value)
    after = terms_of(entitlement)
    warnings = entitlement_findings(entitlement)
    answer = _fit(entitlement, now)
    if before == after:
        return EntitlementResult(entitlement, answer, warnings)
    binding = {EntitlementState.BOUND.value, EntitlementState.DRAINING.value, EntitlementState.DEGRADED.value}
    if entitlement.state in binding and answer.first is Verdict.AFTER_SCALING:
        state_set(entitlement, EntitlementState.PENDING, answer.sentence, now)
    entitlement.updated_at = now
    entitlement.revision += 1
    _save(entitlement)
    _record(actor, now, "entitlement_change", entitlement, before, after, reason)
    return EntitlementResult(entitlement, answer, warnings)


@recorded()
def entitlement_suspend(*, actor: Actor, now: datetime, entitlement_id: int, reason: str = "") -> Entitlement:
    """Refuses every request of an entitlement at once; what runs may end. Its promise no longer holds capacity."""
    return _move(
        actor, now, entitlement_id, EntitlementState.SUSPENDED, reason or "Suspended by an operator.", "suspend"
    )


@recorded()
def entitlement_resume(*, actor: Actor, now: datetime, entitlement_id: int, reason: str = "") -> Entitlement:
    """Puts a suspended entitlement back: pending, bound again as soon as its lease fits (checked like a new one)."""
    entitlement = _locked(entitlement_id)
    if entitlement.state != EntitlementState.SUSPENDED:
        raise DomainError("not_suspended", f"{entitlement.slug} is {entitlement.state}, not suspended.", status=409)
    tenant_active(entitlement.tenant, "a promise")
    answer = _fit(entitlement, now)
    return _move(actor, now, entitlement_id, EntitlementState.PENDING, reason or answer.sentence, "resume")


@recorded()
def entitlement_move(
    *, actor: Actor, now: datetime, entitlement_id: int, pool: Pool, reason: str = ""
) -> EntitlementResult:
    """Ends an entitlement here and promises the same terms in another pool; history and debt stay with the old one.

    All or nothing. Raises DomainError as :func:`entitlement_create`, ``same_pool`` and ``expired``.
    """
    pools_locked_of(entitlement_id, pool.pk)
    old = _locked(entitlement_id)
    if old.pool_id == pool.pk:
        raise DomainError("same_pool", f"{old.slug} is in {pool.name} already.", status=409)
    if old.state == EntitlementState.EXPIRED:
        raise DomainError("expired", f"{old.slug} has expired; make a new entitlement.", status=409)
    until = old.valid_until
    entitlement_expire(actor=actor, now=now, entitlement_id=old.pk, reason=f"Moved to {pool.slug}. {reason}".strip())
    slug = f"{old.tenant.slug}-{pool.slug}"[:SLUG_LETTERS]
    if Entitlement.objects.filter(slug=slug).exists():
        slug = f"{slug[: SLUG_LETTERS - 12]}-{old.pk}"
    return entitlement_create(
        actor=actor,
        now=now,
        tenant=old.tenant,
        pool=pool,
        tier=old.tier,
        slug=slug,
        base=base_of(old),
        cap=(old.cap_tokens_per_second, old.cap_kv_bytes, old.cap_concurrency),
        valid_from=max(old.valid_from, now),
        valid_until=until,
        reason=f"Moved from {old.pool.slug}. {reason}".strip(),
    )


@recorded()
def entitlement_revive(
    *, actor: Actor, now: datetime, entitlement_id: int, suspended: bool, valid_until: datetime | None, reason: str
) -> Entitlement:
    """Brings what a move ended back with its own terms, history and debt: pending, or suspended if it was. For the undo
    of that move only; its promise is checked like a new one.

    Raises DomainError as :func:`entitlement_create`, ``not_ended``, and ``window_over`` where it would end at once.
    """
    entitlement = _locked(entitlement_id)
    if entitlement.state != EntitlementState.EXPIRED:
        raise DomainError("not_ended", f"{entitlement.slug} is {entitlement.state}, not ended.", status=409)
    if valid_until is not None and valid_until <= now:
        sentence = f"{entitlement.slug} was promised until {valid_until:%Y-%m-%d %H:%M} UTC, which is past."
        raise DomainError("window_over", sentence, status=409)
    tenant_active(entitlement.tenant, "a promise")
    before = {"state": entitlement.state, "valid_until": entitlement.valid_until}
    entitlement.valid_until = valid_until
    entitlement_findings(entitlement)
    state = EntitlementState.SUSPENDED if suspended else EntitlementState.PENDING
    state_set(entitlement, state, reason if suspended else _fit(entitlement, now).sentence, now)
    entitlement.updated_at = now
    entitlement.revision += 1
    _save(entitlement)
    after = {"state": state.value, "valid_until": valid_until}
    _record(actor, now, "entitlement_revive", entitlement, before, after, reason)
    return entitlement


@recorded()
def entitlement_expire(*, actor: Actor, now: datetime, entitlement_id: int, reason: str = "") -> Entitlement:
    """Ends an entitlement now and for good."""
    return _move(actor, now, entitlement_id, EntitlementState.EXPIRED, reason or "Ended by an operator.", "expire")


def state_set(entitlement: Entitlement, state: EntitlementState, sentence: str, now: datetime) -> None:
    """Sets state, reason and their times on the instance; the caller saves ``STATE_FIELDS``."""
    entitlement.state = state.value
    entitlement.suspended_with_tenant = False
    entitlement.state_reason = sentence[:300]
    entitlement.state_since = now
    if state is EntitlementState.SUSPENDED:
        entitlement.suspended_at = now
    if state is EntitlementState.BOUND:
        entitlement.bound_at = now
    if state is EntitlementState.EXPIRED and entitlement.valid_until is None:
        entitlement.valid_until = max(now, entitlement.valid_from)


def state_apply(entitlement: Entitlement, state: EntitlementState, sentence: str, now: datetime) -> None:
    """As :func:`state_set`; what ends for good ends now. The caller saves ``STATE_FIELDS`` and ``valid_until``."""
    state_set(entitlement, state, sentence, now)
    if state is EntitlementState.EXPIRED:
        entitlement.valid_until = None if now <= entitlement.valid_from else now


STATE_FIELDS = ["state", "state_reason", "state_since", "suspended_at", "bound_at", "suspended_with_tenant"]


def terms_of(entitlement: Entitlement) -> dict[str, Any]:
    """What history keeps of an entitlement's terms."""
    return {
        **{name: getattr(entitlement, name) for name in AMOUNTS},
        "tier": entitlement.tier.slug,
        "valid_from": entitlement.valid_from,
        "valid_until": entitlement.valid_until,
    }


def _move(
    actor: Actor, now: datetime, entitlement_id: int, state: EntitlementState, sentence: str, verb: str
) -> Entitlement:
    entitlement = _locked(entitlement_id)
    before = entitlement.state
    if before == state:
        return entitlement
    if before == EntitlementState.EXPIRED:
        raise DomainError("expired", f"{entitlement.slug} has expired; make a new entitlement.", status=409)
    state_apply(entitlement, state, sentence, now)
    entitlement.save(update_fields=[*STATE_FIELDS, "valid_until"])
    _record(actor, now, f"entitlement_{verb}", entitlement, {"state": before}, {"state": state.value}, sentence)
    return entitlement


def pools_locked_of(entitlement_id: int, other_pool_id: int) -> None:
    """Locks the entitlement's pool and another in one order, so that two moves never wait for each other."""
    own = Entitlement.objects.filter(pk=entitlement_id).values_list("pool_id", flat=True)
    for pool_id in sorted({*own, other_pool_id}):
        pool_locked(pool_id)


def _locked(entitlement_id: int) -> Entitlement:
    """The entitlement with its pool row locked first: binding, promises and capacity loss are decided one at a time."""
    pool_id = Entitlement.objects.filter(pk=entitlement_id).values_list("pool_id", flat=True).first()
    if pool_id is None:
        raise DomainError("not_found", f"There is no entitlement {entitlement_id}.", status=404)
    pool_locked(pool_id)
    return (
        Entitlement.objects.select_for_update(of=("self",), no_key=True)
        .select_related("tier__current", "pool__current_profile", "tenant")
        .get(pk=entitlement_id)
    )


def entitlement_findings(entitlement: Entitlement) -> tuple[str, ...]:
    """Warnings about an entitlement's terms. Raises DomainError ``bad_entitlement``, ``no_profile`` in words."""
    tier, pool = entitlement.tier, entitlement.pool
    if tier.current is None or tier.archived_at is not None:
        raise DomainError(
            "bad_entitlement", f"The tier {tier.slug} has no version in force.", fields={"tier": "no version"}
        )
    if pool.current_profile is None:
        raise DomainError("no_profile", f"{pool.name} has no capacity profile yet; publish one first.", status=409)
    given = (entitlement.cap_tokens_per_second, entitlement.cap_kv_bytes, entitlement.cap_concurrency)
    amounts = [getattr(entitlement, name) for name in AMOUNTS]
    if any(value is not None and value < 0 for value in amounts):
        raise DomainError("bad_entitlement", "Bases and caps are whole numbers of 0 or more.")
    if entitlement.valid_until is not None and entitlement.valid_until <= entitlement.valid_from:
        sentence = "The window ends before it begins."
        raise DomainError("bad_entitlement", sentence, fields={"valid_until": sentence})
    profile = pool.current_profile
    found: list[Finding] = check_entitlement(
        CLASS_CODES[tier.service_class],
        base_of(entitlement),
        None if given == (None, None, None) else cap_of(entitlement, tier.current),
        mean_service_s=mean_service_s(profile),
        mean_cost_tokens=mean_cost_tokens(profile, pool.weight_input, pool.weight_output),
    )
    errors = {one.field: one.sentence for one in found if one.level == "error"}
    if errors:
        raise DomainError("bad_entitlement", " ".join(errors.values()), fields=errors)
    return tuple(one.sentence for one in found if one.level == "warning")


def _fit(entitlement: Entitlement, now: datetime) -> LeaseFit:
    """Checks the lease beside every other promise of the pool, at every moment of its window. Raises DomainError
    ``never_fits``."""
    pool, window = entitlement.pool, window_of(entitlement, now)
    others = spans_of([pool.pk], now, without=entitlement.pk, asked=window.begins)[pool.pk]
    code = CLASS_CODES[entitlement.tier.service_class]
    answer = fit_within(base_of(entitlement), code, others, supply_of(pool), pool.oversubscription, window)
    if answer.verdict is Verdict.NEVER:
        raise DomainError("never_fits", f"{pool.name} cannot promise this. {answer.sentence}", status=409)
    return answer


def _save(entitlement: Entitlement) -> None:
    try:
        with transaction.atomic():
            entitlement.save()
    except IntegrityError as error:
        if "entitlement_one_per_tenant_and_pool" in str(error):
            sentence = f"{entitlement.tenant.name} has an entitlement in {entitlement.pool.name} in that time already."
            raise DomainError("window_overlaps", sentence, status=409, fields={"valid_from": sentence}) from None
        if "slug" in str(error):
            sentence = f"There is an entitlement {entitlement.slug!r} already."
            raise DomainError("slug_taken", sentence, status=409, fields={"slug": sentence}) from None
        raise


def _record(
    actor: Actor,
    now: datetime,
    verb: str,
    entitlement: Entitlement,
    before: dict[str, Any],
    after: dict[str, Any],
    reason: str,
) -> None:
    audit_record(
        actor=actor,
        verb=verb,
        target=entitlement,
        before=before,
        after=after,
        reason=reason,
        now=now,
        tenant=entitlement.tenant,
    )
    publish_soon(entitlement.pool_id, entitlement.tenant_id, now)
