"""Deeds on pools: what is refused with which numbers, what a change drags along, how it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pools.choices import EntitlementState
from pools.models import CapacityProfile, Endpoint, Entitlement, EntitlementRequest, Pool
from pools.services.overrides import pool_set_replicas
from pools.services.pool_undo import pool_undo
from pools.services.pools import pool_archive, pool_change, pool_create, pool_restore
from pools.services.profiles import pool_profile_publish, profile_input
from pools.services.promises import degraded_by
from pools.services.supply import supply_of
from portal.audit.models import AuditRecord
from portal.lib.errors import DomainError
from tests.cast import (
    NOW,
    OLGA,
    REPLICA,
    later,
    pool_make,
    promise,
    replica_ready,
    slots,
    tenant_make,
    tier_make,
    world_make,
)


def change(pool: Pool, **changes: Any) -> Any:
    return pool_change(actor=OLGA, now=NOW, pool_id=pool.pk, changes=changes, reason="test")


def refused(code: str, act: Callable[[], Any]) -> DomainError:
    with pytest.raises(DomainError) as caught:
        act()
    assert caught.value.code == code, caught.value
    return caught.value


def promised(pool: Pool, name: str, count: int, service_class: str = "guaranteed", at: float = 0) -> Entitlement:
    row = promise(pool, tenant_make(name), tier_make(service_class, f"{service_class}-{name}"), slots(count))
    Entitlement.objects.filter(pk=row.pk).update(state=EntitlementState.BOUND, bound_at=later(at))
    return row


def test_a_slug_of_our_own_addresses_and_a_taken_model_are_refused() -> None:
    pool_make()
    error = refused("bad_slug", lambda: pool_create(actor=OLGA, now=NOW, slug="new", name="", model_name="m"))
    assert "part of an address" in error.fields["slug"]
    error = refused("slug_taken", lambda: pool_create(actor=OLGA, now=NOW, slug="b", name="", model_name="chat-8b"))
    assert list(error.fields) == ["model_name"]
    error = refused("slug_taken", lambda: pool_create(actor=OLGA, now=NOW, slug="chat-8b", name="", model_name="x"))
    assert list(error.fields) == ["slug"]


@pytest.mark.parametrize(
    ("provider", "config", "field"),
    [
        ("process", {"cold_start_s": -1}, "provider_cold_start_s"),
        ("process", {"cold_start_s": "soon"}, "provider_cold_start_s"),
        ("process", {"scaling": {"up_window_s": "x"}}, "provider_scaling"),
        ("process", {"hosts": 1}, "provider_config"),
        ("process", [], "provider_config"),
        ("static", {}, "provider_urls"),
        ("static", {"urls": ["ftp://a"]}, "provider_urls"),
        ("static", {"urls": ["http://"]}, "provider_urls"),
        ("static", {"urls": ["http://u:p@a"]}, "provider_urls"),
        ("static", {"urls": ["http://a:99999"]}, "provider_urls"),
        ("static", {"urls": ["http://a", "http://a/"]}, "provider_urls"),
        ("static", {"urls": ["http://a"]}, "max_replicas"),
        ("kubernetes", {"namespace": "A b", "name": "n", "service": "s"}, "provider_namespace"),
        ("kubernetes", {"namespace": "a", "name": "n", "service": "s", "port": 0}, "provider_port"),
        ("kubernetes", {"namespace": "a", "name": "n", "service": "s", "url": "http://x"}, "provider_url"),
        ("kubernetes", {"namespace": "a", "name": "n", "service": "s", "url": "http://{pod}.{nope}"}, "provider_url"),
        ("moon", {}, "provider"),
    ],
)
def test_provider_settings_are_checked_field_by_field(provider: str, config: Any, field: str) -> None:
    error = refused("bad_pool", lambda: pool_make(provider=provider, provider_config=config))
    assert field in error.fields


def test_good_provider_settings_pass() -> None:
    pool_make("a", provider="static", provider_config={"urls": [f"http://10.0.0.{n}:8000" for n in range(4)]})
    pool_make("b", provider="kubernetes", provider_config={"namespace": "ai", "name": "llama", "service": "llama-pods"})


def test_promises_that_no_longer_fit_are_refused_with_the_numbers() -> None:
    pool = pool_make()
    promised(pool, "alice", 40)
    error = refused("promises_broken", lambda: change(pool, max_replicas=2))
    assert "8 sequences short" in error.sentence and "max_replicas" in error.fields
    assert Pool.objects.get().max_replicas == 4
    change(pool, max_replicas=3)


def test_a_change_that_makes_nothing_worse_is_allowed_even_when_promises_are_broken_already() -> None:
    pool = pool_make()
    promised(pool, "alice", 60)
    Pool.objects.update(max_replicas=2)
    change(pool, name="Chat")
    change(pool, max_replicas=3)
    refused("promises_broken", lambda: change(pool, max_replicas=2))


def test_less_oversubscription_is_refused_when_elastic_promises_need_it() -> None:
    pool = pool_make(oversubscription=2.0)
    promised(pool, "eve", 60, "elastic")
    promised(pool, "eva", 60, "elastic")
    error = refused("promises_broken", lambda: change(pool, oversubscription=1.0))
    assert "56 sequences short" in error.sentence


def test_bounds_move_the_wish_and_a_held_pool_stays_held() -> None:
    pool = pool_make()
    assert change(pool, min_replicas=2).pool.wanted_replicas == 2
    pool_set_replicas(actor=OLGA, now=NOW, pool_id=pool.pk, replicas=0, reason="maintenance")
    assert change(pool, min_replicas=3).pool.wanted_replicas == 0


def test_the_ceiling_fails_closed_everywhere(settings: Any) -> None:
    settings.ACCELERATOR_CEILING = 8
    pool = pool_make(accelerators_per_replica=2)
    other = pool_make("other", accelerators_per_replica=2, min_replicas=2)
    error = refused("ceiling_reached", lambda: pool_make("third", min_replicas=3, max_replicas=4))
    assert "beside 6 of other pools" in error.sentence and "2 are left" in error.sentence
    refused("ceiling_reached", lambda: change(pool, min_replicas=3))
    refused("ceiling_reached", lambda: change(other, accelerators_per_replica=4))
    refused(
        "ceiling_reached", lambda: pool_set_replicas(actor=OLGA, now=NOW, pool_id=pool.pk, replicas=4, reason="more")
    )
    settings.ACCELERATOR_CEILING = 2
    change(other, min_replicas=1)
    pool_set_replicas(actor=OLGA, now=NOW, pool_id=other.pk, replicas=1, reason="fewer is always allowed")


def test_other_weights_count_running_replicas_anew() -> None:
    pool = pool_make()
    row = replica_ready(pool)
    before = supply_of(pool).ready
    change(pool, weight_output=2)
    pool.refresh_from_db()
    row.refresh_from_db()
    assert pool.current_profile is not None and pool.current_profile.version == 2
    assert row.profile_id == pool.current_profile_id
    assert supply_of(pool).ready.tokens_per_second > before.tokens_per_second
    Endpoint.objects.update(profile=CapacityProfile.objects.get(version=1))
    assert "Restart them first" in refused("mixed_profiles", lambda: change(pool, weight_output=3)).sentence


def test_a_change_is_taken_back_unless_something_newer_happened() -> None:
    pool = pool_make()
    first = change(pool, max_replicas=6, alpha_debt=2.0)
    undone = pool_undo(actor=OLGA, now=NOW, pool_id=pool.pk, record_id=first.record_id)
    assert (undone.pool.max_replicas, undone.pool.alpha_debt) == (4, 4.0)
    second = change(pool, max_replicas=8)
    change(pool, max_replicas=9)
    refused("undo_late", lambda: pool_undo(actor=OLGA, now=NOW, pool_id=pool.pk, record_id=second.record_id))
    refused("not_found", lambda: pool_undo(actor=OLGA, now=NOW, pool_id=pool.pk, record_id=0))
    other = pool_make("other")
    refused("not_found", lambda: pool_undo(actor=OLGA, now=NOW, pool_id=other.pk, record_id=second.record_id))


def test_an_override_is_taken_back_to_what_stood_before() -> None:
    pool = pool_make()
    first = pool_set_replicas(actor=OLGA, now=NOW, pool_id=pool.pk, replicas=3, reason="load test")
    assert (first.pool.manual_reason, first.pool.manual_by) == ("load test", "olga@example.org")
    second = pool_set_replicas(actor=OLGA, now=later(60), pool_id=pool.pk, replicas=2, reason="less")
    back = pool_undo(actor=OLGA, now=later(90), pool_id=pool.pk, record_id=second.record_id).pool
    assert (back.manual_replicas, back.manual_reason, back.wanted_replicas) == (3, "load test", 3)
    assert back.manual_until == NOW + timedelta(hours=1)
    lifted = pool_set_replicas(actor=OLGA, now=later(120), pool_id=pool.pk, replicas=None)
    again = pool_undo(actor=OLGA, now=later(7200), pool_id=pool.pk, record_id=lifted.record_id).pool
    assert again.manual_replicas is None, "it would have ended by now"


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(seconds=-1), timedelta(days=31)])
def test_an_override_lasts_a_sensible_time(lasts: timedelta) -> None:
    pool = pool_make()
    refused("bad_duration", lambda: pool_set_replicas(actor=OLGA, now=NOW, pool_id=pool.pk, replicas=1, lasts=lasts))


def test_a_pool_in_use_is_not_archived_and_says_by_whom() -> None:
    world = world_make()
    EntitlementRequest.objects.create(
        tenant=world.alice.tenant, pool=world.pool, reason="more", asked_tokens_per_second=1, asked_kv_bytes=1,
        asked_concurrency=1,
    )  # fmt: skip
    error = refused("pool_in_use", lambda: pool_archive(actor=OLGA, now=NOW, pool_id=world.pool.pk))
    assert "3 entitlements live in it (Alice, Bob, Eve)" in error.sentence
    assert "1 request for more waits" in error.sentence


def test_an_archived_pool_comes_back_with_its_smallest_number() -> None:
    pool = pool_make(min_replicas=2)
    deed = pool_archive(actor=OLGA, now=NOW, pool_id=pool.pk, reason="done")
    pool.refresh_from_db()
    assert (pool.archived_at, pool.wanted_replicas) == (NOW, 0)
    refused("not_found", lambda: change(pool, name="x"))
    pool_undo(actor=OLGA, now=NOW, pool_id=pool.pk, record_id=deed.record_id)
    pool.refresh_from_db()
    assert (pool.archived_at, pool.wanted_replicas) == (None, 2)
    refused("not_found", lambda: pool_restore(actor=OLGA, now=NOW, pool_id=pool.pk))
    assert list(AuditRecord.objects.order_by("pk").values_list("verb", flat=True)[2:]) == [
        "pool_archive",
        "pool_restore",
    ]


def test_a_smaller_profile_is_refused_unless_the_author_insists() -> None:
    pool = pool_make(max_replicas=2)
    replica_ready(pool)
    promised(pool, "alice", 20)
    small = replace(REPLICA, max_num_seqs=8)
    error = refused(
        "promises_broken", lambda: pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=small)
    )
    assert "4 sequences short" in error.sentence
    made = pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=small, break_promises=True)
    assert made.version == 2 and profile_input(made) == small


def test_a_correction_may_count_for_running_replicas_at_once() -> None:
    pool = pool_make()
    replica_ready(pool)
    faster = replace(REPLICA, measured_tokens_per_second=500)
    pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=faster)
    pool.refresh_from_db()
    assert supply_of(pool).ready.tokens_per_second < 500
    pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=faster, running_too=True, expected=2)
    pool.refresh_from_db()
    assert supply_of(pool).ready.tokens_per_second == 500
    error = refused(
        "version_moved",
        lambda: pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=REPLICA, expected=2),
    )
    assert "v3" in error.sentence


def test_every_wrong_field_of_a_profile_is_named_in_our_words() -> None:
    pool = pool_make()
    bad = replace(REPLICA, layers=0, max_num_seqs=0, itl_base_ms=-1, prefill_tokens_per_second=0)
    error = refused("bad_profile", lambda: pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=bad))
    assert set(error.fields) == {"layers", "max_num_seqs", "itl_base_ms", "prefill_tokens_per_second"}
    assert error.fields["itl_base_ms"].startswith("itl_base_ms must be 0 or more")
    huge = replace(REPLICA, num_gpu_blocks=2**40)
    assert (
        "num_gpu_blocks"
        in refused(
            "bad_profile", lambda: pool_profile_publish(actor=OLGA, now=NOW, pool_id=pool.pk, profile=huge)
        ).fields
    )


def test_who_would_become_degraded_is_the_newest_lease() -> None:
    pool = pool_make()
    for number in (1, 2):
        replica_ready(pool, number)
    promised(pool, "old", 10, at=1)
    young = promised(pool, "young", 10, at=2)
    assert degraded_by(pool.pk, supply_of(pool).replica) == [young.pk]
    assert degraded_by(pool.pk, supply_of(pool).ready) == []
