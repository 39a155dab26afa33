"""How endpoints come to be: one small interface, and what a replica is made from.

    process     simulated endpoints as local processes
    static      endpoints that exist already, listed by URL
    kubernetes  the ordinals of a StatefulSet, through its scale sub-resource
    metrics     reads /health and /metrics of many endpoints at once, whoever started them

Source: Token Pools design, sections 1 and 8. All calls are synchronous, idempotent and bounded in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pools.choices import EndpointState


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """One replica to start. ``name`` is unique among endpoints; ``ordinal`` is its number in its pool, from 0: the
    lowest that no endpoint still alive has. Starting an equal name and ordinal twice starts it once.

    Counts are sequences, blocks and tokens; inter-token latency = ``itl_base_ms`` + ``itl_per_sequence_ms`` x batch.
    The default is the paper's replica: 16 slots of 15 tokens/s, 240 together, 2000 prompt tokens/s.
    """

    name: str
    model: str
    ordinal: int = 0
    slots: int = 16
    num_gpu_blocks: int = 8192
    block_tokens: int = 16
    context_tokens: int = 8192
    itl_base_ms: float = 1000 / 15
    itl_per_sequence_ms: float = 0.0
    prefill_tokens_per_second: float = 2000.0
    cold_start_s: float = 0.0
    bytes_per_token: float = 3.6
    median_output_tokens: float = 120.0
    seed: int = 0
    labels: tuple[tuple[str, str], ...] = ()


def demo_spec(name: str, model: str, *, ordinal: int = 0, cold_start_s: float = 8.0) -> ReplicaSpec:
    """The replica of the demo world: the default with a cold start that can be watched."""
    return ReplicaSpec(name=name, model=model, ordinal=ordinal, cold_start_s=cold_start_s)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider sees of a replica. ``url`` is empty until it is known; ``detail`` is one sentence for people.

    STARTING also means "alive but not answering": a caller keeps a ready endpoint ready until its scrapes are stale.
    STOPPED means nothing is left of it; FAILED that it ended by itself or cannot come up.
    """

    state: EndpointState
    url: str = ""
    detail: str = ""


class Provider(Protocol):
    """Starts and stops the replicas of one pool; refs are its own names for them (``Endpoint.provider_ref``).

    ``fixed_places``: replica n has a place of its own (a URL, an ordinal), so that another can only come after it.
    """

    fixed_places: bool

    def start(self, spec: ReplicaSpec) -> str:
        """Begin to start a replica and return its ref at once. DomainError ``cannot_start`` when it is refused."""
        ...

    def stop(self, ref: str) -> None:
        """Stop a replica and forget it; stopping an unknown ref does nothing."""
        ...

    def replace(self, ref: str) -> None:
        """End a replica where it stands, so that a new one can start in its place; an unknown ref does nothing."""
        ...

    def probe(self, ref: str) -> Probe:
        """How it is now. Never raises for an unknown ref: that one is STOPPED."""
        ...

    def list(self) -> tuple[str, ...]:
        """The refs that exist, running or failed."""
        ...
