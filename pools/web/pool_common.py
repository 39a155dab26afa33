"""What the pages of one pool share: the pool itself, its tabs, an outlook as its panel shows it, undo of a deed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse

from pools.models import Pool
from pools.services.outlook import Outlook, OutlookRow
from pools.services.pool_rows import PoolDeed
from pools.web.tier_preview import DIMENSION_WORDS, Pair
from portal.accounts.models import User
from portal.lib.errors import DomainError
from portal.lib.pages import note

TABS = (
    ("pool", "Live"),
    ("pool-settings", "Settings"),
    ("pool-profiles", "Capacity profile"),
    ("pool-promise", "Promises"),
    ("pool-hold", "Replicas by hand"),
)
BESIDE = (("fairness", "Fairness"), ("timeline", "Timeline"))
"""Pages over all pools that show one of them with ``?pool=``."""


class Tab(NamedTuple):
    """One page of a pool."""

    label: str
    url: str
    current: bool


def pool_of(slug: str) -> Pool:
    """The pool of a slug, archived ones too, or 404."""
    return get_object_or_404(Pool.objects.select_related("current_profile"), slug=slug)


def pool_for_change(slug: str) -> Pool:
    """The pool, unless it is archived: then DomainError ``archived``."""
    found = pool_of(slug)
    if found.archived_at is not None:
        sentence = f"{found.name} is archived, so it cannot be changed. Restore it first."
        raise DomainError("archived", sentence, status=409)
    return found


def tabs_of(pool: Pool, current: str) -> list[Tab]:
    """The pages of a pool, ``current`` (a route name) marked."""
    own = [Tab(label, reverse(name, args=[pool.slug]), name == current) for name, label in TABS]
    return own + [Tab(label, f"{reverse(name)}?pool={pool.slug}", name == current) for name, label in BESIDE]


def pool_context(request: HttpRequest, pool: Pool, current: str) -> dict[str, Any]:
    """What every page of a pool needs."""
    may = cast(User, request.user).operates and pool.archived_at is None
    return {"nav": "pools", "pool": pool, "tabs": tabs_of(pool, current), "may_change": may}


def done(request: HttpRequest, text: str, deed: PoolDeed) -> None:
    """A toast that offers to take the deed back, where something was done."""
    undo = reverse("pool-undo", args=[deed.pool.slug, deed.record_id]) if deed.record_id else ""
    note(request, text, undo=undo)


class ShownRow(NamedTuple):
    """One entitlement of the panel."""

    row: OutlookRow
    tokens: Pair
    kv: Pair
    slots: Pair
    says: str


def outlook_context(outlook: Outlook) -> dict[str, Any]:
    """Context of ``_outlook.html``."""
    return {
        "outlook": outlook,
        "outlook_rows": [_row(row) for row in outlook.rows],
        "capacity": [
            (name, kind, Pair(was, will))
            for name, kind, was, will in zip(
                ("Tokens/s", "KV cache", "Slots"),
                ("tokens", "kv", "slots"),
                outlook.capacity_before,
                outlook.capacity_after,
                strict=True,
            )
        ],
        "wanted": None
        if outlook.wanted_before is None or outlook.wanted_after is None
        else Pair(outlook.wanted_before, outlook.wanted_after),
        "currency": settings.CURRENCY,
    }


def _row(row: OutlookRow) -> ShownRow:
    pairs = [Pair(was, will) for was, will in zip(row.limit_before, row.limit_after, strict=True)]
    below = ", ".join(DIMENSION_WORDS[d] for d in row.below)
    says = "its promise could not be kept" if row.degraded else f"below use: {below}" if below else ""
    return ShownRow(row, pairs[0], pairs[1], pairs[2], says)


def words_of(values: Sequence[float]) -> list[tuple[str, str, float]]:
    """(dimension, kind of ``{% moved %}``, value) of a triple."""
    return list(zip(("Tokens/s", "KV cache", "Slots"), ("tokens", "kv", "slots"), values, strict=True))
