"""The seeded world, busy: requests in flight in the real counters and real ticks over them, so that every live page
shows what a tick decided. No gateway and no replica is needed; nothing of it is stored but what a tick stores."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, F, Q

from billing.services.usage import usage_drain
from pools.choices import EndpointState, EntitlementState
from pools.counters.types import Ask, Settlement
from pools.models import Entitlement, Pool
from pools.services.documents import documents_refresh
from pools.services.fairness_roll import fairness_roll
from pools.services.overview import overview_send
from pools.services.rollups import rollups_make
from pools.services.shards import shard_pools, shards_forget
from pools.services.store import counters
from pools.services.tick import shard_tick
from pools.services.tick_show import board_write
from portal.lib.clock import now_ms

LEASE_MS = 600_000
TURNED_OVER = 0.02
"""Share of the requests that end, and are followed by others, at each turn."""
BOOKED_EACH = 30
KEEN, HOT = 4, {0: 4.0, 1: 2.0}
"""How many times likelier one entitlement in three is to ask, and everybody in some pools (by id modulo 7): some
queue, many are idle; some pools are full, most have room."""


@dataclass(frozen=True, slots=True)
class Asker:
    """An entitlement that may ask, with a request of its pool's usual size."""

    pool_id: int
    entitlement_id: int
    input_tokens: int
    output_tokens: int
    kv_bytes: int


class Bustle:
    """Keeps about ``in_flight`` requests running over all pools. Use from one process only."""

    def __init__(self, pool_ids: Sequence[int], in_flight: int, seed: int) -> None:
        self.pool_ids, self.in_flight = list(pool_ids), in_flight
        self.dice = random.Random(seed)
        self.running: deque[tuple[Asker, str]] = deque()
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
        self._name = f"seed-{seed}-{self.dice.getrandbits(40):x}"
        self.askers: list[Asker] = []
        self.weights: list[float] = []

    def begin(self, now: datetime, told: Callable[[int], None] = lambda count: None) -> None:
        """Publishes the books to the hot store and sends the first requests, then lets two ticks see them."""
        shards_forget()
        documents_refresh(now, full=True)
        self._boards()
        self._read()
        for _ in range(10):
            before = len(self.running)
            self._ask(self.in_flight // 10)
            told(len(self.running) - before)
        self.tick(now)

    def turn(self, now: datetime) -> None:
        """Some requests end, others begin; one tick; now and then what ended goes into the books."""
        for _ in range(int(len(self.running) * TURNED_OVER)):
            asker, name = self.running.popleft()
            counters().settle(
                Settlement(
                    asker.pool_id,
                    asker.entitlement_id,
                    name,
                    asker.input_tokens + asker.output_tokens // 2,
                    input_tokens=asker.input_tokens,
                    output_tokens=asker.output_tokens // 2,
                    ttft_ms=self.dice.randint(60, 900),
                    duration_ms=self.dice.randint(900, 9000),
                )
            )
        self._ask(self.in_flight - len(self.running))
        self.tick(now)
        if next(self._turns) % BOOKED_EACH == BOOKED_EACH - 1:
            for pool_id in self.pool_ids:
                usage_drain(pool_id, now)
            rollups_make(now, longest_s=1.0)
            fairness_roll(now)

    def tick(self, now: datetime) -> None:
        """What the tick does every second, for every shard."""
        for shard in range(settings.TICK_SHARDS):
            shard_tick(shard, shard_pools(shard), now)
        overview_send(now_ms())

    def _ask(self, count: int) -> None:
        if not self.askers:
            return
        for asker in self.dice.choices(self.askers, self.weights, k=count):
            name = f"{self._name}-{next(self._numbers)}"
            tokens = asker.input_tokens + asker.output_tokens
            ask = Ask(asker.pool_id, asker.entitlement_id, name, tokens, asker.kv_bytes, lease_ms=LEASE_MS)
            if counters().reserve(ask).admitted:
                self.running.append((asker, name))

    def _read(self) -> None:
        bound = Entitlement.objects.filter(pool_id__in=self.pool_ids, state=EntitlementState.BOUND.value)
        rows = bound.order_by("pk").values_list(
            "pool_id",
            "pk",
            "pool__current_profile__mean_input_tokens",
            "pool__current_profile__mean_output_tokens",
            "pool__current_profile__kv_bytes_per_token",
            "base_concurrency",
        )
        for pool_id, identity, input_tokens, output_tokens, per_token, slots in rows:
            given, made = round(input_tokens or 0), round(output_tokens or 0)
            self.askers.append(Asker(pool_id, identity, given, made, (given + made) * (per_token or 0)))
            self.weights.append((1 + slots) * (KEEN if identity % 3 == 0 else 1) * HOT.get(pool_id % 7, 1.0))

    def _boards(self) -> None:
        """What the endpoint and scaling reconcilers would have noted for the tick to show."""
        counts = {
            name: Count("endpoints", filter=Q(endpoints__state=state.value))
            for name, state in (
                ("ready", EndpointState.READY),
                ("starting", EndpointState.STARTING),
                ("leaving", EndpointState.DRAINING),
            )
        }
        rows = Pool.objects.filter(pk__in=self.pool_ids).annotate(**counts, wanted=F("wanted_replicas"))
        for pk, ready, starting, leaving, wanted in rows.values_list("pk", "ready", "starting", "leaving", "wanted"):
            board_write(
                pk,
                ready=ready,
                pending=starting,
                draining=leaving,
                wanted=wanted,
                need=round(wanted * 0.83, 2),
                reason=f"Demand needs {wanted * 0.83:.2f} replicas of 0.85 use.",
            )


def in_flight_of(entitlements: int) -> int:
    """Requests that suit a world of so many entitlements."""
    return max(40, entitlements * 3 // 4)
