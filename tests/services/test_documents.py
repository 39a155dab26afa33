"""Keys and documents: what a gateway reads follows the books at once, and is rebuilt when the store lost it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.conf import settings

from pools.counters.keys import REVOKED_CHANNEL, key_document, route_document
from pools.counters.types import Ask
from pools.services.documents import documents_refresh
from pools.services.entitlements import entitlement_suspend
from pools.services.keys import key_create, key_revoke, key_rotate
from pools.services.store import counters
from pools.services.tick import shard_tick
from pools.services.tiers import TierTerms, tier_publish
from portal.accounts.models import ApiKey
from portal.lib.errors import DomainError
from portal.lib.hot import hot
from portal.lib.secrets import key_digest
from tests.cast import KV_TOKEN, NOW, OLGA, World, later, tenant_make, world_make

pytestmark = pytest.mark.usefixtures("commits")


def document(digest: str) -> dict[str, Any] | None:
    text: Any = hot().get(key_document(digest))
    return orjson.loads(text) if text else None


@pytest.fixture
def world() -> World:
    return world_make()


def test_a_new_key_works_at_once_and_is_kept_as_a_digest_only(world: World) -> None:
    made = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="laptop")
    found = document(key_digest(made.plaintext, settings.SECRET_KEY))
    assert found is not None
    assert found["models"]["chat-8b"]["entitlement_id"] == world.alice.pk
    assert found["models"]["chat-8b"]["service_class"] == "guaranteed"
    stored = ApiKey.objects.values().get(pk=made.key.pk)
    assert made.plaintext not in str(stored)


def test_a_revoked_key_is_gone_at_once_and_gateways_are_told(world: World) -> None:
    made = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="laptop")
    heard = hot().pubsub()
    heard.subscribe(REVOKED_CHANNEL)
    heard.get_message(timeout=1.0)
    key_revoke(actor=OLGA, now=later(1), key_id=made.key.pk)
    assert document(made.key.digest) is None
    message: Any = heard.get_message(timeout=1.0)
    assert message["data"].decode() == made.key.digest
    heard.close()
    key_revoke(actor=OLGA, now=later(2), key_id=made.key.pk)
    assert ApiKey.objects.get(pk=made.key.pk).revoked_at == later(1)


def test_a_rotated_key_overlaps_and_then_ends(world: World) -> None:
    old = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="ci")
    new = key_rotate(actor=OLGA, now=NOW, key_id=old.key.pk, overlap=timedelta(hours=1))
    kept, fresh = document(old.key.digest), document(new.key.digest)
    assert kept is not None and fresh is not None
    assert kept["expires_at"] == int(later(3600).timestamp())
    documents_refresh(later(3601))
    assert document(old.key.digest) is None
    assert document(new.key.digest) is not None


def test_a_key_that_would_be_born_expired_is_refused(world: World) -> None:
    with pytest.raises(DomainError, match="which is past"):
        key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="x", expires_at=later(-1))


def test_a_tier_that_is_published_reaches_the_documents(world: World) -> None:
    made = key_create(actor=OLGA, now=NOW, tenant=world.bob.tenant, name="b")
    tier_publish(
        actor=OLGA, now=NOW, tier_id=world.bob.tier_id, terms=TierTerms.of_class("spot", largest_max_tokens=512)
    )
    found = document(made.key.digest)
    assert found is not None and found["models"]["chat-8b"]["largest_max_tokens"] == 512


def test_a_suspended_entitlement_refuses_at_once(world: World) -> None:
    ask = Ask(world.pool.pk, world.bob.pk, "r1", 64, 64 * KV_TOKEN)
    assert counters().reserve(ask).admitted
    entitlement_suspend(actor=OLGA, now=later(1), entitlement_id=world.bob.pk)
    refused = counters().reserve(ask._replace(request_id="r2"))
    assert (refused.admitted, refused.code) == (False, 1)


def test_a_flushed_store_is_rebuilt_from_the_books(world: World) -> None:
    made = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="laptop")
    before = hot().get(route_document(world.pool.pk))
    hot().flushall()
    hot().function_flush("SYNC")
    assert documents_refresh(later(5)) is True
    assert document(made.key.digest) is not None
    assert orjson.loads(hot().get(route_document(world.pool.pk)))["pool"] == orjson.loads(before)["pool"]  # type: ignore[arg-type]
    assert counters().reserve(Ask(world.pool.pk, world.alice.pk, "r", 64, 64 * KV_TOKEN)).admitted
    assert documents_refresh(later(10)) is False


def test_a_tick_that_finds_the_store_empty_rebuilds_it(world: World) -> None:
    hot().flushall()
    hot().function_flush("SYNC")
    done = shard_tick(0, [world.pool.pk], later(5))
    assert done.entitlements == 3
    assert counters().reserve(Ask(world.pool.pk, world.alice.pk, "r", 64, 64 * KV_TOKEN)).admitted


def test_stale_documents_are_taken_away(world: World) -> None:
    made = key_create(actor=OLGA, now=NOW, tenant=world.alice.tenant, name="laptop")
    ApiKey.objects.filter(pk=made.key.pk).update(revoked_at=NOW)  # as if the store had been away when it was revoked
    documents_refresh(later(5))
    assert document(made.key.digest) is None


def test_another_tenants_model_is_not_in_the_document(world: World) -> None:
    stranger = key_create(actor=OLGA, now=NOW, tenant=tenant_make("mallory"), name="m")
    found = document(stranger.key.digest)
    assert found is not None and found["models"] == {}
