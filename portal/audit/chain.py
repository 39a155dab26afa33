"""The chain of hashes: what a record's hash covers, and how a chain is followed. Pure.

A record's hash covers the hash before it and everything the record says. Whoever changes, removes, moves or slips in a
record breaks the chain there; whoever cuts off its end is caught by the head that is kept beside it (``AuditHead``);
whoever writes all of it anew, head included, is caught by a head that was noted before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class BreakKind(StrEnum):
    """What was done to the chain, as far as it can be told."""

    ALTERED = "altered"
    DELETED = "deleted"
    REORDERED = "reordered"
    INSERTED = "inserted"
    REWRITTEN = "rewritten"
    CUT = "cut"


class Link(NamedTuple):
    """One record as it is stored."""

    record_id: int
    previous_hash: str
    hash: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain was followed: the last good record, its hash, and how many records that were."""

    record_id: int = 0
    hash: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Torn:
    """The first record that does not follow the head. ``altered``: its own hash does not fit what it says."""

    link: Link
    altered: bool


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain breaks, how, and a sentence for people."""

    record_id: int
    kind: BreakKind
    sentence: str


def record_hash(previous: str, content: dict[str, Any]) -> str:
    """Hex SHA-256 over the previous hash and the record's content in canonical JSON."""
    body = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str, ensure_ascii=False)
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def storable(value: Any) -> Any:
    """The value as it will be read back from the database: JSON whose whole numbers are written as such.

    PostgreSQL keeps 1e16 as 10000000000000000 and -0.0 as 0.0; hashed as written, it could never be verified.
    """
    if isinstance(value, dict):
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def follow(head: Head, links: Iterable[Link]) -> tuple[Head, Torn | None]:
    """The new head after as many links as hold, and the first that does not."""
    for link in links:
        if record_hash(link.previous_hash, link.content) != link.hash:
            return head, Torn(link, altered=True)
        if link.previous_hash != head.hash:
            return head, Torn(link, altered=False)
        head = Head(link.record_id, link.hash, head.count + 1)
    return head, None


def judged(head: Head, torn: Torn, named: int | None, follower: int | None) -> Break:
    """What happened at a torn link. ``named``: the record whose hash the torn one names as its predecessor's;
    ``follower``: a later record that names the head; None where there is none."""
    record = torn.link.record_id
    if torn.altered:
        return Break(record, BreakKind.ALTERED, f"Record #{record} no longer says what was recorded: its hash differs.")
    if named is not None and named > record:
        sentence = f"Record #{record} follows #{named} by its hash, but stands before it: records were moved."
        return Break(record, BreakKind.REORDERED, sentence)
    if named is not None:
        sentence = (
            f"Record #{record} follows #{named} by its hash, but #{head.record_id} stands between: it was slipped in."
        )
        return Break(head.record_id, BreakKind.INSERTED, sentence)
    if follower is not None:
        sentence = f"Record #{record} was slipped in: record #{follower} follows #{head.record_id} directly."
        return Break(record, BreakKind.INSERTED, sentence)
    before = f"#{head.record_id} and #{record}" if head.record_id else f"the beginning and #{record}"
    sentence = f"Between {before} at least one record was removed, or #{head.record_id or record} was written anew."
    return Break(record, BreakKind.DELETED, sentence)


def judged_end(head: Head | None, held: str | None, last: int, beyond: int | None, total: int) -> Break | None:
    """What happened at the end of the chain, by the head that is kept beside it. ``held``: the hash of the record it
    names; ``last``: the newest record; ``beyond``: the first one after the head; ``total``: how many there are."""
    if head is None:
        if not last:
            return None
        return Break(last, BreakKind.CUT, "The head that is kept beside the chain is gone: nobody can tell its end.")
    if beyond is not None:
        sentence = (
            f"Record #{beyond} stands after #{head.record_id}, the last one that was appended: it was slipped in, or "
            "the head beside the chain was set back."
        )
        return Break(beyond, BreakKind.INSERTED, sentence)
    if head.record_id > last:
        gone = head.count - total
        what = "1 record was" if gone == 1 else f"{gone:,} records were"
        there = f"#{last} is the last one there" if last else "none is there"
        return Break(head.record_id, BreakKind.CUT, f"{what} cut off: #{head.record_id} was appended, {there}.")
    if head.record_id and held != head.hash:
        sentence = f"Record #{head.record_id} had another hash when it was appended: it was written anew."
        return Break(head.record_id, BreakKind.REWRITTEN, sentence)
    return None
