"""Read a measured run of a real server from a folder: what the calibration compares the engine with.

A folder holds three files, found by how their names end (each may also end in .gz):
``meta.json`` (engine limits, KV blocks, started_at), ``requests.jsonl`` (input_toks, output_toks, arrival_time,
queued_ts, first_token_ts, last_token_ts, all in seconds) and ``timeseries.csv`` (t, prompt_throughput, gen_throughput,
running, waiting, kv_cache_pct), the layout LLMServingSim publishes its vLLM measurements in.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pools.simulator.profile import EngineProfile
from portal.lib.errors import DomainError

Floats = NDArray[np.float64]
SERIES = ("t", "prompt_throughput", "gen_throughput", "running", "waiting", "kv_cache_pct")


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """Arrays of one value per request (seconds from the run's start), and of one value per sample of the series."""

    title: str
    profile: EngineProfile
    arrival_s: Floats
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    ttft_s: Floats
    tpot_s: Floats
    duration_s: float
    series: dict[str, Floats]


def load(folder: Path) -> MeasuredRun:
    """Read a folder. DomainError ``bad_measurement`` names the file that is missing or cannot be read."""
    texts = {ending: _read(folder, ending) for ending in ("meta.json", "requests.jsonl", "timeseries.csv")}
    try:
        meta = json.loads(texts["meta.json"])
        rows = [json.loads(line) for line in texts["requests.jsonl"].splitlines() if line.strip()]
        series = _series(texts["timeseries.csv"])
        rows.sort(key=lambda row: float(row["arrival_time"]))
        return _assemble(meta, rows, series)
    except (KeyError, ValueError, TypeError) as error:
        raise DomainError(
            "bad_measurement", f"The measured run in {folder} cannot be used: {type(error).__name__}: {error}."
        ) from error


def _assemble(meta: dict[str, Any], rows: list[dict[str, Any]], series: dict[str, Floats]) -> MeasuredRun:
    if not rows or not len(series["t"]):
        raise ValueError("it has no requests or no samples")

    def column(name: str) -> Floats:
        return np.array([float(row[name]) for row in rows])

    arrival, first, last = column("arrival_time"), column("first_token_ts"), column("last_token_ts")
    # Two clocks: the client's (arrival) and the engine's (all others). Nothing is queued before it arrives, so the
    # smallest difference is the offset between them.
    offset = float((column("queued_ts") - arrival).min())
    outputs = column("output_toks").astype(np.int64)
    return MeasuredRun(
        title=f"{meta.get('model', 'model')} on {meta.get('hardware', {}).get('device_name', 'unknown hardware')}, "
        f"vLLM {meta.get('vllm_version', '?')}, {len(rows)} requests",
        profile=_profile(meta),
        arrival_s=arrival - datetime.fromisoformat(meta["started_at"]).timestamp(),
        input_tokens=column("input_toks").astype(np.int64),
        output_tokens=outputs,
        ttft_s=first - offset - arrival,
        tpot_s=(last - first) / np.maximum(1, outputs - 1),
        duration_s=float(last.max() - offset - arrival.min()),
        series=series,
    )


def _profile(meta: dict[str, Any]) -> EngineProfile:
    limits, cache = meta["engine_kwargs"], meta["kv_cache"]
    scheduler = meta.get("resolved_config", {}).get("scheduler_config", {})
    return EngineProfile(
        max_num_seqs=int(limits["max_num_seqs"]),
        max_num_batched_tokens=int(limits["max_num_batched_tokens"]),
        block_tokens=int(cache["block_size"]),
        num_gpu_blocks=int(cache["num_gpu_blocks"]),
        context_tokens=int(limits["max_model_len"]),
        prefix_caching=bool(cache.get("enable_prefix_caching", True)),
        reserve_full_prompt=bool(scheduler.get("scheduler_reserve_full_isl", True)),
        async_scheduling=bool(scheduler.get("async_scheduling", False)),
    )


def _series(text: str) -> dict[str, Floats]:
    rows = list(csv.DictReader(text.splitlines()))
    return {name: np.array([float(row[name]) for row in rows]) for name in SERIES}


def _read(folder: Path, ending: str) -> str:
    found = sorted(folder.glob(f"*{ending}")) + sorted(folder.glob(f"*{ending}.gz"))
    if not found:
        raise DomainError("bad_measurement", f"{folder} has no file whose name ends in {ending} or {ending}.gz.")
    data = found[0].read_bytes()
    return (gzip.decompress(data) if found[0].suffix == ".gz" else data).decode()
