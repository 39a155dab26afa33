"""The gateway before the project's own vLLM-like endpoint, both as real processes and sockets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from pools.choices import Outcome
from tests.gateway.conftest import CHAT, Start
from tests.gateway.world import World, until


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a fast simulated endpoint."""
    port_file = tmp_path / "port"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pools.simulator.endpoint", "--port-file", str(port_file), "--model", "sim-8b",
        "--tokens-per-second", "20000",
    )  # fmt: skip
    try:
        await until(lambda: port_file.exists() and port_file.read_text().strip(), 20)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}"
    finally:
        child.terminate()
        await child.wait()


async def test_streams_and_answers_of_the_simulator_are_settled_with_its_usage(
    world: World, simulator: str, start: Start
) -> None:
    world.pool(simulator, tokenize=True)
    gateway = await start()
    key = world.entitle()
    messages = CHAT["messages"]
    async with openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=key.plaintext) as ai:
        plain = await ai.chat.completions.create(model="chat", messages=messages, max_tokens=20)
        stream = await ai.chat.completions.create(
            model="chat", messages=messages, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert plain.usage is not None and chunks[-1].usage is not None
    events = await until(lambda: len(world.usage()) == 2 and world.usage())
    assert [event.outcome for event in events] == [Outcome.COMPLETED] * 2
    assert [event.source for event in events] == ["engine"] * 2
    assert [event.charged_tokens for event in events] == [plain.usage.total_tokens, chunks[-1].usage.total_tokens]
    # /tokenize told the prompt exactly, so what was reserved is prompt plus max_tokens
    assert events[0].reserved_tokens == plain.usage.prompt_tokens + 20
    assert all(event.ttft_ms <= event.duration_ms for event in events)
    assert world.live() == 0


async def test_a_client_that_hangs_up_frees_the_engine(world: World, simulator: str, start: Start) -> None:
    world.pool(simulator)
    gateway = await start()
    body = {**CHAT, "stream": True, "max_tokens": 4000, "ignore_eos": True}
    async with gateway.post(world.entitle(), body) as answer:
        await answer.content.readany()
        answer.close()
    events = await until(world.usage)
    assert events[0].outcome is Outcome.CLIENT_GONE

    async def idle() -> bool:
        async with gateway.http.get(simulator + "/metrics") as page:
            lines = [line for line in (await page.text()).splitlines() if line.startswith("vllm:num_requests_running")]
            return float(lines[0].split()[-1]) == 0

    await until(idle)
