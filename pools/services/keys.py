"""API keys, in the books and in the hot store: a key works, and stops working, as soon as the deed is committed."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from pools.services.documents import key_forget, key_publish
from portal.accounts import services as accounts
from portal.accounts.choices import KeyKind
from portal.accounts.models import ApiKey, Tenant
from portal.accounts.services import NewKey
from portal.audit.services import Actor, audit_record
from portal.lib.errors import DomainError

LONGEST_OVERLAP = timedelta(days=30)


@transaction.atomic
def key_create(
    *,
    actor: Actor,
    now: datetime,
    tenant: Tenant,
    name: str,
    kind: str = KeyKind.GATEWAY,
    expires_at: datetime | None = None,
    reason: str = "",
    plaintext: str | None = None,
) -> NewKey:
    """A new key; its plaintext is in the answer and nowhere else. ``plaintext`` fixes it (demo and tests only).

    Raises DomainError ``bad_key`` or ``tenant_not_active``.
    """
    made = accounts.key_insert(
        tenant=tenant, name=name, now=now, by=actor.user, kind=kind, expires_at=expires_at, plaintext=plaintext
    )
    after = {"name": made.key.name, "kind": kind, "prefix": made.key.prefix, "expires_at": expires_at}
    audit_record(
        actor=actor, verb="key_create", target=made.key, before={}, after=after, reason=reason, now=now, tenant=tenant
    )
    transaction.on_commit(lambda: key_publish(made.key.pk, now), robust=True)
    return made


@transaction.atomic
def key_revoke(*, actor: Actor, now: datetime, key_id: int, reason: str = "") -> ApiKey:
    """Ends a key for good, at every gateway within half a second. Twice is once. Raises DomainError ``not_found``."""
    key, done = accounts.key_end(key_id=key_id, now=now)
    if done:
        audit_record(
            actor=actor,
            verb="key_revoke",
            target=key,
            before={"revoked_at": None},
            after={"revoked_at": now},
            reason=reason,
            now=now,
            tenant=key.tenant,
        )
    transaction.on_commit(lambda: key_forget([key.digest]), robust=True)
    return key


@transaction.atomic
def key_rotate(
    *, actor: Actor, now: datetime, key_id: int, overlap: timedelta = timedelta(hours=24), reason: str = ""
) -> NewKey:
    """A successor of the same name and kind; the old key works until ``overlap`` has passed, then expires by itself.

    Raises DomainError ``not_found``, ``key_revoked``, ``bad_overlap`` (0 to 30 days).
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        sentence = f"The overlap is 0 to {LONGEST_OVERLAP.days} days, got {overlap}."
        raise DomainError("bad_overlap", sentence, fields={"overlap": sentence})
    old = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("tenant").filter(pk=key_id).first()
    if old is None:
        raise DomainError("not_found", f"There is no API key {key_id}.", status=404)
    if old.revoked_at is not None:
        raise DomainError("key_revoked", f"The key {old.prefix}… is revoked; make a new one instead.", status=409)
    made = key_create(
        actor=actor, now=now, tenant=old.tenant, name=old.name, kind=old.kind, expires_at=old.expires_at, reason=reason
    )
    if not overlap:
        key_revoke(actor=actor, now=now, key_id=old.pk, reason=reason or "rotated")
        return made
    ends = min(now + overlap, old.expires_at) if old.expires_at else now + overlap
    audit_record(
        actor=actor,
        verb="key_rotate",
        target=old,
        before={"expires_at": old.expires_at},
        after={"expires_at": ends, "successor": made.key.prefix},
        reason=reason,
        now=now,
        tenant=old.tenant,
    )
    old.expires_at = ends
    old.save(update_fields=["expires_at"])
    transaction.on_commit(lambda: key_publish(old.pk, now), robust=True)
    return made
