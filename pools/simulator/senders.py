"""Who sends: API keys with tenant and class, read from a key file; and which trace client sends under which key."""

from __future__ import annotations

import json
import random
import stat
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pools.choices import ServiceClass
from portal.lib.errors import DomainError

EXAMPLE = '{"keys": [{"key": "tp_live_…", "tenant": "acme", "class": "elastic", "pool": "chat", "model": "chat"}]}'


@dataclass(frozen=True, slots=True)
class Sender:
    """One key. ``share`` is its part of a trace that names no clients; ``pool`` "" serves any pool."""

    key: str
    tenant: str
    service_class: str = ServiceClass.ELASTIC.value
    pool: str = ""
    model: str = ""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    """One request to send: seconds after the start, by whom, sizes in tokens. ``max_tokens`` None leaves it out."""

    at_s: float
    sender: Sender
    input_tokens: int
    output_tokens: int
    max_tokens: int | None = None
    stream: bool = True
    prefix: tuple[int, ...] = ()
    abandon_after: int = 0


def read_senders(path: Path, pool: str = "") -> list[Sender]:
    """The senders of a key file that serve ``pool`` ("" for all). Raises DomainError ``bad_keys``, ``open_keys``."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise DomainError("open_keys", f"The key file {path} can be read by others. Run: chmod 600 {path}")
        rows = json.loads(path.read_text())["keys"]
        senders = [_sender(row) for row in rows]
    except OSError as error:
        raise DomainError("bad_keys", f"The key file {path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DomainError("bad_keys", f"The key file {path} is not like {EXAMPLE}.") from error
    chosen = [sender for sender in senders if pool in {"", sender.pool} or not sender.pool]
    if not chosen:
        raise DomainError("bad_keys", f"The key file {path} names no key for the pool {pool!r}.")
    return chosen


def write_senders(path: Path, senders: Sequence[Sender]) -> None:
    """Writes a key file (mode 600), whole or not at all."""
    rows = [
        {
            "key": sender.key,
            "tenant": sender.tenant,
            "class": sender.service_class,
            "pool": sender.pool,
            "model": sender.model,
            "share": sender.share,
        }
        for sender in senders
    ]
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps({"keys": rows}, indent=1) + "\n")
    fresh.replace(path)


def assigner(senders: Sequence[Sender], sizes: dict[str, int] | None, rng: random.Random) -> Callable[[str], Sender]:
    """Which sender a trace client is.

    ``sizes`` (tokens by client) packs clients onto senders so that each carries about its share: the largest first,
    each to the sender furthest below its share. Without it a client is hashed, so that it is the same sender in every
    run. A request without a client is drawn by share.
    """
    weights = [max(sender.share, 1e-9) for sender in senders]
    packed = _packed(senders, weights, sizes or {})

    def choose(client: str) -> Sender:
        if not client:
            return rng.choices(senders, weights)[0]
        return packed.get(client) or random.Random(zlib.crc32(client.encode())).choices(senders, weights)[0]

    return choose


def client_sizes(rows: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Tokens by client of (client, tokens) rows; clients without a name are left out."""
    sizes: dict[str, int] = {}
    for client, tokens in rows:
        if client:
            sizes[client] = sizes.get(client, 0) + tokens
    return sizes


def _packed(senders: Sequence[Sender], weights: Sequence[float], sizes: dict[str, int]) -> dict[str, Sender]:
    filled = [0.0] * len(senders)
    packed = {}
    for client in sorted(sizes, key=lambda name: (-sizes[name], name)):
        index = min(range(len(senders)), key=lambda place: (filled[place] + sizes[client]) / weights[place])
        filled[index] += sizes[client]
        packed[client] = senders[index]
    return packed


def _sender(row: dict[str, object]) -> Sender:
    service_class = ServiceClass(str(row.get("class", "elastic"))).value
    key, tenant, share = row["key"], row["tenant"], row.get("share", 1.0)
    if not isinstance(key, str) or not key.isascii() or not key.isprintable() or not isinstance(tenant, str):
        raise ValueError("key and tenant are texts")
    if not isinstance(share, int | float) or not 0 <= share < 1e9:
        raise ValueError("share is a number from 0")
    return Sender(key, tenant, service_class, str(row.get("pool", "")), str(row.get("model", "")), float(share))
