"""The endpoint as a process: light to start, loud about a wrong command line, ends when told to or made to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.simulator.conftest import until

Launch = Callable[..., Awaitable[tuple[asyncio.subprocess.Process, str]]]
LONG = {"prompt": "a", "max_tokens": 2000, "ignore_eos": True, "stream": True}


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    """``await launch("--option", …)`` gives the process and its URL once it listens."""
    children = []

    async def start(*options: str) -> tuple[asyncio.subprocess.Process, str]:
        file = tmp_path / f"port{len(children)}"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pools.simulator.endpoint", "--port-file", str(file), *options
        )
        children.append(child)
        await until(file.exists, 20)
        return child, f"http://127.0.0.1:{file.read_text().strip()}"

    yield start
    for child in children:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_it_needs_neither_django_nor_numpy() -> None:
    code = "import sys, pools.simulator.endpoint; print({'django', 'numpy'} & set(sys.modules))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0].strip() == b"set()"


async def test_a_crash_cuts_the_stream(launch: Launch) -> None:
    child, url = await launch("--tokens-per-second=8000", "--crash-after=20")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.post(f"{url}/v1/completions", json=LONG) as answer:
                await answer.read()
    assert await child.wait() == 70


async def test_told_to_end_it_refuses_new_work_and_waits_no_longer_than_five_seconds(launch: Launch) -> None:
    child, url = await launch()
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/completions", json=LONG) as answer:
        await answer.content.readline()
        began = loop.time()
        child.terminate()
        async with session.get(f"{url}/health") as health:
            assert health.status in {200, 503}  # the signal and this question race
        await until(lambda: child.returncode is not None, 10)
    assert 4.5 < loop.time() - began < 7
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--slots=0"], "1 or more"),
        (["--tokens-per-second=0"], "zero"),
        (["--prefill-rate=-1"], "above 0"),
        (["--unheard-of"], "--unheard-of"),
    ],
)
async def test_a_wrong_command_line_is_one_sentence(options: list[str], told: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pools.simulator.endpoint", *options, stderr=asyncio.subprocess.PIPE
    )
    assert told in (await child.communicate())[1].decode()
    assert child.returncode == 2
