"""What a tenant can do about each reason of refusal, in a sentence."""

from __future__ import annotations

from typing import Any

from portal.dashboards import numbers

ADVICE = {
    "concurrency": "All your slots were busy. Spread requests over time, or ask for more concurrency.",
    "token_budget": "Your token rate was used up. Lower max_tokens, or ask for more tokens per second.",
    "kv_budget": "Long prompts filled your KV-cache share. Shorten the context, or ask for more KV cache.",
    "pool_full": "The pool had no room beside what is held for other promises. Retry after the hint; it passes.",
    "low_priority": "The pool was contended and you were at your limit. Debt moves you forward; retry after the hint.",
    "no_capacity": "No replica was ready. More were asked for; retry after the hint.",
    "never_fits": "The request was larger than you may ever send. Lower max_tokens or shorten the prompt.",
    "pending": "Your entitlement is not bound yet: its capacity is being started.",
    "degraded": "The pool lost capacity. Your operator sees this too.",
    "suspended": "Your entitlement is suspended. Ask the operator why.",
    "expired": "Your entitlement's validity has ended. Ask for a renewal.",
    "unknown_entitlement": "The admission store was being rebuilt; retry.",
}


def words(code: str) -> str:
    """A code as people write it: kv_budget → KV budget."""
    return code.replace("_", " ").replace("kv ", "KV ")


def arithmetic(details: dict[str, Any]) -> str:
    """Why a debt posting was made, from what the tick noted."""
    gap, samples = details.get("gap_tokens"), details.get("samples")
    if gap is None:
        return ", ".join(f"{words(name)} {value}" for name, value in details.items())
    side = "below" if gap > 0 else "above"
    over = f", measured in {samples} tick{'s' if samples != 1 else ''}" if samples else ""
    return f"served {numbers.si(abs(gap), 'tokens')} {side} the promise{over}"


def refusal_rows(counts: dict[str, int]) -> list[tuple[str, str, int, str]]:
    """(code, label, count, advice), most frequent first."""
    rows = [(code, words(code), count, ADVICE.get(code, "")) for code, count in counts.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))
