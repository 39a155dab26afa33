"""Sending live messages: one a second and pool, see ``pools.selectors.live`` for what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from channels.layers import get_channel_layer
from django.conf import settings

from pools.selectors.live import KEPT_S, MESSAGE_TYPE, LiveMessage, live_group, live_key
from pools.selectors.overview import ROWS_KEY, row_of
from portal.lib.hot import hot


def live_send(messages: Sequence[LiveMessage]) -> None:
    """Remembers and sends the messages, and each pool's row of the overview, in one round trip.

    The worker publishes by its own synchronous connection what the pub/sub layer would publish by a loop of its own:
    the layer gives the serialiser and the channel's name, so consumers notice no difference.
    """
    if not messages:
        return
    layer = get_channel_layer()
    config: dict[str, Any] = settings.CHANNEL_LAYERS["default"]["CONFIG"]  # type: ignore[assignment]
    prefix = config["prefix"]
    pipe = hot().pipeline(transaction=False)
    for message in messages:
        encoded, pool_id = message.encoded(), message.pool.id
        pipe.set(live_key(pool_id), encoded, ex=KEPT_S)
        packed = layer.serialize({"type": MESSAGE_TYPE, "text": encoded.decode()})
        pipe.publish(f"{prefix}__group__{live_group(pool_id)}", packed)
        pipe.hset(ROWS_KEY, str(pool_id), orjson.dumps(list(row_of(message))))
    pipe.execute()
