"""What the views of this room share."""

from __future__ import annotations

from portal.dashboards.live_state import LOST_MS, LiveState
from portal.lib.clock import now_ms
from portal.lib.pages import json, page

__all__ = ["json", "page", "recent"]


def recent(state: LiveState | None) -> LiveState | None:
    """The state unless it is so old that showing it as present would mislead."""
    return state if state is not None and state.age_ms(now_ms()) < 2 * LOST_MS else None
