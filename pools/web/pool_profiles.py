"""Capacity profiles of a pool: the history with what changed, a new version with its preview, an old one again."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.mechanism.amounts import Rate
from pools.mechanism.capacity import replica_rate
from pools.mechanism.capacity_words import Told, capacity_told
from pools.models import CapacityProfile, Endpoint, Pool
from pools.services.outlook import pool_outlook
from pools.services.preview_state import pool_token_make
from pools.services.profiles import ProfileInput, pool_profile_publish, previewed, profile_checked
from pools.services.promises import promises_check, provision_of
from pools.services.supply import ready_rates, supply_of
from pools.web.fields import Typed, field_groups, typed_of, typed_read, value_words
from pools.web.pool_common import outlook_context, pool_context, pool_for_change, pool_of
from pools.web.pool_fields import PROFILE, PROFILE_GROUPS
from portal.accounts.access import operates, reads_everything
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import LONGEST_REASON, number_of, reason_of
from portal.lib.pages import note, page

MOST_VERSIONS = 100
RESULTS = (("tokens_per_second", "Tokens/s"), ("kv_bytes", "KV cache"), ("concurrency", "Slots"))


class Change(NamedTuple):
    """One value of a version beside the version it is compared with."""

    label: str
    was: str
    now: str
    differs: bool


class Line(NamedTuple):
    """A version in the list: what it changed in words, how many replicas run with it."""

    version: CapacityProfile
    changed: list[str]
    running: int


def profile_of(pool: Pool, version: int | None) -> CapacityProfile:
    """A version of a pool's profile, or 404; None: the one in force."""
    rows = CapacityProfile.objects.filter(pool=pool)
    found = (
        pool.current_profile if version is None and pool.current_profile else rows.filter(version=version or 0).first()
    )
    if found is None:
        raise Http404(f"{pool.name} has no capacity profile v{version}.")
    return found


@reads_everything
@require_safe
def profiles(request: HttpRequest, slug: str) -> HttpResponse:
    """What one replica carries, how that is computed, and every version; ``?from=&to=`` beside each other."""
    pool = pool_of(slug)
    versions = list(CapacityProfile.objects.filter(pool=pool).order_by("-version")[:MOST_VERSIONS])
    running: dict[int, int] = {}
    for profile_id in Endpoint.objects.filter(pool=pool, state="ready").values_list("profile_id", flat=True):
        running[profile_id or 0] = running.get(profile_id or 0, 0) + 1
    older = {version.version: version for version in versions}
    lines = [Line(one, _changed_words(older.get(one.version - 1), one), running.get(one.pk, 0)) for one in versions]
    left, right = number_of(request.GET.get("from", ""), 8), number_of(request.GET.get("to", ""), 8)
    compared = None
    if left or right:
        compared = _compare(profile_of(pool, left), profile_of(pool, right))
    context = {
        **pool_context(request, pool, "pool-profiles"),
        "lines": lines,
        "told": _told_of(pool),
        "facts": _facts(pool.current_profile) if pool.current_profile else [],
        "compared": compared,
        "left": left,
        "right": right,
    }
    return page(request, "pools/pool_profiles.html", context)


@operates
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The form of a new version, begun at the one in force or at ``?from=`` an older one."""
    pool = pool_for_change(slug)
    if request.method == "POST":
        return _sent(request, pool)
    older = number_of(request.GET.get("from", ""), 8)
    values, reason = _values(profile_of(pool, older)) if older or pool.current_profile else {}, ""
    if older:
        reason = f"As in v{older}."
    return _form(request, pool, Typed(values), reason=reason)


@operates
@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The panel beside the form. Changes nothing."""
    pool = pool_for_change(slug)
    typed = typed_read(PROFILE, request.POST)
    running_too = request.POST.get("applies") == "running"
    return page(request, "pools/_profile_preview.html", preview_context(pool, typed, running_too), kept=False)


@operates
@require_POST
def undo(request: HttpRequest, slug: str, version: int) -> HttpResponseBase:
    """Takes the newest version back: the one before it is published again."""
    pool = pool_for_change(slug)
    if pool.current_profile is None or pool.current_profile.version != version or version < 2:
        note(request, f"v{version} is not in force any more, so there is nothing to take back.", bad=True)
        return redirect("pool-profiles", pool.slug)
    before = profile_of(pool, version - 1)
    made = pool_profile_publish(
        actor=page_actor(request),
        now=now(),
        pool_id=pool.pk,
        profile=input_of(_values(before)),
        reason=f"Taken back: as in v{before.version}.",
        running_too=Endpoint.objects.filter(pool=pool, profile=pool.current_profile, state="ready").exists(),
        break_promises=True,
    )
    note(request, f"v{made.version} says again what v{before.version} said.")
    return redirect("pool-profiles", pool.slug)


def preview_context(pool: Pool, typed: Typed, running_too: bool) -> dict[str, Any]:
    """Context of the panel: capacity before and after, how it is computed, who would notice, what would be refused."""
    if typed.errors:
        return {"problems": list(typed.errors.values())}
    try:
        planned, rate = profile_checked(
            ProfileInput(**typed.parsed),
            weight_input=pool.weight_input,
            weight_output=pool.weight_output,
            model=pool.model_name,
        )
    except DomainError as error:
        return {"problems": list(error.fields.values()) or [error.sentence]}
    token = pool_token_make(pool.pk, "profile", previewed(ProfileInput(**typed.parsed), running_too))
    supply = supply_of(pool)
    outlook = pool_outlook(pool, _with_profile(pool, typed, rate), now(), capacity=rate.times(supply.ready_replicas))
    return {
        "token": token,
        "told": capacity_told(planned),
        "replica": rate,
        "was": pool.current_profile,
        "ready_replicas": supply.ready_replicas,
        "at_most": pool.max_replicas,
        "pool_most": rate.times(pool.max_replicas),
        "running_too": running_too,
        "broken": _broken(pool, rate),
        **outlook_context(outlook),
    }


