"""The live message of a pool: one a second, encoded once, sent to the group ``pool.<id>`` and remembered for newcomers.

Every array of three is (tokens per second, KV bytes, sequences). A row is a list, in the order of ``ROW``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import orjson

from portal.lib.hot import hot

VERSION = 1
KEPT_S = 120
MESSAGE_TYPE = "pool.live"
"""The consumer's handler is ``pool_live``; the JSON text is under ``text``."""
ROW = (
    "entitlement_id",
    "tenant_id",
    "use",
    "limit",
    "cap",
    "base",
    "weight",
    "debt",
    "burst",
    "refused_per_min",
    "binds",
    "state",
    "headroom",
    "demand",
    "kept",
)
Row = list[Any]
_AT, _ROW_HEAD = re.compile(rb'{"v":\d+,"at":(\d+),'), re.compile(rb"\[\d+,\d+,\[")
WHOLE = 64_000
"""Characters of a message that is sent with all its rows to somebody who named none (some 250 rows)."""
MOST_WANTED = 600
Wanted = frozenset[int] | None


@dataclass(frozen=True, slots=True)
class LivePool:
    """The pool's part. ``refused`` counts by reason since the previous message; ``lag_ms`` is how late the tick ran;
    ``need`` replicas the demand needs before rounding, ``needed`` how many the rules want before their windows;
    ``reason`` the last scaling decision in words; ``waiting`` requests that queue inside the endpoints. The totals only
    grow: two messages tell what came between them. ``below``: entitlements whose limit is under their use. ``fair``:
    what a debt step measured, every five seconds; only then a row's ``kept`` means something: [share of the promise
    that was served], or [] for who asks for nothing promised."""

    id: int
    slug: str
    capacity: list[float]
    promised: list[float]
    use: list[float]
    hold: list[float]
    headroom: list[float]
    contended: bool
    ready: int
    pending: int
    draining: int
    wanted: int
    need: float
    reason: str
    lag_ms: int
    refused: dict[str, int] = field(default_factory=dict)
    sentence: str = ""
    needed: int | None = None
    waiting: int = 0
    admitted_total: int = 0
    refused_total: int = 0
    below: list[int] = field(default_factory=list)
    fair: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """``at`` is milliseconds since 1970 by the hot store's clock."""

    at: int
    pool: LivePool
    rows: Sequence[Row]

    def encoded(self) -> bytes:
        """The JSON that travels."""
        return orjson.dumps(
            {"v": VERSION, "at": self.at, "pool": asdict(self.pool), "rows": self.rows},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )


def live_key(pool_id: int) -> str:
    """Where the latest message of a pool is kept."""
    return f"tp:live:{pool_id}"


def live_group(pool_id: int) -> str:
    """The Channels group of a pool."""
    return f"pool.{pool_id}"


def live_latest(pool_ids: Sequence[int]) -> dict[int, bytes]:
    """The latest message of each pool that has one; a newcomer begins with it."""
    if not pool_ids:
        return {}
    found = cast(list[bytes | None], hot().mget([live_key(pool_id) for pool_id in pool_ids]))
    return {pool_id: message for pool_id, message in zip(pool_ids, found, strict=True) if message is not None}


def live_head(text: bytes) -> dict[str, Any]:
    """A message without its rows, which are nearly all of it and are not read."""
    head, mark, _ = text.partition(b',"rows":[')
    found: dict[str, Any] = orjson.loads(head + b"}") if mark else {}
    return found


def live_picked(text: bytes, wanted: Iterable[int]) -> tuple[int, list[Row]]:
    """(``at``, the rows of the wanted entitlements), cut out of a message without reading the rest of it.

    A page of a list shows one row each of fifty pools; to read whole messages for them took half a second. A row begins
    with two whole numbers and an array, and ends with an array: nothing else in a message does.
    """
    said = _AT.match(text)
    if said is None:
        return 0, []
    first, found = text.find(b'"rows":['), []
    for identity in wanted:
        begin = first
        while (begin := text.find(b"[%d," % identity, begin + 1)) >= 0:
            if _ROW_HEAD.match(text, begin):
                end = text.find(b"]]", begin)
                found.append(orjson.loads(text[begin : end + 2]))
                break
    return int(said.group(1)), found


def live_for_tenant(message: bytes | str, tenant_id: int) -> bytes:
    """The same message with this tenant's rows only, and of the pool only what concerns everybody.

    A tenant learns its own numbers and whether the pool is contended, never another tenant's use or promise.
    """
    document = orjson.loads(message)
    pool = document["pool"]
    shown = {name: pool[name] for name in ("id", "slug", "contended", "ready", "pending", "lag_ms")}
    rows = [row for row in document["rows"] if row[1] == tenant_id]
    return orjson.dumps({"v": document["v"], "at": document["at"], "pool": shown, "rows": rows})


def live_wanted(text: str) -> Wanted:
    """The rows a browser asks for: ``{"rows": [entitlement ids]}``; None for anything else."""
    try:
        rows = orjson.loads(text)["rows"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(rows, list) or len(rows) > MOST_WANTED or not all(type(one) is int for one in rows):
        return None
    return frozenset(rows)


def live_rows_only(text: str | bytes, wanted: Wanted) -> str:
    """The message with the wanted rows; without a wish whole when it is small, else without rows (``cut``)."""
    if wanted is None and len(text) <= WHOLE:
        return text.decode() if isinstance(text, bytes) else text
    return live_cut(orjson.loads(text), wanted or frozenset())


def live_cut(document: dict[str, Any], wanted: frozenset[int]) -> str:
    """A message that was read, with the wanted rows; ``cut`` says whether some are missing."""
    rows = [row for row in document["rows"] if row[0] in wanted]
    cut = len(rows) < len(document["rows"])
    return orjson.dumps({**document, "rows": rows, "cut": cut}).decode()
