"""Which provider a pool's endpoints come from, and what a replica of it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from pools.models import CapacityProfile, Pool
from pools.models.pools import ProviderKind
from pools.providers.base import Provider, ReplicaSpec
from pools.providers.kubernetes import KubernetesProvider, Workload, api_cluster
from pools.providers.process import ProcessProvider
from pools.providers.static import StaticProvider
from portal.lib.errors import DomainError


def provider_of(pool: Pool) -> Provider:
    """The provider of a pool. Raises DomainError when its configuration is not enough."""
    config: dict[str, Any] = pool.provider_config or {}
    if pool.provider == ProviderKind.PROCESS:
        var_dir = Path(settings.VAR_DIR)
        return ProcessProvider(var_dir / "run" / "endpoints", var_dir / "log" / "endpoints")
    if pool.provider == ProviderKind.STATIC:
        return StaticProvider(config.get("urls", ()))
    missing = [key for key in ("namespace", "name", "service") if not config.get(key)]
    if missing:
        raise DomainError(
            "bad_provider", f"The Kubernetes pool {pool.slug} needs {', '.join(missing)} in its provider_config."
        )
    names = {key: config[key] for key in ("namespace", "name", "service", "port", "url") if key in config}
    return KubernetesProvider(Workload(**names), api_cluster(config.get("context")))


def spec_of(pool: Pool, profile: CapacityProfile, name: str, ordinal: int) -> ReplicaSpec:
    """What to start: the profile's shape; ``provider_config`` may say how a simulated endpoint behaves."""
    config: dict[str, Any] = pool.provider_config or {}
    simulated: dict[str, Any] = {
        key: float(config[key]) for key in ("cold_start_s", "bytes_per_token", "median_output_tokens") if key in config
    }
    return ReplicaSpec(
        name=name,
        model=pool.upstream_model,
        ordinal=ordinal,
        slots=profile.max_num_seqs,
        num_gpu_blocks=profile.num_gpu_blocks,
        block_tokens=profile.block_tokens,
        context_tokens=profile.context_length,
        itl_base_ms=profile.itl_base_ms,
        itl_per_sequence_ms=profile.itl_per_sequence_ms,
        prefill_tokens_per_second=profile.prefill_tokens_per_second,
        seed=ordinal,
        **simulated,
    )
