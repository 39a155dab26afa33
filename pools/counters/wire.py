"""Calls to bytes and replies to named tuples, shared by the asyncio client and the synchronous store."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pools.counters import keys, records
from pools.counters.types import (
    OUTCOMES,
    SOURCES,
    Ask,
    Decision,
    Heartbeat,
    HeartbeatReply,
    LiveReservation,
    Settled,
    Settlement,
    UsageEvent,
)
from pools.mechanism.accrual import offer_tag
from pools.mechanism.hot import EVICTED

LONGEST_ID = 200
LARGEST_TOKENS = 2**31 - 1
LARGEST_KV = 2**46
LARGEST_SEATS = 2**16
LONGEST_LEASE_MS = 3_600_000
LONGEST_HOLD_MS = 60_000

_pack_ask = records.ASK.pack
_pack_settlement = records.SETTLEMENT.pack
_read_decision = records.DECISION.unpack_from
_read_settled = records.SETTLED.unpack_from
_FLAGS = tuple((bool(n & 1), bool(n & 2), bool(n & 4), bool(n & 8), bool(n & 16)) for n in range(32))
EVENT_TAIL = struct.Struct(records.SETTLEMENT.format)


def pack_ask(ask: Ask) -> bytes:
    """Raises ValueError for anything that is not a whole number in range, or an id that cannot name a request."""
    _, entitlement_id, request_id, tokens, kv_bytes, seats, lease_ms, hold_ms, key_id, offer_id = ask
    try:
        if (
            0 <= tokens <= LARGEST_TOKENS
            and 0 <= kv_bytes <= LARGEST_KV
            and 1 <= seats <= LARGEST_SEATS
            and 1 <= lease_ms <= LONGEST_LEASE_MS
            and 0 <= hold_ms <= LONGEST_HOLD_MS
            and 0 < len(request_id) <= LONGEST_ID
            and entitlement_id >= 0
        ):
            tag = offer_tag(offer_id or request_id)
            return _pack_ask(tokens, kv_bytes, seats, lease_ms, hold_ms, key_id, tag)
    except (struct.error, TypeError) as error:
        raise ValueError(f"an ask holds whole numbers: {ask} ({error})") from None
    raise ValueError(f"an ask is out of range (see pools.counters.wire): {ask}")


def pack_settlement(settlement: Settlement) -> bytes:
    """Raises ValueError for anything that is not a whole number in range."""
    _, entitlement_id, request_id, actual, outcome, source, *rest = settlement
    try:
        if (
            -1 <= actual <= LARGEST_TOKENS
            and 0 <= outcome < len(OUTCOMES)
            and 0 <= source < len(SOURCES)
            and 0 < len(request_id) <= LONGEST_ID
            and entitlement_id >= 0
        ):
            return _pack_settlement(outcome, source, actual, *rest)
    except (struct.error, TypeError) as error:
        raise ValueError(f"a settlement holds whole numbers: {settlement} ({error})") from None
    raise ValueError(f"a settlement is out of range (see pools.counters.wire): {settlement}")


def call_keys(item: Ask | Settlement) -> tuple[str, str, str]:
    """The keys of one ask or settlement, after the pool's: entitlement, terms, reservation."""
    tag, entry = keys.pool_key(item.pool_id), item.entitlement_id
    return f"{tag}:e:{entry}", f"{tag}:c:{entry}", f"{tag}:r:{entry}:{item.request_id}"


def call_words(items: Sequence[Ask] | Sequence[Settlement], packed: Sequence[bytes]) -> list[str | int | bytes]:
    """Number of keys, keys and arguments of a tp_reserve or tp_settle of several requests of one pool.

    Each entitlement's keys are named once; with several requests the first argument says whose each is.
    """
    owners: dict[tuple[str, str], int] = {}
    places, reservations = [], []
    for item in items:
        state, terms, reservation = call_keys(item)
        places.append(owners.setdefault((state, terms), len(owners)))
        reservations.append(reservation)
    names = [keys.pool_key(items[0].pool_id), *(name for pair in owners for name in pair), *reservations]
    head = [struct.pack(f"<{len(places)}H", *places)] if len(items) > 1 else []
    return [len(names), *names, *head, *packed]


