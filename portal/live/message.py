"""Parts of a live message: a tenant's, made once per tenant and message, and the rows a page of operators shows.

A pool may hold thousands of entitlements; a browser that shows fifty of them gets those fifty.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import orjson

from pools.selectors.live import WHOLE, Wanted, live_cut, live_for_tenant

KEPT = 512


class TenantTexts:
    """The parts of the latest message."""

    def __init__(self) -> None:
        self._source: str = ""
        self._texts: OrderedDict[int, str] = OrderedDict()

    def get(self, text: str, tenant_id: int) -> str:
        """The tenant's part of ``text``."""
        if text is not self._source:
            self._source = text
            self._texts.clear()
        if tenant_id not in self._texts:
            self._texts[tenant_id] = live_for_tenant(text, tenant_id).decode()
            if len(self._texts) > KEPT:
                self._texts.popitem(last=False)
        return self._texts[tenant_id]


class PageTexts:
    """The latest message as each page wants it: read once, written once per set of rows."""

    def __init__(self) -> None:
        self._source: str = ""
        self._document: dict[str, Any] | None = None
        self._texts: dict[frozenset[int], str] = {}

    def get(self, text: str, wanted: Wanted) -> str:
        """``text`` with the wanted rows."""
        if wanted is None and len(text) <= WHOLE:
            return text
        if text is not self._source:
            self._source, self._document = text, None
            self._texts.clear()
        rows = wanted or frozenset()
        if rows not in self._texts:
            if self._document is None:
                self._document = orjson.loads(text)
            self._texts[rows] = live_cut(self._document, rows)
        return self._texts[rows]
