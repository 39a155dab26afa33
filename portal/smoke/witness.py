"""Send as a tenant who never asks for more than the base: whoever refuses one of these requests breaks a promise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pools.simulator.caller import Answer, Caller, Retries, open_session
from pools.simulator.prompts import BYTES_PER_TOKEN
from pools.simulator.senders import Order, Sender
from pools.simulator.tally import Figures

PROMPT_TOKENS, OUTPUT_TOKENS, BOUND_TOKENS = 24, 8, 16
SHARE_OF_RATE = 0.5


@dataclass(frozen=True, slots=True)
class Witness:
    """A rank-0 sender with its base: sequences and tokens per second."""

    sender: Sender
    sequences: int
    tokens_per_second: int

    @property
    def pause_s(self) -> float:
        """Between two requests of one sequence, so that all together use half the base rate."""
        return (PROMPT_TOKENS * 1.5 + BOUND_TOKENS) * self.sequences / (SHARE_OF_RATE * self.tokens_per_second)


async def testify(url: str, witnesses: Sequence[Witness], end: asyncio.Event) -> Figures:
    """Each witness keeps up to its base in flight until ``end``; nothing is tried again. What they saw."""
    seen = Figures()
    async with open_session() as session:
        caller = Caller(session, url, asyncio.Semaphore(1000), Retries(0), BYTES_PER_TOKEN)
        async with asyncio.TaskGroup() as group:
            for witness in witnesses:
                for _ in range(witness.sequences):
                    group.create_task(_one(caller, witness, end, seen))
    return seen


async def _one(caller: Caller, witness: Witness, end: asyncio.Event, seen: Figures) -> None:
    order = Order(0.0, witness.sender, PROMPT_TOKENS, OUTPUT_TOKENS, BOUND_TOKENS)
    while not end.is_set():
        try:
            async with asyncio.timeout(witness.pause_s * random.uniform(0.8, 1.2)):
                await end.wait()
        except TimeoutError:
            answer = Answer()
            await caller.call(order, answer)
            seen.add(answer)
