"""Turn a trace into orders: who sends each request, how long it is here, which bound it sets, whether it streams."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pools.simulator.prompts import max_tokens_for
from pools.simulator.senders import Order, Sender, assigner, client_sizes
from pools.simulator.traces import TraceRequest

MARGIN_TOKENS = 24
SAMPLED_ROWS = 20_000
FITTING_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Casting:
    """How a trace is adapted. ``context_tokens`` is the model's; ``length_scale`` None chooses one that fits it.

    Shares are 0 to 1: ``keep`` of the requests sent, ``stream`` streaming, ``unbounded`` leaving max_tokens out,
    ``abandon`` closing the connection halfway. ``by_size`` packs trace clients onto senders by their tokens.
    """

    context_tokens: int
    length_scale: float | None = None
    keep: float = 1.0
    stream: float = 0.8
    unbounded: float = 0.05
    abandon: float = 0.01
    by_size: bool = True
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was decided from the beginning of the trace, and a sentence that says so."""

    length_scale: float
    sizes: dict[str, int] | None
    sentence: str


def fit(rows: Iterable[TraceRequest], casting: Casting) -> Fitted:
    """Looks at up to 20,000 first requests: the length scale, and tokens by client."""
    seen = list(islice(rows, SAMPLED_ROWS))
    longest = sorted(row.input_tokens + row.output_tokens for row in seen)
    at = longest[max(0, math.ceil(FITTING_SHARE * len(longest)) - 1)]
    room = max(1, casting.context_tokens - MARGIN_TOKENS)
    scale = casting.length_scale if casting.length_scale is not None else min(1.0, room / max(1, at))
    if casting.length_scale is not None:
        sentence = f"Token lengths are multiplied by {scale:g} as asked; longer ones are cut at {room} tokens."
    elif scale < 1:
        sentence = (
            f"Token lengths are multiplied by {scale:.3f}: 99 % of the trace's requests have up to {at} tokens and the "
            f"model's context holds {casting.context_tokens}. Longer ones are cut."
        )
    else:
        sentence = f"Token lengths are as recorded; the model's context of {casting.context_tokens} tokens holds them."
    rows_by_client = ((row.client, row.input_tokens + row.output_tokens) for row in seen)
    return Fitted(scale, client_sizes(rows_by_client) if casting.by_size else None, sentence)


def orders(
    rows: Iterable[TraceRequest], senders: Sequence[Sender], casting: Casting, fitted: Fitted
) -> Iterator[Order]:
    """The orders of a trace, one by one, the same in every run with the same seed."""
    rng = random.Random(casting.seed)
    choose = assigner(senders, fitted.sizes, rng)
    room = max(2, casting.context_tokens - MARGIN_TOKENS)
    for row in rows:
        if casting.keep < 1 and rng.random() >= casting.keep:
            continue
        output = min(max(1, round(row.output_tokens * fitted.length_scale)), room - 1)
        prompt = min(max(1, round(row.input_tokens * fitted.length_scale)), room - output)
        bound = None if rng.random() < casting.unbounded else max_tokens_for(output, room - prompt)
        yield Order(
            at_s=row.at_s,
            sender=choose(row.client),
            input_tokens=prompt,
            output_tokens=output,
            max_tokens=bound,
            stream=rng.random() < casting.stream,
            prefix=row.prefix,
            abandon_after=max(1, output // 2) if rng.random() < casting.abandon else 0,
        )
