"""The terms of a tier as values: what a version says, what is wrong with it, and how two edits of it are merged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any, Literal

from pools.choices import CLASS_RULES, FailMode, ServiceClass
from pools.models import TierVersion

LEND_BY_CLASS = {ServiceClass.GUARANTEED: 0.5}
LONGEST_HOLD_MS = 250
LARGEST_TOKENS = 10_000_000
LARGEST_PRICE = 10**15
LOWEST_WEIGHT, LARGEST_WEIGHT = 0.001, 1e6
LARGEST_BURST = 100
LONGEST_SLO_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class TierTerms:
    """What a version says. ``burst_*`` multiply the base into the cap; ``slo_ms`` is the target of the first token;
    prices are micro-units of money per million tokens."""

    class_weight: float
    burst_tokens: Decimal = Decimal(1)
    burst_kv: Decimal = Decimal(1)
    burst_concurrency: Decimal = Decimal(1)
    lendable_share: float = 0.0
    slo_ms: int = 1000
    default_max_tokens: int = 256
    largest_max_tokens: int = 4096
    hold_ms: int = 0
    fail_mode: str = FailMode.CLOSED.value
    price_input_micro: int = 0
    price_output_micro: int = 0

    @classmethod
    def of_class(cls, service_class: str, **changes: Any) -> TierTerms:
        """The class's own defaults with ``changes``."""
        rule = CLASS_RULES[ServiceClass(service_class)]
        burst = Decimal(str(rule.burst))
        usual = cls(
            class_weight=rule.class_weight,
            burst_tokens=burst,
            burst_kv=burst,
            burst_concurrency=burst,
            lendable_share=LEND_BY_CLASS.get(ServiceClass(service_class), 0.0),
        )
        return replace(usual, **changes)

    @classmethod
    def of_version(cls, version: TierVersion) -> TierTerms:
        """The terms a stored version holds."""
        return cls(**{item.name: getattr(version, item.name) for item in fields(cls)})

    def canonical(self) -> dict[str, str]:
        """Every field as one spelling, so that 2, 2.0 and 2.000 are the same terms."""
        return {name: _canonical(value) for name, value in asdict(self).items()}


def _canonical(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.6f}"


TERM_NAMES = tuple(item.name for item in fields(TierTerms))


@dataclass(frozen=True, slots=True)
class MergeField:
    """One field of a three-way view: its value where both edits began, in theirs, in ours, and who changed it."""

    name: str
    base: Any
    theirs: Any
    ours: Any
    changed_by: Literal["theirs", "ours", "both", "alike"]

    @property
    def merged(self) -> Any:
        """What a merge takes unless told otherwise: the side that changed it; ours where both did."""
        return self.theirs if self.changed_by in ("theirs", "alike") else self.ours


def three_way(base: TierTerms, theirs: TierTerms, ours: TierTerms) -> list[MergeField]:
    """The fields either side changed since ``base``, in the order of the terms."""
    found = []
    spellings = base.canonical(), theirs.canonical(), ours.canonical()
    for name in TERM_NAMES:
        was, their, our = (spelling[name] for spelling in spellings)
        if was == their == our:
            continue
        changed: Literal["theirs", "ours", "both", "alike"] = "both"
        if their == our:
            changed = "alike"
        elif was == our:
            changed = "theirs"
        elif was == their:
            changed = "ours"
        found.append(MergeField(name, getattr(base, name), getattr(theirs, name), getattr(ours, name), changed))
    return found


def changes_between(one: TierTerms, other: TierTerms) -> dict[str, tuple[Any, Any]]:
    """Field → (value in one, value in the other), for the fields that differ."""
    left, right = one.canonical(), other.canonical()
    return {name: (getattr(one, name), getattr(other, name)) for name in TERM_NAMES if left[name] != right[name]}


def terms_problems(service_class: ServiceClass, terms: TierTerms) -> dict[str, str]:
    """Field → sentence for everything wrong with terms; empty when they may be published."""
    found: dict[str, str] = {}
    rule = CLASS_RULES[service_class]
    _range(found, "class_weight", terms.class_weight, LOWEST_WEIGHT, LARGEST_WEIGHT)
    for name in ("burst_tokens", "burst_kv", "burst_concurrency"):
        _range(found, name, float(getattr(terms, name)), 1, LARGEST_BURST)
    _range(found, "lendable_share", terms.lendable_share, 0, 1)
    _range(found, "slo_ms", terms.slo_ms, 1, LONGEST_SLO_MS)
    _range(found, "largest_max_tokens", terms.largest_max_tokens, 1, LARGEST_TOKENS)
    _range(found, "default_max_tokens", terms.default_max_tokens, 1, LARGEST_TOKENS)
    _range(found, "hold_ms", terms.hold_ms, 0, LONGEST_HOLD_MS)
    for name in ("price_input_micro", "price_output_micro"):
        _range(found, name, getattr(terms, name), 0, LARGEST_PRICE)
    if terms.fail_mode not in list(FailMode):
        found["fail_mode"] = f"fail_mode is one of {', '.join(FailMode)}, got {terms.fail_mode!r}."
    if not found and terms.default_max_tokens > terms.largest_max_tokens:
        found["default_max_tokens"] = (
            f"default_max_tokens {terms.default_max_tokens} is above largest_max_tokens {terms.largest_max_tokens}."
        )
    if service_class is ServiceClass.GUARANTEED and max(
        terms.burst_tokens, terms.burst_kv, terms.burst_concurrency
    ) != Decimal(1):
        found["burst_tokens"] = "A guaranteed tier never bursts: its burst multipliers are 1."
    if not rule.reserved and terms.lendable_share:
        found["lendable_share"] = f"A tier of class {service_class} reserves nothing, so it can lend nothing: give 0."
    if service_class is ServiceClass.DEDICATED and terms.lendable_share:
        found["lendable_share"] = "A dedicated tier keeps its reserve even when idle: its lendable share is 0."
    return found


def _range(found: dict[str, str], name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        found[name] = f"{name} must be {low:g} to {high:g}, got {value:g}."


def terms_from(document: Mapping[str, Any]) -> TierTerms:
    """Terms of a plain mapping of every field (numbers or their text). Raises ValueError or KeyError."""
    whole = ("slo_ms", "default_max_tokens", "largest_max_tokens", "hold_ms", "price_input_micro", "price_output_micro")
    return TierTerms(
        class_weight=float(document["class_weight"]),
        burst_tokens=Decimal(str(document["burst_tokens"])),
        burst_kv=Decimal(str(document["burst_kv"])),
        burst_concurrency=Decimal(str(document["burst_concurrency"])),
        lendable_share=float(document["lendable_share"]),
        fail_mode=str(document["fail_mode"]),
        **{name: int(document[name]) for name in whole},
    )
