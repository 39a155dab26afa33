"""Calibration: a run made by the engine itself is recognised, its costs are found again, bad folders are named."""

from __future__ import annotations

import csv
import gzip
import json
import random
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from pools.simulator import calibrate, measured
from pools.simulator.profile import EngineProfile, StepCosts
from pools.simulator.sequence import Sequence
from pools.simulator.virtual import Run, run
from portal.lib.errors import DomainError

TRUE = StepCosts(0.02, 0.0002, 9000, 1e-7)
PROFILE = EngineProfile(64, 2048, 16, 1500, 8192, TRUE)
STARTED = "2026-01-01T00:00:00.000000Z"
EPOCH = 1767225600.0


def a_run() -> Run:
    dice = random.Random(5)
    times = sorted(dice.uniform(0, 15) for _ in range(90))
    sizes = [(dice.randint(100, 1200), dice.randint(100, 500)) for _ in times]
    return run(PROFILE, ((at, Sequence(i, *size)) for i, (at, size) in enumerate(zip(times, sizes, strict=True))))


def write(folder: Path, done: Run) -> None:
    """The run as a measured folder; the engine's clock is 1000 s off."""
    meta = {
        "model": "m",
        "vllm_version": "0",
        "started_at": STARTED,
        "engine_kwargs": {"max_num_seqs": 64, "max_num_batched_tokens": 2048, "max_model_len": 8192},
        "kv_cache": {"num_gpu_blocks": 1500, "block_size": 16, "enable_prefix_caching": True},
    }
    (folder / "x_meta.json").write_text(json.dumps(meta))
    rows = [
        {
            "input_toks": s.input_tokens,
            "output_toks": s.output_tokens,
            "arrival_time": (s.queued_at or 0) + EPOCH,
            "queued_ts": (s.queued_at or 0) + 1000,
            "first_token_ts": (s.first_token_at or 0) + 1000,
            "last_token_ts": (s.last_token_at or 0) + 1000,
        }
        for s in done.sequences
    ]
    (folder / "x_requests.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    text = StringIO()
    table = csv.writer(text)
    table.writerow(["t", "prompt_throughput", "gen_throughput", "running", "waiting", "kv_cache_pct"])
    prompt = output = 0
    for s in done.samples:
        made = (s.prompt_tokens - prompt, s.generation_tokens - output)
        table.writerow([s.at, *made, s.running, s.waiting, 100 * s.kv_usage])
        prompt, output = s.prompt_tokens, s.generation_tokens
    (folder / "x_timeseries.csv").write_text(text.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, a_run())
    return tmp_path


def test_true_costs_reproduce_the_run(folder: Path) -> None:
    loaded = measured.load(folder)
    assert loaded.profile == replace(PROFILE, costs=EngineProfile().costs)
    found = calibrate.calibrate(loaded, TRUE)
    assert found.fitted == ()
    assert "not fitted" in found.method
    for name in ("TTFT, mean (s)", "TTFT, p99 (s)", "end to end (s)", "running, max"):
        assert abs(found.error_of(name.removesuffix(" (s)"))) < 0.01
    assert found.preemptions > 0


def test_least_squares_finds_the_costs_and_the_search_comes_closer(folder: Path) -> None:
    loaded = measured.load(folder)
    plain, searched = calibrate.calibrate(loaded, trials=0), calibrate.calibrate(loaded, trials=30)
    for found in (plain, searched):
        assert found.fitted == ("base_s", "per_sequence_s", "per_context_token_s", "prefill_tokens_per_s")
    assert abs(plain.error_of("end to end")) < 0.15
    assert abs(searched.error_of("end to end")) < 0.03
    assert abs(searched.error_of("TTFT, mean")) < 0.10
    assert abs(searched.error_of("running, max")) < 0.10


def test_the_command_prints_a_table_and_json(folder: Path) -> None:
    table, data = StringIO(), StringIO()
    call_command("calibrate", folder, "--trials=0", stdout=table)
    assert "measured       model    error" in table.getvalue()
    assert "fitted: base_s" in table.getvalue()
    call_command("calibrate", folder, "--preset=llama-8b-rtx4090", "--json", stdout=data)
    told = json.loads(data.getvalue())
    assert told["fitted"] == []
    assert {"name", "unit", "measured", "model", "error"} == set(told["rows"][0])


def test_a_fit_can_be_judged_on_another_run(folder: Path) -> None:
    told = StringIO()
    call_command("calibrate", folder, f"--fit-on={folder}", "--trials=0", stdout=told)
    assert "fitted on another run" in told.getvalue()
    assert "fitted: nothing" in told.getvalue()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match=r"no file whose name ends in meta\.json"):
        measured.load(tmp_path)
    with pytest.raises(CommandError, match=r"meta\.json"):
        call_command("calibrate", tmp_path)


def test_a_damaged_file_is_told(folder: Path) -> None:
    (folder / "x_timeseries.csv").write_text("t,running\n1,2\n")
    with pytest.raises(DomainError, match="KeyError"):
        measured.load(folder)
