"""What a reserve's time is made of: a no-op call, then one more of its parts at a time, and the reserve itself.

Server processor time only (the store's main thread, reading and writing included), so that a busy neighbour does not
count. Every variant is sent the same way, 200 calls in one write. Starts a Valkey of its own on a private socket.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import hiredis
import redis

from benchmarks._common import Report, interleaved, median, parse_options
from benchmarks._valkey import private_valkey
from benchmarks.admission import ENTITLEMENTS, KV, POOL, prepare
from pools.counters import keys, records, wire
from pools.counters.library import library_text
from pools.counters.store import CounterStore
from pools.counters.transport import encode
from pools.counters.types import Ask

IN_ONE_WRITE = 200
_FORMATS = {
    "pool": records.lua_format(records.pool_struct),
    "entitlement": records.lua_format(records.entitlement_struct),
    "terms": records.lua_format(records.terms_struct),
    "reservation": records.lua_format(records.reservation_struct),
    "ask": records.lua_format(records.ASK),
    "decision": records.lua_format(records.DECISION),
}
_READ = "local v = redis.call('MGET', k[1], k[2], k[3], k[4])"
_CLOCK = "local t = redis.call('TIME')"
_UNPACK = (
    "local p = {struct.unpack('@pool', v[1])} local e = {struct.unpack('@entitlement', v[2])} "
    "local tail = string.sub(v[2], @entitlement_bytes + 1) "
    "local c = {struct.unpack('@terms', v[3])} local a = {struct.unpack('@ask', g[1])}"
)
_PACK = (
    "local r = struct.pack('@decision', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) "
    "local l = struct.pack('@reservation', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16) "
    "local ne = struct.pack('@entitlement', unpack(e)) .. tail local np = struct.pack('@pool', unpack(p))"
)
_WRITE = "redis.call('RPUSH', k[1] .. ':x:1', k[4]) redis.call('MSET', k[2], ne, k[4], l, k[1], np)"
STEPS = (
    ("its keys and argument", ""),
    ("the store's clock", _CLOCK),
    ("reading four values", f"{_CLOCK} {_READ}"),
    ("unpacking pool, entitlement, terms and ask", f"{_CLOCK} {_READ} {_UNPACK}"),
    ("packing decision, reservation, entitlement, pool", f"{_CLOCK} {_READ} {_UNPACK} {_PACK}"),
    ("writing three values and the lease's list", f"{_CLOCK} {_READ} {_UNPACK} {_PACK} {_WRITE}"),
)


def library() -> str:
    """One function for each cumulative step."""
    lines = ["#!lua name=tpanatomy"]
    for index, (_, body) in enumerate(STEPS):
        for name, layout in _FORMATS.items():
            body = body.replace(f"'@{name}'", f"'{layout}'")
        body = body.replace("@entitlement_bytes", str(records.entitlement_struct.size))
        lines.append(f"redis.register_function('an_{index}', function(k, g) {body} return 1 end)")
    return "\n".join(lines)


class Calls:
    """A raw connection that sends many calls in one write and reads their replies."""

    def __init__(self, url: str, total: int) -> None:
        self.total, self.round = total, 0
        self.records: dict[Any, Any] = {}
        self.store = redis.Redis.from_url(url)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(url.removeprefix("unix://"))
        self.reader = hiredis.Reader(notEnoughData=...)

    def close(self) -> None:
        self.socket.close()
        self.store.close()

    def cost(self, command: Callable[[int], bytes]) -> float:
        """Microseconds of server time per call."""
        self.round += 1
        batches = list(self._batches(command))
        before = self._server_time()
        for batch in batches:
            self.socket.sendall(batch)
            self._replies(IN_ONE_WRITE)
        spent = self._server_time() - before
        self.forget()
        return spent / (len(batches) * IN_ONE_WRITE)

    def reserve(self, function: str) -> Callable[[int], bytes]:
        """A call with the keys and the argument of a reserve; request ids never repeat."""

        def command(number: int) -> bytes:
            ask = Ask(POOL, 1 + number % ENTITLEMENTS, f"chatcmpl-{self.round}-{number:08x}", 192, KV)
            return encode("FCALL", function, *wire.call_words([ask], [wire.pack_ask(ask)]))

        return command

    def _batches(self, command: Callable[[int], bytes]) -> Iterator[bytes]:
        for first in range(0, self.total, IN_ONE_WRITE):
            yield b"".join(command(first + index) for index in range(IN_ONE_WRITE))

    def _replies(self, count: int) -> None:
        while count:
            self.reader.feed(self.socket.recv(1 << 16))
            while (reply := self.reader.gets()) is not ...:
                assert not isinstance(reply, hiredis.ReplyError), reply
                count -= 1

    def _server_time(self) -> float:
        used: Any = self.store.info("cpu")
        return 1e6 * (float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"]))

    def remember(self) -> None:
        """The records as they are now: every round begins with them, or the pool would fill up."""
        tag = keys.pool_key(POOL)
        names = [tag.encode(), *self.store.scan_iter(f"{tag}:e:*")]
        self.records = dict(zip(names, self.store.mget(names), strict=True))

    def forget(self) -> None:
        """Drops the round's reservations."""
        tag = keys.pool_key(POOL)
        names = [*self.store.scan_iter(f"{tag}:r:*", count=5000), *self.store.scan_iter(f"{tag}:x:*", count=5000)]
        for first in range(0, len(names), 5000):
            self.store.unlink(*names[first : first + 5000])
        self.store.mset(self.records)


def main() -> int:
    options = parse_options(__doc__ or "")
    report = Report("anatomy", options)
    with private_valkey() as url:
        store = CounterStore(url, timeout_s=60)
        prepare(store)
        assert library_text()
        calls = Calls(url, options.scaled(20_000, 4_000))
        calls.store.function_load(library())
        noop = encode("FCALL", "tp_noop", 1, "{tp:1}")
        cases: dict[str, Callable[[], float]] = {"no-op": lambda: calls.cost(lambda _number: noop)}
        for index, (label, _) in enumerate(STEPS):
            cases[label] = partial(calls.cost, calls.reserve(f"an_{index}"))
        cases["reserve"] = partial(calls.cost, calls.reserve("tp_reserve"))
        for entry in range(1, ENTITLEMENTS + 1):  # from here on every entitlement has a record
            store.reserve(Ask(POOL, entry, f"first-{entry}", 1, KV))
        calls.remember()
        found = {label: median(times) for label, times in interleaved(cases, options.rounds).items()}
        report.section("server time per call; each line adds to the one above")
        before = report.rate("no-op", found["no-op"], "µs")
        for label, _ in STEPS:
            report.rate(f"+ {label}", found[label] - before, "µs")
            before = found[label]
        report.rate("+ deciding: everything else", found["reserve"] - before, "µs")
        report.rate("= reserve", found["reserve"], "µs")
        floor = found[STEPS[-1][0]]
        report.ratio("reserve / reading, unpacking, packing and writing alone", found["reserve"], floor)
        report.ratio("that floor / no-op", floor, found["no-op"])
        calls.close()
        store.close()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
