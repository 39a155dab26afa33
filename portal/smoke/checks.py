"""From figures to checks: each names what must agree, both sides, and whether they do. Nothing is read here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from portal.smoke.books import Books, LedgerBooks, ReplicaBooks, StoreBooks, UsageBooks

LATEST_TICK_MS = 4000
TYPICAL_TICK_MS = 1000


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the audit: what must be, what is."""

    name: str
    expected: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What the senders saw: counts over all of them, and of the witnesses alone."""

    admitted: int
    completed: int
    cut_by_client: int
    broken: int
    good_tokens: int
    failed: int
    witness_sent: int
    witness_refused: int
    witness_broken: int
    refusals: str = ""


def checks_of(books: Books, seen: Seen, over_commit: dict[str, Any]) -> list[Check]:
    """Every check, in the order of a request's life."""
    return [
        *_admission(books.store, seen),
        *_promises(books.store, seen, over_commit),
        *_settlement(books.store, books.usage, seen),
        *_replicas(books.store, books.replicas),
        *_ledger(books.ledger),
        *_tick(books.lag_ms),
    ]


def _equal(name: str, expected: int, found: int, words: str = "") -> Check:
    return Check(name, f"{expected:,}{words}", f"{found:,}", expected == found)


def _admission(store: StoreBooks, seen: Seen) -> Iterator[Check]:
    yield _equal("reservations, by pool and by entitlement", store.admitted, store.admitted_by_entitlements)
    extra = store.admitted - seen.admitted
    yield Check(
        "reservations and answers clients got",
        f"{seen.admitted:,} to {seen.admitted + seen.broken:,}",
        f"{store.admitted:,}",
        0 <= extra <= seen.broken,
    )
    yield _equal("reservations = settlements + expiries", store.admitted, store.settled + store.expired)
    yield _equal("live reservations left", 0, store.live)
    yield _equal("sequences in use, pool", 0, store.use_sequences)
    yield _equal("KV bytes in use, pool", 0, store.use_kv_bytes)
    yield _equal("sequences in use, entitlements", 0, store.entitlement_use_sequences)
    yield _equal("KV bytes in use, entitlements", 0, store.entitlement_use_kv_bytes)
    yield _equal("tokens reserved", 0, store.reserved_tokens)
    yield _equal("buckets where minted ≠ left + reserved + charged + spilled", 0, store.unbalanced_buckets)


def _promises(store: StoreBooks, seen: Seen, over: dict[str, Any]) -> Iterator[Check]:
    yield _equal("answers that failed or broke off", 0, seen.failed)
    yield Check("requests of witnesses within their base", "≥ 1", f"{seen.witness_sent:,}", seen.witness_sent >= 1)
    yield Check("of those refused", "0", f"{seen.witness_refused:,} {seen.refusals}".strip(), seen.witness_refused == 0)
    yield _equal("of those broken", 0, seen.witness_broken)
    yield _equal("guaranteed requests refused for room", 0, store.guaranteed_refused_for_room)
    yield Check("looks for over-commitment", "≥ 1", f"{over['looks']:,}", over["looks"] >= 1)
    worst = f" (worst {over['worst_sequences']} over capacity, {over['lent_sequences']} may be lent)"
    yield Check("sequences beyond the rule", "0", f"{over['sequences']}{worst}", over["sequences"] == 0)
    yield _equal("KV bytes beyond the rule", 0, over["kv_bytes"])


def _settlement(store: StoreBooks, usage: UsageBooks, seen: Seen) -> Iterator[Check]:
    yield _equal("usage events = settlements + expiries", store.settled + store.expired, store.events)
    yield _equal("usage rows stored = usage events", store.events, usage.rows)
    yield _equal("usage rows, each request once", usage.rows, usage.distinct)
    yield _equal("usage not stored yet", 0, store.backlog)
    yield _equal("expiries, rows and counters", store.expired, usage.expired)
    yield _equal("tokens charged, counters and rows", sum(store.charged.values()), sum(usage.charged.values()))
    keys = set(store.charged) | set(usage.charged)
    wrong = sum(store.charged.get(key, 0) != usage.charged.get(key, 0) for key in keys)
    yield _equal("entitlements charged differently", 0, wrong)
    yield Check(
        "completed requests, clients and rows",
        f"{seen.completed:,} to {seen.completed + seen.cut_by_client:,}",
        f"{usage.completed:,}",
        0 <= usage.completed - seen.completed <= seen.cut_by_client,
    )
    same = usage.completed_output_tokens == seen.good_tokens
    loose = usage.completed > seen.completed and usage.completed_output_tokens >= seen.good_tokens
    yield Check(
        "their output tokens, clients and rows",
        f"{seen.good_tokens:,}" + (" or more" if loose else ""),
        f"{usage.completed_output_tokens:,}",
        same or loose,
    )
    yield _equal("requests in minute roll-ups", usage.rows, usage.rolled_requests)
    yield _equal("tokens in minute roll-ups", usage.tokens, usage.rolled_tokens)


def _replicas(store: StoreBooks, replicas: ReplicaBooks) -> Iterator[Check]:
    yield _equal("replicas wanted = ready", replicas.wanted, replicas.ready)
    yield _equal("replicas alive = wanted", replicas.wanted, replicas.alive)
    if replicas.last_chosen is not None:
        words = f" ({replicas.moves} moves)"
        yield _equal("last decision applied = wanted", replicas.last_chosen, replicas.wanted, words)
    yield _equal("decisions that do not follow the one before", 0, replicas.broken_links)
    capacity = replicas.ready * replicas.sequences_per_replica
    yield _equal("sequences of ready replicas = capacity in the counters", capacity, store.capacity_sequences)


def _ledger(ledger: LedgerBooks) -> Iterator[Check]:
    words = f" (of {ledger.transfers:,})"
    yield _equal("ledger transfers that do not sum to zero", 0, ledger.unbalanced, words)
    yield _equal("ledger transfers with one side only", 0, ledger.lonely)
    yield _equal("sum of all ledger entries, milli-tokens", 0, ledger.sum_millitokens)


def _tick(lag_ms: tuple[int, ...]) -> Iterator[Check]:
    yield Check("ticks sampled", "≥ 1", f"{len(lag_ms):,}", len(lag_ms) >= 1)
    if lag_ms:
        typical, latest = sorted(lag_ms)[len(lag_ms) // 2], max(lag_ms)
        yield Check("tick lag, median", f"≤ {TYPICAL_TICK_MS:,} ms", f"{typical:,} ms", typical <= TYPICAL_TICK_MS)
        yield Check("tick lag, largest", f"≤ {LATEST_TICK_MS:,} ms", f"{latest:,} ms", latest <= LATEST_TICK_MS)
