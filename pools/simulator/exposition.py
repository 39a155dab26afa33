"""The engine's figures as Prometheus text under vLLM's metric names."""

from __future__ import annotations

from collections.abc import Iterable

from pools.simulator.engine import Engine
from pools.simulator.telemetry import Histogram


def render(engine: Engine, model: str, *, old_names: bool = False) -> str:
    """The text of ``/metrics``. ``old_names`` speaks of ``gpu_cache_usage_perc`` as vLLM before 0.10 did."""
    labels = f'engine="0",model_name="{_escape(model)}"'
    count, profile = engine.telemetry, engine.profile
    usage = "vllm:gpu_cache_usage_perc" if old_names else "vllm:kv_cache_usage_perc"
    token_time = "vllm:time_per_output_token_seconds" if old_names else "vllm:inter_token_latency_seconds"
    lines: list[str] = []
    for name, value in (
        ("vllm:num_requests_running", len(engine.running)),
        ("vllm:num_requests_waiting", len(engine.waiting)),
        (usage, round(engine.kv_usage, 6)),
    ):
        lines += [f"# TYPE {name} gauge", f"{name}{{{labels}}} {value}"]
    config = (
        f'block_size="{profile.block_tokens}",enable_prefix_caching="{profile.prefix_caching}",'
        f'engine="0",num_gpu_blocks="{profile.num_gpu_blocks}"'
    )
    lines += ["# TYPE vllm:cache_config_info gauge", f"vllm:cache_config_info{{{config}}} 1.0"]
    for name, value in (
        ("vllm:prompt_tokens_total", count.prompt_tokens),
        ("vllm:generation_tokens_total", count.generation_tokens),
        ("vllm:num_preemptions_total", count.preemptions),
        ("vllm:prompt_tokens_cached_total", count.cached_tokens),
    ):
        lines += [f"# TYPE {name} counter", f"{name}{{{labels}}} {value}"]
    lines.append("# TYPE vllm:request_success_total counter")
    lines += [
        f'vllm:request_success_total{{{labels},finished_reason="{reason}"}} {number}'
        for reason, number in count.finished.items()
    ]
    lines += _histogram("vllm:time_to_first_token_seconds", labels, count.ttft)
    lines += _histogram(token_time, labels, count.inter_token)
    return "\n".join(lines) + "\n"


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterable[str]:
    yield f"# TYPE {name} histogram"
    for bound, number in histogram.cumulative():
        yield f'{name}_bucket{{{labels},le="{bound}"}} {number}'
    yield f"{name}_sum{{{labels}}} {histogram.sum:.6f}"
    yield f"{name}_count{{{labels}}} {histogram.count}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
