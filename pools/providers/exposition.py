"""Read the few figures we need out of a vLLM server's Prometheus text, whichever names its version uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

SAMPLE = re.compile(r"(vllm:[a-z_]+)(?:\{(.*)\})?\s+(\S+)")
LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
SUMMED = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:prompt_tokens_total": "prompt_tokens_total",
    "vllm:prompt_tokens": "prompt_tokens_total",
    "vllm:generation_tokens_total": "generation_tokens_total",
    "vllm:generation_tokens": "generation_tokens_total",
}
USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
CONFIG = "vllm:cache_config_info"
NEEDED = ("running", "waiting")


@dataclass(frozen=True, slots=True)
class EndpointMetrics:
    """One scrape. ``kv_usage`` is a share, 0 to 1; block counts are 0 when the server does not tell them."""

    running: int
    waiting: int
    kv_usage: float
    num_gpu_blocks: int
    block_tokens: int
    prompt_tokens_total: int
    generation_tokens_total: int
    scraped_at: datetime


def parse(text: str, scraped_at: datetime) -> EndpointMetrics:
    """The figures in a metrics text. Engines of one server (data parallel) add up; KV usage is the fullest's.

    ValueError when it has no ``vllm:num_requests_running`` or ``_waiting``: then it is not a vLLM server.
    """
    totals: dict[str, float] = {}
    usage = 0.0
    blocks = block_tokens = 0
    for line in text.splitlines():
        if not line.startswith("vllm:") or not (found := SAMPLE.match(line)):
            continue
        name, labels, written = found.groups()
        if name in SUMMED:
            totals[SUMMED[name]] = totals.get(SUMMED[name], 0.0) + _number(written)
        elif name in USAGE:
            usage = max(usage, _number(written))
        elif name == CONFIG:
            told = dict(LABEL.findall(labels or ""))
            blocks += int(_number(told.get("num_gpu_blocks", "0")))
            block_tokens = int(_number(told.get("block_size", "0"))) or block_tokens
    if missing := [name for name in NEEDED if name not in totals]:
        raise ValueError(f"the metrics tell nothing of {' and '.join(missing)} requests")
    return EndpointMetrics(
        running=int(totals["running"]),
        waiting=int(totals["waiting"]),
        kv_usage=min(1.0, usage),
        num_gpu_blocks=blocks,
        block_tokens=block_tokens,
        prompt_tokens_total=int(totals.get("prompt_tokens_total", 0)),
        generation_tokens_total=int(totals.get("generation_tokens_total", 0)),
        scraped_at=scraped_at,
    )


def _number(text: str) -> float:
    """A non-negative finite number; 0 for anything else (``NaN``, ``None``)."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value < float("inf") else 0.0
