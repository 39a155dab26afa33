""" "How much can I still promise?": per class and dimension, now and with every replica, and how often a given promise
fits. Everything asked is in the address."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools.choices import CLASS_RULES, ServiceClass
from pools.mechanism.amounts import Dimension, Rate
from pools.mechanism.lease import Promises, Supply, Triple
from pools.mechanism.ordering import ClassCode
from pools.mechanism.promise import Fits, binding_dimension, room, times_that_fit
from pools.mechanism.windows import moments
from pools.models import Entitlement, Pool
from pools.services.amounts import CLASS_CODES, NOTHING, replica_of
from pools.services.ceiling import ceiling_now
from pools.services.spans import spans_of
from pools.services.supply import supply_of
from pools.web.common import size_read, size_write
from pools.web.pool_common import pool_context, pool_of
from portal.accounts.access import reads_everything
from portal.lib.clock import now
from portal.lib.given import text_of
from portal.lib.pages import page

WORDS = {Dimension.TOKENS: "tokens per second", Dimension.KV_BYTES: "KV cache", Dimension.CONCURRENCY: "slots"}
ASKED_CLASSES = (ServiceClass.DEDICATED, ServiceClass.GUARANTEED, ServiceClass.ELASTIC)
MOST_COUNT = 1_000_000
MOST = 2**62


class Room(NamedTuple):
    """What may still be promised: amounts per dimension (negative: over-promised), in replicas, what binds."""

    tokens: float
    kv: float
    slots: float
    replicas: float
    binds: str

    @property
    def over(self) -> bool:
        """More is promised than there is."""
        return min(self.tokens, self.kv, self.slots) < 0


class Line(NamedTuple):
    """One class: its rule, room now and at most; None for classes that promise nothing."""

    service_class: str
    sentence: str
    now: Room | None
    at_most: Room | None


class Asked(NamedTuple):
    """The question: so many of such a promise."""

    times: int
    service_class: ServiceClass
    base: Rate


@reads_everything
@require_safe
def promise(request: HttpRequest, slug: str) -> HttpResponse:
    """The calculator."""
    pool = pool_of(slug)
    supply, moment = supply_of(pool), now()
    promised = [one.promised for one in moments(spans_of([pool.pk], moment)[pool.pk], moment)]
    typed, errors, asked = _asked(request, pool)
    context = {
        **pool_context(request, pool, "pool-promise"),
        "lines": [_line(one, promised, supply, pool.oversubscription) for one in ServiceClass],
        "replica": replica_of(pool.current_profile),
        "supply": supply,
        "promised": promised[0],
        "later": len(promised) > 1,
        "typed": typed,
        "errors": errors,
        "answer": _answer(asked, promised, supply, pool) if asked is not None else None,
        "classes": [one.value for one in ASKED_CLASSES],
        "ceiling": ceiling_now(),
        "examples": _examples(pool),
    }
    template = "pools/_promise.html" if request.headers.get("HX-Request") else "pools/pool_promise.html"
    return page(request, template, context)


def _line(one: ServiceClass, promised: Sequence[Promises], supply: Supply, over: float) -> Line:
    rule = CLASS_RULES[one]
    if rule.rank > 1:
        return Line(one.value, rule.sentence, None, None)
    code = CLASS_CODES[one.value]
    at_most = supply.at(supply.most)
    return Line(
        one.value,
        rule.sentence,
        _room(_least_room(code, promised, supply.ready, over), supply.replica),
        _room(_least_room(code, promised, at_most, over), supply.replica),
    )


def _least_room(code: ClassCode, promised: Sequence[Promises], capacity: Rate, over: float) -> Triple:
    """What is left at the tightest moment from now on, per dimension."""
    rooms = [room(code, one, capacity, over) for one in promised]
    return (min(one[0] for one in rooms), min(one[1] for one in rooms), min(one[2] for one in rooms))


def _times(asked: Asked, promised: Sequence[Promises], capacity: Rate, over: float) -> Fits:
    """How often it fits at every moment from now on."""
    code = CLASS_CODES[asked.service_class.value]
    return min((times_that_fit(asked.base, code, one, capacity, over) for one in promised), key=lambda fits: fits.count)


def _room(left: tuple[float, float, float], replica: Rate) -> Room:
    binds = binding_dimension(left, replica)
    shares = [free / each for free, each in zip(left, replica.as_tuple(), strict=True) if each > 0]
    return Room(left[0], left[1], left[2], min(shares, default=0.0), WORDS[binds] if binds is not None else "")


def _asked(request: HttpRequest, pool: Pool) -> tuple[dict[str, str], dict[str, str], Asked | None]:
    """What was typed, what is wrong with it, the question. Without one the form begins with one slot's share."""
    given = request.GET
    names = ("count", "class", "tokens", "kv", "slots")
    typed = {name: text_of(given, name, 60) for name in names}
    if like := given.get("like", "").strip()[:63]:
        typed |= _like(pool, like)
    if not any(typed.values()):
        return {**typed, **_one_slot(pool)}, {}, None
    errors: dict[str, str] = {}
    count = _whole(typed["count"] or "1", "Times", 1, MOST_COUNT, errors, "count")
    tokens = _whole(typed["tokens"] or "0", "Tokens per second", 0, MOST, errors, "tokens")
    slots = _whole(typed["slots"] or "0", "Slots", 0, 2**31 - 1, errors, "slots")
    try:
        kv_bytes = size_read(typed["kv"] or "0")
    except (ValueError, OverflowError):
        kv_bytes, errors["kv"] = 0, "KV cache: write bytes such as 3.5 GiB or 512 MiB."
    chosen = typed["class"] or ServiceClass.GUARANTEED.value
    typed["class"] = chosen
    if chosen not in [one.value for one in ASKED_CLASSES]:
        errors["class"] = "Class: choose dedicated, guaranteed or elastic; the others promise nothing."
    if not errors and not (tokens or kv_bytes or slots):
        errors["tokens"] = "Give at least one amount above 0."
    return typed, errors, None if errors else Asked(count, ServiceClass(chosen), Rate(tokens, kv_bytes, slots))


