"""Would it fit now? The answer is the store's own, to the dimension and the number, and asking changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pools.choices import EntitlementState
from pools.counters.types import Ask
from pools.models import Entitlement
from pools.services.documents import pool_publish
from pools.services.entitlements import entitlement_suspend
from pools.services.store import counters, hot
from pools.services.would_fit import Answer, RequestSize, request_fits, state_of, terms_for
from tests.cast import KV_TOKEN, NOW, OLGA, World, later, leftover, slots, tenant_make, tier_make, world_make

pytestmark = pytest.mark.usefixtures("commits")
SMALL = RequestSize(32, 32)


@pytest.fixture
def world() -> World:
    return world_make()


def fresh(row: Entitlement) -> Entitlement:
    return Entitlement.objects.select_related("tier__current", "pool__current_profile", "tenant").get(pk=row.pk)


def asked(row: Entitlement, size: RequestSize = SMALL) -> Answer:
    row = fresh(row)
    terms = terms_for(row)
    assert terms is not None
    return request_fits(row, terms, state_of(row), size)


def fill(row: Entitlement, count: int, tokens: int = 1) -> int:
    """Lets requests in until one is refused; how many were."""
    done = 0
    for number in range(count):
        done += counters().reserve(Ask(row.pool_id, row.pk, f"{row.pk}-{number}", tokens, 64 * KV_TOKEN)).admitted
    return done


def same_as_the_store(row: Entitlement, size: RequestSize) -> None:
    """The answer against what the store itself says to the same request a moment later."""
    answer = asked(row, size)
    ask = Ask(row.pool_id, row.pk, "really", answer.cost.tokens, answer.cost.kv_bytes, answer.cost.concurrency)
    decision = counters().reserve(ask)
    assert decision.admitted is answer.fits
    if not decision.admitted:
        assert (decision.limit, decision.code == 0) == (answer.limit, answer.fits)


def test_a_small_request_fits_and_nothing_is_reserved(world: World) -> None:
    before = {key: hot().dump(key) for key in hot().keys("{tp:*")}
    answer = asked(world.alice)
    assert answer.fits and answer.code == "" and answer.max_tokens == 32
    assert (answer.cost.tokens, answer.cost.concurrency) == (64, 1)
    assert {key: hot().dump(key) for key in hot().keys("{tp:*")} == before, "asking changed nothing"
    same_as_the_store(world.alice, SMALL)


def test_without_max_tokens_the_tiers_default_applies(world: World) -> None:
    assert asked(world.alice, RequestSize(10)).max_tokens == 256
    assert asked(world.alice, RequestSize(8192 - 100)).max_tokens == 100, "shortened to what the context leaves"


def test_all_slots_taken_is_concurrency_with_a_wait(world: World) -> None:
    assert fill(world.alice, 20) == 6
    answer = asked(world.alice)
    assert (answer.fits, answer.code, answer.dimension, answer.whose) == (False, "concurrency", 2, "your ceiling")
    assert (answer.use, answer.limit, answer.asked) == (6, 6, 1)
    assert answer.wait_ms is not None and answer.wait_ms > 0
    assert answer.largest is None, "a shorter answer does not help"
    same_as_the_store(world.alice, SMALL)


def test_an_empty_bucket_is_token_budget_and_says_what_would_fit(world: World) -> None:
    assert fill(world.eve, 1, tokens=5000) == 1
    answer = asked(world.eve, RequestSize(64, 2000))
    assert (answer.code, answer.dimension, answer.whose) == ("token_budget", 0, "your token bucket")
    assert answer.use < answer.asked == 2064 and answer.wait_ms
    assert answer.largest is not None and 0 < answer.largest < 2000
    assert asked(world.eve, RequestSize(64, answer.largest)).fits
    assert not asked(world.eve, RequestSize(64, answer.largest + 20)).fits


def test_what_can_never_fit_has_no_wait(world: World) -> None:
    answer = asked(world.alice, RequestSize(1000, 4000))
    assert (answer.code, answer.wait_ms, answer.dimension) == ("never_fits", None, 0)
    assert answer.largest is not None
    assert asked(world.alice, RequestSize(64, 64, 7)).code == "never_fits"
    same_as_the_store(world.alice, RequestSize(1000, 4000))


def test_the_gateways_own_bounds_come_first(world: World) -> None:
    assert asked(world.alice, RequestSize(9000, 10)).code == "context_length_exceeded"
    assert asked(world.alice, RequestSize(8000, 500)).code == "context_length_exceeded"
    assert asked(world.alice, RequestSize(10, 5000)).code == "max_tokens_too_large"


def test_a_full_pool_and_a_contended_one(world: World) -> None:
    """Bob may take what others leave; Eve gets in within her limit, and when the pool is full she hears so."""
    fill(world.bob, 20)
    answer = asked(world.bob)
    assert not answer.fits and answer.code in {"pool_full", "low_priority"}
    assert answer.whose in {"the pool", "your limit at the moment"}
    same_as_the_store(world.bob, SMALL)
    assert asked(world.alice).fits, "a reservation is not refused"


def test_preemptible_work_makes_room_and_is_counted(world: World) -> None:
    low = leftover(world.pool, tenant_make("low"), tier_make("preemptible"), slots(16))
    Entitlement.objects.filter(pk=low.pk).update(state=EntitlementState.BOUND.value)
    pool_publish(world.pool.pk, NOW)
    assert fill(low, 16) > 10
    answer = asked(world.alice)
    assert answer.fits
    state = state_of(fresh(world.alice))
    assert len(state.candidates) > 10 and state.candidates[0].name.startswith(f"{low.pk}:")
    same_as_the_store(world.alice, SMALL)


def test_a_suspended_or_unknown_entitlement_says_so(world: World) -> None:
    entitlement_suspend(actor=OLGA, now=later(1), entitlement_id=world.eve.pk)
    answer = asked(world.eve)
    assert (answer.code, answer.wait_ms, answer.largest) == ("suspended", None, None)
    state = state_of(fresh(world.alice))
    row = fresh(world.alice)
    terms = terms_for(row)
    assert terms is not None
    unknown = request_fits(row, terms, replace(state, terms=None), SMALL)
    assert unknown.code == "unknown_entitlement" and unknown.wait_ms == 1000
