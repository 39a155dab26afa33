"""One live message to 500 listeners of one process: the hub against channels-redis' layers and a bare pub/sub.

Run ``python -m benchmarks.live [--quick] [--json]``. Times run from the publish to the last listener; sockets are left
out on all sides, because they cost each of them the same. Starts a Valkey of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks._common import Report, interleaved, median, parse_options
from portal.embedded.stack import Stack

CLIENTS = 500
POOL = 1
TEXT = "x" * 12_000  # about 60 entitlements

Send = Callable[[], Awaitable[None]]


async def timed(receives: list[Coroutine[Any, Any, Any]], send: Send) -> float:
    """Milliseconds from the send until every listener has it."""
    waiting = [asyncio.create_task(receive) for receive in receives]
    await asyncio.sleep(0.05)  # all of them wait by now
    begun = time.perf_counter()
    await send()
    await asyncio.gather(*waiting)
    return 1000 * (time.perf_counter() - begun)


async def by_hub(url: str, messages: int) -> float:
    """What the portal does."""
    from channels.layers import get_channel_layer

    from pools.selectors.live import live_group
    from portal.live.hub import Listener, hub

    listeners = [Listener(None) for _ in range(CLIENTS)]
    for listener in listeners:
        await hub().join(POOL, listener)
    layer: Any = get_channel_layer()

    async def send() -> None:
        await layer.group_send(live_group(POOL), {"type": "pool.live", "text": TEXT})

    taken = [await timed([listener.get() for listener in listeners], send) for _ in range(messages)]
    for listener in listeners:
        hub().leave(POOL, listener)
    await asyncio.sleep(0.05)  # the subscription ends on this loop
    return median(taken)


def by_layer(make: Callable[[str], Any]) -> Callable[[str, int], Awaitable[float]]:
    """One subscription per client, as a consumer with a channel layer has it."""

    async def run(url: str, messages: int) -> float:
        layer = make(url)
        channels = [await layer.new_channel() for _ in range(CLIENTS)]
        for channel in channels:
            await layer.group_add("many", channel)

        async def send() -> None:
            await layer.group_send("many", {"type": "pool.live", "text": TEXT})

        taken = [await timed([layer.receive(channel) for channel in channels], send) for _ in range(messages)]
        for channel in channels:
            await layer.group_discard("many", channel)
        if hasattr(layer, "close_pools"):
            await layer.close_pools()
        return median(taken)

    return run


async def by_bare_pubsub(url: str, messages: int) -> float:
    """The least there is: one redis-py subscription that fills one queue per client."""
    import redis.asyncio as redis

    client = redis.Redis.from_url(url)
    pubsub = client.pubsub()
    await pubsub.subscribe("bare")
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue() for _ in range(CLIENTS)]

    async def spread() -> None:
        async for message in pubsub.listen():
            if message["type"] == "message":
                for queue in queues:
                    queue.put_nowait(message["data"])

    task = asyncio.create_task(spread())

    async def send() -> None:
        await client.publish("bare", TEXT)

    taken = [await timed([queue.get() for queue in queues], send) for _ in range(messages)]
    task.cancel()
    await pubsub.aclose()  # type: ignore[no-untyped-call]
    await client.aclose()
    return median(taken)


def main() -> int:
    """Runs all of them in turn on one Valkey."""
    options = parse_options(__doc__.splitlines()[0] if __doc__ else "")
    report = Report("live", options)
    folder = Path(tempfile.mkdtemp(prefix="tp-bench-"))
    stack = Stack(folder, postgres=False, fast=True)
    stack.start()
    assert stack.valkey is not None
    os.environ.update(
        {"VAR_DIR": str(folder), "REDIS_URL": stack.valkey.url, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    )
    try:
        import django

        django.setup()
        from channels_redis.core import RedisChannelLayer
        from channels_redis.pubsub import RedisPubSubChannelLayer

        runs: dict[str, Callable[[str, int], Awaitable[float]]] = {
            "hub": by_hub,
            "bare": by_bare_pubsub,
            "pubsub": by_layer(lambda url: RedisPubSubChannelLayer(hosts=[url])),
            "core": by_layer(lambda url: RedisChannelLayer(hosts=[url], capacity=1000)),
        }
        url, messages = stack.valkey.url, options.scaled(10, 4)
        cases = {name: (lambda run=run: asyncio.run(_as_coroutine(run(url, messages)))) for name, run in runs.items()}
        seen = interleaved(cases, options.rounds)
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
    report.section(f"one message of {len(TEXT):,} bytes to {CLIENTS} listeners of one process, all reached")
    report.rate("hub (the portal)", seen["hub"], "ms")
    report.rate("bare pub/sub, one queue per client", seen["bare"], "ms")
    report.rate("channels-redis pub/sub layer, one channel per client", seen["pubsub"], "ms")
    report.rate("channels-redis core layer, one channel per client", seen["core"], "ms")
    report.ratio("core layer / hub", seen["core"], seen["hub"], goal=4)
    report.ratio("hub / bare pub/sub", seen["hub"], seen["bare"], goal=1.5, at_most=True)
    return report.finish()


async def _as_coroutine(run: Awaitable[float]) -> float:
    return await run


if __name__ == "__main__":
    raise SystemExit(main())
