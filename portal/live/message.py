"""A tenant's part of a live message, made once per tenant and message, however many of its people look."""

from __future__ import annotations

from collections import OrderedDict

from pools.selectors.live import live_for_tenant

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
