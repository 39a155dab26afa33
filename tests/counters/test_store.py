"""What the control plane sees: idempotent deeds, usage events once, snapshots, reaping, rebuilding."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import redis
from redis.crc import key_slot

from pools.choices import EntitlementState, Outcome, Refusal, ServiceClass
from pools.counters import keys, library, types, wire
from pools.counters.rebuild import rebuild
from pools.counters.store import CounterStore
from pools.counters.types import (
    Ask,
    CounterUnavailable,
    PoolCounterConfig,
    Settlement,
    TickWrite,
)
from pools.mechanism import admission, hot
from pools.mechanism.amounts import Rate
from portal.lib.errors import DomainError
from tests.counters.conftest import MIB, promise, set_up


def test_closed_lists_agree_with_the_mechanism() -> None:
    for refusal in Refusal:
        assert getattr(admission, refusal.name) == refusal.value
    assert len(Refusal) == hot.REFUSAL_SLOTS - 1
    assert types.OUTCOMES.index(Outcome.EXPIRED) == library.OUTCOME_EXPIRED
    assert [state.name for state in types.STATES] == [
        name.removeprefix("STATE_")
        for name, _ in sorted(
            ((name, value) for name, value in vars(hot).items() if name.startswith("STATE_")), key=lambda item: item[1]
        )
    ]


def test_a_repeated_ask_and_a_repeated_settlement_count_once(store: CounterStore) -> None:
    set_up(store, promise(17))
    first = store.reserve(Ask(1, 17, "a", 100, MIB))
    again = store.reserve(Ask(1, 17, "a", 100, MIB))
    assert first.admitted and again.admitted and again.known and again.expires_at_ms == first.expires_at_ms
    assert again.use_concurrency == 1
    done = store.settle(Settlement(1, 17, "a", 130))
    repeated = store.settle(Settlement(1, 17, "a", 5))
    assert (done.status, done.charged_tokens, done.overrun_tokens) == (1, 130, 30)
    assert (repeated.status, repeated.charged_tokens, repeated.overrun_tokens) == (2, 130, 30)
    assert store.reserve(Ask(1, 17, "a", 100, MIB)).finished
    assert store.settle(Settlement(1, 17, "b", 5)).status == 0
    assert store.snapshot(1).pool.use_seats == 0


def test_a_refused_ask_consumes_nothing(store: CounterStore) -> None:
    set_up(store, promise(17, cap=1, base=0, bucket_tokens=500))
    assert store.reserve(Ask(1, 17, "a", 100, MIB)).admitted
    before = store.snapshot(1)
    refused = store.reserve(Ask(1, 17, "b", 100, MIB))
    assert refused.code == Refusal.CONCURRENCY and refused.wait_ms > 0
    after = store.snapshot(1)
    assert after.pool == before.pool
    assert np.array_equal(after.in_flight, before.in_flight)
    assert after.refused[0, Refusal.CONCURRENCY] == 1
    assert not store.live_reservations(1)[1:]


def test_usage_events_leave_once_and_a_dead_drain_loses_none(store: CounterStore) -> None:
    set_up(store, promise(17))
    for name in "abc":
        store.reserve(Ask(1, 17, name, 100, MIB, key_id=7))
        store.settle(Settlement(1, 17, name, 64, input_tokens=40, output_tokens=24, ttft_ms=120, endpoint_id=3))
    taken = store.read_usage(1, "drain")
    again = store.read_usage(1, "drain")  # nothing was acknowledged: the same again
    assert [event.request_id for event in taken] == ["a", "b", "c"] and taken == again
    event = taken[0]
    assert (event.entitlement_id, event.key_id, event.charged_tokens, event.reserved_tokens) == (17, 7, 64, 100)
    assert (event.input_tokens, event.output_tokens, event.ttft_ms, event.endpoint_id) == (40, 24, 120, 3)
    assert event.outcome is Outcome.COMPLETED and event.source == "engine" and event.capacity_version == 3
    assert [event.sequence for event in taken] == [1, 2, 3]
    assert store.ack_usage(1, [event.stream_id for event in taken]) == 3
    assert store.usage_backlog(1) == 0 and store.read_usage(1, "drain") == []


def test_an_expired_lease_is_charged_and_frees_its_place(valkey: redis.Redis, redis_url: str) -> None:
    store = CounterStore(redis_url, test_clock=True)
    start = 1_700_000_000_000
    valkey.set(keys.test_clock_key(1), start)
    set_up(store, promise(17))
    store.reserve(Ask(1, 17, "a", 100, MIB, lease_ms=2_000))
    valkey.set(keys.test_clock_key(1), start + 1_000)
    assert store.reap(1) == 0
    valkey.set(keys.test_clock_key(1), start + 12_000)
    assert store.reap(1) == 1 and store.reap(1) == 0
    (event,) = store.read_usage(1, "drain")
    assert (event.outcome, event.charged_tokens, event.source) == (Outcome.EXPIRED, 100, "reserved")
    late = store.settle(Settlement(1, 17, "a", 20))
    assert (late.status, late.charged_tokens) == (2, 100)
    pool = store.snapshot(1).pool
    assert (pool.use_seats, pool.expired, pool.admitted) == (0, 1, 1)
    valkey.set(keys.test_clock_key(1), start + 90_000)
    store.reap(1)
    assert not list(valkey.scan_iter("{tp:1}:r:*"))


def test_snapshots_measure_what_happened_between_them(valkey: redis.Redis, redis_url: str) -> None:
    store = CounterStore(redis_url, test_clock=True)
    start = 1_700_000_000_000
    valkey.set(keys.test_clock_key(1), start)
    set_up(store, promise(17), promise(18))
    before = store.snapshot(1)
    store.reserve(Ask(1, 17, "a", 100, MIB))
    valkey.set(keys.test_clock_key(1), start + 2_000)
    store.settle(Settlement(1, 17, "a", 60))
    store.reserve(Ask(1, 18, "b", 10**6, MIB))
    store.reserve(Ask(1, 18, "b", 10**6, MIB))
    measured = store.snapshot(1).since(before)
    assert measured.elapsed_s == 2.0
    assert measured.used[0].tolist() == [60.0, 2.0 * MIB, 2.0] and not measured.used[1].any()
    assert measured.offered_tokens.tolist() == [100, 10**6]  # the repeated refusal is one offer
    assert measured.refused[1, Refusal.NEVER_FITS] == 2 and measured.admitted.tolist() == [1, 0]
    assert store.snapshot(1).peak[0].tolist() == [0, MIB, 1]


def test_work_is_spread_over_a_run(valkey: redis.Redis, redis_url: str) -> None:
    store = CounterStore(redis_url, test_clock=True)
    start = 1_700_000_000_000
    valkey.set(keys.test_clock_key(1), start)
    set_up(store, promise(17))
    shots = [store.snapshot(1)]
    store.reserve(Ask(1, 17, "a", 100, MIB))
    for second in range(1, 5):
        valkey.set(keys.test_clock_key(1), start + 1000 * second)
        shots.append(store.snapshot(1))
    work = [newer.since(older).used[0, 0] for older, newer in itertools.pairwise(shots)]
    assert work == [25.0] * 4  # 100 tokens over the pool's mean of 4 s
    store.settle(Settlement(1, 17, "a", 90))
    assert store.snapshot(1).since(shots[0]).used[0, 0] == 90.0


def test_the_tick_writes_limits_without_touching_states_or_use(store: CounterStore) -> None:
    set_up(store, promise(17), promise(18))
    store.reserve(Ask(1, 17, "a", 100, MIB))
    store.configure_entitlements(1, [promise(18, state=EntitlementState.SUSPENDED)])
    pool = PoolCounterConfig(1, Rate(480, 32 * MIB, 32), 2, 9)
    tick = TickWrite([17, 18, 99], [1.5, 2.25, 3], [500, 600, 1], [MIB, 2 * MIB, 1], [1, 2, 1], [0.5, 2.0, 1], 0, pool)
    store.write_tick(1, tick)
    shot = store.snapshot(1)
    assert shot.pool.capacity_seats == 32 and shot.pool.use_seats == 1 and shot.pool.capacity_version == 9
    assert shot.column("refill_milli").tolist() == [1500, 2250]
    assert shot.column("limit_seats").tolist() == [1, 2] and shot.column("weight_micro").tolist() == [5e5, 2e6]
    assert shot.column("state").tolist() == [2, 4]
    assert store.reserve(Ask(1, 18, "b", 1, 1)).code == Refusal.SUSPENDED
    with pytest.raises(ValueError, match="finite"):
        store.write_tick(1, TickWrite([17], [float("nan")], [1], [1], [1], [1]))


@pytest.mark.parametrize("at_once", [1, 3, 10_000])
def test_many_pools_travel_together(store: CounterStore, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr("pools.counters.store.KEYS_AT_ONCE", at_once)
    for pool_id in (1, 2, 3):
        store.configure_pool(PoolCounterConfig(pool_id, Rate(240, 16 * MIB, 16), 1, 1))
        store.configure_entitlements(pool_id, [promise(10 * pool_id + number) for number in range(pool_id)])
    store.configure_pool(PoolCounterConfig(4, Rate(240, 16 * MIB, 16), 1, 1))
    ids = [10, 20, 21, 30, 31, 32]
    mine = {pool_id: [key for key in ids if key // 10 == pool_id] for pool_id in (1, 2, 3, 4)}
    store.write_ticks(
        [
            (pool_id, TickWrite(rows, *[[key] * len(rows) for key in (pool_id, 100, MIB, 2)], [1.0] * len(rows), 0))
            for pool_id, rows in mine.items()
        ]
    )
    shots = store.snapshots([1, 2, 3, 4])
    assert [shot.entitlement_ids.tolist() for shot in shots] == [[10], [20, 21], [30, 31, 32], []]
    assert [shot.column("refill_milli").tolist() for shot in shots] == [[1000], [2000] * 2, [3000] * 3, []]
    with pytest.raises(CounterUnavailable, match="pool 9 is not configured"):
        store.snapshots([1, 9])
    assert store.snapshots([]) == []


def test_a_smaller_pool_evicts_preemptible_work_only(store: CounterStore) -> None:
    set_up(store, promise(1, ServiceClass.SPOT, base=0), promise(2, ServiceClass.PREEMPTIBLE, base=0))
    for number in range(6):
        assert store.reserve(Ask(1, 1, f"s{number}", 10, MIB)).admitted
        assert store.reserve(Ask(1, 2, f"p{number}", 10, MIB)).admitted
    store.configure_pool(PoolCounterConfig(1, Rate(120, 8 * MIB, 8), 1, 4))
    gone = [lease for lease in store.live_reservations(1) if lease.evicted]
    assert {lease.entitlement_id for lease in gone} == {2} and len(gone) == 4
    assert store.snapshot(1).pool.use_seats == 8
    for lease in gone:
        store.settle(Settlement(1, 2, lease.request_id, 4, types.OUTCOMES.index(Outcome.PREEMPTED)))
    pool = store.snapshot(1).pool
    assert (pool.use_seats, pool.evicting_seats, pool.evicted) == (8, 0, 4)


def test_removed_entitlements_are_refused_and_still_settle(store: CounterStore) -> None:
    set_up(store, promise(17), promise(18, ServiceClass.GUARANTEED))
    store.reserve(Ask(1, 17, "a", 100, MIB))
    store.remove_entitlement(1, 17)
    store.remove_entitlement(1, 18)
    assert store.reserve(Ask(1, 17, "b", 1, 1)).code == Refusal.EXPIRED
    assert store.reserve(Ask(1, 18, "b", 1, 1)).code == Refusal.UNKNOWN_ENTITLEMENT
    assert store.settle(Settlement(1, 17, "a", 1)).status == 1
    pool = store.snapshot(1).pool
    assert (pool.use_seats, pool.hold_seats) == (0, 0)


def test_drift_is_measured_at_one_moment_and_changes_nothing(store: CounterStore, valkey: redis.Redis) -> None:
    configs = [promise(17), promise(18, ServiceClass.PREEMPTIBLE, base=0)]
    with pytest.raises(CounterUnavailable):
        store.drift(1)
    set_up(store, *configs)
    assert store.drift(1) == types.Drift(0, 0, 0, 0, 0)
    for name in "abc":
        store.reserve(Ask(1, 17, name, 100, MIB))
        store.reserve(Ask(1, 18, name, 50, MIB))
    store.settle(Settlement(1, 17, "a", 10))
    assert store.drift(1) == types.Drift(5, 0, 0, 0, 0)
    valkey.delete(keys.reservation_key(1, 17, "b"))
    lost = store.drift(1)
    assert lost == types.Drift(4, 1, MIB, 1, 100) and lost.sequences == 1
    assert store.drift(1) == lost, "looking repairs nothing"
    valkey.delete(keys.entitlement_key(1, 18))  # its own sums are gone, its leases live
    assert store.drift(1) == types.Drift(4, 1, MIB, 4, 250)
    rebuild(store, PoolCounterConfig(1, Rate(240, 16 * MIB, 16), 1, 3), configs)
    assert store.drift(1) == types.Drift(4, 0, 0, 0, 0)
    assert types.Drift(4, 0, 0, 0, 7).sequences == 1


def test_rebuilding_repairs_drift_and_keeps_what_lives(store: CounterStore, valkey: redis.Redis) -> None:
    configs = [promise(17), promise(18, ServiceClass.GUARANTEED), promise(19, ServiceClass.PREEMPTIBLE, base=0)]
    set_up(store, *configs, promise(20))
    for key in (17, 18, 19):
        store.reserve(Ask(1, key, "a", 100, MIB))
    store.reserve(Ask(1, 17, "gone", 100, MIB))
    valkey.delete(keys.reservation_key(1, 17, "gone"), keys.preemptible_key(1))
    pool = PoolCounterConfig(1, Rate(240, 16 * MIB, 16), 1, 3)
    done = rebuild(store, pool, configs)
    assert (done.live, done.removed, done.drift_concurrency, done.drift_kv_bytes) == (3, 1, -1, -MIB)
    shot = store.snapshot(1)
    assert shot.pool.use_seats == 3 and shot.pool.evictable_seats == 1 and shot.pool.hold_seats == 3
    assert shot.in_flight[:, 2].tolist() == [1, 1, 1]
    again = rebuild(store, pool, configs)
    assert (again.live, again.drift_concurrency) == (3, 0)
    valkey.delete(keys.pool_key(1))  # the pool's own record is lost
    assert rebuild(store, pool, configs).drift_concurrency == 3
    valkey.flushall()
    assert rebuild(store, pool, configs).live == 0
    assert store.reserve(Ask(1, 17, "new", 100, MIB)).admitted


def test_all_keys_of_a_call_share_a_cluster_slot(store: CounterStore, valkey: redis.Redis) -> None:
    set_up(store, promise(17), promise(19, ServiceClass.PREEMPTIBLE, base=0), pool_id=42)
    ask = Ask(42, 19, "odd {name} é", 100, MIB)
    assert store.reserve(ask).admitted
    slots = {key_slot(name.encode()) for name in (keys.pool_key(42), *wire.call_keys(ask), keys.usage_key(42))}
    slots |= {key_slot(name) for name in valkey.scan_iter("*")}
    assert len(slots) == 1


def test_a_store_in_use_by_another_layout_is_left_alone(store: CounterStore, valkey: redis.Redis) -> None:
    text = library.library_text()
    other = text.replace("return {1, ", "return {2, ", 1)
    assert other != text
    valkey.function_load(other, replace=True)
    valkey.set(keys.POOLS_KEY, "[1]")
    with pytest.raises(DomainError, match="layout 2; this version needs layout 1") as refused:
        store.reserve(Ask(1, 17, "a", 1, 1))
    assert refused.value.code == "library_conflict"
    valkey.delete(keys.POOLS_KEY)  # nobody uses it: replaced
    assert store.reserve(Ask(1, 17, "a", 1, 1)).code == Refusal.UNKNOWN_ENTITLEMENT


def test_an_older_build_is_replaced_and_a_newer_one_kept() -> None:
    layout, build = 1, library.BUILD
    assert library.must_load([layout, build - 1, b"server"], in_use=True)
    assert not library.must_load([layout, build, b"server"], in_use=True)
    assert not library.must_load([layout, build + 1, b"server"], in_use=True)
    assert library.must_load(None, in_use=True)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": float("nan")},
        {"tokens": -1},
        {"tokens": 10**12},
        {"tokens": 1.5},
        {"tokens": None},
        {"kv_bytes": -5},
        {"kv_bytes": float("inf")},
        {"kv_bytes": 2**63},
        {"concurrency": 0},
        {"concurrency": 10**9},
        {"lease_ms": 0},
        {"lease_ms": 10**9},
        {"hold_ms": -1},
        {"key_id": -1},
        {"request_id": ""},
        {"request_id": "x" * 201},
        {"entitlement_id": -1},
    ],
)
def test_bad_numbers_reach_no_counter(store: CounterStore, change: dict[str, object]) -> None:
    ask = Ask(1, 17, "a", 1, 1)._replace(**change)
    with pytest.raises(ValueError, match=r"ask"):
        store.reserve(ask)
    with pytest.raises(ValueError, match="settlement"):
        store.settle(Settlement(1, 17, "a", float("nan")))  # type: ignore[arg-type]


def test_a_store_that_is_not_there_says_so_quickly() -> None:
    nowhere = CounterStore("unix:///tmp/there-is-no-such-socket", timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(CounterUnavailable, match="could not be asked"):
        nowhere.reserve(Ask(1, 17, "a", 1, 1))
    assert time.monotonic() - started < 5
