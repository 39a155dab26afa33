"""The fields of a pool's pages: its settings, its provider, one replica. Names are those of the models, so that a
service's own sentence finds its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pools.choices import ScalingMode
from pools.mechanism.accelerators import ACCELERATORS
from pools.mechanism.shapes import MODEL_SHAPES
from pools.models.pools import ProviderKind
from pools.services.pool_rows import MOST_REPLICAS, MOST_WEIGHT
from pools.services.profiles import MOST_CONTEXT
from pools.web.fields import Field

MODES = (
    (ScalingMode.AUTOMATIC.value, "Automatic: decisions are carried out"),
    (ScalingMode.ADVISORY.value, "Advisory: decisions are only written down"),
)
FILLS = (("dimension", "Each dimension by itself"), ("drf", "By the dominant dimension (DRF)"))

NAME = Field("name", "Name", "Name", "What people read; the address keeps its slug.", high=200, kind="text")
REPLICAS = (
    Field("min_replicas", "Replicas", "Smallest number", "So many run even when nobody asks.",
          "replicas", 0, MOST_REPLICAS, "1"),
    Field("max_replicas", "Replicas", "Largest number", "Nothing is promised beyond what so many can carry.",
          "replicas", 1, MOST_REPLICAS, "1"),
    Field("scaling_mode", "Replicas", "Scaling", "Whether the autoscaler acts or advises.",
          usual="automatic", kind="choice", choices=MODES),
    Field("accelerators_per_replica", "Replicas", "Accelerators in a replica",
          "Counted against the ceiling of the whole cluster and in costs.", "accelerators", 1, 10_000, "1"),
)  # fmt: skip
SETTINGS = (
    NAME,
    *REPLICAS,
    Field("oversubscription", "Promises", "Oversubscription of elastic",
          "How often elastic baselines may be sold beside the reserved ones, since not all ask at once.",
          "times", 1, 10, "1", "number"),
    Field("elastic_share", "Promises", "Elastic baselines that buy replicas",
          "The share of elastic promises that scaling keeps ready capacity for.", "%", 0, 100, "100 %", "percent"),
    Field("spot_share", "Promises", "Spot demand that buys replicas",
          "The share of spot demand for which replicas are started; 0: spot takes only what is left.",
          "%", 0, 100, "0 %", "percent"),
    Field("fill", "Fairness", "Limits are filled", "How what is left is divided when not everybody fits.",
          usual="each dimension by itself", kind="choice", choices=FILLS),
    Field("alpha_slo", "Fairness", "Pull of tight latency targets",
          "How much a slack target lowers the weight; 0: targets do not matter.", "", 0, 100, "2", "number"),
    Field("alpha_burst", "Fairness", "Pull of burst",
          "How much past use above the promise lowers the weight; 0: it is forgotten.", "", 0, 100, "1", "number"),
    Field("alpha_debt", "Fairness", "Pull of debt",
          "How much being served below the promise raises the weight; 0: debts do not matter.",
          "", 0, 100, "4", "number"),
    Field("weight_input", "Counting", "Weight of an input token",
          "What a prompt token costs of tokens per second; a change counts every replica anew.",
          "", 0, MOST_WEIGHT, "1"),
    Field("weight_output", "Counting", "Weight of an output token",
          "What a generated token costs of tokens per second.", "", 0, MOST_WEIGHT, "1"),
    Field("tokenize", "Counting", "Ask an endpoint for exact prompt lengths",
          "One more call for each request, for prompts counted to the token.", usual="no", kind="flag"),
    Field("lease_ms", "Counting", "Lease of a request",
          "A request whose gateway is silent for so long is closed and its slot is free.",
          "ms", 1000, 3_600_000, "60,000"),
)  # fmt: skip
SETTING_GROUPS = {
    "Name": "How it is called.",
    "Replicas": "How many there may be, and who decides.",
    "Promises": "What may be sold, and what scaling keeps ready for it.",
    "Fairness": "Who comes first when not everybody fits.",
    "Counting": "What a request costs.",
    "Provider": "Where its replicas come from.",
}

PROVIDER_KIND = Field("provider", "Provider", "Provider", "How replicas come to be; it stays for the pool's life.",
                      kind="choice", choices=tuple((kind.value, kind.label) for kind in ProviderKind))  # fmt: skip
PROVIDERS: dict[str, tuple[Field, ...]] = {
    ProviderKind.PROCESS.value: (
        Field("provider_cold_start_s", "Provider", "Cold start", "How long a simulated replica loads its model.",
              "s", 0, 3600, "0", "number", optional=True),
        Field("provider_median_output_tokens", "Provider", "Usual answer", "Its median length.",
              "tokens", 1, 100_000, "120", "number", optional=True),
    ),
    ProviderKind.STATIC.value: (
        Field("provider_urls", "Provider", "Addresses", "One endpoint a line; each is one replica, used but never "
              "started or stopped.", kind="lines"),
    ),
    ProviderKind.KUBERNETES.value: (
        Field("provider_namespace", "Provider", "Namespace", "Where the workload lives.", high=63, kind="text"),
        Field("provider_name", "Provider", "StatefulSet", "Its replicas are scaled.", high=63, kind="text"),
        Field("provider_service", "Provider", "Headless service", "Through it each pod has a name.",
              high=63, kind="text"),
        Field("provider_port", "Provider", "Port", "Where the pods listen.", "", 1, 65_535, "8,000", optional=True),
        Field("provider_url", "Provider", "Address of a pod", "With {pod}, {service}, {namespace} and {port}.",
              high=500, usual="http://{pod}.{service}.{namespace}.svc:{port}", kind="text", optional=True),
        Field("provider_context", "Provider", "Context", "Of a kubeconfig; empty inside the cluster.",
              high=200, kind="text", optional=True),
    ),
}  # fmt: skip

SHAPE = (
    Field("layers", "Shape", "Layers", "Each keeps keys and values of every token.", "", 1, 1000),
    Field("kv_heads", "Shape", "KV heads", "Heads that keep keys and values, not query heads.", "", 1, 1024),
    Field("head_dim", "Shape", "Size of a head", "Numbers in one key.", "", 1, 4096),
    Field("bytes_per_element", "Shape", "Bytes of a number in the cache", "2 for 16 bit, 1 for FP8.",
          "bytes", 1, 8, "2"),
    Field("context_length", "Shape", "Context", "The longest request, prompt and answer together.",
          "tokens", 1, MOST_CONTEXT),
)  # fmt: skip
REPLICA = (
    Field("num_gpu_blocks", "Memory", "KV blocks", "As the engine tells when it starts (num_gpu_blocks).",
          "blocks", 1, 100_000_000),
    Field("block_tokens", "Memory", "Tokens in a block", "The engine's block size.", "tokens", 1, 4096, "16"),
    Field("max_num_seqs", "Memory", "Sequences at once", "The engine's own limit (max_num_seqs).",
          "sequences", 1, 1_000_000),
    Field("planned_context", "Memory", "Planned context", "What one sequence is planned to keep in the cache.",
          "tokens", 1, MOST_CONTEXT),
    Field("prefill_tokens_per_second", "Speed", "Prompt tokens", "How fast prompts are read.",
          "tokens/s", 1, 10_000_000, kind="number"),
    Field("itl_base_ms", "Speed", "Between two tokens, alone", "For one sequence by itself.",
          "ms", 0, 60_000, kind="number"),
    Field("itl_per_sequence_ms", "Speed", "More for each sequence beside it", "How it slows down with the batch.",
          "ms", 0, 60_000, kind="number"),
    Field("measured_tokens_per_second", "Speed", "Measured rate", "Taken instead of the computed one; empty: compute.",
          "tokens/s", 1, 100_000_000, optional=True),
    Field("mean_input_tokens", "Usual request", "Prompt", "Its mean length.", "tokens", 0, MOST_CONTEXT, kind="number"),
    Field("mean_output_tokens", "Usual request", "Answer", "Its mean length.",
          "tokens", 0, MOST_CONTEXT, kind="number"),
    Field("accelerator", "Memory", "Accelerator", "In words, for the history.", high=100, kind="text", optional=True),
)  # fmt: skip
PROFILE = (*SHAPE, *REPLICA)
PROFILE_GROUPS = {
    "Shape": "What one token keeps in the KV cache.",
    "Memory": "How much the cache holds.",
    "Speed": "How fast it works.",
    "Usual request": "What the rate is computed for.",
}
OWN = "own"
MODEL_CHOICES = (*((shape.key, shape.name) for shape in MODEL_SHAPES), (OWN, "Another model: own numbers"))
DEVICE_CHOICES = (*((one.key, one.name) for one in ACCELERATORS), (OWN, "Another accelerator: own numbers"))
WEIGHT_CHOICES = (("2", "16 bit"), ("1", "8 bit (FP8, INT8)"), ("0.5", "4 bit (AWQ, GPTQ)"))


def provider_config(kind: str, parsed: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The provider's settings from a form; empty ones are left out, those without a field (``kept``) stay."""
    fields = PROVIDERS.get(kind, ())
    names = {one.name.removeprefix("provider_") for one in fields}
    config = {name: value for name, value in (kept or {}).items() if name not in names}
    for one in fields:
        value = parsed.get(one.name)
        if value not in (None, ""):
            config[one.name.removeprefix("provider_")] = value
    return config


def provider_values(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The form's values of stored settings."""
    return {f"provider_{name}": value for name, value in (config or {}).items()}
