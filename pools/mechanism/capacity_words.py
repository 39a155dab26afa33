"""The capacity formulas in words, with the numbers of one profile: what a preview shows beside its result. Pure text.

The numbers are computed by ``pools.mechanism.capacity``; here they are only told.
"""

from __future__ import annotations

from typing import NamedTuple

from pools.mechanism.amounts import Dimension
from pools.mechanism.capacity import KV_MARGIN, TOKENS_MARGIN, ReplicaProfile, mean_service_s, replica_rate


class Told(NamedTuple):
    """One dimension: the rule in words, the same with numbers, the result in the dimension's unit, and what binds."""

    dimension: Dimension
    rule: str
    numbers: str
    result: int
    binds: str


def capacity_told(profile: ReplicaProfile) -> tuple[Told, Told, Told]:
    """The three formulas of ``replica_rate``, told for a profile. Source: Token Pools design, section 1."""
    rate = replica_rate(profile)
    held = int(profile.kv_blocks * profile.block_tokens * KV_MARGIN)
    by_memory = held // profile.planned_context_tokens
    return (
        _tokens(profile, rate.tokens_per_second, rate.concurrency),
        _kv(profile, rate.kv_bytes, held),
        _slots(profile, rate.concurrency, held, by_memory),
    )


def _tokens(profile: ReplicaProfile, result: int, batch: int) -> Told:
    if profile.measured_tokens_per_second is not None:
        rule = "the measured rate, taken as it is"
        return Told(Dimension.TOKENS, rule, f"{profile.measured_tokens_per_second:,} tokens/s", result, "measured")
    cost = profile.weight_input * profile.mean_input_tokens + profile.weight_output * profile.mean_output_tokens
    between = profile.itl_alpha_ms + profile.itl_beta_ms * batch
    prefill_s = profile.mean_input_tokens / profile.prefill_tokens_per_second
    return Told(
        Dimension.TOKENS,
        f"{TOKENS_MARGIN:.2f} × sequences × tokens of the usual request / seconds it runs on a full replica",
        f"{TOKENS_MARGIN:.2f} × {batch:,} × {cost:,.0f} / ({prefill_s:.3g} s of prompt + "
        f"{profile.mean_output_tokens:,.0f} × {between:.3g} ms = {mean_service_s(profile, batch):.3g} s)",
        result,
        "the prompt" if prefill_s * 1000 > profile.mean_output_tokens * between else "the time between tokens",
    )


def _kv(profile: ReplicaProfile, result: int, held: int) -> Told:
    return Told(
        Dimension.KV_BYTES,
        f"blocks × tokens in a block × bytes of a token × {KV_MARGIN:.2f}",
        f"{profile.kv_blocks:,} × {profile.block_tokens} × {profile.bytes_per_token:,} bytes × {KV_MARGIN:.2f} "
        f"({held:,} tokens)",
        result,
        "the memory for the KV cache",
    )


def _slots(profile: ReplicaProfile, result: int, held: int, by_memory: int) -> Told:
    binds = "the engine's limit" if profile.max_sequences <= by_memory else "the memory for the KV cache"
    return Told(
        Dimension.CONCURRENCY,
        "the smaller of the engine's limit and tokens held / planned context",
        f"min({profile.max_sequences:,}, {held:,} / {profile.planned_context_tokens:,} = {by_memory:,})",
        result,
        binds,
    )
