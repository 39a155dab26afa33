"""Asks the store, holds where the tier allows it, and turns a refusal into the answer its sender can act on."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from pools.choices import REFUSAL_RULES, FailMode, Refusal
from pools.counters.types import Ask, CounterUnavailable, Decision
from pools.gateway.hold import Holds, release
from pools.gateway.keys import Grant
from pools.gateway.ports import Counters
from pools.gateway.routes import Route
from pools.gateway.settling import Settler
from pools.gateway.wire import Limits, bad_request, unavailable
from pools.mechanism.amounts import DIMENSIONS
from pools.mechanism.retry import retry_after
from portal.lib.errors import DomainError

_WORDS = {"tokens": "tokens", "kv_bytes": "KV-cache bytes", "concurrency": "sequences in flight"}
_ONE = {"tokens": "token", "kv_bytes": "KV-cache byte", "concurrency": "sequence in flight"}
_WHOSE = {Refusal.POOL_FULL: "the pool", Refusal.NO_CAPACITY: "the pool"}


@dataclass(frozen=True, slots=True)
class Admitted:
    """``decision`` None: served without admission because the store is away and the tier fails open."""

    decision: Decision | None
    limits: Limits | None
    held_ms: int = 0


class Admission:
    """``admit`` is the only way to a reservation."""

    def __init__(self, counters: Counters, settler: Settler, holds: Holds) -> None:
        self._counters = counters
        self._settler = settler
        self._holds = holds

    async def admit(self, ask: Ask, grant: Grant, route: Route) -> Admitted:
        """Reserves. Raises DomainError with the refusal's status, code, waits and limits; nothing is reserved then.

        Where the store's answer is lost, the reservation it may have made is given back later (or settled by the
        request, where the tier fails open).
        """
        held_ms = 0
        try:
            decision = await self._counters.reserve(ask)
            if not decision.admitted and decision.held:
                began = asyncio.get_running_loop().time()
                decision = await self._holds.wait(ask, grant, decision)
                held_ms = round((asyncio.get_running_loop().time() - began) * 1000)
        except CounterUnavailable:
            if grant.fail_mode is FailMode.OPEN:
                return Admitted(None, None)
            self._settler.waiting.append(release(ask))
            raise unavailable(
                "The admission store does not answer and your tier does not serve without it; try again shortly.",
                code="store_unavailable",
            ) from None
        except ValueError:  # more than the store's whole numbers can hold
            raise bad_request("The request is larger than any pool.", code="never_fits", status=413) from None
        except asyncio.CancelledError:
            self._settler.waiting.append(release(ask))
            raise
        if not decision.admitted:
            raise refusal(decision, ask, grant, route)
        return Admitted(decision, limits_of(decision, route), held_ms)


def limits_of(decision: Decision, route: Route) -> Limits:
    """The figures of the rate-limit headers."""
    remaining = max(0, decision.remaining_tokens)
    missing = decision.bucket_tokens - remaining
    refill = max(1, decision.refill_milli)
    in_use = min(decision.use_concurrency, decision.cap_concurrency)
    return Limits(
        limit_requests=decision.cap_concurrency,
        remaining_requests=decision.cap_concurrency - in_use,
        reset_requests_ms=route.mean_service_ms if in_use else 0,
        limit_tokens=decision.bucket_tokens,
        remaining_tokens=remaining,
        reset_tokens_ms=min(86_400_000, -(-missing * 1_000_000 // refill)),
        window_s=max(1, min(86_400, decision.bucket_tokens * 1000 // refill)),
    )


def refusal(decision: Decision, ask: Ask, grant: Grant, route: Route) -> DomainError:
    """A refused decision as an error: what binds, by how much, and how long to wait."""
    code = Refusal(decision.code)
    rule = REFUSAL_RULES[code]
    binding: dict[str, object] = {"reason": code.code, "entitlement": grant.tier, "pool": route.pool}
    sentence = rule.sentence
    if decision.dimension:
        dimension = DIMENSIONS[decision.dimension - 1]
        asked = (ask.tokens, ask.kv_bytes, ask.concurrency)[decision.dimension - 1]
        binding.update(dimension=str(dimension), use=decision.use, limit=decision.limit, asked=asked)
        sentence = f"{sentence} {_binds(code, decision, asked, (_ONE if asked == 1 else _WORDS)[dimension])}"
    wait_ms: int | None = None
    if rule.transient:
        wait = retry_after(decision.wait_ms, decision.streak, random.random())
        wait_ms = wait.milliseconds
        sentence = f"{sentence} Try again in {wait.seconds} s."
    return DomainError(
        code.code,
        sentence,
        status=rule.status,
        retry_after_ms=wait_ms,
        limits=limits_of(decision, route) if decision.bucket_tokens else None,
        binding=binding,
    )


def _binds(code: Refusal, decision: Decision, asked: int, words: str) -> str:
    if code is Refusal.NEVER_FITS:
        return f"It needs {asked:,} {words}; the most it may ever take is {decision.limit:,}."
    if code is Refusal.TOKEN_BUDGET:
        return f"It needs {asked:,} tokens; the bucket holds {decision.use:,} of {decision.limit:,}."
    whose = _WHOSE.get(code, "your entitlement")
    return f"It needs {asked:,} {words}; {whose} uses {decision.use:,} of {decision.limit:,}."
