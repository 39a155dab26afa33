"""Cursor pages by id, for lists of operators."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from portal.lib.given import number_of

PAGE = 50


def cut(rows: QuerySet[Any, Any], request: HttpRequest, *, newest_first: bool = False) -> dict[str, Any]:
    """One page by id: ``?after=ID``. Gives rows and the cursor of the next page (None at the end)."""
    after = request.GET.get("after", "")
    if (key := number_of(after)) is not None:
        rows = rows.filter(pk__lt=key) if newest_first else rows.filter(pk__gt=key)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: PAGE + 1])
    return {"rows": found[:PAGE], "next": found[PAGE - 1].pk if len(found) > PAGE else None, "paged": bool(after)}
