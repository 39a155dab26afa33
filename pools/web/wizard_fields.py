"""The steps of the pool wizard: their fields, what stands in for fields left empty, and the pool they describe.

A draft is texts by name; it travels in the address, so that every step can be left, shared and come back to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pools.mechanism.accelerators import Estimate, TooSmallError, accelerator_of, estimate
from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import ReplicaProfile
from pools.mechanism.shapes import ModelShape, shape_of
from pools.models.pools import ProviderKind
from pools.services.profiles import ProfileInput, profile_checked
from pools.services.provider_check import provider_problems
from pools.web.fields import Field, Typed, typed_read, value_text
from pools.web.pool_fields import (
    DEVICE_CHOICES,
    MODEL_CHOICES,
    OWN,
    PROVIDER_KIND,
    PROVIDERS,
    REPLICA,
    REPLICAS,
    SHAPE,
    WEIGHT_CHOICES,
    provider_config,
)
from portal.lib.errors import DomainError

STEPS = ("model", "replica", "replicas", "provider", "review")
TITLES = {
    "model": "Model",
    "replica": "One replica",
    "replicas": "How many",
    "provider": "Where they come from",
    "review": "Review",
}
LEDES = {
    "model": "What is served, and under which name clients ask for it.",
    "replica": "What one replica can carry. Fields left empty are estimated from the data sheet; measure and correct.",
    "replicas": "How many replicas there may be, and whether the autoscaler acts or advises.",
    "provider": "How replicas come to be.",
    "review": "What will happen.",
}
MODEL = (
    Field("shape", "Model", "Model", "Its shape is filled in from the table of known ones.",
          kind="choice", choices=MODEL_CHOICES),
    Field("slug", "Names", "Slug", "In addresses; letters, digits and hyphens, never changed later.",
          high=63, kind="text"),
    Field("name", "Names", "Name", "What people read.", high=200, kind="text", optional=True),
    Field("model_name", "Names", "Clients ask for", "What they put into the model field of a request.",
          high=200, kind="text"),
    Field("upstream_model", "Names", "Endpoints call it", "Empty: the same name.",
          high=200, kind="text", optional=True),
)  # fmt: skip
DEVICE = (
    Field("device", "Accelerator", "Accelerator", "Memory and speed by its data sheet.",
          kind="choice", choices=DEVICE_CHOICES),
    REPLICAS[3]._replace(group="Accelerator"),
    Field("weight_bytes", "Accelerator", "Weights", "How the model's weights are stored.",
          kind="choice", choices=WEIGHT_CHOICES),
)  # fmt: skip
USUALS = {
    "shape": "llama-3.1-8b",
    "device": "h100",
    "accelerators_per_replica": "1",
    "weight_bytes": "2",
    "bytes_per_element": "2",
    "block_tokens": "16",
    "planned_context": "4096",
    "mean_input_tokens": "512",
    "mean_output_tokens": "256",
    "min_replicas": "1",
    "max_replicas": "4",
    "scaling_mode": "automatic",
    "provider": ProviderKind.PROCESS.value,
}
ESTIMATED = ("num_gpu_blocks", "max_num_seqs", "prefill_tokens_per_second", "itl_base_ms", "itl_per_sequence_ms")
GROUPS = {
    "model": {"Model": "What is served.", "Names": "How it is called.", "Shape": "What a token keeps in the KV cache."},
    "replica": {
        "Accelerator": "What it runs on.",
        "Usual request": "What the rate is computed for.",
        "Memory": "How much the cache holds.",
        "Speed": "How fast it works.",
    },
    "replicas": {"Replicas": "How many there may be."},
    "provider": {"Provider": "Where its replicas come from."},
    "review": {},
}


@dataclass(slots=True)
class Draft:
    """The wizard's texts with what could be made of them so far. ``placeholders`` stand in for empty fields;
    ``errors`` are by field; ``profile`` and ``rate`` are None until a replica can be computed."""

    texts: dict[str, str]
    placeholders: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    parsed: dict[str, Any] = field(default_factory=dict)
    shape: ModelShape | None = None
    guess: Estimate | None = None
    guess_problem: str = ""
    profile: ProfileInput | None = None
    planned: ReplicaProfile | None = None
    rate: Rate | None = None

    def wrong_in(self, step: str) -> dict[str, str]:
        """The sentences of one step's fields."""
        names = {one.name for one in fields_of(step, self.texts)}
        return {name: text for name, text in self.errors.items() if name in names}

    def first_wrong(self, before: str) -> str:
        """The first step before ``before`` that has something wrong; "" when all are right."""
        return next((step for step in STEPS[: STEPS.index(before)] if self.wrong_in(step)), "")


def fields_of(step: str, texts: Mapping[str, str]) -> tuple[Field, ...]:
    """The fields of a step; a provider's depend on which it is, a known model's shape is not asked for."""
    if step == "model":
        own = texts.get("shape", USUALS["shape"]) == OWN
        return (*MODEL, *(one._replace(optional=not own) for one in SHAPE))
    if step == "replica":
        known = texts.get("device", USUALS["device"]) != OWN
        return (
            *DEVICE,
            *(
                one._replace(optional=True, sentence=f"{one.sentence} Empty: estimated.")
                if known and one.name in ESTIMATED
                else one
                for one in REPLICA
                if one.name != "accelerator"
            ),
        )
    if step == "replicas":
        return REPLICAS[:3]
    if step == "provider":
        return (PROVIDER_KIND, *PROVIDERS.get(texts.get("provider", USUALS["provider"]), ()))
    return ()


