"""States of an endpoint's row: which count as alive or as supply, and the one way a row changes its state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pools.choices import EndpointState
from pools.models import Endpoint
from portal.audit.services import Actor, audit_record

State = EndpointState
ALIVE = (State.PENDING.value, State.STARTING.value, State.READY.value, State.DRAINING.value)
SUPPLY = (State.PENDING.value, State.STARTING.value, State.READY.value)


def endpoint_set(row: Endpoint, state: EndpointState, sentence: str, now: datetime, actor: Actor, *fields: str) -> None:
    """Moves a row to a state, with the reason and an audit record; ``fields`` that changed as well are saved along."""
    before = row.state
    row.state, row.state_reason, row.state_since = state.value, sentence[:300], now
    row.save(update_fields=["state", "state_reason", "state_since", *fields])
    after: dict[str, Any] = {"state": state.value}
    if "asked" in fields:
        after["asked"] = row.asked
    audit_record(
        actor=actor,
        verb=f"endpoint_{state.value}",
        target=row,
        before={"state": before},
        after=after,
        reason=sentence,
        now=now,
    )
