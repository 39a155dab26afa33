"""Is what an operator says of a provider enough, and well formed? Nothing is asked of machines or clusters here.

Problems are keyed ``provider_<setting>`` like the fields of the forms, or ``provider_config`` for the whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pools.models.pools import ProviderKind

MOST_URLS, MOST_URL_LETTERS = 1000, 500
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
WINDOWS = ("up_window_s", "down_window_s", "down_pause_s")
ALLOWED: dict[str, tuple[str, ...]] = {
    ProviderKind.PROCESS.value: ("cold_start_s", "bytes_per_token", "median_output_tokens", "scaling"),
    ProviderKind.STATIC.value: ("urls",),
    ProviderKind.KUBERNETES.value: ("namespace", "name", "service", "port", "url", "context"),
}
RANGES = {"cold_start_s": (0, 3600), "bytes_per_token": (0.5, 32), "median_output_tokens": (1, 100_000)}


def provider_problems(kind: str, config: Any, max_replicas: int) -> dict[str, str]:
    """Field → sentence; empty when the provider can work with it."""
    if kind not in ALLOWED:
        return {"provider": f"provider is one of {', '.join(ALLOWED)}, got {kind!r}."}
    if not isinstance(config, Mapping):
        return {"provider_config": "The settings of a provider are names with values."}
    unknown = sorted(set(config) - set(ALLOWED[kind]))
    problems: dict[str, str] = {}
    if unknown:
        named, has = ", ".join(map(str, unknown)), ", ".join(ALLOWED[kind])
        problems["provider_config"] = f"A {kind} provider has no {named}; it has {has}."
    check = {"process": _process, "static": _static, "kubernetes": _kubernetes}[kind]
    return problems | check(config, max_replicas)


def url_problem(url: str) -> str:
    """Why an endpoint's address cannot be used; empty when it can."""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return f"{url[:80]!r} is not an address."
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        return f"{url[:80]!r} must begin with http:// or https:// and name a host."
    if parts.username or parts.password or parts.query or parts.fragment:
        return f"{url[:80]!r} holds a password, a query or a fragment; give host, port and path only."
    return f"{url[:80]!r} is longer than {MOST_URL_LETTERS} letters." if len(url) > MOST_URL_LETTERS else ""


def _process(config: Mapping[str, Any], max_replicas: int) -> dict[str, str]:
    problems = {}
    for name, (low, high) in RANGES.items():
        if name in config and not _between(config[name], low, high):
            problems[f"provider_{name}"] = f"{name} is a number from {low} to {high:,}, got {config[name]!r}."
    scaling = config.get("scaling", {})
    if not isinstance(scaling, Mapping) or any(
        name not in WINDOWS or not _between(value, 0, 86_400) for name, value in scaling.items()
    ):
        problems["provider_scaling"] = f"scaling holds {', '.join(WINDOWS)} in seconds, got {scaling!r}."
    return problems


def _static(config: Mapping[str, Any], max_replicas: int) -> dict[str, str]:
    urls = config.get("urls", ())
    if not isinstance(urls, list | tuple) or not urls or not all(isinstance(url, str) for url in urls):
        return {"provider_urls": "List the address of each endpoint, one a line; at least one."}
    cleaned = [url.strip().rstrip("/") for url in urls]
    wrong = [problem for url in cleaned if (problem := url_problem(url))]
    if wrong:
        return {"provider_urls": " ".join(wrong[:3])}
    twice = sorted({url for url in cleaned if cleaned.count(url) > 1}) if len(cleaned) <= MOST_URLS else []
    if twice:
        return {"provider_urls": f"{twice[0]} is listed twice: each endpoint is one replica."}
    if len(cleaned) > MOST_URLS:
        return {"provider_urls": f"At most {MOST_URLS:,} endpoints, got {len(cleaned):,}."}
    if max_replicas > len(cleaned):
        return {
            "max_replicas": f"{len(cleaned)} URLs are listed, so there can be at most {len(cleaned)} replicas, "
            f"got {max_replicas}. Add URLs or lower it."
        }
    return {}


def _kubernetes(config: Mapping[str, Any], max_replicas: int) -> dict[str, str]:
    problems = {}
    for name in ("namespace", "name", "service"):
        value = config.get(name, "")
        if not isinstance(value, str) or not DNS_LABEL.fullmatch(value):
            problems[f"provider_{name}"] = (
                f"{name} is a Kubernetes name: lower-case letters, digits and dashes, at most 63; got {value!r}."
            )
    port = config.get("port", 8000)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65_535:
        problems["provider_port"] = f"port is a whole number from 1 to 65,535, got {port!r}."
    url = config.get("url", "http://{pod}.{service}.{namespace}.svc:{port}")
    try:
        filled = str(url).format(pod="p-0", service="s", namespace="n", port=1)
    except (KeyError, IndexError, ValueError):
        filled = ""
    if "{pod}" not in str(url) or not filled or url_problem(filled):
        problems["provider_url"] = (
            "url is an address with {pod} in it, and {service}, {namespace} and {port} where they belong; "
            f"got {url!r}."
        )
    if not isinstance(config.get("context", ""), str | None):
        problems["provider_context"] = "context is the name of a kubeconfig context, or left empty inside the cluster."
    return problems


def _between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
