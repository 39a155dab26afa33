"""What one simulated replica is: its batch, its KV cache and how long a step takes.

Source: vLLM V1's scheduler limits; the linear step time is the capacity profile of Token Pools design, section 1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Seconds one engine step takes: base + per_sequence x decodes + per_context_token x context + prefill / rate.

    ``base_s`` and ``per_sequence_s`` are the inter-token latency a + b x batch and count only when the step decodes.
    ``per_context_token_s`` (0 = off) is reading the KV cache: seconds per token held by the decoding sequences.
    ``prefill_tokens_per_s`` is the prompt rate; ``overhead_s`` is paid by every step.
    """

    base_s: float = 1 / 15
    per_sequence_s: float = 0.0
    prefill_tokens_per_s: float = 2000.0
    per_context_token_s: float = 0.0
    overhead_s: float = 0.0

    def __post_init__(self) -> None:
        if (
            self.prefill_tokens_per_s <= 0
            or min(self.base_s, self.per_sequence_s, self.per_context_token_s, self.overhead_s) < 0
        ):
            raise ValueError(f"step costs must be 0 or more and the prefill rate above 0: {self}")

    def seconds(self, decoding: int, prefill_tokens: int, context_tokens: int = 0) -> float:
        """Duration in seconds of a step with so many decoding sequences, prompt tokens and context tokens read."""
        duration = self.overhead_s + prefill_tokens / self.prefill_tokens_per_s
        if decoding:
            duration += self.base_s + self.per_sequence_s * decoding + self.per_context_token_s * context_tokens
        return duration


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One replica. Counts are sequences, tokens and blocks of ``block_tokens`` tokens.

    ``reserve_full_prompt`` starts a waiting request only when its whole prompt fits (default of recent vLLM), not
    just its first chunk. ``async_scheduling`` plans each step while the one before runs, so newcomers wait a step more.
    ``prefix_caching`` keeps the blocks of ended and preempted sequences for reuse until they are overwritten.
    """

    max_num_seqs: int = 16
    max_num_batched_tokens: int = 2048
    block_tokens: int = 16
    num_gpu_blocks: int = 8192
    context_tokens: int = 8192
    costs: StepCosts = StepCosts()
    prefix_caching: bool = True
    reserve_full_prompt: bool = True
    async_scheduling: bool = False

    def __post_init__(self) -> None:
        counts = (self.max_num_seqs, self.max_num_batched_tokens, self.block_tokens, self.num_gpu_blocks)
        if min(*counts, self.context_tokens) < 1:
            raise ValueError(f"every count of an engine profile must be 1 or more: {self}")

    @property
    def kv_tokens(self) -> int:
        """Tokens the KV cache holds when full."""
        return self.num_gpu_blocks * self.block_tokens

    @property
    def largest_request_tokens(self) -> int:
        """Prompt plus output a request may ask for: the context, or the whole KV cache when that is smaller."""
        return min(self.context_tokens, self.kv_tokens)


DEMO = EngineProfile()
"""The paper's replica: 16 slots, 15 tokens/s each (240 together), 2000 prompt tokens/s."""

PRESETS: dict[str, EngineProfile] = {
    "demo": DEMO,
    "llama-8b-rtx4090": EngineProfile(
        256, 2048, 16, 2588, 32768, StepCosts(0.01852, 0.000042, 12502, 1.393e-7), async_scheduling=True
    ),
    "llama-8b-l40s": EngineProfile(128, 8192, 16, 12188, 32768, StepCosts(0.02154, 0.000509, 12200)),
    "llama-8b-a100": EngineProfile(128, 8192, 16, 27812, 32768, StepCosts(0.01152, 0.000336, 14400)),
    "llama-8b-h100": EngineProfile(256, 8192, 16, 27812, 32768, StepCosts(0.00641, 0.000128, 35400)),
}
