"""What can be done to many entitlements at once: each action says what an entitlement would become, and does it.

``planned`` works on a copy and writes nothing (the preview); ``act`` calls the one service of the deed (the job).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from pools.choices import EntitlementState
from pools.models import BulkItem, BulkJob, Entitlement, Pool, Tier
from pools.models.jobs import ItemState
from pools.services.entitlement_undo import entitlement_move_back
from pools.services.entitlements import (
    AMOUNTS,
    entitlement_change,
    entitlement_move,
    entitlement_resume,
    entitlement_suspend,
)
from portal.audit.services import Actor
from portal.lib.errors import DomainError

LARGEST_FACTOR = Decimal(1000)
ACTIONS = {
    "tier": "Change the tier",
    "scale": "Scale base and explicit caps by a factor",
    "end": "Set the end of validity",
    "suspend": "Suspend",
    "resume": "Resume",
    "move": "Move to another pool",
}
UNDO = "undo"
"""Takes back what another job did; never chosen from the list, see ``bulk_undo``."""
MOST_AMOUNT = 2**62
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """One action with its parameters looked up. ``parameters`` is what is stored with the job; ``done``, for an undo,
    entitlement id → what :func:`shown` said before and after the deed that is taken back; ``moved``, for the undo of
    moves, entitlement id → slug of what it became in the other pool."""

    key: str
    parameters: dict[str, Any]
    tier: Tier | None = None
    pool: Pool | None = None
    factor: Decimal | None = None
    until: datetime | None = None
    done: Mapping[int, tuple[Values, Values]] = field(default_factory=dict)
    moved: Mapping[int, str] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What will be done, in words."""
        return {
            "tier": f"Change the tier to {self.tier}",
            "scale": f"Multiply base and explicit caps by {self.factor}",
            "end": f"Let the validity end at {self.until:%Y-%m-%d %H:%M} UTC" if self.until else "Remove the end",
            "suspend": "Suspend: every request is refused at once, what runs may end",
            "resume": "Resume: bound again as soon as it fits",
            "move": f"Move to the pool {self.pool}: ended here, promised there with the same terms",
            UNDO: f"Take back what job #{self.parameters.get('job')} did",
        }[self.key]


def action_of(key: str, given: Mapping[str, Any]) -> Action:
    """The action of a form or a stored job. Raises DomainError ``bad_action`` with a sentence per field."""
    if key == "tier":
        tier = Tier.objects.select_related("current").filter(slug=str(given.get("tier", ""))).first()
        if tier is None or tier.current is None or tier.archived_at is not None:
            raise _bad("tier", "Choose a tier with a version in force.")
        return Action(key, {"tier": tier.slug}, tier=tier)
    if key == "move":
        rows = Pool.objects.select_related("current_profile").filter(archived_at__isnull=True)
        pool = rows.filter(slug=str(given.get("pool", ""))).first()
        if pool is None or pool.current_profile is None:
            raise _bad("pool", "Choose a pool with a capacity profile.")
        return Action(key, {"pool": pool.slug}, pool=pool)
    if key == "scale":
        factor = _factor(given.get("factor", ""))
        return Action(key, {"factor": str(factor)}, factor=factor)
    if key == "end":
        until = _moment(str(given.get("until", "") or ""))
        return Action(key, {"until": until.isoformat() if until else ""}, until=until)
    if key == UNDO:
        return _undo(given)
    if key in ACTIONS:
        return Action(key, {})
    raise _bad("action", f"The action is one of {', '.join(ACTIONS)}, got {key[:40]!r}.")


def planned(action: Action, row: Entitlement, now: datetime) -> Entitlement:
    """The entitlement as it would be. Raises DomainError where the deed would refuse before looking at capacity."""
    if row.state == EntitlementState.EXPIRED:
        raise DomainError("expired", f"{row.slug} has expired.", status=409)
    after = copy.copy(row)
    if action.key == "suspend":
        after.state = EntitlementState.SUSPENDED.value
    elif action.key == "resume":
        if row.state != EntitlementState.SUSPENDED:
            raise DomainError("not_suspended", f"{row.slug} is {row.state}, not suspended.", status=409)
        after.state = EntitlementState.PENDING.value
    elif action.key == "move" and action.pool is not None:
        if row.pool_id == action.pool.pk:
            raise DomainError("same_pool", f"{row.slug} is in {action.pool.name} already.", status=409)
        after.pool = action.pool
        after.valid_from = max(row.valid_from, now)
        after.state = EntitlementState.PENDING.value
    elif (state := _taken_back(action, row)) is not None:
        after.state = state.value
    else:
        for name, value in changes_of(action, row).items():
            setattr(after, name, value)
    return after


