"""The gateway's client on a real store: coalescing, many connections, killed and paused servers, announcements."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis

from pools.choices import Refusal, ServiceClass
from pools.counters import keys
from pools.counters.client import CounterClient
from pools.counters.store import CounterStore
from pools.counters.types import Ask, CounterUnavailable, Heartbeat, Settlement
from tests.counters.conftest import MIB, OwnValkey, promise, set_up


@pytest_asyncio.fixture
async def client(store: CounterStore, redis_url: str) -> AsyncIterator[CounterClient]:
    counters = CounterClient(redis_url)
    await counters.start()
    yield counters
    await counters.close()


async def eventually(condition: object, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - it comes true in another process
            await asyncio.sleep(0.005)


async def test_decisions_of_one_tick_travel_in_one_call(
    client: CounterClient, store: CounterStore, valkey: redis.Redis
) -> None:
    set_up(store, promise(1), promise(2, cap=3), seats=64)
    valkey.config_resetstat()
    asks = [Ask(1, 1 + number % 3, f"r{number}", 10, MIB) for number in range(30)]
    decisions = await asyncio.gather(*(client.reserve(ask) for ask in asks))
    assert valkey.info("commandstats")["cmdstat_fcall"]["calls"] == 1  # type: ignore[index]
    assert sum(d.admitted for d in decisions) == 8 + 3
    assert {d.code for d in decisions[2::3]} == {Refusal.UNKNOWN_ENTITLEMENT}
    settlements = [Settlement(1, ask.entitlement_id, ask.request_id, 7) for ask in asks]
    settled = await asyncio.gather(*(client.settle(one) for one in settlements))
    assert [one.status for one in settled] == [int(decision.admitted) for decision in decisions]
    assert len(store.read_usage(1, "drain")) == 11


@pytest.mark.parametrize("coalesce", [True, False])
async def test_parallel_reserves_admit_exactly_the_free_slots(
    store: CounterStore, redis_url: str, coalesce: bool
) -> None:
    set_up(store, promise(1, cap=7), seats=64)
    clients = [CounterClient(redis_url, coalesce=coalesce) for _ in range(4)]
    for one in clients:
        await one.start()
    asks = [(one, Ask(1, 1, f"{place}-{number}", 10, MIB)) for number in range(25) for place, one in enumerate(clients)]
    decisions = await asyncio.gather(*(one.reserve(ask) for one, ask in asks))
    assert sum(decision.admitted for decision in decisions) == 7
    assert all(decision.wait_ms > 0 for decision in decisions if not decision.admitted)
    for one in clients:
        await one.close()


async def test_own_base_is_admitted_and_the_victims_gateway_hears_of_it(
    client: CounterClient, store: CounterStore
) -> None:
    set_up(
        store,
        promise(1, ServiceClass.GUARANTEED, base=4, cap=4, lend_percent=100),
        promise(2, ServiceClass.PREEMPTIBLE, base=0, cap=16),
    )
    victims: list[tuple[int, str]] = []
    client.on_eviction(1, lambda entitlement_id, request_id: victims.append((entitlement_id, request_id)))
    await client.listening()
    for number in range(16):
        assert (await client.reserve(Ask(1, 2, f"p{number}", 10, MIB))).admitted
    decision = await client.reserve(Ask(1, 1, "mine", 10, MIB))
    assert decision.admitted and decision.victims == 1
    await eventually(lambda: victims)
    (victim,) = victims
    assert victim[0] == 2
    beat = await client.heartbeat(Heartbeat(1, 2, victim[1], 60_000, 5))
    assert beat.alive and beat.evicted
    assert (await client.settle(Settlement(1, 2, victim[1], 5, 5))).charged_tokens == 5
    assert not (await client.heartbeat(Heartbeat(1, 2, victim[1]))).alive


async def test_who_holds_a_refused_request_hears_of_a_release(client: CounterClient, store: CounterStore) -> None:
    set_up(store, promise(1, ServiceClass.SPOT, base=0, cap=16), seats=2)
    heard = asyncio.Event()
    client.on_release(1, heard.set)
    await client.listening()
    for name in ("a", "b"):
        assert (await client.reserve(Ask(1, 1, name, 10, MIB))).admitted
    refused = await client.reserve(Ask(1, 1, "c", 10, MIB, hold_ms=250))
    assert refused.code == Refusal.POOL_FULL and refused.held
    assert store.snapshot(1).refused.sum() == 0  # not refused yet: it waits
    await client.settle(Settlement(1, 1, "a", 10))
    async with asyncio.timeout(5):
        await heard.wait()
    assert (await client.reserve(Ask(1, 1, "c", 10, MIB, hold_ms=250))).admitted


async def test_revoked_keys_are_heard_and_documents_read(client: CounterClient, store: CounterStore) -> None:
    gone: list[str] = []
    client.on_revoked(gone.append)
    await client.listening()
    store.put_document(keys.key_document("d1"), b'{"v":1}')
    assert await client.get_document(keys.key_document("d1")) == b'{"v":1}'
    store.delete_document(keys.key_document("d1"))
    store.publish(keys.REVOKED_CHANNEL, "d1")
    await eventually(lambda: gone == ["d1"])
    assert await client.get_document(keys.key_document("d1")) is None


async def test_a_killed_server_fails_fast_and_comes_back_with_every_reservation(own_valkey: OwnValkey) -> None:
    store = CounterStore(own_valkey.url)
    set_up(store, promise(1), promise(2, ServiceClass.PREEMPTIBLE, base=0))
    client = CounterClient(own_valkey.url)
    await client.start()
    heard: list[str] = []
    client.on_revoked(heard.append)
    await client.listening()
    assert (await client.reserve(Ask(1, 1, "before", 10, MIB))).admitted
    own_valkey.send(signal.SIGSTOP)
    in_flight = asyncio.ensure_future(client.reserve(Ask(1, 1, "during", 10, MIB)))
    await asyncio.sleep(0)
    own_valkey.kill()
    with pytest.raises(CounterUnavailable):
        await in_flight
    with pytest.raises(CounterUnavailable):
        await client.reserve(Ask(1, 1, "after", 10, MIB))
    own_valkey.start()
    await eventually(lambda: client.ready)
    repeated = await client.reserve(Ask(1, 1, "before", 10, MIB))
    assert repeated.known and repeated.use_concurrency >= 1
    assert (await client.reserve(Ask(1, 1, "during", 10, MIB))).admitted
    assert (await client.settle(Settlement(1, 1, "before", 10))).status == 1
    store.publish(keys.REVOKED_CHANNEL, "too early, perhaps")
    await eventually(lambda: store.publish(keys.REVOKED_CHANNEL, "again") or "again" in heard)
    await client.close()


async def test_a_silent_server_is_given_up_in_time(own_valkey: OwnValkey) -> None:
    client = CounterClient(own_valkey.url, command_timeout_s=0.2, connect_timeout_s=0.2)
    await client.start()
    own_valkey.send(signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(CounterUnavailable, match=r"within 0\.2 s"):
        await client.reserve(Ask(1, 1, "a", 10, MIB))
    assert time.monotonic() - started < 2
    own_valkey.send(signal.SIGCONT)
    await eventually(lambda: client.ready)
    assert (await client.reserve(Ask(1, 1, "a", 10, MIB))).code == Refusal.UNKNOWN_ENTITLEMENT
    await client.close()


async def test_a_gateway_may_start_before_its_store(own_valkey: OwnValkey) -> None:
    own_valkey.kill()
    client = CounterClient(own_valkey.url, connect_timeout_s=0.5)
    with pytest.raises(CounterUnavailable, match="cannot connect"):
        await client.start()
    own_valkey.start()
    await eventually(lambda: client.ready)
    await client.ping()
    await client.close()


async def test_an_emptied_store_gets_its_functions_again(client: CounterClient, valkey: redis.Redis) -> None:
    valkey.function_flush("SYNC")
    with pytest.raises(CounterUnavailable, match="not found"):
        await client.reserve(Ask(1, 1, "a", 10, MIB))
    await eventually(lambda: valkey.function_list())
    assert (await client.reserve(Ask(1, 1, "a", 10, MIB))).code == Refusal.UNKNOWN_ENTITLEMENT


async def test_a_cancelled_caller_disturbs_nobody(client: CounterClient, store: CounterStore) -> None:
    set_up(store, promise(1))
    tasks = [asyncio.ensure_future(client.reserve(Ask(1, 1, f"r{number}", 10, MIB))) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert all(answers[place].admitted for place in (0, 2, 3))  # type: ignore[union-attr]


async def test_bad_numbers_raise_at_once(client: CounterClient) -> None:
    with pytest.raises(ValueError, match="out of range"):
        await client.reserve(Ask(1, 1, "a", -1, MIB))
    with pytest.raises(ValueError, match="whole numbers"):
        await client.reserve(Ask(1, 1, "a", 0.5, MIB))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heartbeat"):
        await client.heartbeat(Heartbeat(1, 1, "a", 1000, None))  # type: ignore[arg-type]
