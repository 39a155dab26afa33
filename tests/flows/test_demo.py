"""The demo world: made once, completed when half of it is gone, and never poured into somebody's own installation."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.contrib.auth import authenticate

from pools.choices import ServiceClass
from pools.models import Entitlement, Pool, Tier
from pools.simulator.senders import read_senders
from portal.accounts.models import ApiKey, Tenant, User
from portal.demo import cast
from portal.demo.secrets import key_file, known
from portal.demo.traffic import roles
from portal.demo.world import Made, world_make
from portal.lib.clock import now
from portal.lib.secrets import key_digest

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def made(tmp_path: Path, valkey: redis.Redis) -> Made:
    return world_make(tmp_path, now())


def test_it_has_every_class_enough_tenants_and_a_login_for_each_role(made: Made, tmp_path: Path) -> None:
    assert not made.skipped
    assert Tenant.objects.count() == made.tenants >= 8
    assert Pool.objects.count() in {2, 3}
    assert set(Tier.objects.values_list("service_class", flat=True)) == {name.value for name in ServiceClass}
    assert Tier.objects.filter(service_class="elastic").count() == 2
    assert set(Entitlement.objects.values_list("pool__slug", "tier__service_class")) >= {
        ("chat", name.value) for name in ServiceClass
    }
    values = known(tmp_path)
    for names in ("OPERATOR", "AUDITOR", "TENANT"):
        assert authenticate(username=values[f"{names}_EMAIL"], password=values[f"{names}_PASSWORD"]) is not None
    for service_class in ServiceClass:
        digest = key_digest(values[f"KEY_{service_class.name}"], settings.SECRET_KEY)
        tenant = ApiKey.objects.get(digest=digest).tenant
        assert tenant.entitlements.filter(tier__service_class=service_class, pool__slug="chat").exists()


def test_its_secrets_are_private(made: Made, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_twice_is_once(made: Made, tmp_path: Path) -> None:
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    again = world_make(tmp_path, now())
    assert again == Made()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_lost_secrets_are_made_anew_and_the_old_ones_end(made: Made, tmp_path: Path) -> None:
    lost = known(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    again = world_make(tmp_path, now())
    assert (again.tenants, again.people, again.keys) == (0, 0, len(cast.TENANTS))
    fresh = known(tmp_path)
    assert authenticate(username=lost["OPERATOR_EMAIL"], password=lost["OPERATOR_PASSWORD"]) is None
    assert authenticate(username=fresh["OPERATOR_EMAIL"], password=fresh["OPERATOR_PASSWORD"]) is not None
    assert ApiKey.objects.filter(revoked_at__isnull=True).count() == len(cast.TENANTS)


def test_a_half_made_world_is_completed(made: Made, tmp_path: Path) -> None:
    gone = User.objects.get(email=cast.PEOPLE[0].email)
    gone.delete()
    Entitlement.objects.filter(tenant__slug="comet-labs", pool__slug="code").delete()
    again = world_make(tmp_path, now())
    assert (again.entitlements, again.people, again.tenants) == (1, 1, 0)


def test_an_installation_with_pools_of_its_own_is_left_alone(tmp_path: Path, valkey: redis.Redis) -> None:
    Pool.objects.create(slug="ours", name="Ours", model_name="ours", upstream_model="ours")
    assert world_make(tmp_path, now()).skipped
    assert not Tenant.objects.exists()
    assert list(tmp_path.iterdir()) == []


def test_every_promise_has_a_habit_and_a_key(made: Made, tmp_path: Path) -> None:
    parts = roles(read_senders(key_file(tmp_path)))
    assert len(parts) == Entitlement.objects.count()
    assert {sender.service_class for sender, _ in parts} == {name.value for name in ServiceClass}


def test_the_promises_fit_one_replica_each(made: Made) -> None:
    """Then every lease is bound as soon as the first replica serves, and a quiet pool can do with one."""
    for pool in Pool.objects.select_related("current_profile"):
        profile = pool.current_profile
        assert profile is not None
        rows = Entitlement.objects.filter(pool=pool)
        assert sum(row.base_concurrency for row in rows) <= 0.85 * profile.concurrency
        assert sum(row.base_tokens_per_second for row in rows) <= 0.85 * profile.tokens_per_second
        assert sum(row.base_kv_bytes for row in rows) <= 0.85 * profile.kv_bytes
