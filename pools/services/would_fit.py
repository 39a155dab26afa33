"""Would a request of this size be let in now? The admission rules' own answer on the live state; nothing is reserved.

The reference decision (``mechanism.admission.decide``) works on copies; the store is read once and never written.
"""

from __future__ import annotations

from dataclasses import dataclass

from pools.choices import REFUSAL_RULES, Refusal, RefusalRule
from pools.counters.one import OneState, one_state
from pools.mechanism.admission import Ask, Decision, decide
from pools.mechanism.amounts import Cost, request_cost
from pools.models import CapacityProfile, Entitlement, TierVersion
from pools.services.store import hot

PROBE = "would-it-fit"
MOST_TOKENS = 10_000_000
MOST_CHOICES = 1_000
OF_POOL = (Refusal.POOL_FULL, Refusal.NO_CAPACITY)


@dataclass(frozen=True, slots=True)
class RequestSize:
    """A request; ``max_tokens`` None: not given, so the tier's default applies."""

    input_tokens: int
    max_tokens: int | None = None
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """``code`` "" when it fits. ``use``, ``limit``, ``asked`` are of the dimension that binds; ``whose`` limit it is.

    ``wait_ms`` None: waiting does not help. ``largest``: the most max_tokens that would fit now with this prompt, None
    when not even one token of output would.
    """

    fits: bool
    code: str
    label: str
    sentence: str
    dimension: int | None
    whose: str
    use: int
    limit: int
    asked: int
    wait_ms: int | None
    max_tokens: int
    cost: Cost
    contended: bool
    largest: int | None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request is measured by: the pool's shape and the tier's bounds."""

    profile: CapacityProfile
    version: TierVersion
    weight_input: int
    weight_output: int

    def cost(self, size: RequestSize, max_tokens: int) -> Cost:
        """What it would reserve."""
        return request_cost(
            input_tokens=size.input_tokens,
            max_tokens=max_tokens,
            choices=size.choices,
            block_tokens=self.profile.block_tokens,
            bytes_per_token=self.profile.kv_bytes_per_token,
            weight_input=self.weight_input,
            weight_output=self.weight_output,
        )


def state_of(entitlement: Entitlement) -> OneState:
    """The live state of an entitlement and its pool. Raises CounterUnavailable."""
    return one_state(hot(), entitlement.pool_id, entitlement.pk)


def terms_for(entitlement: Entitlement) -> Terms | None:
    """What its requests are measured by; None for a pool without a profile or a tier without a version."""
    pool, version = entitlement.pool, entitlement.tier.current
    if pool.current_profile is None or version is None:
        return None
    return Terms(pool.current_profile, version, pool.weight_input, pool.weight_output)


def request_fits(entitlement: Entitlement, terms: Terms, state: OneState, size: RequestSize) -> Answer:
    """The answer for one request, and the largest output that would fit beside its prompt."""
    most = min(terms.version.largest_max_tokens, terms.profile.context_length - size.input_tokens)
    usual = min(terms.version.default_max_tokens, terms.version.largest_max_tokens, max(1, most))
    wanted = usual if size.max_tokens is None else size.max_tokens
    early = _too_large(terms, size, wanted)
    cost = terms.cost(size, wanted)
    if early:
        return Answer(False, *early, None, "", 0, 0, 0, None, wanted, cost, False, None)
    decision = _decide(entitlement, state, cost)
    largest = wanted if decision.admitted else _largest(entitlement, terms, state, size, min(most, wanted))
    return _answer(decision, cost, wanted, largest, state)


def usual_wait(entitlement: Entitlement, usual: tuple[float, float, float]) -> tuple[int, str] | None:
    """(milliseconds, refusal code) until a request of the usual size (tokens, KV bytes, slots) would be let in; (0, "")
    when it would be now, None when waiting does not help. Raises CounterUnavailable."""
    tokens, kv_bytes, seats = (max(0, round(value)) for value in usual)
    decision = _decide(entitlement, state_of(entitlement), Cost(tokens, kv_bytes, max(1, seats)))
    if decision.admitted:
        return 0, ""
    code = Refusal(decision.code)
    return (decision.wait_ms, code.code) if REFUSAL_RULES[code].transient else None


def _too_large(terms: Terms, size: RequestSize, wanted: int) -> tuple[str, str, str] | None:
    """What the gateway itself refuses before it asks the store: (code, label, sentence)."""
    context, largest = terms.profile.context_length, terms.version.largest_max_tokens
    if size.input_tokens >= context or size.input_tokens + wanted > context:
        sentence = (
            f"The model's context is {context:,} tokens; the prompt's {size.input_tokens:,} and {wanted:,} of output "
            "exceed it. Shorten the prompt or lower max_tokens."
        )
        return "context_length_exceeded", "context", sentence
    if wanted > largest:
        return "max_tokens_too_large", "max_tokens", f"Your tier allows at most {largest:,} max_tokens."
    return None


def _decide(entitlement: Entitlement, state: OneState, cost: Cost) -> Decision:
    ask = Ask(entitlement.pool_id, entitlement.pk, PROBE, cost.tokens, cost.kv_bytes, cost.concurrency)
    return decide(state.pool, state.entitlement, state.terms, ask, state.at_ms, candidates=state.candidates).decision


def _largest(entitlement: Entitlement, terms: Terms, state: OneState, size: RequestSize, most: int) -> int | None:
    """The largest output that would be admitted, by halving: a smaller request never needs more."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if _decide(entitlement, state, terms.cost(size, middle)).admitted:
            low = middle
        else:
            high = middle - 1
    return low or None


def _answer(decision: Decision, cost: Cost, wanted: int, largest: int | None, state: OneState) -> Answer:
    if decision.admitted:
        sentence = _why_admitted(decision, state)
        return Answer(True, "", "fits", sentence, None, "", 0, 0, 0, None, wanted, cost, decision.contended, largest)
    code = Refusal(decision.code)
    rule: RefusalRule = REFUSAL_RULES[code]
    dimension = decision.dimension - 1 if decision.dimension else None
    asked = (cost.tokens, cost.kv_bytes, cost.concurrency)[dimension] if dimension is not None else 0
    return Answer(
        False,
        code.code,
        rule.label,
        rule.sentence,
        dimension,
        _whose(code),
        decision.use,
        decision.limit,
        asked,
        decision.wait_ms if rule.transient else None,
        wanted,
        cost,
        decision.contended,
        largest,
    )


def _whose(code: Refusal) -> str:
    if code in OF_POOL:
        return "the pool"
    return {
        Refusal.TOKEN_BUDGET: "your token bucket",
        Refusal.LOW_PRIORITY: "your limit at the moment",
        Refusal.CONCURRENCY: "your ceiling",
        Refusal.KV_BUDGET: "your ceiling",
        Refusal.NEVER_FITS: "the most you may ever take",
    }.get(code, "your entitlement")


def _why_admitted(decision: Decision, state: OneState) -> str:
    rank = state.terms.rank if state.terms is not None else 0
    if decision.victims:
        many = "request" if decision.victims == 1 else "requests"
        return f"It would be let in, and {decision.victims} preemptible {many} would make room for it."
    if decision.contended and rank > 0:
        return "The pool is contended, and you are within your limit, so it would be let in."
    if rank == 0 and decision.use_concurrency <= decision.cap_concurrency:
        return "It would be let in: your reservation or free room beside it carries it."
    return "It would be let in: the pool has room beside what is held for other promises."
