"""Tiers: a named product on one service class; a change of its terms is a new version, in force at once."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from pools.choices import CLASS_RULES, EntitlementState, FailMode, ServiceClass
from pools.models import Entitlement, Tier, TierVersion
from pools.services.documents import pool_publish
from portal.accounts.services import slug_check
from portal.audit.services import Actor, audit_record
from portal.lib.errors import DomainError

LEND_BY_CLASS = {ServiceClass.GUARANTEED: 0.5}
LONGEST_HOLD_MS = 250
LARGEST_TOKENS = 10_000_000


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


@transaction.atomic
def tier_create(
    *,
    actor: Actor,
    now: datetime,
    slug: str,
    name: str,
    service_class: str,
    terms: TierTerms | None = None,
    reason: str = "",
) -> Tier:
    """A new tier with its first version. Raises DomainError ``slug_taken``, ``bad_slug``, ``bad_class``,
    ``bad_terms``."""
    slug_check(slug, "tier")
    if service_class not in list(ServiceClass):
        sentence = f"The class is one of {', '.join(ServiceClass)}, got {service_class!r}."
        raise DomainError("bad_class", sentence, fields={"service_class": sentence})
    try:
        with transaction.atomic():
            tier = Tier.objects.create(slug=slug, name=name or slug, service_class=service_class, created_at=now)
    except IntegrityError:
        sentence = f"There is a tier {slug!r} already; choose another slug or publish a new version of it."
        raise DomainError("slug_taken", sentence, status=409, fields={"slug": sentence}) from None
    _version_add(actor, now, tier, terms or TierTerms.of_class(service_class), reason, None)
    return tier


@transaction.atomic
def tier_publish(
    *,
    actor: Actor,
    now: datetime,
    tier_id: int,
    terms: TierTerms,
    reason: str = "",
    expected_version: int | None = None,
    reverts: TierVersion | None = None,
) -> TierVersion:
    """New terms for a tier, in force at once for every entitlement on it. The same terms again change nothing.

    Raises DomainError ``not_found``, ``bad_terms``, ``version_moved`` when ``expected_version`` is no longer current.
    """
    tier = Tier.objects.select_for_update(no_key=True).filter(pk=tier_id).first()
    if tier is None:
        raise DomainError("not_found", f"There is no tier {tier_id}.", status=404)
    current = tier.current
    if current is not None and expected_version is not None and current.number != expected_version:
        raise DomainError(
            "version_moved",
            f"{tier.name} is at version {current.number}, your edit began at {expected_version}: look at it again.",
            status=412,
        )
    if current is not None and TierTerms.of_version(current) == terms:
        return current
    return _version_add(actor, now, tier, terms, reason, reverts)


def _version_add(
    actor: Actor, now: datetime, tier: Tier, terms: TierTerms, reason: str, reverts: TierVersion | None
) -> TierVersion:
    problems = terms_problems(ServiceClass(tier.service_class), terms)
    if problems:
        raise DomainError("bad_terms", " ".join(problems.values()), fields=problems)
    before = tier.current
    version = TierVersion.objects.create(
        tier=tier,
        number=before.number + 1 if before else 1,
        author=actor.user,
        author_label=actor.name[:254],
        reason=reason,
        reverts=reverts,
        effective_from=now,
        created_at=now,
        **asdict(terms),
    )
    tier.current = version
    tier.save(update_fields=["current"])
    audit_record(
        actor=actor,
        verb="tier_publish",
        target=tier,
        before={"version": before.number, **asdict(TierTerms.of_version(before))} if before else {},
        after={"version": version.number, **asdict(terms)},
        reason=reason,
        now=now,
    )
    used = Entitlement.objects.filter(tier=tier).exclude(state=EntitlementState.EXPIRED.value)
    for pool_id in used.values_list("pool_id", flat=True).distinct():
        transaction.on_commit(partial(pool_publish, pool_id, now), robust=True)
    return version


def terms_problems(service_class: ServiceClass, terms: TierTerms) -> dict[str, str]:
    """Field → sentence for everything wrong with terms; empty when they may be published."""
    found: dict[str, str] = {}
    rule = CLASS_RULES[service_class]
    _range(found, "class_weight", terms.class_weight, 0.001, 1e6)
    for name in ("burst_tokens", "burst_kv", "burst_concurrency"):
        _range(found, name, float(getattr(terms, name)), 1, 100)
    _range(found, "lendable_share", terms.lendable_share, 0, 1)
    _range(found, "slo_ms", terms.slo_ms, 1, 3_600_000)
    _range(found, "largest_max_tokens", terms.largest_max_tokens, 1, LARGEST_TOKENS)
    _range(found, "default_max_tokens", terms.default_max_tokens, 1, LARGEST_TOKENS)
    _range(found, "hold_ms", terms.hold_ms, 0, LONGEST_HOLD_MS)
    for name in ("price_input_micro", "price_output_micro"):
        _range(found, name, getattr(terms, name), 0, 10**15)
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
