"""Endpoints that exist already: a fixed list of URLs of vLLM servers somebody else runs."""

from __future__ import annotations

from collections.abc import Sequence

from pools.choices import EndpointState
from pools.providers.base import Probe, ReplicaSpec
from pools.providers.metrics import check_health
from portal.lib.errors import DomainError

HEALTH_S = 2.0


class StaticProvider:
    """Replica number n is the n-th URL; its ref is the URL. Nothing is ever started or stopped, only used or not."""

    fixed_places = True

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(dict.fromkeys(url.strip().rstrip("/") for url in urls))
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise DomainError(
                    "bad_endpoint_url", f"{url!r} is not an endpoint's address; it must begin with http:// or https://."
                )

    def start(self, spec: ReplicaSpec) -> str:
        """The URL with the spec's number."""
        if spec.ordinal >= len(self.urls):
            raise DomainError(
                "cannot_start",
                f"Replica {spec.ordinal + 1} of {spec.model} was asked for, but {len(self.urls)} URLs are listed. "
                "Add a URL or lower the largest number of replicas.",
            )
        return self.urls[spec.ordinal]

    def stop(self, ref: str) -> None:
        """Nothing: the server belongs to somebody else."""

    def replace(self, ref: str) -> None:
        """Nothing: it is used again as soon as it is wanted."""

    def probe(self, ref: str) -> Probe:
        """Ready when /health answers 200; STOPPED when the URL is listed no more."""
        if ref not in self.urls:
            return Probe(EndpointState.STOPPED, ref, "The URL is not listed any more.")
        status = check_health(ref, HEALTH_S)
        if status == 200:
            return Probe(EndpointState.READY, ref)
        told = "does not answer" if status is None else f"answers {status}"
        return Probe(EndpointState.STARTING, ref, f"/health {told}.")

    def list(self) -> tuple[str, ...]:
        """Every URL."""
        return self.urls
