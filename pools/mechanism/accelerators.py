"""Accelerators by their data sheets, and a first estimate of one replica from them: numbers to begin with, to be
replaced by measured ones.

Source: published memory, bandwidth and dense 16-bit arithmetic; the estimate is a roofline (Token Pools design):
prompts are bound by arithmetic, single tokens by reading weights and cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pools.mechanism.amounts import kv_bytes_per_token
from pools.mechanism.shapes import ModelShape

GIB = 1024**3
MEMORY_USED = 0.90
"""Of the memory, as vLLM's ``--gpu-memory-utilization`` has it by default."""
WORKSPACE_GIB = 2.0
"""Activations and graphs, per accelerator."""
ARITHMETIC_REACHED = 0.45
BANDWIDTH_REACHED = 0.65
USUAL_SEQUENCES = 256


class Accelerator(NamedTuple):
    """``memory_gib`` in GiB, ``bandwidth_gb_s`` in GB/s, ``tflops`` dense 16-bit, all of one device."""

    key: str
    name: str
    memory_gib: float
    bandwidth_gb_s: float
    tflops: float


ACCELERATORS: tuple[Accelerator, ...] = (
    Accelerator("h100", "NVIDIA H100 SXM 80 GB", 80, 3350, 989),
    Accelerator("h200", "NVIDIA H200 141 GB", 141, 4800, 989),
    Accelerator("b200", "NVIDIA B200 180 GB", 180, 8000, 2250),
    Accelerator("a100-80", "NVIDIA A100 80 GB", 80, 2039, 312),
    Accelerator("a100-40", "NVIDIA A100 40 GB", 40, 1555, 312),
    Accelerator("l40s", "NVIDIA L40S 48 GB", 48, 864, 362),
    Accelerator("l4", "NVIDIA L4 24 GB", 24, 300, 121),
    Accelerator("a10", "NVIDIA A10 24 GB", 24, 600, 125),
    Accelerator("rtx4090", "NVIDIA RTX 4090 24 GB", 24, 1008, 165),
    Accelerator("mi300x", "AMD Instinct MI300X 192 GB", 192, 5300, 1307),
    Accelerator("mi325x", "AMD Instinct MI325X 256 GB", 256, 6000, 1307),
    Accelerator("gaudi3", "Intel Gaudi 3 128 GB", 128, 3700, 1835),
    Accelerator("tpu-v5e", "Google TPU v5e 16 GB", 16, 819, 197),
    Accelerator("tpu-v6e", "Google TPU v6e 32 GB", 32, 1640, 918),
)
_BY_KEY = {one.key: one for one in ACCELERATORS}


def accelerator_of(key: str) -> Accelerator | None:
    """The accelerator of a key; None for an unknown one (own numbers)."""
    return _BY_KEY.get(key)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One replica by the data sheet: KV blocks, sequences, prompt tokens/s, ms between tokens alone and per sequence
    beside it. ``sentence`` tells how the memory is used."""

    num_gpu_blocks: int
    max_num_seqs: int
    prefill_tokens_per_second: float
    itl_base_ms: float
    itl_per_sequence_ms: float
    sentence: str


class TooSmallError(ValueError):
    """The weights leave no room for a KV cache; the text says by how much and how many devices would do."""


def estimate(
    shape: ModelShape,
    device: Accelerator,
    count: int,
    *,
    block_tokens: int = 16,
    bytes_per_element: int = 2,
    weight_bytes: float = 2.0,
    mean_context: float = 1024.0,
) -> Estimate:
    """A replica of ``shape`` on ``count`` devices; ``mean_context`` tokens are in the cache of a typical sequence.

    KV memory = count x (memory x 0.90 - 2 GiB) - parameters x weight_bytes; blocks = KV memory / (block x bytes per
    token x copies), copies = max(1, count / KV heads). Prompt rate = count x arithmetic x 0.45 / (2 x active
    parameters). Between tokens: (active weights, and per sequence its cache) / (count x bandwidth x 0.65).
    Raises :class:`TooSmallError` when no block fits, ValueError for counts below 1.
    """
    if count < 1 or block_tokens < 1 or bytes_per_element < 1 or weight_bytes <= 0 or mean_context < 0:
        raise ValueError(f"count, block and bytes must be 1 or more: {count}, {block_tokens}, {bytes_per_element}")
    usable = count * (device.memory_gib * MEMORY_USED - WORKSPACE_GIB) * GIB
    weights = shape.parameters_b * 1e9 * weight_bytes
    token = kv_bytes_per_token(shape.layers, shape.kv_heads, shape.head_dim, bytes_per_element)
    copies = max(1.0, count / shape.kv_heads)
    blocks = int((usable - weights) // (block_tokens * token * copies))
    if blocks < 1:
        each = (device.memory_gib * MEMORY_USED - WORKSPACE_GIB) * GIB
        needed = int(weights // max(1.0, each)) + 1
        raise TooSmallError(
            f"The weights of {shape.name} take {weights / GIB:.0f} GiB, {count} × {device.name} have "
            f"{max(0.0, usable) / GIB:.0f} GiB for them and the cache: take at least {needed} per replica."
        )
    reads = count * device.bandwidth_gb_s * 1e9 * BANDWIDTH_REACHED
    computes = count * device.tflops * 1e12 * ARITHMETIC_REACHED
    active = shape.active_b * 1e9
    return Estimate(
        num_gpu_blocks=blocks,
        max_num_seqs=USUAL_SEQUENCES,
        prefill_tokens_per_second=_three(computes / (2 * active)),
        itl_base_ms=_three(1000 * active * weight_bytes / reads),
        itl_per_sequence_ms=_three(1000 * (mean_context * token / reads + 2 * active / computes)),
        sentence=(
            f"{usable / GIB:.0f} GiB usable of {count} × {device.memory_gib:.0f} GiB, {weights / GIB:.0f} GiB hold the "
            f"weights, {(usable - weights) / GIB:.0f} GiB are left for the KV cache."
        ),
    )


def _three(value: float) -> float:
    return float(f"{value:.3g}")