def draft_read(given: Mapping[str, str]) -> Draft:
    """Everything that can be made of the texts: values, estimates, the capacity of a replica, what is wrong."""
    texts = {**USUALS, **{name: str(value) for name, value in given.items() if name in NAMES}}
    typed = Typed({})
    for step in STEPS:
        part = typed_read(fields_of(step, texts), texts)
        typed.values |= part.values
        typed.parsed |= part.parsed
        typed.errors |= part.errors
    draft = Draft({**texts, **typed.values}, errors=typed.errors, parsed=typed.parsed)
    _shape_fill(draft)
    _estimate_fill(draft)
    _profile_fill(draft)
    if draft.parsed.get("min_replicas", 0) > draft.parsed.get("max_replicas", 10**9):
        draft.errors["min_replicas"] = "Smallest number: it is above the largest number."
    kind = draft.parsed.get("provider", "")
    if kind and not draft.wrong_in("provider"):
        config = provider_config(kind, draft.parsed)
        draft.errors |= provider_problems(kind, config, int(draft.parsed.get("max_replicas") or 0))
    return draft


def _shape_fill(draft: Draft) -> None:
    """A known model's numbers where none were typed."""
    key = draft.parsed.get("shape", "")
    draft.shape = shape_of(key) if key else None
    if draft.shape is None:
        return
    for name in ("layers", "kv_heads", "head_dim", "context_length"):
        draft.placeholders[name] = f"{getattr(draft.shape, name)}"
        if draft.parsed.get(name) is None and name not in draft.errors:
            draft.parsed[name] = getattr(draft.shape, name)
    if draft.parsed.get("bytes_per_element") is None and "bytes_per_element" not in draft.errors:
        draft.parsed["bytes_per_element"] = 2


def _estimate_fill(draft: Draft) -> None:
    """Numbers of a known accelerator where none were typed."""
    device = accelerator_of(draft.parsed.get("device", ""))
    parsed = draft.parsed
    needed = ("layers", "kv_heads", "head_dim", "block_tokens", "bytes_per_element", "accelerators_per_replica")
    if device is None or any(parsed.get(name) is None for name in needed):
        return
    known = draft.shape or ModelShape(OWN, "The model", 0, 0, 0, 0, 0.0, 0.0)
    shape = known._replace(layers=parsed["layers"], kv_heads=parsed["kv_heads"], head_dim=parsed["head_dim"])
    if shape.parameters_b <= 0:
        draft.guess_problem = "How large the weights of a model of your own are is not known here: type the figures."
        _need_typed(draft)
        return
    try:
        draft.guess = estimate(
            shape,
            device,
            parsed["accelerators_per_replica"],
            block_tokens=parsed["block_tokens"],
            bytes_per_element=parsed["bytes_per_element"],
            weight_bytes=float(parsed.get("weight_bytes") or 2),
            mean_context=float(parsed.get("mean_input_tokens") or 0) + float(parsed.get("mean_output_tokens") or 0) / 2,
        )
    except TooSmallError as error:
        draft.guess_problem = str(error)
        draft.errors.setdefault("accelerators_per_replica", f"Accelerators in a replica: {error}")
        return
    for one in REPLICA:
        if one.name in ESTIMATED:
            value = getattr(draft.guess, one.name)
            draft.placeholders[one.name] = value_text(one, value)
            if parsed.get(one.name) is None and one.name not in draft.errors:
                parsed[one.name] = value


def _need_typed(draft: Draft) -> None:
    for one in REPLICA:
        if one.name in ESTIMATED and draft.parsed.get(one.name) is None:
            draft.errors.setdefault(one.name, f"{one.label}: this is needed.")


def _profile_fill(draft: Draft) -> None:
    """The profile and the capacity it gives; its problems become those of the fields."""
    names = [one.name for one in (*SHAPE, *REPLICA) if one.name not in ("accelerator", "measured_tokens_per_second")]
    if any(draft.parsed.get(name) is None for name in names):
        return
    device = accelerator_of(draft.parsed.get("device", ""))
    count = draft.parsed.get("accelerators_per_replica") or 1
    profile = ProfileInput(
        **{name: draft.parsed[name] for name in names},
        measured_tokens_per_second=draft.parsed.get("measured_tokens_per_second"),
        accelerator=f"{count} × {device.name}"[:100] if device is not None else "",
    )
    try:
        draft.planned, draft.rate = profile_checked(profile, model=draft.texts.get("model_name", ""))
        draft.profile = profile
    except DomainError as error:
        for name, sentence in error.fields.items():
            draft.errors.setdefault(name, sentence)


NAMES = frozenset(
    one.name
    for fields in (MODEL, SHAPE, DEVICE, REPLICA, REPLICAS, (PROVIDER_KIND,), *PROVIDERS.values())
    for one in fields
)
"""Every name a draft may hold; anything else in the address is left alone."""
