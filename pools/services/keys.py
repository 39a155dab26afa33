"""API keys, in the books and in the hot store: a key works, and stops working, as soon as the deed is committed."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from pools.services.documents import key_forget, key_publish
from portal.accounts import services as accounts
from portal.accounts.choices import KeyKind
from portal.accounts.models import ApiKey, Tenant
from portal.accounts.services import NewKey
from portal.audit.models import AuditRecord
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

LONGEST_OVERLAP = timedelta(days=30)
ROTATE, EXPIRY = "key_rotate", "key_expiry"


@recorded()
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


@recorded()
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


@recorded()
def key_rotate(
    *, actor: Actor, now: datetime, key_id: int, overlap: timedelta = timedelta(hours=24), reason: str = ""
) -> NewKey:
    """A successor of the same name and kind; the old key works until ``overlap`` has passed, then expires by itself.

    Raises DomainError ``not_found``, ``key_over``, ``bad_overlap`` (0 to 30 days).
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        sentence = f"The overlap is 0 to {LONGEST_OVERLAP.days} days, got {overlap}."
        raise DomainError("bad_overlap", sentence, fields={"overlap": sentence})
    old = _working(key_id, now)
    made = key_create(
        actor=actor, now=now, tenant=old.tenant, name=old.name, kind=old.kind, expires_at=old.expires_at, reason=reason
    )
    if not overlap:
        key_revoke(actor=actor, now=now, key_id=old.pk, reason=reason or "rotated")
        return made
    ends = min(now + overlap, old.expires_at) if old.expires_at else now + overlap
    successor: dict[str, object] = {"successor": made.key.prefix, "successor_id": made.key.pk}
    _expiry_write(actor, now, ROTATE, old, ends, successor, reason)
    transaction.on_commit(lambda: key_publish(old.pk, now), robust=True)
    return made


@recorded()
def key_expiry_set(
    *, actor: Actor, now: datetime, key_id: int, expires_at: datetime | None, reason: str = ""
) -> AuditRecord | None:
    """Another end of a working key (None: never); the record of it (:func:`key_undo` takes it), None if unchanged.

    Raises DomainError ``not_found``, ``key_over``, ``bad_key`` for a moment that is past.
    """
    key = _working(key_id, now)
    if expires_at is not None and expires_at <= now:
        sentence = f"The key would expire at {expires_at:%Y-%m-%d %H:%M} UTC, which is past; revoke it instead."
        raise DomainError("bad_key", sentence, fields={"expires_at": sentence})
    if key.expires_at == expires_at:
        return None
    record = _expiry_write(actor, now, EXPIRY, key, expires_at, {}, reason)
    transaction.on_commit(lambda: key_publish(key.pk, now), robust=True)
    return record


@recorded()
def key_undo(*, actor: Actor, now: datetime, tenant: Tenant, record_id: int) -> ApiKey:
    """Takes back a rotation (the successor is revoked, the old key ends when it would have) or another end.

    Raises DomainError ``not_found``, ``key_over`` when the old key has ended, ``key_moved`` when it changed since.
    """
    record = AuditRecord.objects.filter(pk=record_id, tenant=tenant, verb__in=(ROTATE, EXPIRY)).first()
    if record is None or not ApiKey.objects.filter(pk=int(record.object_id), tenant=tenant).exists():
        raise DomainError("not_found", f"There is no such change in {tenant.name}.", status=404)
    key = _working(int(record.object_id), now)
    if _moment(record.after.get("expires_at")) != key.expires_at:
        raise DomainError("key_moved", f"The end of {key.name} was changed again since; set it anew.", status=409)
    before = _moment(record.before.get("expires_at"))
    if before is not None and before <= now:
        raise DomainError("key_over", f"{key.name} would have ended meanwhile; make a new key.", status=409)
    successor = ApiKey.objects.filter(pk=record.after.get("successor_id"), tenant=tenant).first()
    if successor is not None:
        key_revoke(actor=actor, now=now, key_id=successor.pk, reason="The rotation was undone.")
    _expiry_write(actor, now, EXPIRY, key, before, {}, "Undone.")
    transaction.on_commit(lambda: key_publish(key.pk, now), robust=True)
    return key


def rotation_of(key: ApiKey) -> AuditRecord | None:
    """The latest rotation of a key."""
    rows = AuditRecord.objects.filter(object_type="accounts.apikey", object_id=str(key.pk), verb=ROTATE)
    return rows.order_by("-pk").first()


def _working(key_id: int, now: datetime) -> ApiKey:
    key = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("tenant").filter(pk=key_id).first()
    if key is None:
        raise DomainError("not_found", f"There is no API key {key_id}.", status=404)
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        ended = "is revoked" if key.revoked_at is not None else "has expired"
        raise DomainError("key_over", f"The key {key.prefix}… {ended}; make a new one instead.", status=409)
    return key


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _expiry_write(
    actor: Actor,
    now: datetime,
    verb: str,
    key: ApiKey,
    expires_at: datetime | None,
    more: dict[str, object],
    reason: str,
) -> AuditRecord:
    record = audit_record(
        actor=actor,
        verb=verb,
        target=key,
        before={"expires_at": key.expires_at},
        after={"expires_at": expires_at, **more},
        reason=reason,
        now=now,
        tenant=key.tenant,
    )
    key.expires_at = expires_at
    key.save(update_fields=["expires_at"])
    return record
