"""The real thing: beat and worker as processes, a simulated replica they start, a live message that arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from billing.models import UsageEvent
from pools.choices import EndpointState
from pools.counters.types import Ask, Settlement
from pools.models import Endpoint, Entitlement, EntitlementSample, Pool, ScalingDecision
from pools.selectors.alerts import OPEN_KEY
from pools.services.store import counters
from portal.lib.pulse import TASKS_KEY
from tests.cast import KV_TOKEN, pool_make, promise, slots, tenant_make, tier_make
from tests.flows.conftest import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(120)]
QUEUES = "tick,scaling,usage,default"


def state(row: Entitlement) -> str:
    return Entitlement.objects.values_list("state", flat=True).get(pk=row.pk)


def test_from_beat_to_live_message(celery: Callable[..., Any], valkey: redis.Redis) -> None:
    pool = pool_make(provider_config={"cold_start_s": 0.2})
    alice = promise(pool, tenant_make("alice"), tier_make("guaranteed"), slots(6))
    heard = valkey.pubsub()
    heard.subscribe(f"tp-live__group__pool.{pool.pk}")
    celery(
        "worker", "--pool", "threads", "--concurrency", "4", "--queues", QUEUES, "--without-mingle", "--without-gossip"
    )
    celery("beat")

    until(
        lambda: Endpoint.objects.filter(pool=pool, state=EndpointState.READY.value).exists(), 40, "a replica is ready"
    )
    until(lambda: state(alice) == "bound", 20, "Alice is bound")
    until(lambda: (heard.get_message(timeout=1.0) or {}).get("type") == "message", 20, "a live message")
    until(lambda: valkey.hexists(TASKS_KEY, "pools.tasks.tick-0"), 20, "the tick left a sign of life")
    until(lambda: valkey.exists(OPEN_KEY), 20, "the watch looked")

    assert counters().reserve(Ask(pool.pk, alice.pk, "r1", 128, 128 * KV_TOKEN)).admitted
    counters().settle(Settlement(pool.pk, alice.pk, "r1", 100, input_tokens=60, output_tokens=40))
    until(lambda: UsageEvent.objects.filter(request_id="r1").exists(), 20, "the request is in the books")
    until(lambda: EntitlementSample.objects.filter(entitlement_id=alice.pk).exists(), 20, "a sample is stored")
    until(lambda: ScalingDecision.objects.filter(pool=pool).exists(), 20, "a scaling decision is recorded")

    valkey.flushall()  # the store loses everything, the queues too
    until(lambda: valkey.exists(f"tp:live:{pool.pk}"), 30, "live again after the store was emptied")
    assert counters().reserve(Ask(pool.pk, alice.pk, "r2", 128, 128 * KV_TOKEN)).admitted
    heard.close()
    assert Pool.objects.get(pk=pool.pk).wanted_replicas == 1
