"""A tenant's limits: would a request of this size fit now, and every limit there is with what it means."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from pools.counters.one import OneState
from pools.counters.types import CounterUnavailable
from pools.mechanism.hot import MICRO
from pools.models import Entitlement
from pools.selectors.live_rows import LiveNumbers, live_numbers
from pools.selectors.own import own_entitlement, own_pools
from pools.services.amounts import base_of, cap_of
from pools.services.would_fit import (
    MOST_CHOICES,
    MOST_TOKENS,
    Answer,
    RequestSize,
    Terms,
    request_fits,
    state_of,
    terms_for,
)
from portal.accounts.access import tenant_page
from portal.accounts.choices import TenantRole
from portal.accounts.models import Tenant
from portal.lib.clock import now, now_ms
from portal.lib.given import text_of
from portal.lib.pages import page
from portal.lib.scope import tenant_scope

PROMPT, CHOICES = 200, 1


class SizeForm(forms.Form):
    """The size of a request; it lives in the address."""

    prompt = forms.IntegerField(
        label="Prompt tokens", min_value=0, max_value=MOST_TOKENS, help_text="Roughly four bytes of English each."
    )
    max = forms.IntegerField(
        label="max_tokens", min_value=1, max_value=MOST_TOKENS, required=False, help_text="Empty: your tier's default."
    )
    n = forms.IntegerField(label="n", min_value=1, max_value=MOST_CHOICES, help_text="Choices; each takes a slot.")

    @property
    def size(self) -> RequestSize:
        """What was typed."""
        data = self.cleaned_data
        return RequestSize(data["prompt"], data["max"], data["n"])


class LimitRow(NamedTuple):
    """One dimension: amounts now; None where nothing is known. ``dimension`` 0 tokens/s, 1 KV bytes, 2 slots."""

    dimension: int
    title: str
    base: int
    limit: float | None
    cap: int
    use: float | None
    sentence: str


class Bucket(NamedTuple):
    """The token bucket now."""

    tokens: int
    size: int
    refill: float
    full_in_s: int | None


@tenant_page(TenantRole.VIEWER)
@never_cache
@require_safe
def limits(request: HttpRequest, tenant: Tenant) -> HttpResponse:
    """The question, its answer on the live state, and the table of all limits."""
    moment, wanted = now(), text_of(request.GET, "pool", 63)
    with tenant_scope(tenant.pk):
        chosen = own_entitlement(tenant, wanted, moment)
        pools = own_pools(tenant)
    if wanted and chosen is None:
        raise Http404("This tenant holds no entitlement in a pool of that name.")
    given = {"prompt": PROMPT, "n": CHOICES, **{key: request.GET[key] for key in request.GET}}
    form = SizeForm(given)
    context: dict[str, Any] = {
        "nav": "tenant-limits",
        "tenant": tenant,
        "pools": pools,
        "entitlement": chosen,
        "chosen": chosen.pool.slug if chosen is not None else "",
        "form": form,
    }
    if chosen is not None:
        context |= _seen(chosen, form)
    part = bool(request.headers.get("HX-Request"))  # what is half typed is no mistake yet
    return page(request, "pools/limits.html", context, status=200 if part or form.is_valid() else 422)


def _seen(chosen: Entitlement, form: SizeForm) -> dict[str, Any]:
    terms = terms_for(chosen)
    try:
        state = state_of(chosen) if terms is not None else None
    except CounterUnavailable:
        state = None
    live = live_numbers([chosen], now_ms()).get(chosen.pk)
    found: dict[str, Any] = {"terms": terms, "state": state, "answer": None, "rows": [], "bucket": None}
    if terms is None:
        return found
    found["rows"] = rows_of(chosen, terms, state, live)
    if state is not None and state.terms is not None:
        found["bucket"] = bucket_of(state)
    if state is not None and form.is_valid():
        found["answer"] = answer = request_fits(chosen, terms, state, form.size)
        found["sentence"] = sentence(answer)
    return found


def sentence(answer: Answer) -> str:
    """Yes or no, and why, in one line."""
    if answer.fits:
        return "Yes, it would be let in now."
    if answer.wait_ms is None:
        return "No, and waiting does not help."
    return f"No, not now; expect about {wait_words(answer.wait_ms)}."


def wait_words(milliseconds: int) -> str:
    """A wait as people say it."""
    seconds = max(1, -(-milliseconds // 1000))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    return f"{minutes} min" if minutes < 60 else f"{hours} h or more"


def rows_of(chosen: Entitlement, terms: Terms, state: OneState | None, live: LiveNumbers | None) -> list[LimitRow]:
    """The three dimensions."""
    base, cap = base_of(chosen).as_tuple(), cap_of(chosen, terms.version).as_tuple()
    held = state.terms if state is not None else None
    hot = state.entitlement if state is not None else None
    limit: tuple[float | None, ...] = (
        (held.refill_milli / 1000, held.limit_kv, held.limit_seats) if held is not None else (None, None, None)
    )
    use: tuple[float | None, ...] = (
        live.use[0] if live is not None else None,
        (hot.use_kv if hot is not None else 0) if state is not None else None,
        (hot.use_seats if hot is not None else 0) if state is not None else None,
    )
    said = (
        (
            "Tokens/s",
            "How fast your token bucket refills. It moves between promise and ceiling every second.",
        ),
        ("KV cache", "Memory for prompts and answers in flight. A request takes its prompt plus its max_tokens."),
        ("Concurrency", "Requests in flight at the same time; n choices take n slots."),
    )
    return [
        LimitRow(index, title, base[index], limit[index], cap[index], use[index], words)
        for index, (title, words) in enumerate(said)
    ]


def bucket_of(state: OneState) -> Bucket:
    """What is in the bucket now, refilled up to this moment."""
    terms, hot = state.terms, state.entitlement
    assert terms is not None
    size = terms.bucket_size_micro
    held = size
    if hot is not None and hot.at_ms:
        held = min(size, hot.bucket_micro + max(0, state.at_ms - hot.at_ms) * terms.refill_milli)
    missing = size - held
    full = -(-missing // (terms.refill_milli * 1000)) if terms.refill_milli > 0 else None
    return Bucket(held // MICRO, size // MICRO, terms.refill_milli / 1000, full if missing > 0 else 0)
