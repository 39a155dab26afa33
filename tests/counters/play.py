"""Random deeds, done to the reference world and to the store in pipelined batches, and compared bit for bit."""

from __future__ import annotations

import random
import struct
from dataclasses import asdict, astuple
from typing import Any

import redis

from pools.counters import keys, records, wire
from pools.counters.types import Heartbeat
from pools.mechanism.admission import Ask
from pools.mechanism.hot import Terms
from pools.mechanism.resize import CapacityRecord
from pools.mechanism.settlement import Settlement
from tests.counters.world import POOL, World

BLOCK = 1 << 20
TAG = keys.pool_key(POOL)


def first_terms(dice: random.Random, service_class: int, lend_percent: int) -> Terms:
    """Terms whose limits bind now and then."""
    base = dice.randint(2, 4) if service_class < 2 else 0
    cap = base if service_class == 1 else base * 2 or dice.randint(3, 12)
    return Terms(
        service_class=service_class, cap_kv=cap * 3 * BLOCK, cap_seats=cap, base_kv=base * 3 * BLOCK, base_seats=base,
        lend_percent=lend_percent if service_class == 1 else 0, sequence_kv=3 * BLOCK,
        refill_milli=dice.randint(20_000, 400_000),
        bucket_size_micro=dice.randint(400, 4_000) * 1_000_000, limit_kv=dice.randint(1, cap) * 3 * BLOCK,
        limit_seats=dice.randint(1, cap), weight_micro=dice.randint(1, 3) * 1000,
    )  # fmt: skip


