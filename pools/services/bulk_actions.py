"""What can be done to many entitlements at once: each action says what an entitlement would become, and does it.

``planned`` works on a copy and writes nothing (the preview); ``act`` calls the one service of the deed (the job).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from pools.choices import EntitlementState
from pools.models import Entitlement, Pool, Tier
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
MOST_AMOUNT = 2**62


@dataclass(frozen=True, slots=True)
class Action:
    """One action with its parameters looked up. ``parameters`` is what is stored with the job."""

    key: str
    parameters: dict[str, Any]
    tier: Tier | None = None
    pool: Pool | None = None
    factor: Decimal | None = None
    until: datetime | None = None

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
    else:
        for name, value in changes_of(action, row).items():
            setattr(after, name, value)
    return after


def act(action: Action, *, actor: Actor, now: datetime, row: Entitlement, reason: str) -> Entitlement:
    """Does it, through the deed's own service; the entitlement as it is afterwards. Raises DomainError refused."""
    if action.key == "suspend":
        return entitlement_suspend(actor=actor, now=now, entitlement_id=row.pk, reason=reason)
    if action.key == "resume":
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
