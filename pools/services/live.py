"""Sending live messages: one a second and pool, see ``pools.selectors.live`` for what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings

from pools.selectors.live import KEPT_S, MESSAGE_TYPE, live_group, live_key
from portal.lib.hot import hot


def live_send(messages: Sequence[tuple[int, bytes]]) -> None:
    """Remembers and sends (pool id, JSON) pairs in one round trip.

    The worker publishes by its own synchronous connection what the pub/sub layer would publish by a loop of its own:
    the layer gives the serialiser and the channel's name, so consumers notice no difference.
    """
    if not messages:
        return
    layer = get_channel_layer()
    config: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
    prefix = config["prefix"]
    pipe = hot().pipeline(transaction=False)
    for pool_id, encoded in messages:
        pipe.set(live_key(pool_id), encoded, ex=KEPT_S)
        packed = layer.serialize({"type": MESSAGE_TYPE, "text": encoded.decode()})
        pipe.publish(f"{prefix}__group__{live_group(pool_id)}", packed)
    pipe.execute()