class Play:
    """One seeded game. ``calm``: capacity and promises never change, so that the over-commit rule can be checked."""

    def __init__(self, client: redis.Redis, seed: int, *, calm: bool) -> None:
        self.client, self.dice, self.calm = client, random.Random(seed), calm
        self.world = World()
        self.now = 1_700_000_000_000 + seed
        self.names = 0
        self.open: list[tuple[int, str]] = []
        self.deeds = 0
        self.commands: list[tuple[Any, ...]] = []
        self.expected: list[Any] = []
        self._set_up()

    def _set_up(self) -> None:
        lend = self.dice.choice((0, 50, 100))
        self._push("SET", keys.test_clock_key(POOL), self.now, expect=None)
        self._tick(self._record(24), {})
        for key in range(1, 11):
            self._configure(key, first_terms(self.dice, (0, 1, 1, 2, 2, 2, 3, 3, 4, 4)[key - 1], lend))
        self.flush()

    def _push(self, *command: Any, expect: Any) -> None:
        self.commands.append(command)
        self.expected.append(expect)

    def _record(self, seats: int) -> CapacityRecord:
        return CapacityRecord(
            seats * 3 * BLOCK, seats, (seats + 7) // 8, max(BLOCK, seats * 3 * BLOCK * 6 // 100),
            max(1, seats * 6 // 100),
            draining_seats=self.dice.choice((0, 0, 0, 2)), capacity_version=self.dice.randint(1, 9),
            next_tick_ms=self.now + 1000, mean_service_us=4_000_000,
        )  # fmt: skip

    def _tick(self, record: CapacityRecord | None, rows: dict[int, tuple[int, int, int, int, int]]) -> None:
        due = self.now + self.dice.choice((0, 300, 1000)) if self.dice.random() < 0.5 else None
        self.world.tick(record, rows, self.now, due)
        capacity = struct.pack(f"<{len(record)}d", *record) if record else b""
        packed = b"".join(struct.pack("<6d", key, *row) for key, row in rows.items())
        self._push("FCALL", "tp_tick", 1, TAG, capacity, packed, *([] if due is None else [due]), expect=b"OK")

    def _configure(self, key: int, terms: Terms) -> None:
        self.world.configure(key, terms, self.now)
        packed = struct.pack("<Bd", 1, key) + records.pack_terms(terms)
        self._push("FCALL", "tp_configure", 1, TAG, packed, expect=1)

    def step(self) -> None:
        """A few deeds of one kind at one moment."""
        dice = self.dice
        if dice.random() < 0.6:
            self.now += dice.choice((0, 1, 7, 40, 150, 900)) if dice.random() < 0.985 else dice.randint(4_000, 90_000)
            self._push("SET", keys.test_clock_key(POOL), self.now, expect=None)
        kind = dice.random()
        count = dice.choice((1, 1, 2, 3, 6))
        if kind < 0.47:
            self._reserve(count)
        elif kind < 0.88:
            self._settle(count)
        elif kind < 0.94:
            self._beat(count)
        elif kind < 0.96:
            self._push("FCALL", "tp_reap", 1, TAG, 100_000, expect=("reap", self.world.reap(self.now)))
            self.deeds += 1
        elif kind < 0.985 or self.calm:
            self._limits()
        elif kind < 0.993:
            self.world.resized = True
            self._tick(self._record(dice.choice((0, 8, 16, 24, 32))), {})
            self.deeds += 1
        else:
            self.world.resized = True
            self._change_terms()

    def do(self, deed: str, size: int) -> None:
        """One named deed, its numbers drawn from this game's dice."""
        if deed == "wait":
            self.now += 10 ** min(size, 5)
            self._push("SET", keys.test_clock_key(POOL), self.now, expect=None)
        elif deed == "reap":
            self._push("FCALL", "tp_reap", 1, TAG, 100_000, expect=("reap", self.world.reap(self.now)))
        elif deed == "limits":
            self._limits()
        elif deed == "resize":
            self.world.resized = True
            self._tick(self._record(4 * size - 4), {})
        elif deed == "terms":
            self.world.resized = True
            self._change_terms()
        else:
            {"reserve": self._reserve, "settle": self._settle, "beat": self._beat}[deed](size)

    def _limits(self) -> None:
        dice = self.dice
        rows = {}
        for key in dice.sample(sorted(self.world.terms), dice.randint(1, 6)):
            terms = self.world.terms[key]
            seats = dice.randint(0, terms.cap_seats)
            size = dice.randint(300, 4_000) * 1_000_000
            rows[key] = (dice.randint(0, 500_000), size, seats * 3 * BLOCK, seats, dice.randint(1, 4000))
        self._tick(
            self._record(self.world.pool.capacity_seats) if dice.random() < 0.5 and not self.calm else None, rows
        )
        self.deeds += 1

    def _change_terms(self) -> None:
        key = self.dice.randint(1, 10)
        terms = first_terms(self.dice, self.dice.randint(0, 4), 50)
        terms.state = self.dice.choice((2, 2, 2, 2, 0, 1, 3, 4, 5))
        terms.valid_until_ms = self.dice.choice((0, 0, self.now + 5_000))
        self._configure(key, terms)
        self.deeds += 1

    def _reserve(self, count: int) -> None:
        dice = self.dice
        packed, decisions, asks = [], [], []
        for _ in range(count):
            key = dice.randint(1, 11)
            if dice.random() < 0.05 and self.open:
                key, request_id = dice.choice(self.open)
            else:
                self.names += 1
                request_id = f"req-{self.names:x}"
            ask = Ask(
                POOL, key, request_id, dice.choice((0, 1, 60, 128, 300, 900, 5000)),
                dice.choice((0, 1, 2, 3, 5, 9)) * BLOCK,
                dice.choice((1, 1, 1, 2, 4)), dice.choice((3_000, 10_000, 60_000)), dice.choice((0, 0, 0, 200)),
                dice.randint(0, 99), dice.choice(("", "", f"offer-{dice.randint(1, 30):04d}")),
            )  # fmt: skip
            decision = self.world.reserve(ask, self.now)
            if decision.admitted and not decision.known:
                self.open.append((key, request_id))
            packed.append(wire.pack_ask(ask))
            asks.append(ask)
            decisions.append(decision)
        self._push("FCALL", "tp_reserve", *wire.call_words(asks, packed), expect=("reserve", decisions))
        self.deeds += count

    def _settle(self, count: int) -> None:
        dice = self.dice
        packed, answers, settlements = [], [], []
        for _ in range(count):
            if not self.open:
                break
            index = dice.randrange(len(self.open))
            key, request_id = self.open[index]
            if dice.random() < 0.93:
                self.open[index] = self.open[-1]
                self.open.pop()
            elif dice.random() < 0.1:
                request_id = "never-seen"
            charge = dice.choice((-1, 0, 5, 60, 128, 700))
            settlement = Settlement(
                POOL, key, request_id, charge, dice.choice((0, 0, 0, 1, 4)), dice.randint(0, 2), 3, 4
            )
            answers.append(self.world.settle(settlement, self.now))
            packed.append(wire.pack_settlement(settlement))
            settlements.append(settlement)
        if packed:
            self._push("FCALL", "tp_settle", *wire.call_words(settlements, packed), expect=("settle", answers))
            self.deeds += len(packed)

    def _beat(self, count: int) -> None:
        packed, answers = [], []
        for _ in range(min(count, len(self.open))):
            key, request_id = self.dice.choice(self.open)
            beat = Heartbeat(POOL, key, request_id, self.dice.choice((5_000, 60_000)), self.dice.randint(0, 200))
            answers.append(self.world.beat(key, request_id, beat.streamed_tokens, beat.lease_ms, self.now))
            packed.append(wire.pack_heartbeat(beat))
        if packed:
            self._push("FCALL", "tp_heartbeat", 1, TAG, *packed, expect=("beat", answers))
            self.deeds += len(packed)

    def flush(self) -> None:
        """Send what was done since, compare every answer and then every record."""
        pipe = self.client.pipeline(transaction=False)
        for command in self.commands:
            pipe.execute_command(*command)
        tag_keys = [TAG] + [keys.entitlement_key(POOL, key) for key in sorted(self.world.hot)]
        tag_keys += [keys.terms_key(POOL, key) for key in sorted(self.world.terms)]
        pipe.mget(tag_keys)
        *replies, stored = pipe.execute()
        for reply, expect, command in zip(replies, self.expected, self.commands, strict=True):
            self._compare(reply, expect, command)
        self.commands, self.expected = [], []
        assert records.unpack_pool(stored[0]) == self.world.pool
        for key, raw in zip(sorted(self.world.hot), stored[1:], strict=False):
            got, want = asdict(records.unpack_entitlement(raw)), asdict(self.world.hot[key])
            assert got == want, {name: (got[name], want[name]) for name in got if got[name] != want[name]}
        for key, raw in zip(sorted(self.world.terms), stored[1 + len(self.world.hot) :], strict=True):
            assert records.unpack_terms(raw) == self.world.terms[key]
        self.world.check()

    def _compare(self, reply: Any, expect: Any, command: tuple[Any, ...]) -> None:
        if not isinstance(expect, tuple):
            assert expect is None or reply == expect, (command, reply)
            return
        kind, wanted = expect
        if kind == "reap":
            assert reply[0] == wanted and reply[2] == 0
            return
        read = {"reserve": wire.read_decision, "settle": wire.read_settled, "beat": wire.read_heartbeat}[kind]
        for index, answer in enumerate(wanted):
            assert tuple(read(reply, index)) == tuple(answer), (command, index, astuple(self.world.pool))

    def finish(self) -> None:
        """Leases, candidates and the number of events agree at the end."""
        self.flush()
        names = sorted(self.world.leases)
        raws: Any = self.client.mget([f"{TAG}:r:{name}" for name in names]) if names else []
        for name, raw in zip(names, raws, strict=True):
            assert records.unpack_reservation(raw) == self.world.leases[name], name
        stored: Any = self.client.hkeys(keys.preemptible_key(POOL))
        assert sorted(stored) == sorted(f"{TAG}:r:{name}".encode() for name in self.world.candidates)
        entries: Any = self.client.xrange(keys.usage_key(POOL))
        events = [wire.read_event(POOL, "", raw) for _, fields in entries for raw in fields.values()]
        assert [event.sequence for event in events] == list(range(1, self.world.events + 1))
