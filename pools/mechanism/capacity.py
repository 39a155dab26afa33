"""What one replica can carry, in the three dimensions, and what a pool of them can.

Binding, admission, limits and autoscaling all read the same record, so that what was sold, what is let in and what is
provisioned can never disagree. Source: dimensions from the paper; the formulas and margins are Token Pools design.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pools.mechanism.amounts import Rate, kv_bytes_per_token

KV_MARGIN = 0.90
TOKENS_MARGIN = 0.95
LIVE_CORRECTION = 0.5
NOTHING = Rate(0, 0, 0)


class ProfileError(ValueError):
    """A capacity profile that cannot be used. ``problems`` maps a field to a sentence with the value and what is
    allowed."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ReplicaProfile:
    """One replica of a model on an accelerator: shape, memory, speed and the typical request.

    Shape: ``layers``, ``kv_heads``, ``head_dim``, ``bytes_per_element``. Memory: ``kv_blocks`` blocks of
    ``block_tokens``, at most ``max_sequences`` running, ``planned_context_tokens`` per sequence. Speed:
    ``prefill_tokens_per_second`` and the time between two output tokens ``itl_alpha_ms + itl_beta_ms x batch``.
    Typical request: mean input and output tokens, and what one of each weighs. ``measured_tokens_per_second``
    replaces the computed token rate. Raises :class:`ProfileError` naming every wrong field at once.
    """

    layers: int
    kv_heads: int
    head_dim: int
    bytes_per_element: int
    block_tokens: int
    kv_blocks: int
    max_sequences: int
    planned_context_tokens: int
    prefill_tokens_per_second: float
    itl_alpha_ms: float
    itl_beta_ms: float
    mean_input_tokens: float
    mean_output_tokens: float
    weight_input: int = 1
    weight_output: int = 1
    measured_tokens_per_second: int | None = None
    model: str = ""
    accelerator: str = ""
    version: int = 1

    def __post_init__(self) -> None:
        problems = profile_problems(self)
        if problems:
            raise ProfileError(problems)

    @property
    def bytes_per_token(self) -> int:
        """KV-cache bytes one token occupies."""
        return kv_bytes_per_token(self.layers, self.kv_heads, self.head_dim, self.bytes_per_element)


_AT_LEAST_ONE = (
    "layers",
    "kv_heads",
    "head_dim",
    "bytes_per_element",
    "block_tokens",
    "kv_blocks",
    "max_sequences",
    "planned_context_tokens",
)


def profile_problems(profile: ReplicaProfile) -> dict[str, str]:
    """Field → sentence for everything wrong with a profile; empty when it can be used."""
    found: dict[str, str] = {}
    for name in _AT_LEAST_ONE:
        value = getattr(profile, name)
        if value < 1:
            found[name] = f"{name} must be a whole number of 1 or more, got {value}"
    if not (math.isfinite(profile.prefill_tokens_per_second) and profile.prefill_tokens_per_second > 0):
        found["prefill_tokens_per_second"] = (
            f"prefill_tokens_per_second must be above 0, got {profile.prefill_tokens_per_second}"
        )
    for name in (
        "itl_alpha_ms",
        "itl_beta_ms",
        "mean_input_tokens",
        "mean_output_tokens",
        "weight_input",
        "weight_output",
    ):
        value = getattr(profile, name)
        if not (math.isfinite(value) and value >= 0):
            found[name] = f"{name} must be 0 or more, got {value}"
    measured = profile.measured_tokens_per_second
    if measured is not None and measured < 1:
        found["measured_tokens_per_second"] = (
            f"measured_tokens_per_second must be 1 or more, or left empty to compute it; got {measured}"
        )
    if not found:
        found |= _combined_problems(profile)
    return found