def act(action: Action, *, actor: Actor, now: datetime, row: Entitlement, reason: str) -> Entitlement:
    """Does it, through the deed's own service; the entitlement as it is afterwards. Raises DomainError refused."""
    if row.pk in action.moved:
        there = Entitlement.objects.filter(slug=action.moved[row.pk]).values_list("pk", flat=True).first() or 0
        return entitlement_move_back(actor=actor, now=now, entitlement_id=row.pk, moved_id=there, reason=reason)
    back = _taken_back(action, row)
    if action.key == "suspend" or back is EntitlementState.SUSPENDED:
        return entitlement_suspend(actor=actor, now=now, entitlement_id=row.pk, reason=reason)
    if action.key == "resume" or back is not None:
        return entitlement_resume(actor=actor, now=now, entitlement_id=row.pk, reason=reason)
    if action.key == "move":
        assert action.pool is not None
        moved = entitlement_move(actor=actor, now=now, entitlement_id=row.pk, pool=action.pool, reason=reason)
        return moved.entitlement
    changes = changes_of(action, row)
    return entitlement_change(actor=actor, now=now, entitlement_id=row.pk, changes=changes, reason=reason).entitlement


def changes_of(action: Action, row: Entitlement) -> dict[str, Any]:
    """The changed fields of a change of terms."""
    if action.key == "tier":
        return {"tier": action.tier}
    if action.key == "end":
        return {"valid_until": action.until}
    if action.key == UNDO:
        return _values_before(action, row)
    assert action.factor is not None
    found = {}
    for name in AMOUNTS:
        value = getattr(row, name)
        if value is not None:
            found[name] = int((Decimal(value) * action.factor).to_integral_value(ROUND_HALF_UP))
            if found[name] > MOST_AMOUNT or ("concurrency" in name and found[name] > 2**31 - 1):
                raise DomainError("bad_entitlement", f"{name} would be {found[name]:,}: too large to be kept.")
    return found


def shown(row: Entitlement) -> dict[str, Any]:
    """What a preview and a report say of an entitlement; plain values."""
    return {
        "pool": row.pool.slug,
        "tier": row.tier.slug,
        "state": str(row.state),
        "valid_until": row.valid_until.isoformat() if row.valid_until else None,
        **{name: getattr(row, name) for name in AMOUNTS},
    }


def _undo(given: Mapping[str, Any]) -> Action:
    job = BulkJob.objects.filter(pk=int(given.get("job") or 0)).first()
    rows = BulkItem.objects.filter(job=job, state=ItemState.DONE.value)
    found = list(rows.values_list("entitlement_id", "before", "after", "sentence"))
    done = {pk: (before, after) for pk, before, after, _ in found}
    moves = job is not None and job.action == "move"
    pool = Pool.objects.filter(slug=job.parameters.get("pool", "")).first() if moves and job is not None else None
    moved = {pk: slug for pk, _, _, slug in found} if moves else {}
    return Action(UNDO, {"job": job.pk if job is not None else 0}, pool=pool, done=done, moved=moved)


def _taken_back(action: Action, row: Entitlement) -> EntitlementState | None:
    """The state an undo brings back; None where terms were changed, or nothing is undone."""
    if action.key != UNDO or row.pk not in action.done:
        return None
    before, after = action.done[row.pk]
    suspended = EntitlementState.SUSPENDED
    if suspended not in (before["state"], after["state"]) or before["state"] == after["state"]:
        return None
    if row.state != after["state"] and suspended in (row.state, after["state"]):
        raise DomainError("moved_on", f"{row.slug} is {row.state} by now: somebody changed it since.", status=409)
    return suspended if before["state"] == suspended else EntitlementState.PENDING


def _values_before(action: Action, row: Entitlement) -> Values:
    """The changed terms as they were. Raises DomainError ``moved_on`` where somebody changed them again since."""
    before, after = action.done.get(row.pk, ({}, {}))
    names = [name for name in after if name != "state" and after[name] != before[name]]
    present = shown(row)
    for name in names:
        if present[name] != after[name]:
            sentence = f"{row.slug}: {name} is {present[name]} by now, not {after[name]}: somebody changed it since."
            raise DomainError("moved_on", sentence, status=409)
    found: Values = {name: before[name] for name in names}
    if "tier" in found:
        found["tier"] = Tier.objects.select_related("current").get(slug=before["tier"])
    if found.get("valid_until"):
        found["valid_until"] = datetime.fromisoformat(before["valid_until"])
    return found


def _factor(text: Any) -> Decimal:
    try:
        factor = Decimal(str(text).strip().replace(",", "."))
    except InvalidOperation:
        factor = Decimal(0)
    if not factor.is_finite() or not 0 < factor <= LARGEST_FACTOR:
        raise _bad("factor", f"The factor is a number above 0 and at most {LARGEST_FACTOR}, got {str(text)[:40]!r}.")
    return factor


def _moment(text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _bad("until", f"The end is a date and time such as 2027-01-31T00:00, got {text[:40]!r}.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _bad(field: str, sentence: str) -> DomainError:
    return DomainError("bad_action", sentence, fields={field: sentence})
