"""Two people edited one entitlement: what each changed, field by field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

FIELDS = (
    "tier",
    "base_concurrency",
    "base_tokens_per_second",
    "base_kv_bytes",
    "cap_concurrency",
    "cap_tokens_per_second",
    "cap_kv_bytes",
    "valid_from",
    "valid_until",
)


class Moved(NamedTuple):
    """A field the other changed. ``clash``: the reader changed it too, to something else; then ``mine`` stays."""

    name: str
    was: str
    theirs: str
    mine: str
    clash: bool


def merged(
    base: Mapping[str, Any], mine: Mapping[str, str], theirs: Mapping[str, Any]
) -> tuple[dict[str, str], list[Moved]]:
    """The values of the form to show, and what the other edit moved.

    ``base`` is what the reader began with, ``mine`` what was typed, ``theirs`` what is stored now. A field that the
    reader left alone follows theirs.
    """
    values, moves = dict(mine), []
    for name in FIELDS:
        if name not in mine:
            continue
        was, now, typed = (
            str(source.get(name) if source.get(name) is not None else "") for source in (base, theirs, mine)
        )
        if now == was:
            continue
        clash = typed not in (was, now)
        if not clash:
            values[name] = now
        moves.append(Moved(name, was, now, typed, clash))
    return values, moves
