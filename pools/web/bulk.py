"""Bulk edit: a selection in the address, an action with its preview, the confirmation that starts a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from pools.models import Entitlement, Pool
from pools.selectors.grid import FILTERS, grid_matching
from pools.services.bulk import bulk_start
from pools.services.bulk_actions import ACTIONS, Action, action_of
from pools.services.bulk_preview import MOST_ITEMS, BulkPreview, PlannedItem, bulk_preview, selected
from pools.services.entitlements import AMOUNTS
from pools.web.common import tier_choices
from pools.web.entitlements import below_of, grid_query
from portal.accounts.access import operates
from portal.audit.actors import page_actor
from portal.lib.clock import now
from portal.lib.errors import DomainError
from portal.lib.given import number_of
from portal.lib.pages import note, page

SHOWN_ITEMS = 100
TYPED = ("suspend", "move")
"""Actions that stop somebody's requests: the number of entitlements has to be typed."""
PARAMETERS = {"to_tier": "tier", "to_pool": "pool", "factor": "factor", "until": "until"}
"""Fields of the form → parameters of the action. Some are called otherwise here: tier and pool are filters, too."""
ABOUT = {
    "tier": "Class, burst, fairness and price follow the other tier; bases stay.",
    "scale": "1.1 raises by a tenth, 0.5 halves; caps that follow from the tier's burst move by themselves.",
    "end": "Each ends at that moment by itself; empty means open.",
    "suspend": "Every request is refused at once, what runs may end; the promise holds no capacity meanwhile.",
    "resume": "Pending first, bound again as soon as it fits.",
    "move": "Ended here and promised there with the same terms; debt and history stay here.",
}


class Selection(NamedTuple):
    """What was chosen: ids, and the parameters that say so in an address. ``everything``: all that match."""

    ids: list[int]
    kept: list[tuple[str, str]]
    everything: bool

    @property
    def stored(self) -> dict[str, object]:
        """What a job keeps of it."""
        return {"filter": urlencode(self.kept)} if self.everything else {"ids": len(self.ids)}


def selection_of(given: QueryDict) -> Selection:
    """``all=1`` with the filters of the grid, or ``ids`` joined with dots (``pick`` one by one without a script).

    Raises DomainError ``too_many``.
    """
    if given.get("all") == "1":
        query = grid_query(given)
        rows = grid_matching(query, now(), below_of(query)).order_by("pk").values_list("pk", flat=True)
        kept = [("all", "1"), *((name, query.filters[name]) for name in FILTERS if name in query.filters)]
        return Selection(list(rows[: MOST_ITEMS + 1]), kept, True)
    texts = [*given.get("ids", "").split("."), *given.getlist("pick")]
    ids = sorted({key for text in texts if (key := number_of(text)) is not None})
    return Selection(ids, [("ids", ".".join(map(str, ids)))], False)


@operates
@require_safe
def bulk(request: HttpRequest) -> HttpResponse:
    """The page: what is selected, what may be done to it, and beside it what that would do."""
    chosen = selection_of(request.GET)
    try:
        rows = selected(chosen.ids)
    except DomainError as error:
        note(request, error.sentence, bad=True)
        return redirect(f"{reverse('entitlements')}?{urlencode(chosen.kept[1:])}")
    return page(request, "pools/bulk.html", {**_form(chosen, rows, {}), **_preview(rows, {})})


@operates
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """The panel beside the form, computed anew while somebody types."""
    chosen = selection_of(request.POST)
    try:
        rows = selected(chosen.ids)
    except DomainError as error:
        return page(request, "pools/_bulk_preview.html", {"problem": error.sentence})
    return page(request, "pools/_bulk_preview.html", _preview(rows, request.POST.dict()))


