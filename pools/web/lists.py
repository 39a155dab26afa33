"""What lists of operators share: cursor pages by id, what an address asks for, the rows a page wants live."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from portal.lib.given import number_of

PAGE = 50
MOST_LIVE = 200


def cut(rows: QuerySet[Any, Any], request: HttpRequest, *, newest_first: bool = False) -> dict[str, Any]:
    """One page by id: ``?after=ID``. Gives rows and the cursor of the next page (None at the end)."""
    after = request.GET.get("after", "")
    if (key := number_of(after)) is not None:
        rows = rows.filter(pk__lt=key) if newest_first else rows.filter(pk__gt=key)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: PAGE + 1])
    return {"rows": found[:PAGE], "next": found[PAGE - 1].pk if len(found) > PAGE else None, "paged": bool(after)}


def kept(given: QueryDict, *without: str) -> list[tuple[str, str]]:
    """The parameters of an address but some."""
    return [(key, str(value)) for key, values in given.lists() if key not in without for value in values]


def flat(given: QueryDict) -> dict[str, str]:
    """An address as names and values; columns may be given one by one or joined with commas."""
    return {**{key: given.get(key, "") for key in given}, "cols": ",".join(given.getlist("cols"))}


def row_ids(request: HttpRequest) -> list[int]:
    """The rows whose live numbers a page asks for: ``?ids=`` joined with commas, a page's worth at most."""
    parts = request.GET.get("ids", "").split(",")
    return [key for part in parts if (key := number_of(part)) is not None][:MOST_LIVE]
