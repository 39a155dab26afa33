"""The made-up world keeps the law it is looked at under: it fits, it balances, its history is one chain."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from django.core.management import call_command
from django.db.models import Sum

from billing.models import Account, Entry, Transfer, UsageHour
from billing.services.ledger import ledger_post
from pools.choices import EntitlementState
from pools.mechanism.lease import Verdict, fit
from pools.models import (
    Alert,
    AlertDelivery,
    Endpoint,
    Entitlement,
    EntitlementSample,
    FairnessSpan,
    Pool,
    PoolHour,
    PoolMinute,
    Tier,
)
from pools.selectors.live import live_latest
from pools.services.amounts import CLASS_CODES, base_of
from pools.services.entitlements import entitlement_findings
from pools.services.fairness_roll import fairness_roll
from pools.services.rollups import rollups_make
from pools.services.supply import HELD_STATES, promises_of, supply_of
from portal.accounts.models import ApiKey, Membership, Tenant, User
from portal.audit.models import AuditRecord
from portal.audit.services import content_of, record_hash
from portal.demo import secrets
from portal.env import var_dir
from portal.lib.clock import now, now_ms
from portal.lib.errors import DomainError
from portal.management.seeding import bustle
from portal.seed.names import HARD_NAMES, LONGEST, pool_names, tenant_names
from portal.seed.products import MODELS
from portal.seed.promises import _pairs
from portal.seed.sizes import SIZES
from portal.seed.world import Seeded, world_check, world_seed
from tests.cast import tenant_make

SMALL = SIZES["small"]


def seed(**options: Any) -> Seeded:
    return world_seed(SMALL, 7, "correct horse battery", now(), lambda step, rows: None, **options)


def test_as_many_as_the_size_says_and_every_promise_fits() -> None:
    seeded = seed()
    assert (Tenant.objects.count(), Pool.objects.count()) == (SMALL.tenants, SMALL.pools)
    assert Entitlement.objects.count() == SMALL.entitlements == seeded.entitlements
    living = list(Entitlement.objects.exclude(state="expired").select_related("tier__current", "pool__current_profile"))
    assert Counter(row.pool_id for row in living).most_common(1)[0][1] == SMALL.crowd
    assert Counter(row.tenant_id for row in living).most_common(1)[0][1] == SMALL.busiest
    for row in living:
        entitlement_findings(row)
        pool, code = row.pool, CLASS_CODES[row.tier.service_class]
        others = promises_of(pool.pk, without=row.pk)
        answer = fit(base_of(row), code, others, supply_of(pool), pool.oversubscription)
        assert answer.verdict is not Verdict.NEVER, f"{row}: {answer.sentence}"
    for pool in Pool.objects.select_related("current_profile"):
        held, ready = promises_of(pool.pk, states=HELD_STATES), supply_of(pool).ready
        assert held.reserved.fits_in(ready), pool.slug
    empty = Pool.objects.exclude(entitlements__isnull=False).get()
    assert not Endpoint.objects.filter(pool=empty).exists(), "one pool has neither entitlements nor endpoints"


def test_hard_names_people_and_history_are_there() -> None:
    seeded = seed()
    names = set(Tenant.objects.values_list("name", flat=True))
    assert set(HARD_NAMES[:3]) <= names and max(map(len, names)) == LONGEST == 200
    operator = User.objects.get(email=seeded.logins["OPERATOR"])
    assert operator.operates and operator.check_password("correct horse battery")
    assert User.objects.get(email=seeded.logins["TENANT"]).memberships.get().tenant_id == Tenant.objects.latest("pk").pk
    assert not User.objects.exclude(email__in=seeded.logins.values()).filter(password__startswith="pbkdf2").exists()
    assert Membership.objects.exists() and ApiKey.objects.exists() and UsageHour.objects.exists()
    assert set(EntitlementSample.objects.values_list("entitlement_id", flat=True)) == set(
        Entitlement.objects.exclude(state="expired").values_list("pk", flat=True)
    )
    assert PoolHour.objects.filter(at__lt=now() - timedelta(days=20)).exists()
    assert {span.span_s for span in FairnessSpan.objects.all()} == {300, 3600}
    minutes = PoolMinute.objects.count()
    rollups_make(now())
    fairness_roll(now())
    assert PoolMinute.objects.count() >= minutes, "the roll-ups go on where the made-up ones end"
    assert all(tier.versions.count() >= 2 for tier in Tier.objects.all())
    assert Tier.objects.filter(shadow__isnull=False).count() == 1
    assert Alert.objects.filter(cleared_at__isnull=False).exists() and AlertDelivery.objects.exists()


def test_the_books_balance_and_the_chain_holds() -> None:
    seed()
    for account in Account.objects.annotate(total=Sum("entries__amount_millitokens")):
        assert (account.total or 0) == account.balance_millitokens
    assert Transfer.objects.exists() and not (Entry.objects.aggregate(s=Sum("amount_millitokens"))["s"])
    assert ledger_post(now()).transfers == 0, "made-up samples are not posted a second time"
    last = ""
    for record in AuditRecord.objects.order_by("id"):
        assert record.previous_hash == last and record.hash == record_hash(last, content_of(record))
        last = record.hash
    assert AuditRecord.objects.filter(verb="entitlement_create").count() == SMALL.entitlements
    ats = list(AuditRecord.objects.order_by("id").values_list("at", flat=True))
    assert ats == sorted(ats)


def test_an_installation_in_use_is_left_alone_unless_told() -> None:
    tenant_make("alice")
    with pytest.raises(DomainError, match="--force-add") as refused:
        seed()
    assert refused.value.code == "not_empty" and not Pool.objects.exists()
    seed(add=True)
    assert world_check(True) == "s3-"
    assert Tenant.objects.count() == SMALL.tenants + 1
    assert Pool.objects.filter(slug__startswith="s2-").count() == SMALL.pools


def test_stopped_half_way_nothing_is_kept() -> None:
    def stop(step: str, rows: int) -> None:
        if step == "debts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world_seed(SMALL, 7, "x", now(), stop)
    assert not Pool.objects.exists() and not EntitlementSample.objects.exists() and not User.objects.exists()
    assert seed().entitlements == SMALL.entitlements, "and the next try succeeds"


def test_the_same_seed_makes_the_same_promises() -> None:
    def shape() -> list[Any]:
        return list(Entitlement.objects.order_by("slug").values_list("slug", "tier__slug", "base_concurrency", "state"))

    seed()
    first = [(slug.removeprefix("s2-"), tier, *rest) for slug, tier, *rest in shape()]
    seed(add=True)
    again = [(slug, tier.removeprefix("s2-"), *rest) for slug, tier, *rest in shape() if slug.startswith("s2-")]
    assert [(slug.replace("s2-", ""), *rest) for slug, *rest in again] == [(slug, *rest) for slug, *rest in first]


def test_live_numbers_are_those_of_real_ticks() -> None:
    seed()
    busy = bustle(3)
    busy.begin(now())
    busy.turn(now())
    busy.turn(now())
    assert busy.running
    messages = live_latest(busy.pool_ids)
    assert len(messages) == SMALL.pools
    read = [orjson.loads(text) for text in messages.values()]
    assert sum(message["pool"]["use"][2] for message in read) > 10
    for message in read:
        assert now_ms() - message["at"] < 60_000
        assert message["pool"]["use"][2] <= message["pool"]["capacity"][2]
    assert sum(len(message["rows"]) for message in read) == Entitlement.objects.exclude(state="expired").count()


def test_the_large_world_is_drawn_within_its_bounds() -> None:
    large = SIZES["large"]
    assert (large.tenants, large.pools, large.entitlements, large.windows) == (500, 200, 50_000, 4)
    wanted = large.entitlements - int(large.entitlements * large.ended) - large.crowd - (large.busiest - large.windows)
    pairs = _pairs(large.tenants - 1, large.pools - 2, wanted, large.busiest - large.windows - 1, 1)
    assert len(set(pairs)) == len(pairs) == wanted
    assert np.bincount([row for row, _ in pairs]).max() < large.busiest - large.windows
    assert len({slug for slug, _ in tenant_names(500)}) == 500
    assert len({slug for slug, _, _ in pool_names(200, MODELS)}) == 200
    assert random.Random(1).random() != random.Random(2).random()


def test_the_command_says_what_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("seed", size="small", seed=5)
    said = " ".join(capsys.readouterr().out.split())
    assert "70 entitlements" in said and "operator@seed.example" in said
    kept = secrets.known(var_dir())
    assert User.objects.get(email=kept["OPERATOR_EMAIL"]).check_password(kept["OPERATOR_PASSWORD"])
    (var_dir() / "demo.env").unlink()
    with pytest.raises(DomainError, match="not_empty"):
        call_command("seed", size="small")
    call_command("seed")
    assert "--size" in capsys.readouterr().out
    assert Entitlement.objects.exclude(state=EntitlementState.EXPIRED).exists()
