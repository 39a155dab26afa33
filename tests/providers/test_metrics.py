"""Scraping: names of all vLLM versions, many endpoints at once within a bounded time, stale counts as full."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest
from aiohttp import web

from pools.choices import EndpointState
from pools.providers.base import ReplicaSpec
from pools.providers.exposition import EndpointMetrics, parse
from pools.providers.metrics import check_health, counted, is_stale, scrape_all
from pools.providers.static import StaticProvider
from portal.lib.errors import DomainError

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
NEW = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.875
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="2588"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.234567e+06
vllm:generation_tokens_total{engine="0",model_name="m"} 98765.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="m"} 0.0
"""
OLD = """vllm:num_requests_running{model_name="a \\"b\\" {c}"} 1.0
vllm:num_requests_waiting{model_name="a"} 0.0
vllm:gpu_cache_usage_perc{model_name="a"} 0.5
vllm:cpu_cache_usage_perc{model_name="a"} 0.9
vllm:cache_config_info{block_size="32",num_gpu_blocks="None"} 1.0
vllm:prompt_tokens_total{model_name="a"} 10
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (NEW, EndpointMetrics(12, 3, 0.875, 2588, 16, 1_234_567, 98_765, NOW)),
        (OLD, EndpointMetrics(1, 0, 0.5, 0, 32, 10, 0, NOW)),
        (NEW + NEW.replace("0.875", "0.9"), EndpointMetrics(24, 6, 0.9, 5176, 16, 2_469_134, 197_530, NOW)),
        ("vllm:num_requests_running NaN\nvllm:num_requests_waiting 2", EndpointMetrics(0, 2, 0.0, 0, 0, 0, 0, NOW)),
    ],
    ids=["new", "old", "two engines", "without labels"],
)  # fmt: skip
def test_every_version_is_read(text: str, wanted: EndpointMetrics) -> None:
    assert parse(text, NOW) == wanted


@pytest.mark.parametrize("text", ["", "<html>no</html>", "vllm:num_requests_running 1\n", "python_gc 1"])
def test_another_server_is_not_taken_for_vllm(text: str) -> None:
    with pytest.raises(ValueError, match="tell nothing of"):
        parse(text, NOW)


@pytest.mark.parametrize(("missed", "stale"), [(0, False), (3, False), (4, True)])
def test_stale_and_unknown_count_as_full(missed: int, stale: bool) -> None:
    last = EndpointMetrics(2, 1, 0.1, 100, 16, 5, 6, NOW)
    assert is_stale(missed) is stale
    seen = counted(last, missed, 16, NOW)
    assert (seen.running, seen.kv_usage) == ((16, 1.0) if stale else (2, 0.1))
    never = counted(None, missed, 16, NOW)
    assert (never.running, never.kv_usage) == (16, 1.0)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def listen() -> AsyncIterator[Callable[[int, Answer], Awaitable[str]]]:
    """``await listen(health_status, metrics_handler)`` gives the URL of a small server."""
    runners: list[web.AppRunner] = []

    async def start(health: int, metrics: Answer) -> str:
        async def on_health(_request: web.Request) -> web.Response:
            return web.Response(status=health)

        app = web.Application()
        app.router.add_get("/health", on_health)
        app.router.add_get("/metrics", metrics)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_one_scrape_of_many_takes_no_longer_than_its_time_out(
    listen: Callable[[int, Answer], Awaitable[str]],
) -> None:
    async def good(_request: web.Request) -> web.Response:
        return web.Response(text=NEW)

    async def other(_request: web.Request) -> web.Response:
        return web.Response(text="something else")

    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    fine, loading, strange = await listen(200, good), await listen(503, good), await listen(200, other)
    hanging = [await listen(200, never) for _ in range(3)]
    nobody = f"http://127.0.0.1:{_closed_port()}"
    urls = [fine, loading, strange, *hanging, nobody, "http://bad host", fine]
    began = time.monotonic()
    seen = await asyncio.to_thread(scrape_all, urls, NOW, 0.5)
    assert time.monotonic() - began < 3
    assert set(seen) == set(urls)
    assert seen[fine].metrics == parse(NEW, NOW)
    assert {url for url, scrape in seen.items() if scrape.answered} == {fine}
    assert (seen[loading].health, seen[loading].detail) == (503, "/health answers 503.")
    assert seen[strange].health == 200
    assert "tell nothing of" in seen[strange].detail
    assert [seen[url].detail for url in hanging] == ["No answer within 0.5 s."] * 3
    assert seen[nobody].health is None
    assert scrape_all([], NOW) == {}


async def test_static_endpoints_are_used_by_number_and_never_stopped(
    listen: Callable[[int, Answer], Awaitable[str]],
) -> None:
    async def good(_request: web.Request) -> web.Response:
        return web.Response(text=NEW)

    ready, loading = await listen(200, good), await listen(503, good)
    provider = StaticProvider([f"{ready}/", loading, ready])
    assert provider.list() == (ready, loading)
    assert provider.start(ReplicaSpec("chat-1", "m", ordinal=1)) == loading
    with pytest.raises(DomainError, match="2 URLs are listed"):
        provider.start(ReplicaSpec("chat-2", "m", ordinal=2))
    provider.stop(ready)
    assert (await asyncio.to_thread(provider.probe, ready)).state is EndpointState.READY
    assert (await asyncio.to_thread(provider.probe, loading)).state is EndpointState.STARTING
    assert provider.probe("http://gone").state is EndpointState.STOPPED


def test_an_address_must_be_http() -> None:
    with pytest.raises(DomainError, match="must begin with http"):
        StaticProvider(["file:///etc/passwd"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:0", "http://127.0.0.1:notaport", "http://"])
def test_health_of_a_wrong_address_is_no_answer(url: str) -> None:
    assert check_health(url, 0.2) is None


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
