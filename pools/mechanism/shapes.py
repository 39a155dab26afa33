"""Shapes of well-known open models: facts from their published configurations, nothing computed.

What one token keeps in the KV cache follows from layers, KV heads and head size (``amounts.kv_bytes_per_token``); the
parameters say how much memory is left for it. Where layers look at a window only, all of them are counted: cautious.
"""

from __future__ import annotations

from typing import NamedTuple


class ModelShape(NamedTuple):
    """``parameters_b`` billions of parameters, ``active_b`` those one token passes through (mixtures of experts).
    ``context_length`` is the longest context in tokens. ``note`` is empty or says what the table leaves out."""

    key: str
    name: str
    layers: int
    kv_heads: int
    head_dim: int
    context_length: int
    parameters_b: float
    active_b: float
    note: str = ""


WINDOWS = "Some layers keep a short window only; all are counted in full here, which is cautious."


def _dense(
    key: str, name: str, layers: int, kv_heads: int, head_dim: int, context: int, parameters_b: float, note: str = ""
) -> ModelShape:
    return ModelShape(key, name, layers, kv_heads, head_dim, context, parameters_b, parameters_b, note)


MODEL_SHAPES: tuple[ModelShape, ...] = (
    _dense("llama-3.1-8b", "Llama 3.1 8B", 32, 8, 128, 131_072, 8.03),
    _dense("llama-3.1-70b", "Llama 3.1 and 3.3 70B", 80, 8, 128, 131_072, 70.6),
    _dense("llama-3.1-405b", "Llama 3.1 405B", 126, 8, 128, 131_072, 405.9),
    _dense("llama-3.2-1b", "Llama 3.2 1B", 16, 8, 64, 131_072, 1.24),
    _dense("llama-3.2-3b", "Llama 3.2 3B", 28, 8, 128, 131_072, 3.21),
    _dense("qwen2.5-0.5b", "Qwen2.5 0.5B", 24, 2, 64, 32_768, 0.49),
    _dense("qwen2.5-1.5b", "Qwen2.5 1.5B", 28, 2, 128, 32_768, 1.54),
    _dense("qwen2.5-3b", "Qwen2.5 3B", 36, 2, 128, 32_768, 3.09),
    _dense("qwen2.5-7b", "Qwen2.5 7B", 28, 4, 128, 32_768, 7.62),
    _dense("qwen2.5-14b", "Qwen2.5 14B", 48, 8, 128, 32_768, 14.8),
    _dense("qwen2.5-32b", "Qwen2.5 32B", 64, 8, 128, 32_768, 32.8),
    _dense("qwen2.5-72b", "Qwen2.5 72B", 80, 8, 128, 32_768, 72.7),
    _dense("qwen3-8b", "Qwen3 8B", 36, 8, 128, 40_960, 8.19),
    _dense("qwen3-14b", "Qwen3 14B", 40, 8, 128, 40_960, 14.8),
    _dense("qwen3-32b", "Qwen3 32B", 64, 8, 128, 40_960, 32.8),
    ModelShape("qwen3-30b-a3b", "Qwen3 30B-A3B", 48, 4, 128, 40_960, 30.5, 3.3),
    ModelShape("qwen3-235b-a22b", "Qwen3 235B-A22B", 94, 4, 128, 40_960, 235.0, 22.0),
    _dense("mistral-7b", "Mistral 7B v0.3", 32, 8, 128, 32_768, 7.25),
    _dense("mistral-nemo-12b", "Mistral Nemo 12B", 40, 8, 128, 131_072, 12.2),
    _dense("mistral-small-24b", "Mistral Small 24B", 40, 8, 128, 32_768, 23.6),
    ModelShape("mixtral-8x7b", "Mixtral 8x7B", 32, 8, 128, 32_768, 46.7, 12.9),
    ModelShape("mixtral-8x22b", "Mixtral 8x22B", 56, 8, 128, 65_536, 141.0, 39.0),
    _dense("gemma-2-2b", "Gemma 2 2B", 26, 4, 256, 8192, 2.61, WINDOWS),
    _dense("gemma-2-9b", "Gemma 2 9B", 42, 8, 256, 8192, 9.24, WINDOWS),
    _dense("gemma-2-27b", "Gemma 2 27B", 46, 16, 128, 8192, 27.2, WINDOWS),
    _dense("gemma-3-4b", "Gemma 3 4B", 34, 4, 256, 131_072, 4.3, WINDOWS),
    _dense("gemma-3-12b", "Gemma 3 12B", 48, 8, 256, 131_072, 12.2, WINDOWS),
    _dense("gemma-3-27b", "Gemma 3 27B", 62, 16, 128, 131_072, 27.4, WINDOWS),
    _dense("phi-4", "Phi-4 14B", 40, 10, 128, 16_384, 14.7),
    _dense("smollm2-1.7b", "SmolLM2 1.7B", 24, 32, 64, 8192, 1.71),
    _dense("smollm2-135m", "SmolLM2 135M", 30, 3, 64, 8192, 0.13),
)
_BY_KEY = {shape.key: shape for shape in MODEL_SHAPES}


def shape_of(key: str) -> ModelShape | None:
    """The shape of a key; None for an unknown one (own numbers)."""
    return _BY_KEY.get(key)
