"""Deeds on alert channels: make, change, new secret, remove. A secret is returned once and never shown again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from pools.models import AlertChannel
from pools.models.alerts import ChannelKind
from pools.senders.signing import new_secret
from pools.senders.targets import url_problem
from pools.services.alert_deliveries import addresses
from pools.services.alert_secrets import secret_readable, secret_sealed
from portal.audit.services import Actor, audit_record, recorded
from portal.lib.errors import DomainError

MOST_ADDRESSES = 20
OVERLAP = timedelta(hours=24)
"""How long the old secret signs beside the new one."""


@dataclass(frozen=True, slots=True)
class ChannelMade:
    """A channel and, for a webhook, the secret that is shown now and never again."""

    channel: AlertChannel
    secret: str = field(default="", repr=False)


@recorded()
def alert_channel_create(
    *, actor: Actor, now: datetime, name: str, kind: str, target: str, reason: str = ""
) -> ChannelMade:
    """A new channel; a webhook gets its secret. Raises DomainError ``bad_channel``, ``name_taken``."""
    channel = _checked(AlertChannel(kind=kind, created_at=now), name, target)
    secret = new_secret() if kind == ChannelKind.WEBHOOK else ""
    channel.sealed_secret = secret_sealed(secret)
    _save(channel)
    _record(actor, now, "alert_channel_create", channel, {}, _shown(channel), reason)
    return ChannelMade(channel, secret)


@recorded()
def alert_channel_change(
    *, actor: Actor, now: datetime, channel_id: int, name: str, target: str, reason: str = ""
) -> AlertChannel:
    """Another name or address. Raises DomainError ``not_found``, ``bad_channel``, ``name_taken``."""
    channel = _locked(channel_id)
    before = _shown(channel)
    _save(_checked(channel, name, target))
    _record(actor, now, "alert_channel_change", channel, before, _shown(channel), reason)
    return channel


@recorded()
def alert_channel_secret(*, actor: Actor, now: datetime, channel_id: int, reason: str = "") -> ChannelMade:
    """A new secret; the old one signs beside it for a day, if it can be read. Raises ``not_found``, ``no_secret``."""
    channel = _locked(channel_id)
    if channel.kind != ChannelKind.WEBHOOK:
        raise DomainError("no_secret", f"{channel.name} sends e-mail; only webhooks are signed.", status=409)
    overlaps = secret_readable(channel)
    channel.sealed_old_secret = channel.sealed_secret if overlaps else ""
    channel.old_secret_until = now + OVERLAP if overlaps else None
    secret = new_secret()
    channel.sealed_secret = secret_sealed(secret)
    channel.save(update_fields=["sealed_secret", "sealed_old_secret", "old_secret_until"])
    after = {"old_secret_until": channel.old_secret_until.isoformat() if channel.old_secret_until else None}
    _record(actor, now, "alert_channel_secret", channel, {}, after, reason)
    return ChannelMade(channel, secret)


@recorded()
def alert_channel_delete(*, actor: Actor, now: datetime, channel_id: int, reason: str = "") -> str:
    """Removes a channel and its deliveries; rules go on without it. Returns its name. Raises ``not_found``."""
    channel = _locked(channel_id)
    _record(actor, now, "alert_channel_delete", channel, _shown(channel), {}, reason)
    channel.delete()
    return channel.name


def _checked(channel: AlertChannel, name: str, target: str) -> AlertChannel:
    channel.name, channel.target = name.strip(), target.strip()
    problems: dict[str, str] = {}
    if not 0 < len(channel.name) <= 100:
        problems["name"] = f"A name has 1 to 100 characters; this one has {len(channel.name)}."
    if channel.kind not in ChannelKind.values:
        problems["kind"] = f"There is no kind of channel {channel.kind!r}."
    elif channel.kind == ChannelKind.WEBHOOK:
        if why := url_problem(channel.target, private=settings.ALERT_PRIVATE_TARGETS):
            problems["target"] = why
    elif why := _addresses_problem(channel.target):
        problems["target"] = why
    if problems:
        raise DomainError("bad_channel", " ".join(problems.values()), fields=problems)
    return channel


def _addresses_problem(target: str) -> str:
    found = addresses(target)
    if not 0 < len(found) <= MOST_ADDRESSES or len(target) > 500:
        return f"Give 1 to {MOST_ADDRESSES} e-mail addresses, separated by commas, 500 characters together."
    for one in found:
        try:
            validate_email(one)
        except ValidationError:
            return f"{one[:100]} is not an e-mail address."
    return ""


def _locked(channel_id: int) -> AlertChannel:
    channel = AlertChannel.objects.select_for_update(no_key=True).filter(pk=channel_id).first()
    if channel is None:
        raise DomainError("not_found", f"There is no channel {channel_id}; it may have been removed.", status=404)
    return channel


def _save(channel: AlertChannel) -> None:
    try:
        with transaction.atomic():
            channel.save()
    except IntegrityError:
        sentence = f"There is a channel “{channel.name}” already; choose another name."
        raise DomainError("name_taken", sentence, status=409, fields={"name": sentence}) from None


def _shown(channel: AlertChannel) -> dict[str, Any]:
    """As the audit trail keeps it: without its secret."""
    return {"name": channel.name, "kind": str(channel.kind), "target": channel.target}


def _record(
    actor: Actor,
    now: datetime,
    verb: str,
    channel: AlertChannel,
    before: dict[str, Any],
    after: dict[str, Any],
    reason: str,
) -> None:
    audit_record(actor=actor, verb=verb, target=channel, before=before, after=after, reason=reason, now=now)
