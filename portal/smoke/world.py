"""The small world of a smoke run: everything the demo has, quicker, and two witnesses."""

from __future__ import annotations

from dataclasses import replace

from pools.choices import ServiceClass
from pools.simulator.workload import Habit, Lengths, Rush
from portal.demo.cast import CHAT, DEMO, LONG, SMALL_REPLICA, TALE, Cast, PoolPlan, Promise, TenantPlan

POOL = "smoke"
WITNESSES = ("witness-dedicated", "witness-guaranteed")
_ANSWER = Lengths(24, 0.7, 160)
_SCALING = {"up_window_s": 6, "down_window_s": 25, "down_pause_s": 5}


def _tenant(slug: str, tier: str, base: int, cap: int, habit: Habit) -> TenantPlan:
    return TenantPlan(slug, slug.replace("-", " ").title(), (Promise(POOL, tier, base, cap, habit),))


def _ask(rate: float, phase: float, **more: object) -> Habit:
    return Habit(rate, more.pop("prompt", CHAT), more.pop("output", _ANSWER), day_s=40.0, phase=phase, **more)  # type: ignore[arg-type]


ROOMY_REPLICA = replace(SMALL_REPLICA, num_gpu_blocks=960, planned_context=864)
"""Recorded prompts are longer than the demo's: more KV cache a slot."""

SILENT = Habit(0.0001, CHAT, _ANSWER)

SMOKE = Cast(
    pools=(PoolPlan(POOL, "Smoke 8B", 3, 1.0, {"scaling": _SCALING}, ROOMY_REPLICA),),
    tiers=DEMO.tiers,
    tenants=(
        _tenant(WITNESSES[0], "dedicated-core", 2, 0, SILENT),
        _tenant(WITNESSES[1], "guaranteed-standard", 2, 0, SILENT),
        _tenant("asker-dedicated", "dedicated-core", 2, 0, _ask(1.0, 0.0, rush=Rush(8, 20, 5, 2.0))),
        _tenant("asker-guaranteed", "guaranteed-standard", 2, 0, _ask(0.8, 0.2)),
        _tenant("asker-gold", "elastic-gold", 3, 0, _ask(2.5, 0.9)),
        _tenant("asker-silver", "elastic-silver", 2, 0, _ask(1.6, 0.8, prompt=LONG)),
        _tenant("asker-spot", "spot-basic", 0, 8, _ask(1.5, 0.3)),
        _tenant("asker-batch", "batch-preemptible", 0, 10, _ask(1.0, 0.5, output=TALE, stream=0.5)),
    ),
    keys_by_class={
        ServiceClass.DEDICATED: "asker-dedicated",
        ServiceClass.GUARANTEED: "asker-guaranteed",
        ServiceClass.ELASTIC: "asker-gold",
        ServiceClass.SPOT: "asker-spot",
        ServiceClass.PREEMPTIBLE: "asker-batch",
    },
)
