"""What the gateway costs: beside its endpoint asked directly, itself without admission, and a bare aiohttp proxy.

``python -m benchmarks.gateway [--quick] [--json]``. Five processes on one machine: endpoint, store, gateway, peers, and
this load generator; so rates are those of machines that share their cores, and only ratios mean something. Two kinds of
endpoint: ``raw`` (a socket that answers at once: the strictest) and ``busy`` (one that computes as long as the one the
goals were set with). Goals that compare with "direct" are judged on ``busy``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that the file can be run by its path

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import _gateway_load as load
from benchmarks._common import Options, Report, parse_options, percentile
from benchmarks._gateway_peers import ENTITLEMENT, KEY, POOL, SECRET, documents
from pools.choices import EntitlementState, ServiceClass
from pools.counters.store import CounterStore
from pools.counters.types import EntitlementCounterConfig, PoolCounterConfig
from pools.mechanism.amounts import Rate
from portal.embedded.valkey import Valkey

PACE_MS = 10
PLENTY = Rate(90_000_000, 1 << 44, 1024)


@dataclass(frozen=True)
class Door:
    """Something to send requests to."""

    port: int
    pid: int


@dataclass
class Seen:
    """All rounds of one door and load."""

    rate: list[float]
    p50_ms: list[float]
    p99_ms: list[float]
    lag_ms: list[float]
    cpu_us: list[float]
    failures: int = 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(arguments: list[str], environment: dict[str, str], port: int) -> Iterator[Door]:
    """A child that listens on ``port``; ended with the block."""
    child = subprocess.Popen([sys.executable, "-m", *arguments], env={**os.environ, **environment})
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield Door(port, child.pid)
    finally:
        child.terminate()
        child.wait()


@contextlib.contextmanager
def doors(kind: str) -> Iterator[dict[str, Door]]:
    """The endpoint of a kind, and everything in front of it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tp-bench-")))
        valkey = Valkey(folder / "data", folder, folder / "run", folder / "valkey.log", fast=True)
        valkey.start()
        stack.callback(valkey.stop)
        ports = [free_port() for _ in range(4)]
        url = f"http://127.0.0.1:{ports[0]}"
        fill(valkey.url, url)
        settings = {
            "REDIS_URL": valkey.url,
            "SECRET_KEY": SECRET,
            "LOG_LEVEL": "WARNING",
            "GATEWAY_PORT": str(ports[1]),
        }
        peers = "benchmarks._gateway_peers"
        yield {
            "direct": stack.enter_context(process(["benchmarks._gateway_upstream", kind, str(ports[0])], {}, ports[0])),
            "gateway": stack.enter_context(process(["pools.gateway"], settings, ports[1])),
            "free": stack.enter_context(process([peers, "free", str(ports[2]), url], {}, ports[2])),
            "aiohttp": stack.enter_context(process([peers, "aiohttp", str(ports[3]), url], {}, ports[3])),
        }


def fill(store_url: str, upstream: str) -> None:
    """A pool and an entitlement so large that nothing is refused."""
    store = CounterStore(store_url)
    store.configure_pool(PoolCounterConfig(POOL, PLENTY, 1, 1))
    terms = EntitlementCounterConfig(
        ENTITLEMENT, EntitlementState.BOUND, ServiceClass.ELASTIC, Rate(0, 0, 0), PLENTY, PLENTY, 2_000_000_000
    )
    store.configure_entitlements(POOL, [terms])
    for key, document in documents(upstream).items():
        store.put_document(key, document)
    store.close()


def measure(
    behind: dict[str, Door], options: Options, in_flight: int, *, stream: bool = False, pause_ms: int = 0
) -> dict[str, Seen]:
    """Every door once per round, in turn."""
    seconds = 1.0 if options.quick else 3.0
    seen = {name: Seen([], [], [], [], []) for name in behind}
    for _ in range(options.rounds):
        for name, door in behind.items():
            wanted = load.request(door.port, KEY, stream=stream, pause_ms=pause_ms)
            before = load.cpu_seconds(door.pid)
            run = load.run(door.port, wanted, in_flight, seconds)
            cpu = load.cpu_seconds(door.pid) - before
            one = seen[name]
            one.rate.append(run.rate)
            one.p50_ms.append(percentile(run.latencies, 0.5) * 1000)
            one.p99_ms.append(percentile(run.latencies, 0.99) * 1000)
            one.lag_ms.append(percentile(run.lags, 0.5) * 1000)
            one.cpu_us.append(cpu / max(1, len(run.latencies)) * 1e6)
            one.failures += run.failures
    return seen