def input_of(values: dict[str, str]) -> ProfileInput:
    """A profile from texts that are known to be right."""
    return ProfileInput(**typed_read(PROFILE, values).parsed)


def _sent(request: HttpRequest, pool: Pool) -> HttpResponseBase:
    typed, reason = typed_read(PROFILE, request.POST), reason_of(request)
    if typed.errors:
        return _form(request, pool, typed, reason=reason, status=422)
    running_too = request.POST.get("applies") == "running"
    try:
        made = pool_profile_publish(
            actor=page_actor(request),
            now=now(),
            pool_id=pool.pk,
            profile=ProfileInput(**typed.parsed),
            reason=reason,
            running_too=running_too,
            expected=number_of(request.POST.get("base", ""), 9),
            break_promises=request.POST.get("break_promises") == "1",
            preview_token=request.POST.get("token", ""),
        )
    except DomainError as error:
        pool = pool_for_change(pool.slug)
        typed.errors = dict(error.fields)
        problem = "" if error.fields else error.sentence
        if error.code == "version_moved":
            problem += " What you typed is kept; it now begins there."
        status = 422 if error.fields else error.status
        return _form(request, pool, typed, reason=reason, problem=problem, status=status)
    said = "counts for running replicas too" if running_too else "counts for replicas that start from now on"
    note(request, f"{pool.name}: v{made.version} of the capacity profile {said}.", undo=_undo_of(pool, made))
    return redirect("pool-profiles", pool.slug)


def _undo_of(pool: Pool, made: CapacityProfile) -> str:
    return reverse("pool-profile-undo", args=[pool.slug, made.version]) if made.version > 1 else ""


def _form(
    request: HttpRequest,
    pool: Pool,
    typed: Typed,
    *,
    reason: str = "",
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    errors = {name: text for name, text in typed.errors.items() if name != "break_promises"}
    running_too = request.POST.get("applies") == "running"
    fresh = preview_context(pool, typed_read(PROFILE, typed.values), running_too) if request.method == "POST" else {}
    context = {
        **fresh,
        "fresh": bool(fresh),
        **pool_context(request, pool, "pool-profiles"),
        "groups": list(field_groups(PROFILE, PROFILE_GROUPS, typed.values, errors)),
        "errors": typed.errors if status == 422 else {},
        "problem": problem,
        "breaks": typed.errors.get("break_promises", ""),
        "current": pool.current_profile,
        "running_too": running_too,
        "ready": Endpoint.objects.filter(pool=pool, state="ready").count(),
        "reason": reason[:LONGEST_REASON],
        "next_number": (pool.current_profile.version if pool.current_profile else 0) + 1,
    }
    return page(request, "pools/pool_profile_edit.html", context, status=status)


def _with_profile(pool: Pool, typed: Typed, rate: Rate) -> Pool:
    """The pool with the typed profile in force; neither is saved."""
    after = copy(pool)
    profile = CapacityProfile(pool=pool, version=0, **typed.parsed)
    profile.tokens_per_second, profile.kv_bytes, profile.concurrency = rate.as_tuple()
    profile.kv_bytes_per_token = 2 * profile.layers * profile.kv_heads * profile.head_dim * profile.bytes_per_element
    after.current_profile = profile
    return after


def _broken(pool: Pool, rate: Rate) -> str:
    """Why a save would be refused, "" when every promise could be kept."""
    ready = ready_rates(pool.pk)
    try:
        promises_check(
            pool.pk,
            provision_of(pool, ready),
            provision_of(pool, ready, replica=rate, all_new=True),
            "break_promises",
            "With this profile the promises",
            now(),
        )
    except DomainError as error:
        return error.sentence
    return ""


def _values(profile: CapacityProfile) -> dict[str, str]:
    return typed_of(PROFILE, {one.name: getattr(profile, one.name) for one in PROFILE})


def _told_of(pool: Pool) -> tuple[Told, ...]:
    """The formulas with the numbers of the profile in force; nothing where they would not give what is in force."""
    current = pool.current_profile
    if current is None:
        return ()
    try:
        planned, rate = profile_checked(
            input_of(_values(current)), weight_input=pool.weight_input, weight_output=pool.weight_output
        )
    except (DomainError, TypeError):
        return ()
    same = rate.as_tuple() == (current.tokens_per_second, current.kv_bytes, current.concurrency)
    return capacity_told(planned) if same and replica_rate(planned) == rate else ()


def _facts(profile: CapacityProfile) -> list[tuple[str, list[tuple[str, str]]]]:
    return [
        (group, [(one.label, value_words(one, getattr(profile, one.name))) for one in PROFILE if one.group == group])
        for group in PROFILE_GROUPS
    ]


def _changed_words(was: CapacityProfile | None, version: CapacityProfile) -> list[str]:
    """What a version changed, in words: "KV blocks 8,192 → 9,000"."""
    if was is None:
        return []
    return [f"{row.label} {row.was} → {row.now}" for row in _compare(was, version)[0] if row.differs]


def _compare(was: CapacityProfile, version: CapacityProfile) -> tuple[list[Change], CapacityProfile, CapacityProfile]:
    rows = [
        Change(
            one.label,
            words := value_words(one, getattr(was, one.name)),
            then := value_words(one, getattr(version, one.name)),
            words != then,
        )
        for one in PROFILE
    ]
    return rows, was, version
