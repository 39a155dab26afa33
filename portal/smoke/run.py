"""Inside the private installation: make the world, send, wait until all is quiet, look at the books."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pools.choices import EndpointState, EntitlementState
from pools.models import Endpoint, Entitlement, Pool
from pools.services.overcommit import Watch
from pools.services.store import counters
from pools.simulator.replay import Pace, Replay
from pools.simulator.scripts import Casting, fit, orders
from pools.simulator.senders import Order, Sender, read_senders
from pools.simulator.tally import Figures
from pools.simulator.traces import read_trace, trace_format
from pools.simulator.workload import demo_orders
from portal.demo.secrets import key_file
from portal.demo.traffic import roles
from portal.demo.world import world_make
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.smoke.books import Books, books_of
from portal.smoke.checks import Check, Seen, checks_of
from portal.smoke.witness import Witness, testify
from portal.smoke.world import POOL, SMOKE, WITNESSES

READY_S, QUIET_S, STEADY_S = 60.0, 120.0, 60.0
LONGEST_DRAIN_S = 45.0
STOPPED_S = 5.0
SEED = 20260303


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send and for how long. Without a trace, the made-up tenants of the smoke world."""

    gateway_url: str
    var_dir: Path
    seconds: float
    trace: Path | None = None
    speed: float = 1.0
    concurrency: int = 128


@dataclass(frozen=True, slots=True)
class Smoked:
    """The audit, and what the clients saw."""

    checks: list[Check]
    summary: dict[str, Any]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Whether every check agrees."""
        return all(check.passed for check in self.checks)


def smoke(plan: Plan, say: Callable[[str], None]) -> Smoked:
    """The whole run; ``say`` hears what is going on. Raises DomainError when it cannot even begin."""
    if plan.trace is not None:
        trace_format(plan.trace)
    world_make(plan.var_dir, now(), SMOKE)
    pool = Pool.objects.select_related("current_profile").get(slug=POOL)
    say("waiting for the first replica and for every lease")
    _until(lambda: _bound(pool.pk), READY_S, "not_bound", "The leases of the smoke world were not bound in time.")
    say(f"sending for {plan.seconds:g} s")
    with Watch(pool.pk) as watch:
        replay, witness, notes = _send(plan, pool, say)
        say("waiting until nothing is in flight, all usage is stored and replicas stand still")
        with contextlib.suppress(DomainError):  # what is left will be seen in the books
            patience_s = STOPPED_S if replay.stopped else QUIET_S
            _until(lambda: _quiet(pool.pk), patience_s, "not_quiet", "Something is still in flight.")
            _until(lambda: _steady(pool.pk), STEADY_S, "not_steady", "Replicas still move.")
    books = _settled_books(pool.pk)
    summary = replay.tally.summary(replay.elapsed_s)
    summary["over_commit"] = watch.seen.summary()
    return Smoked(checks_of(books, seen_of(replay.tally.all, witness), watch.seen.summary()), summary, notes)


def seen_of(all_others: Figures, witness: Figures) -> Seen:
    """The figures of the senders, for the checks."""
    both = (all_others, witness)
    cut = sum(one.endings[name] for one in both for name in ("abandoned", "unfinished", "failed", "preempted"))
    refused = dict(witness.refused)
    return Seen(
        admitted=sum(one.admitted for one in both),
        completed=sum(one.endings["completed"] for one in both),
        cut_by_client=cut,
        broken=sum(one.endings["failed"] + one.endings["unfinished"] for one in both)
        + sum(sum(count for code, count in one.turned_away.items() if code in BROKEN) for one in both),
        good_tokens=sum(one.good_tokens for one in both),
        failed=all_others.endings["failed"],
        witness_sent=witness.sent,
        witness_refused=witness.endings["refused"],
        witness_broken=witness.endings["failed"] + witness.endings["preempted"],
        refusals=", ".join(f"{code} {count}" for code, count in refused.items()),
    )


_UPSTREAM = ("upstream_error", "upstream_timeout", "upstream_unavailable")
BROKEN = frozenset({"preempted", "timeout", "unreachable", *_UPSTREAM})
"""Codes of answers that may have had a reservation although the client got no 200."""


def _send(plan: Plan, pool: Pool, say: Callable[[str], None]) -> tuple[Replay, Figures, list[str]]:
    senders = read_senders(key_file(plan.var_dir))
    askers = [sender for sender in senders if sender.tenant not in WITNESSES]
    context = pool.current_profile.context_length if pool.current_profile else 2048
    made, notes = _script(plan, askers, context)
    drain_s = max(3.0, min(LONGEST_DRAIN_S, plan.seconds))
    replay = Replay(plan.gateway_url, Pace(plan.seconds, plan.speed, plan.concurrency, drain_s=drain_s))
    witnesses = [_witness(sender) for sender in senders if sender.tenant in WITNESSES]
    return replay, asyncio.run(_both(replay, made, witnesses, say)), notes


def _script(plan: Plan, askers: list[Sender], context: int) -> tuple[Iterator[Order], list[str]]:
    if plan.trace is None:
        return demo_orders(roles(askers, SMOKE), context, SEED), ["Requests are made up by the generator."]
    casting = Casting(context)
    fitted = fit(read_trace(plan.trace), casting)
    return orders(read_trace(plan.trace), askers, casting, fitted), [fitted.sentence]


def _witness(sender: Sender) -> Witness:
    row = Entitlement.objects.get(tenant__slug=sender.tenant)
    return Witness(sender, row.base_concurrency, row.base_tokens_per_second)


async def _both(replay: Replay, made: Iterator[Order], witnesses: list[Witness], say: Callable[[str], None]) -> Figures:
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, replay.stop)
    told = 0.0

    def step(seconds: float) -> None:
        nonlocal told
        if seconds - told >= 15:
            told = seconds
            seen = replay.tally.all
            say(f"{seconds:.0f} s: {seen.admitted:,} admitted, {seen.endings['refused']:,} refused for good")

    testimony = asyncio.create_task(testify(replay.url, witnesses, end))
    await replay.run(made, step)
    end.set()
    return await testimony


def _bound(pool_id: int) -> bool:
    rows = Entitlement.objects.filter(pool_id=pool_id)
    return _steady(pool_id) and not rows.exclude(state=EntitlementState.BOUND.value).exists()


def _quiet(pool_id: int) -> bool:
    store = counters()
    return not store.live_reservations(pool_id) and store.usage_backlog(pool_id) == 0


def _steady(pool_id: int) -> bool:
    wanted = Pool.objects.values_list("wanted_replicas", flat=True).get(pk=pool_id)
    gone = (EndpointState.STOPPED.value, EndpointState.FAILED.value)
    states = list(Endpoint.objects.filter(pool_id=pool_id).exclude(state__in=gone).values_list("state", flat=True))
    return states == [EndpointState.READY.value] * wanted


def _settled_books(pool_id: int) -> Books:
    """Twice, until two looks agree about replicas: a decision may fall between two queries."""
    books = books_of(pool_id)
    for _ in range(5):
        time.sleep(1.0)
        again = books_of(pool_id)
        if (again.replicas, again.store, again.usage) == (books.replicas, books.store, books.usage):
            return again
        books = again
    return books


def _until(true: Callable[[], bool], seconds: float, code: str, sentence: str) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise DomainError(code, sentence)
        time.sleep(0.25)
