"""An onboarding that is not done yet: what was typed, step by step, kept in the person's session.

Each has a name in the address, so that two of them in two windows do not mix; leaving and coming back loses nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest

from portal.dashboards.onboarding_forms import AdminStep, KeyStep, PromiseStep, TenantStep

KEPT = "onboarding"
MOST = 5
MOST_LETTERS = 500
STEPS: dict[str, tuple[str, type[Any]]] = {
    "tenant": ("Tenant", TenantStep),
    "admin": ("First admin", AdminStep),
    "promise": ("Entitlement", PromiseStep),
    "key": ("Key", KeyStep),
}
REVIEW = "review"


def draft_name() -> str:
    """A name for a new draft."""
    return secrets.token_hex(4)


@dataclass(slots=True)
class Draft:
    """One draft. ``typed``: step → field → text; ``done``: the slug of what it became."""

    name: str
    typed: dict[str, dict[str, str]]
    done: str = ""

    @classmethod
    def of(cls, request: HttpRequest, name: str) -> Draft:
        """The draft of that name in this session; a fresh one where there is none."""
        found = request.session.get(KEPT, {}).get(name, {})
        return cls(name, dict(found.get("typed", {})), found.get("done", ""))

    def keep(self, request: HttpRequest) -> None:
        """Writes it into the session; the oldest of more than a few are forgotten."""
        kept = dict(request.session.get(KEPT, {}))
        kept.pop(self.name, None)
        kept[self.name] = {"typed": self.typed, "done": self.done}
        request.session[KEPT] = dict(list(kept.items())[-MOST:])

    def take(self, step: str, given: Any) -> None:
        """Notes what a step's form sent, whether it is right or not."""
        names = STEPS[step][1].base_fields
        self.typed[step] = {name: given.get(name, "")[:MOST_LETTERS] for name in names if name in given}

    def form(self, step: str) -> forms.Form:
        """The step's form: bound when it was sent before, else with what is usual."""
        made: forms.Form
        kind = STEPS[step][1]
        if step in self.typed:
            made = kind(self.typed[step])
        else:
            made = kind(initial=self._begin(step))
        return made

    def _begin(self, step: str) -> dict[str, str]:
        if step == "admin":
            return {"email": self.typed.get("tenant", {}).get("contact_email", "")}
        kind = STEPS[step][1]
        return kind.begin() if hasattr(kind, "begin") else {}

    def forms(self) -> dict[str, Any]:
        """Every step's form, in order."""
        return {step: self.form(step) for step in STEPS}

    def missing(self) -> str:
        """The first step that is not right yet; ``review`` when all are."""
        return next((step for step, form in self.forms().items() if not form.is_bound or not form.is_valid()), REVIEW)