def _answer(asked: Asked, promised: Sequence[Promises], supply: Supply, pool: Pool) -> dict[str, Any]:
    """Whether it fits now, after scaling to how many replicas, or not, and what binds."""
    over = pool.oversubscription
    at_most = _times(asked, promised, supply.at(supply.most), over)
    ready = _times(asked, promised, supply.ready, over)
    needed = None
    if ready.count < asked.times <= at_most.count:
        needed = _replicas_needed(asked, promised, supply, over)
    binds = ready.binds if asked.times <= at_most.count else at_most.binds
    return {
        "asked": asked,
        "now": ready.count,
        "at_most": at_most.count,
        "needed": needed,
        "verdict": "now" if asked.times <= ready.count else "after" if asked.times <= at_most.count else "never",
        "binds": WORDS[binds] if binds is not None else "",
        "short": _short(asked, promised, supply, over),
    }


def _replicas_needed(asked: Asked, promised: Sequence[Promises], supply: Supply, over: float) -> int:
    """The fewest replicas with which the promises fit: by halving, since more replicas never carry less."""
    low, high = supply.ready_replicas, supply.most
    while low < high:
        middle = (low + high) // 2
        if _times(asked, promised, supply.at(middle), over).count >= asked.times:
            high = middle
        else:
            low = middle + 1
    return low


def _short(asked: Asked, promised: Sequence[Promises], supply: Supply, over: float) -> list[tuple[str, float]]:
    """(kind, amount) missing with every replica ready, per dimension that is short."""
    left = _least_room(CLASS_CODES[asked.service_class.value], promised, supply.at(supply.most), over)
    whole = asked.base.times(asked.times).as_tuple()
    kinds = ("tokens", "kv", "slots")
    return [
        (kind, math.ceil(own - free)) for kind, own, free in zip(kinds, whole, left, strict=True) if own > free + 1e-9
    ]


def _one_slot(pool: Pool) -> dict[str, str]:
    """One slot with its share of a replica."""
    replica = replica_of(pool.current_profile)
    if replica == NOTHING or not replica.concurrency:
        return {"count": "1", "class": "guaranteed"}
    return {
        "count": "1",
        "class": "guaranteed",
        "tokens": str(replica.tokens_per_second // replica.concurrency),
        "kv": size_write(replica.kv_bytes // replica.concurrency),
        "slots": "1",
    }


def _like(pool: Pool, slug: str) -> dict[str, str]:
    """The amounts of an entitlement of the pool."""
    row = Entitlement.objects.filter(pool=pool, slug=slug).select_related("tier").first()
    if row is None:
        return {}
    return {
        "class": row.tier.service_class,
        "tokens": str(row.base_tokens_per_second),
        "kv": size_write(row.base_kv_bytes),
        "slots": str(row.base_concurrency),
    }


def _examples(pool: Pool) -> list[Entitlement]:
    """Some of the pool's own promises, to begin a question with."""
    rows = Entitlement.objects.filter(pool=pool, tier__service_class__in=[one.value for one in ASKED_CLASSES])
    return list(rows.exclude(state="expired").select_related("tenant", "tier").order_by("-base_concurrency", "pk")[:4])


def _whole(text: str, label: str, low: int, high: int, errors: dict[str, str], name: str) -> int:
    plain = text.replace(",", "").replace("_", "").replace("\u00a0", "")
    if plain.isascii() and plain.isdigit() and low <= int(plain) <= high:
        return int(plain)
    errors[name] = f"{label}: write a whole number of {low:,} or more, got “{text[:40]}”."
    return low
