"""Tells open websockets at once that somebody's rights changed; they would otherwise notice within half a minute."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction

from portal.lib.hot import hot

log = logging.getLogger(__name__)
GROUP = "rights"
MESSAGE_TYPE = "rights.changed"


def rights_changed(user_id: int) -> None:
    """Call it beside every change of a person's roles, state or sessions; the message leaves with the commit."""
    transaction.on_commit(partial(_send, user_id))


def _send(user_id: int) -> None:
    """Publishes what the pub/sub layer would publish by a loop of its own (as ``pools.services.live`` does)."""
    config: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
    packed = get_channel_layer().serialize({"type": MESSAGE_TYPE, "text": str(user_id)})
    try:
        hot().publish(f"{config['prefix']}__group__{GROUP}", packed)
    except redis.RedisError as error:  # the sockets ask again by themselves every half minute
        log.warning("the change of rights of user %s could not be announced: %s", user_id, error)