@operates
@require_POST
def start(request: HttpRequest) -> HttpResponseBase:
    """Starts the job that was previewed, or shows the page again with what is wrong and a fresh preview."""
    chosen, given, moment = selection_of(request.POST), request.POST.dict(), now()
    rows = selected(chosen.ids)
    errors: dict[str, str] = {}
    problem, status = "", 422
    try:
        action = _action(given)
        if action.key in TYPED and given.get("confirm", "").replace(",", "").strip() != str(len(rows)):
            errors["confirm"] = f"Type {len(rows)}, the number of entitlements, to go on."
        elif not given.get("digest"):
            problem = "Look at the preview first, then confirm it."
        else:
            job = bulk_start(
                actor=page_actor(request),
                now=moment,
                action=action,
                rows=rows,
                digest=given["digest"],
                selection=chosen.stored,
                reason=given.get("reason", ""),
            )
            note(request, f"Job #{job.pk} has begun; you may leave this page and find it again under Jobs.")
            return redirect("bulk-job", job_id=job.pk)
    except DomainError as error:
        errors, status = error.fields, error.status if error.status == 412 else 422
        problem = "" if error.fields else error.sentence
    context = {**_form(chosen, rows, given), **_preview(rows, given), "errors": errors, "problem": problem}
    return page(request, "pools/bulk.html", context, status=status)


def _form(chosen: Selection, rows: list[Entitlement], given: Mapping[str, str]) -> dict[str, Any]:
    return {
        "nav": "entitlements",
        "kept": chosen.kept,
        "everything": chosen.everything,
        "count": len(rows),
        "pools_touched": len({row.pool_id for row in rows}),
        "tenants_touched": len({row.tenant_id for row in rows}),
        "back": urlencode(chosen.kept[1:]) if chosen.everything else "",
        "actions": [(key, label, ABOUT[key]) for key, label in ACTIONS.items()],
        "given": given,
        "tiers": tier_choices(),
        "pools": list(
            Pool.objects.filter(archived_at__isnull=True, current_profile__isnull=False).order_by("slug")[:500]
        ),
    }


def _action(given: Mapping[str, str]) -> Action:
    """The action of the form. Raises DomainError ``bad_action`` with the form's names for the fields."""
    try:
        return action_of(given.get("action", ""), {ours: given.get(name, "") for name, ours in PARAMETERS.items()})
    except DomainError as error:
        named = {ours: name for name, ours in PARAMETERS.items()}
        error.fields = {named.get(key, key): sentence for key, sentence in error.fields.items()}
        raise


def _preview(rows: list[Entitlement], given: Mapping[str, str]) -> dict[str, Any]:
    """Context of the panel: the preview, or what is missing for one."""
    if not given.get("action"):
        return {"waiting": "Choose what is to be done; what it would do appears here, before anything is done."}
    try:
        action = _action(given)
    except DomainError as error:
        asked = any(given.get(name) for name in PARAMETERS if name in error.fields)
        return {"problem_preview": error.sentence} if asked else {"waiting": error.sentence}
    found = bulk_preview(action, rows, now())
    return {
        "preview": found,
        "action": action,
        "lines": [_line(item) for item in found.items[:SHOWN_ITEMS]],
        "more": max(0, len(found.items) - SHOWN_ITEMS),
        "typed": action.key in TYPED,
        "count": len(rows),
        "said": _said(action, found),
        "short": [one for one in found.pools if one.fit.verdict != "now"],
        "full": any(one.fit.verdict == "never" for one in found.pools),
    }


def _said(action: Action, found: BulkPreview) -> str:
    counts = found.counts
    parts = [f"{counts['change']:,} would change"]
    if counts["unchanged"]:
        parts.append(f"{counts['unchanged']:,} are so already")
    if counts["refused"]:
        parts.append(f"{counts['refused']:,} would be refused")
    return f"{action.sentence}. {', '.join(parts)}."


def _line(item: PlannedItem) -> dict[str, Any]:
    """One row of the preview: each changed value before and after."""
    return {
        "row": item.row,
        "outcome": item.outcome,
        "sentence": item.sentence,
        "changes": [(LABELS.get(key, key), key, item.before[key], item.after[key]) for key in item.changed],
    }


LABELS = {
    **dict(
        zip(
            AMOUNTS,
            ("tokens/s", "KV cache", "slots", "cap tokens/s", "cap KV cache", "cap slots"),
            strict=True,
        )
    ),
    "valid_until": "ends",
}