def _combined_problems(profile: ReplicaProfile) -> dict[str, str]:
    found: dict[str, str] = {}
    fits = int(profile.kv_blocks * profile.block_tokens * KV_MARGIN)
    if fits < profile.planned_context_tokens:
        found["planned_context_tokens"] = (
            f"one sequence of {profile.planned_context_tokens} planned tokens does not fit: {profile.kv_blocks} blocks "
            f"of {profile.block_tokens} hold {fits} tokens after the {KV_MARGIN:.0%} margin; "
            "plan for less context or add blocks"
        )
    if profile.measured_tokens_per_second is None:
        if _mean_cost_tokens(profile) <= 0:
            found["mean_input_tokens"] = "the mean request costs no tokens: give mean input and output tokens above 0"
        elif profile.itl_alpha_ms + profile.itl_beta_ms <= 0 and profile.mean_output_tokens > 0:
            found["itl_alpha_ms"] = (
                "time between tokens is 0: give itl_alpha_ms or itl_beta_ms, or a measured token rate"
            )
    return found


def _mean_cost_tokens(profile: ReplicaProfile) -> float:
    return profile.weight_input * profile.mean_input_tokens + profile.weight_output * profile.mean_output_tokens


def mean_service_s(profile: ReplicaProfile, batch: int) -> float:
    """Seconds the typical request runs beside ``batch`` others: input / prefill rate + output x (alpha + beta x
    batch)."""
    between_s = (profile.itl_alpha_ms + profile.itl_beta_ms * batch) / 1000.0
    return profile.mean_input_tokens / profile.prefill_tokens_per_second + profile.mean_output_tokens * between_s


def replica_rate(profile: ReplicaProfile) -> Rate:
    """Capacity of one replica: (tokens/s, KV bytes, sequences), rounded down.

    kv = blocks x block_tokens x bytes_per_token x 0.90; sequences = min(max_sequences, kv / (planned context x
    bytes_per_token)); tokens = 0.95 x sequences x mean cost / mean service time at that batch, unless measured.
    Source: Token Pools design.
    """
    held_tokens = int(profile.kv_blocks * profile.block_tokens * KV_MARGIN)
    sequences = min(profile.max_sequences, held_tokens // profile.planned_context_tokens)
    tokens = profile.measured_tokens_per_second
    if tokens is None:
        tokens = int(TOKENS_MARGIN * sequences * _mean_cost_tokens(profile) / mean_service_s(profile, sequences))
    return Rate(tokens, held_tokens * profile.bytes_per_token, sequences)


def pool_capacity(ready: Iterable[Rate]) -> Rate:
    """Capacity of a pool: the sum over its READY replicas, which may differ. No ready replica gives nothing."""
    return sum(ready, NOTHING)


def live_average(
    previous: float | None, measured: float, *, saturated: bool, elapsed_s: float, tau_s: float = 60.0
) -> float | None:
    """EWMA of tokens/s measured per replica; moves only in saturated windows, since an idle replica shows demand, not
    capacity.

    next = previous x exp(-elapsed/tau) + measured x (1 - exp(-elapsed/tau)); the first saturated window starts it.
    Raises ValueError for a time of 0 or less or a negative measure. Source: Token Pools design.
    """
    if elapsed_s <= 0 or tau_s <= 0 or measured < 0:
        raise ValueError(f"elapsed_s and tau_s must be above 0, measured 0 or more: {elapsed_s}, {tau_s}, {measured}")
    if not saturated:
        return previous
    if previous is None:
        return measured
    keep = math.exp(-elapsed_s / tau_s)
    return previous * keep + measured * (1.0 - keep)


def corrected(profile_rate: Rate, average_tokens_per_second: float | None) -> Rate:
    """The profile's rate with its tokens/s moved to the live average, never further than 50 % from the profile."""
    if average_tokens_per_second is None:
        return profile_rate
    planned = profile_rate.tokens_per_second
    low, high = planned * (1.0 - LIVE_CORRECTION), planned * (1.0 + LIVE_CORRECTION)
    tokens = int(min(max(average_tokens_per_second, low), high))
    return Rate(tokens, profile_rate.kv_bytes, profile_rate.concurrency)
