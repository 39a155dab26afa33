"""A replay sends what the trace says, waits as told, and counts what came back."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from pools.simulator.caller import Retries
from pools.simulator.profile import EngineProfile, StepCosts
from pools.simulator.prompts import max_tokens_for, prompt
from pools.simulator.replay import Pace, Replay
from pools.simulator.report import show
from pools.simulator.scripts import Casting, fit, orders
from pools.simulator.senders import Order, Sender, assigner, read_senders, write_senders
from pools.simulator.server import Served, Server
from pools.simulator.tally import Sample, percentile
from pools.simulator.traces import TraceRequest
from portal.lib.errors import DomainError

ACME = Sender("key-acme", "acme", "guaranteed", model="sim-8b", share=3)
BIRCH = Sender("key-birch", "birch", "elastic", model="sim-8b", share=1)
FAST = EngineProfile(max_num_seqs=8, context_tokens=512, costs=StepCosts(0.001, 0.0, 1e6))


@asynccontextmanager
async def endpoint() -> AsyncIterator[str]:
    server = Server(FAST, Served())
    running = TestServer(server.app())
    await running.start_server()
    engine = asyncio.create_task(server.driver.run())
    server.ready = True
    try:
        yield str(running.make_url("")).rstrip("/")
    finally:
        engine.cancel()
        await running.close()


@asynccontextmanager
async def stub(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    running = TestServer(app)
    await running.start_server()
    try:
        yield str(running.make_url("")).rstrip("/")
    finally:
        await running.close()


def refusal(code: str, status: int = 429, **headers: str) -> web.Response:
    body = {"error": {"message": "no", "type": "rate_limit_error", "param": None, "code": code}}
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def whole(body: dict[str, Any]) -> web.Response:
    usage = {"prompt_tokens": 9, "completion_tokens": body["simulated_output_tokens"]}
    return web.json_response({"choices": [], "usage": usage})


def plain(count: int, **fields: Any) -> list[Order]:
    return [Order(0.0, ACME, 10, 5, **{"stream": False, **fields}) for _ in range(count)]


async def test_real_answers_are_counted_by_class_and_timed() -> None:
    rows = [TraceRequest(at / 50, str(at % 5), 40, 12) for at in range(40)]
    casting = Casting(512, stream=0.5, abandon=0.0)
    fitted = fit(rows, casting)
    async with endpoint() as url:
        replay = Replay(url, Pace(5.0))
        summary = (await replay.run(orders(rows, [ACME, BIRCH], casting, fitted))).summary(replay.elapsed_s)
    assert summary["completed"] == summary["admitted"] == summary["sent"] == 40
    assert summary["output_tokens"] == 40 * 12
    assert 40 * 36 <= summary["input_tokens"] <= 40 * 46
    assert summary["failed"] == summary["skipped"] == summary["unfinished"] == 0
    assert set(summary["by_class"]) == {"guaranteed", "elastic"}
    assert sum(row["sent"] for row in summary["by_tenant"].values()) == 40
    assert summary["itl_ms"]["p50"] < summary["e2e_ms"]["p50"]
    assert 0 < summary["ttft_ms"]["p50"] <= summary["ttft_ms"]["p99"]


async def test_an_abandoned_stream_stops_at_the_gateway_too() -> None:
    async with endpoint() as url:
        replay = Replay(url, Pace(5.0))
        tally = await replay.run([Order(0.0, ACME, 10, 400, abandon_after=3)])
    assert tally.all.endings == {"abandoned": 1}
    assert 3 <= tally.all.output_tokens < 400


async def test_a_refusal_is_waited_out_as_long_as_told_and_then_answered() -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        times.append(asyncio.get_running_loop().time())
        if len(times) < 3:
            return refusal("token_budget", retry_after_ms="120", retry_after="9", x_should_retry="true")
        return whole(await request.json())

    async with stub(answer) as url:
        tally = await Replay(url, Pace(5.0)).run(plain(1))
    assert tally.all.turned_away == {"token_budget": 2}
    assert (tally.all.admitted, tally.all.retried, tally.all.refused) == (1, 2, Counter())
    assert all(0.115 <= later - sooner < 1.0 for sooner, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("status", "code", "headers", "attempts", "ending"),
    [
        (413, "never_fits", {"x_should_retry": "false"}, 1, "refused"),
        (429, "concurrency", {"x_should_retry": "true", "retry_after_ms": "1"}, 3, "refused"),
        (429, "concurrency", {"retry_after": "0.001"}, 3, "refused"),
        (429, "low_priority", {"x_should_retry": "false"}, 1, "refused"),
        (429, "pool_full", {"retry_after_ms": "3600000"}, 1, "refused"),
        (503, "no_capacity", {"retry_after_ms": "1"}, 3, "refused"),
        (500, "broken", {"retry_after_ms": "1"}, 3, "failed"),
        (401, "invalid_api_key", {}, 1, "refused"),
    ],
)
async def test_who_is_told_not_to_retry_does_not(
    status: int, code: str, headers: dict[str, str], attempts: int, ending: str
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return refusal(code, status, **headers)

    async with stub(answer) as url:
        tally = await Replay(url, Pace(5.0, retries=Retries(2))).run(plain(1))
    assert tally.all.attempts == attempts
    assert tally.all.endings == {ending: 1}
    assert (tally.all.refused if ending == "refused" else tally.all.failed) == {code: 1}


async def test_a_preempted_stream_and_a_torn_one_are_told_apart() -> None:
    chunk = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    endings = iter([b'data: {"error":{"code":"preempted","message":"gone"}}\n\n', b""])

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(chunk + chunk[:20])
        await response.write(chunk[20:] + next(endings))
        return response

    async with stub(answer) as url:
        tally = await Replay(url, Pace(5.0, concurrency=1)).run(plain(2, stream=True))
    assert tally.all.endings == {"preempted": 1, "failed": 1}
    assert tally.all.failed == {"cut_stream": 1}
    assert (tally.all.admitted, tally.all.output_tokens, tally.all.good_tokens) == (2, 4, 0)


async def test_an_absent_gateway_is_an_error_not_a_refusal() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    async with stub(answer) as url:
        pass
    tally = await Replay(url, Pace(5.0, retries=Retries(1, first_s=0.01))).run(plain(1))
    assert tally.all.endings == {"failed": 1}
    assert tally.all.failed == {"unreachable": 1}
    assert tally.all.attempts == 2


async def test_never_more_in_flight_than_allowed_and_what_finds_no_place_is_skipped() -> None:
    now = most = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return whole(await request.json())

    async with stub(answer) as url:
        tally = await Replay(url, Pace(5.0, concurrency=3, waiting=7)).run(plain(40))
    assert most == 3
    assert tally.all.sent + tally.skipped == 40
    assert tally.all.sent >= 10
    assert tally.skipped > 0


async def test_stopping_ends_at_once_and_still_counts() -> None:
    arrived = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with stub(answer) as url:
        replay = Replay(url, Pace(60.0))
        run = asyncio.create_task(replay.run([*plain(2), Order(30.0, ACME, 1, 1)]))
        await arrived.wait()
        replay.stop()
        async with asyncio.timeout(2.0):
            tally = await run
    assert tally.all.endings["unfinished"] == tally.all.sent > 0


async def test_speed_divides_the_times_and_the_time_bounds_the_trace() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return whole(await request.json())

    rows = [Order(float(at), ACME, 1, 1, stream=False) for at in range(1000)]
    async with stub(answer) as url:
        replay = Replay(url, Pace(0.5, speed=100.0))
        tally = await replay.run(rows)
    assert tally.all.sent == 50
    assert 0.4 < replay.elapsed_s < 2.0


def test_lengths_are_scaled_to_the_context_and_it_is_said() -> None:
    rows = [TraceRequest(0.0, "", 3000, 1000)] * 99 + [TraceRequest(1.0, "", 90_000, 5000)]
    fitted = fit(rows, Casting(2048))
    assert fitted.length_scale == pytest.approx(0.506, abs=0.001)
    assert "0.506" in fitted.sentence
    made = list(orders(rows, [ACME], Casting(2048), fitted))
    assert all(order.input_tokens + max(order.output_tokens, order.max_tokens or 0) <= 2024 for order in made)
    assert all(order.max_tokens is None or order.max_tokens >= order.output_tokens for order in made)
    assert fit(rows, Casting(200_000)).length_scale == 1.0
    assert fit(rows, Casting(2048, length_scale=0.1)).length_scale == 0.1


def test_clients_are_packed_by_size_hashed_without_it_and_drawn_where_unknown() -> None:
    sizes = {"big": 300, "mid": 60, "small": 40}
    choose = assigner([ACME, BIRCH], sizes, random.Random(1))
    assert [choose(name) for name in sizes] == [ACME, BIRCH, BIRCH]
    hashed = assigner([ACME, BIRCH], None, random.Random(1))
    again = assigner([ACME, BIRCH], None, random.Random(2))
    assert [hashed(str(name)) for name in range(50)] == [again(str(name)) for name in range(50)]
    drawn = Counter(choose("").tenant for _ in range(4000))
    assert drawn["acme"] == pytest.approx(3000, rel=0.05)


def test_prompts_have_their_size_and_share_what_the_trace_shares() -> None:
    assert len(prompt(100, 1, bytes_per_token=4.0)) == 384
    one, two = prompt(512, 1, (7, 8, 9)), prompt(512, 2, (7, 8, 30))
    assert len(one) == len(two)
    assert one[: len(one) * 2 // 3] == two[: len(two) * 2 // 3]
    assert one != two
    assert (max_tokens_for(100, 1000), max_tokens_for(100, 110), max_tokens_for(40_000, 50_000)) == (128, 110, 40_000)


def test_percentiles_are_nearest_ranks() -> None:
    assert [percentile([second / 1000 for second in range(1, 101)], at) for at in (50, 95, 99)] == [50.0, 95.0, 99.0]
    assert percentile([], 50) is None
    sample = Sample(size=100)
    sample.add(range(10_000))
    assert len(sample.values) == 100
    assert 3000 < sum(sample.values) / 100 < 7000


def test_a_key_file_is_private_and_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_senders(path, [ACME, BIRCH])
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_senders(path) == [ACME, BIRCH]
    path.chmod(0o644)
    with pytest.raises(DomainError, match="chmod 600"):
        read_senders(path)
    path.chmod(0o600)
    for text in ("{", "[]", '{"keys": [{"key": 1, "tenant": "a"}]}', '{"keys": [{"key": "a\\nb", "tenant": "a"}]}'):
        path.write_text(text)
        with pytest.raises(DomainError, match="is not like"):
            read_senders(path)
    with pytest.raises(DomainError, match="cannot be read"):
        read_senders(tmp_path / "absent")


async def test_the_summary_is_printed_even_of_nothing() -> None:
    console = Console(width=200, record=True)
    tally = await Replay("http://127.0.0.1:1", Pace(0.1)).run([])
    show(console, tally.summary(0.1), ["a note"])
    text = console.export_text()
    assert "requests sent" in text
    assert "a note" in text
