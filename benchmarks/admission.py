"""Admission: how much of a no-op function call's speed a full decision reaches, same client, same run.

Starts a Valkey of its own on a private socket. Prints reserve, deny and settle against a no-op FCALL with 64 in flight,
decisions coalesced per loop tick against a pipelined no-op, latencies at 1 and 64 in flight against PING, server CPU
per call, the same at 10, 10,000 and 1,000,000 entitlements, and ``limits`` (one dimension) as a peer.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from benchmarks._common import Options, Report, interleaved, median, parse_options, percentile
from benchmarks._valkey import private_valkey
from pools.choices import EntitlementState, ServiceClass
from pools.counters import keys, records, wire
from pools.counters.client import CounterClient
from pools.counters.store import CounterStore
from pools.counters.terms import terms_of
from pools.counters.transport import encode
from pools.counters.types import Ask, EntitlementCounterConfig, PoolCounterConfig, Settlement
from pools.mechanism.amounts import Rate
from pools.mechanism.hot import EntitlementHot

IN_FLIGHT = 64
POOL = 1
PLENTY = Rate(1_000_000, 1 << 44, 60_000)
KV = 2 << 20
ENTITLEMENTS = 10


def configuration(entitlement_id: int, cap_seats: int = 60_000) -> EntitlementCounterConfig:
    cap = Rate(PLENTY.tokens_per_second, PLENTY.kv_bytes, cap_seats)
    return EntitlementCounterConfig(
        entitlement_id, EntitlementState.BOUND, ServiceClass.ELASTIC, Rate(0, 0, 0), cap, cap, 1_000_000_000
    )


DENIED = 5_000_000


def prepare(store: CounterStore) -> None:
    """One pool with room for all, ten entitlements that are admitted and one that never is."""
    store.configure_pool(PoolCounterConfig(POOL, PLENTY, 1, 1, mean_service_ms=4_000))
    store.configure_entitlements(POOL, [configuration(key) for key in range(1, ENTITLEMENTS + 1)])
    store.configure_entitlements(POOL, [configuration(DENIED, 1)])
    store.reserve(Ask(POOL, DENIED, "occupied", 128, KV))


def fill(client: redis.Redis, count: int) -> None:
    """Bring the number of entitlements to ``count`` by raw writes of packed terms and states."""
    terms = records.pack_terms(terms_of(configuration(1)))
    hot = records.pack_entitlement(EntitlementHot(at_ms=1, bucket_micro=10**15, minted_micro=10**15))
    tag = keys.pool_key(POOL)
    for first in range(1_000, count + 1_000, 5_000):
        pipe = client.pipeline(transaction=False)
        batch: dict[str, bytes] = {}
        for key in range(first, min(first + 5_000, count + 1_000)):
            batch[f"{tag}:c:{key}"] = terms
            batch[f"{tag}:e:{key}"] = hot
        pipe.mset(batch)
        pipe.execute()


async def closed_loop(call: Callable[[int], Awaitable[Any]], total: int, in_flight: int) -> tuple[float, list[float]]:
    """``in_flight`` callers, each asking again when answered: (calls per second, latencies in seconds)."""
    latencies: list[float] = []
    counter = iter(range(total))

    async def caller() -> None:
        for number in counter:
            started = time.perf_counter()
            await call(number)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return total / (time.perf_counter() - started), latencies


class Bench:
    """The measured calls. Request ids never repeat; what a reserve round took, a settle round gives back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: CounterStore, client: CounterClient, total: int) -> None:
        self.loop, self.store, self.client, self.total = loop, store, client, total
        self.redis = store._client
        self.round = 0
        self.span = ENTITLEMENTS
        self.latency: dict[str, list[float]] = {}
        self.server_us: dict[str, list[float]] = {}
        self.client_us: dict[str, list[float]] = {}
        connection = client._connection
        assert connection is not None
        self.connection = connection
        self.noop_command = b"*4\r\n$5\r\nFCALL\r\n$7\r\ntp_noop\r\n$1\r\n1\r\n$6\r\n{tp:1}\r\n"

    def noop(self, _number: int) -> Awaitable[Any]:
        future = self.loop.create_future()
        self.connection.send(self.noop_command, lambda reply: future.set_result(reply))
        return future

    def laden(self, number: int) -> Awaitable[Any]:
        """A no-op given the keys and the argument of a reserve."""
        future = self.loop.create_future()
        ask = Ask(POOL, self.entitlement(number), f"chatcmpl-{self.round}-{number:08x}", 192, KV)
        words = wire.call_words([ask], [wire.pack_ask(ask)])
        self.connection.send(encode("FCALL", "tp_noop", *words), lambda reply: future.set_result(reply))
        return future

    def ping(self, _number: int) -> Awaitable[Any]:
        return self.client.ping()

    def entitlement(self, number: int) -> int:
        return 1 + number % ENTITLEMENTS if self.span <= ENTITLEMENTS else 1_000 + number * 7919 % (self.span - 1_000)

    async def reserve(self, number: int) -> None:
        ask = Ask(POOL, self.entitlement(number), f"chatcmpl-{self.round}-{number:08x}", 192, KV)
        decision = await self.client.reserve(ask)
        assert decision.admitted, decision

    async def deny(self, number: int) -> None:
        decision = await self.client.reserve(Ask(POOL, DENIED, f"chatcmpl-d{self.round}-{number:08x}", 192, KV))
        assert not decision.admitted

    async def settle(self, number: int) -> None:
        name = f"chatcmpl-{self.round}-{number:08x}"
        settled = await self.client.settle(Settlement(POOL, self.entitlement(number), name, 150, 0, 0, 64, 86))
        assert settled.status == 1, settled

    async def pair(self, number: int) -> None:
        await self.reserve(number)
        await self.settle(number)

    def run(
        self, name: str, call: Callable[[int], Awaitable[Any]], in_flight: int = IN_FLIGHT, total: int = 0
    ) -> float:
        """Rate of one round; keeps latencies and the server's own time per call."""
        total = total or self.total
        before, own = self._server_time(), time.process_time()
        rate, latencies = self.loop.run_until_complete(closed_loop(call, total, in_flight))
        self.client_us.setdefault(name, []).append((time.process_time() - own) / total * 1e6)
        self.server_us.setdefault(name, []).append((self._server_time() - before) / total)
        self.latency.setdefault(name, []).extend(latencies)
        return rate

    def _server_time(self) -> float:
        """Microseconds of processor time the server's main thread has used; a busy neighbour does not add to it."""
        used: Any = self.redis.info("cpu")
        return 1e6 * (float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"]))

    def reserve_round(self, name: str) -> float:
        self.round += 1
        return self.run(name, self.reserve)

    def settle_round(self, name: str) -> float:
        rate = self.run(name, self.settle)
        self.redis.delete(keys.usage_key(POOL))
        self._forget()
        return rate

    def pair_round(self, name: str, in_flight: int = IN_FLIGHT, total: int = 0) -> float:
        self.round += 1
        rate = self.run(name, self.pair, in_flight, total)
        self.redis.delete(keys.usage_key(POOL))
        self._forget()
        return rate

    def _forget(self) -> None:
        """What the reaper does a minute later: drop finished reservations and their lists."""
        for pattern in ("{tp:1}:r:*", "{tp:1}:x:*"):
            names = list(self.redis.scan_iter(pattern, count=5000)) if self.span <= ENTITLEMENTS else []
            for first in range(0, len(names), 5000):
                self.redis.unlink(*names[first : first + 5000])


def single(report: Report, url: str, store: CounterStore, options: Options) -> None:
    """One function call per decision."""
    loop = asyncio.new_event_loop()
    client = CounterClient(url, coalesce=False)
    loop.run_until_complete(client.start())
    bench = Bench(loop, store, client, options.scaled(20_000, 4_000))
    report.section(f"one call per decision, {IN_FLIGHT} in flight, one Python process")
    rates = interleaved(
        {
            "noop": lambda: bench.run("noop", bench.noop),
            "laden": lambda: bench.run("laden", bench.laden),
            "ping": lambda: bench.run("ping", bench.ping),
            "reserve": lambda: bench.reserve_round("reserve"),
            "settle": lambda: bench.settle_round("settle"),
            "deny": lambda: bench.run("deny", bench.deny),
            "pair": lambda: bench.pair_round("pair"),
        },
        options.rounds,
    )
    report.rate("PING", rates["ping"])
    report.rate("no-op FCALL", rates["noop"])
    for name, goal in (("reserve", 0.28), ("deny", 0.40), ("settle", 0.30)):
        report.rate(name, rates[name])
        report.ratio(f"{name} / no-op", rates[name], rates["noop"], goal=goal)
    report.ratio("reserve / no-op that carries the same keys and argument", rates["reserve"], rates["laden"])
    report.rate("reserve+settle pairs", rates["pair"], "pairs/s")
    report.section("processor time per call (server's main thread, reading and writing included)")
    report.rate("no-op", bench.server_us["noop"], "µs")
    for name, goal in (("reserve", 7.0), ("deny", 7.0), ("settle", 7.0)):
        report.rate(name, bench.server_us[name], "µs")
        report.ratio(f"{name} / no-op", bench.server_us[name], bench.server_us["noop"], goal=goal, at_most=True)
    report.section("latency")
    few = options.scaled(4_000, 1_000)
    for name, call in (("ping", bench.ping), ("noop", bench.noop)):
        for _ in range(options.rounds):
            bench.run(f"{name} 1", call, 1, few)
    for _ in range(options.rounds):
        bench.round += 1
        bench.run("reserve 1", bench.reserve, 1, few)
        bench.run("settle 1", bench.settle, 1, few)
    for name in ("ping", "noop", "reserve", "settle"):
        for label, sample in (
            (f"{name}, 1 in flight", bench.latency[f"{name} 1"]),
            (f"{name}, 64", bench.latency[name]),
        ):
            report.rate(f"{label} p50", percentile(sample, 0.5) * 1e6, "µs")
            report.rate(f"{label} p99", percentile(sample, 0.99) * 1e6, "µs")
    half = percentile(bench.latency["ping 1"], 0.5)
    report.ratio(
        "reserve p50 / PING p50, one outstanding",
        percentile(bench.latency["reserve 1"], 0.5),
        half,
        goal=1.7,
        at_most=True,
    )
    bench._forget()
    loop.run_until_complete(client.close())
    loop.close()


def coalesced(report: Report, url: str, store: CounterStore, options: Options) -> None:
    """Decisions of one loop tick in one call, against the no-op pipelined by the same client."""
    loop = asyncio.new_event_loop()
    client = CounterClient(url)
    loop.run_until_complete(client.start())
    bench = Bench(loop, store, client, options.scaled(40_000, 8_000))
    report.section(f"coalesced per loop tick, {IN_FLIGHT} in flight, one Python process")
    rates = interleaved(
        {
            "noop": lambda: bench.run("noop", bench.noop),
            "reserve": lambda: bench.reserve_round("reserve"),
            "settle": lambda: bench.settle_round("settle"),
            "deny": lambda: bench.run("deny", bench.deny),
            "pair": lambda: bench.pair_round("pair"),
        },
        options.rounds,
    )
    report.rate("pipelined no-op", rates["noop"])
    report.rate("pipelined no-op, server time", bench.server_us["noop"], "µs")
    report.rate("pipelined no-op, client time", bench.client_us["noop"], "µs")
    for name, goal in (("reserve", 0.60), ("deny", 0.60), ("settle", None)):
        report.rate(f"{name}, coalesced", rates[name])
        report.ratio(f"{name} coalesced / pipelined no-op", rates[name], rates["noop"], goal=goal)
        report.rate(f"{name}, server time per decision", bench.server_us[name], "µs")
        report.rate(f"{name}, client time per decision", bench.client_us[name], "µs")
    report.rate("reserve+settle pairs", rates["pair"], "pairs/s")
    bench._forget()
    peers(report, url, options, median(rates["reserve"]))
    loop.run_until_complete(client.close())
    loop.close()


def peers(report: Report, url: str, options: Options, ours: float) -> None:
    """``limits`` (async, Redis storage), fixed window: one dimension, no lease, no reservation."""
    from limits import parse
    from limits.aio.storage import RedisStorage
    from limits.aio.strategies import FixedWindowRateLimiter

    loop = asyncio.new_event_loop()
    path = url.removeprefix("unix://")
    limiter = FixedWindowRateLimiter(RedisStorage(f"async+redis+unix://{path}", implementation="redispy"))
    item = parse("100000000/minute")
    total = options.scaled(6_000, 1_500)

    async def hit(number: int) -> None:
        assert await limiter.hit(item, str(number % ENTITLEMENTS))

    try:
        rates = [loop.run_until_complete(closed_loop(hit, total, IN_FLIGHT))[0] for _ in range(options.rounds)]
    except Exception as error:
        report.note(f"limits could not be measured: {error}")
        return
    finally:
        loop.close()
    report.section("peer: limits, fixed window, ONE dimension, same process and store")
    report.rate("limits hit", rates)
    report.ratio("our three-dimension reserve (coalesced) / limits", ours, rates, goal=3.0)


def scale(report: Report, url: str, store: CounterStore, options: Options) -> None:
    """The same reserve and settle with more and more entitlements in the store, asked for at random."""
    loop = asyncio.new_event_loop()
    client = CounterClient(url, coalesce=False)
    loop.run_until_complete(client.start())
    bench = Bench(loop, store, client, options.scaled(20_000, 4_000))
    report.section("flat in the number of entitlements (one call per decision)")
    shares: dict[int, float] = {}
    sizes = (ENTITLEMENTS, 10_000, 100_000 if options.quick else 1_000_000)
    for size in sizes:
        if size > ENTITLEMENTS:
            fill(store._client, size)
        bench.span = size
        bench.reserve_round(f"warm {size}")
        bench.settle_round(f"warm {size}")
        rates = interleaved(
            {
                "noop": lambda: bench.run("noop", bench.noop),
                "reserve": lambda: bench.reserve_round("reserve"),
                "settle": lambda: bench.settle_round("settle"),
            },
            options.rounds,
        )
        shares[size] = report.ratio(
            f"reserve / no-op at {size:,} entitlements", rates["reserve"], rates["noop"], goal=0.28
        )
        report.ratio(f"settle / no-op at {size:,} entitlements", rates["settle"], rates["noop"], goal=0.30)
    report.ratio(f"share at {sizes[-1]:,} / share at {sizes[0]:,}", shares[sizes[-1]], shares[sizes[0]], goal=0.8)
    loop.run_until_complete(client.close())
    loop.close()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uvloop", action="store_true", help="run the client on uvloop")


def main() -> int:
    options = parse_options(__doc__ or "", add_arguments)
    if options.extra.uvloop:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    report = Report("admission", options)
    assert os.cpu_count() and wire.DECISION_BYTES
    with private_valkey() as url:
        store = CounterStore(url, timeout_s=60)
        prepare(store)
        single(report, url, store, options)
        coalesced(report, url, store, options)
        scale(report, url, store, options)
        store.close()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
