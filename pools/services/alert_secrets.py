"""Secrets of webhooks: sealed in the database, opened where a message is signed, told when they open no more."""

from __future__ import annotations

from datetime import datetime

from pools.models import AlertChannel
from pools.models.alerts import ChannelKind
from portal.lib.boxes import Purpose, seal, unseal

UNREADABLE = "The secret cannot be read any more: set a new one. SECRET_KEY has changed since it was made."


def secret_sealed(secret: str) -> str:
    """A secret as it lies in the database."""
    return seal(secret, Purpose.WEBHOOK_SECRETS)


def secret_readable(channel: AlertChannel) -> bool:
    """Whether the channel's messages can be signed, where they are: not after SECRET_KEY has changed, until it gets a
    new secret."""
    return channel.kind != ChannelKind.WEBHOOK or bool(_opened(channel.sealed_secret))


def secrets_valid(channel: AlertChannel, now: datetime) -> list[str]:
    """The secrets that sign now: the channel's own, and the one before it until its overlap ends."""
    sealed = [channel.sealed_secret]
    if channel.old_secret_until is not None and channel.old_secret_until > now:
        sealed.append(channel.sealed_old_secret)
    return [secret for one in sealed if (secret := _opened(one))]


def _opened(sealed: str) -> str | None:
    return unseal(sealed, Purpose.WEBHOOK_SECRETS)