def report_latency(report: Report, seen: dict[str, Seen]) -> None:
    for name in ("direct", "gateway", "free", "aiohttp"):
        report.rate(f"{name}: p50", seen[name].p50_ms, "ms")
        report.rate(f"{name}: p99", seen[name].p99_ms, "ms")
    direct, gateway = seen["direct"], seen["gateway"]
    added = [a - b for a, b in zip(gateway.p50_ms, direct.p50_ms, strict=True)]
    report.ratio("added p50 / 1 ms", added, [1.0] * len(added), goal=1.0, at_most=True)
    report.rate("added p99", [a - b for a, b in zip(gateway.p99_ms, direct.p99_ms, strict=True)], "ms")


def report_rates(report: Report, seen: dict[str, Seen], *, judged: bool) -> None:
    for name, one in seen.items():
        report.rate(f"{name}: requests", one.rate)
        report.rate(f"{name}: CPU of its process per request", one.cpu_us, "µs")
    gateway = seen["gateway"]
    report.rate("gateway: requests per second of one core", [1e6 / cpu for cpu in gateway.cpu_us if cpu])
    report.ratio("gateway / direct", gateway.rate, seen["direct"].rate, goal=0.55 if judged else None)
    report.ratio("gateway / itself without admission", gateway.rate, seen["free"].rate, goal=0.8)
    # CPU time is what a busy neighbour disturbs least
    report.ratio("the same by CPU of the gateway's process", seen["free"].cpu_us, gateway.cpu_us, goal=0.8)
    slower = [max(a, b) for a, b in zip(gateway.cpu_us, seen["direct"].cpu_us, strict=True)]
    report.ratio("gateway / direct by CPU, a core for each process", seen["direct"].cpu_us, slower)
    report.ratio("gateway / bare aiohttp proxy", gateway.rate, seen["aiohttp"].rate)
    _failures(report, seen)


def report_streams(report: Report, paced: dict[str, Seen], unpaced: dict[str, Seen], *, judged: bool) -> None:
    limit = 1.5 if judged else None
    for name, one in unpaced.items():
        report.rate(f"{name}: streams of 64 events, unpaced", one.rate)
        report.rate(f"{name}: CPU of its process per stream", one.cpu_us, "µs")
    report.ratio("gateway / direct, unpaced streams", unpaced["gateway"].rate, unpaced["direct"].rate)
    gateway, bare = unpaced["gateway"], unpaced["aiohttp"]
    report.ratio("CPU per stream: gateway / bare aiohttp proxy", gateway.cpu_us, bare.cpu_us, goal=1.0, at_most=True)
    lag = "lag p50 of an event"
    for name in paced:
        report.rate(f"{name}: {lag}, unpaced", unpaced[name].lag_ms, "ms")
        report.rate(f"{name}: {lag}, one each {PACE_MS} ms", paced[name].lag_ms, "ms")
        report.rate(f"{name}: CPU per stream, one event each {PACE_MS} ms", paced[name].cpu_us, "µs")
    report.ratio(
        f"{lag}, unpaced: gateway / direct", gateway.lag_ms, unpaced["direct"].lag_ms, goal=limit, at_most=True
    )
    report.ratio(
        f"request time, one event each {PACE_MS} ms: gateway / direct",
        paced["gateway"].p50_ms,
        paced["direct"].p50_ms,
        goal=1.5,
        at_most=True,
    )
    report.ratio(f"{lag}, paced: gateway / bare aiohttp proxy", paced["gateway"].lag_ms, paced["aiohttp"].lag_ms)
    _failures(report, paced)
    _failures(report, unpaced)


def _failures(report: Report, seen: dict[str, Seen]) -> None:
    failed = {name: one.failures for name, one in seen.items() if one.failures}
    if failed:
        report.note(f"failed requests: {failed}")


def main() -> int:
    options = parse_options(__doc__.splitlines()[0] if __doc__ else "gateway")
    report = Report("gateway", options)
    for kind in ("busy", "raw"):
        with doors(kind) as behind:
            measure(behind, Options(True, False, 1, options.extra), 16)  # warm
            report.section(f"{kind} endpoint: one request in flight, JSON")
            report_latency(report, measure(behind, options, 1))
            for in_flight in (16, 64):
                report.section(f"{kind} endpoint: {in_flight} in flight, JSON")
                report_rates(report, measure(behind, options, in_flight), judged=kind == "busy")
            report.section(f"{kind} endpoint: 16 in flight, server-sent events")
            paced = measure(behind, options, 16, stream=True, pause_ms=PACE_MS)
            report_streams(report, paced, measure(behind, options, 16, stream=True), judged=kind == "busy")
    report.note(f"median of {options.rounds} rounds; every door was measured in turn in each round")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
