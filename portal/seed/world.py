"""The whole seeded world in one transaction: whoever stops it half-way finds an installation as it was before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from billing.services.partitions import partitions_make
from pools.models import Entitlement, Pool, Tier
from portal.accounts.models import Tenant
from portal.lib.copying import copy_models
from portal.lib.errors import DomainError
from portal.seed import alerts, history, ledger, measured, trail
from portal.seed.parties import parties_write
from portal.seed.products import places_make, places_write, tiers_write
from portal.seed.promises import endpoints_make, promises_draw, replicas_fit
from portal.seed.sizes import Size

Say = Callable[[str, int], None]
"""Hears the name of a step and how many rows of it are new."""
EXPECTED_ROWS = {"small": 40_000, "medium": 650_000, "large": 2_600_000}
"""Roughly what a world has: the length of the progress bar."""
GROWN = ("accounts_%", "audit_%", "billing_%", "pools_%")


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made: e-mail addresses of those with a password, and where the live part begins."""

    logins: dict[str, str]
    pool_ids: list[int]
    entitlements: int
    rows: int


def world_check(add: bool) -> str:
    """What names begin with: nothing in an empty installation, ``s2-``, ``s3-`` … beside what is there with ``add``.

    Raises DomainError ``not_empty`` for an installation in use without ``add``.
    """
    if not (Pool.objects.exists() or Tier.objects.exists() or Tenant.objects.exists()):
        return ""
    if not add:
        raise DomainError(
            "not_empty",
            f"This installation has {Pool.objects.count():,} pools and {Tenant.objects.count():,} tenants; a seed is "
            "for an empty one. Use another VAR_DIR or database, or --force-add to put the made-up world beside yours.",
            status=409,
        )
    return next(f"s{n}-" for n in range(2, 1000) if not Pool.objects.filter(slug__startswith=f"s{n}-").exists())


def world_seed(size: Size, seed: int, password: str, now: datetime, say: Say, *, add: bool = False) -> Seeded:
    """Writes everything or nothing. Raises DomainError ``not_empty``."""
    partitions_make(now)
    with transaction.atomic():
        seeded = _write(size, seed, password, now, world_check(add), _Counted(say))
        with connection.cursor() as cursor:
            say("checking balances", 0)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    analyze()
    return seeded


def analyze() -> None:
    """Lets the database look at what is new, so that the first page is planned as well as the thousandth."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname LIKE ANY(%s)", [list(GROWN)]
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"ANALYZE {connection.ops.quote_name(name)}")


class _Counted:
    def __init__(self, say: Say) -> None:
        self._say, self.total = say, 0

    def __call__(self, step: str, rows: int) -> None:
        self.total += rows
        self._say(step, rows)


def _write(size: Size, seed: int, password: str, now: datetime, mark: str, say: _Counted) -> Seeded:
    dice = random.Random(seed)
    parties = parties_write(mark, size.tenants, password, dice, now)
    tenants, operator = parties.tenants, parties.people[0]
    say("tenants, people, keys", len(tenants) + 2 * len(parties.people))
    tiers = tiers_write(mark, dice, now)
    places = places_make(mark, size.pools, dice, now)
    say("tiers, pools", len(tiers) + len(places))
    drawn = promises_draw(size, tenants, tiers, places, seed, now)
    say("entitlements drawn", 0)
    ready = [replicas_fit(place, drawn.by_pool.get(place.pool.pk, []), dice) for place in places]
    places_write(places)
    chosen = [(place, count) for place, count in zip(places, ready, strict=True) if count]
    say("replicas", copy_models([one for place, count in chosen for one in endpoints_make(place, count, dice, now)]))
    copy_models(drawn.rows, lambda count: say("entitlements", count))
    pools = trail.pools_of(places)
    shown, plain = [pool.pk for pool in pools[: size.shown]], [pool.pk for pool in pools[size.shown :]]
    for pool_id in shown:
        say("history of entitlements", history.entitlements_sample([pool_id], history.FINE, now))
    for start in range(0, len(plain), 10):
        part = plain[start : start + 10]
        say("history of entitlements", history.entitlements_sample(part, history.COARSE, now))
    say("history of pools", history.pools_sample([pool.pk for pool in pools], now))
    say("sums", measured.sums_write([pool.pk for pool in pools]))
    history.rolled_up(now)
    say("fairness", measured.fairness_write([pool.pk for pool in pools], shown, now))
    say("advice", measured.advice_write([pool.pk for pool in pools], now))
    users = [tenant.pk for tenant in tenants[-size.usage_tenants :]]
    for start in range(0, len(users), 25):
        say("usage", history.usage_roll(users[start : start + 25], now))
    say("requests", history.events_write(shown, 10, now))
    postable = [row for pool_id in shown for row in drawn.by_pool.get(pool_id, []) if row.state != "expired"]
    say("debts", ledger.ledger_write(pools, _with_busiest(postable, drawn.rows, parties.busiest.pk), dice, now))
    say("decisions", trail.decisions_write(places, 30, dice, now))
    say("alerts", alerts.alerts_write(mark, places, dice, now))
    say("requests for more", trail.requests_write(drawn.rows, parties.people, 40, 160, dice, now))
    say("jobs", trail.jobs_write(drawn.rows, operator, now) + trail.views_write(operator))
    say("audit", trail.audit_write(tenants, tiers, places, drawn.rows, operator, dice))
    return Seeded(parties.logins, [pool.pk for pool in pools], len(drawn.rows), say.total)


def _with_busiest(rows: list[Entitlement], everything: list[Entitlement], tenant_id: int) -> list[Entitlement]:
    known = {row.pk for row in rows}
    more = [row for row in everything if row.tenant_id == tenant_id and row.pk not in known and row.state != "expired"]
    return [*rows, *more]