def pack_heartbeat(beat: Heartbeat) -> bytes:
    """Raises ValueError for anything that is not a whole number in range."""
    entry = str(beat.entitlement_id)
    try:
        if not 0 <= beat.streamed_tokens <= LARGEST_TOKENS or not 1 <= beat.lease_ms <= LONGEST_LEASE_MS:
            raise ValueError(f"out of range: {beat}")
        head = records.HEARTBEAT.pack(len(entry), beat.lease_ms, beat.streamed_tokens)
    except (struct.error, TypeError) as error:
        raise ValueError(f"a heartbeat holds whole numbers: {beat} ({error})") from None
    return head + f"{entry}:{beat.request_id}".encode()


def read_decision(reply: bytes, index: int = 0) -> Decision:
    """The index-th decision of a reply."""
    (
        flags,
        code,
        dimension,
        streak,
        victims,
        wait,
        use,
        limit,
        remaining,
        bucket,
        refill,
        seats,
        cap,
        expires,
        version,
    ) = _read_decision(reply, index * DECISION_BYTES)
    admitted, known, finished, contended, held = _FLAGS[flags]
    return Decision(
        admitted, code, dimension, known, finished, contended, held, victims, streak, wait, use, limit, remaining,
        bucket, refill, seats, cap, expires, version,
    )  # fmt: skip


DECISION_BYTES = records.DECISION.size
SETTLED_BYTES = records.SETTLED.size
HEARTBEAT_BYTES = records.HEARTBEAT_REPLY.size


def read_settled(reply: bytes, index: int = 0) -> Settled:
    return Settled._make(_read_settled(reply, index * SETTLED_BYTES))


def read_heartbeat(reply: bytes, index: int = 0) -> HeartbeatReply:
    flags, expires = records.HEARTBEAT_REPLY.unpack_from(reply, index * HEARTBEAT_BYTES)
    return HeartbeatReply(bool(flags & 1), bool(flags & 2), expires)


def read_event(pool_id: int, stream_id: str, raw: bytes) -> UsageEvent:
    """One usage event; raises struct.error for a damaged one."""
    facts = records.EVENT.unpack_from(raw)
    sequence, key_id, reserved, charged, spilled, overrun, kv, seats, started, settled_at, version = map(
        int, facts[:11]
    )
    outcome, source = facts[11:]
    tail = EVENT_TAIL.unpack_from(raw, records.EVENT.size)
    member = raw[records.EVENT.size + EVENT_TAIL.size :].decode()
    entry, _, request_id = member.partition(":")
    return UsageEvent(
        stream_id=stream_id,
        sequence=sequence,
        request_id=request_id,
        pool_id=pool_id,
        entitlement_id=int(entry),
        key_id=key_id,
        outcome=OUTCOMES[outcome],
        source=SOURCES[source],
        reserved_tokens=reserved,
        charged_tokens=charged,
        spilled_tokens=spilled,
        overrun_tokens=overrun,
        kv_bytes=kv,
        concurrency=seats,
        started_at_ms=started,
        settled_at_ms=settled_at,
        capacity_version=version,
        input_tokens=tail[3],
        output_tokens=tail[4],
        cached_tokens=tail[5],
        prompt_bytes=tail[6],
        ttft_ms=tail[7],
        duration_ms=tail[8] or settled_at - started,
        endpoint_id=tail[9],
    )


def read_live(name: bytes, raw: bytes) -> LiveReservation:
    """A reservation from its key and record."""
    entry, _, request_id = name.decode().partition(":r:")[2].partition(":")
    lease = records.unpack_reservation(raw)
    return LiveReservation(
        int(entry), request_id, lease.tokens, lease.kv, lease.seats, lease.started_ms, lease.expires_ms,
        lease.status == EVICTED,
    )  # fmt: skip
