"""A name of 190 letters without a space stays inside the page on a phone, wherever it is shown."""

from __future__ import annotations

import pytest

from pools.mechanism.amounts import Rate
from pools.services.requests import request_create
from portal.accounts.models import Tenant
from portal.lib.clock import now
from tests.browser.conftest import Opens, Site
from tests.browser.test_look import serious
from tests.cast import OLGA

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "Gesellschaft" * 16


def test_long_names_stay_inside(site: Site, opens: Opens) -> None:
    eve = site.world.eve
    Tenant.objects.filter(pk=eve.tenant_id).update(name=LONG[:190])
    eve.tenant.refresh_from_db()
    asked = request_create(
        actor=OLGA, now=now(), tenant=eve.tenant, pool=eve.pool, asked=Rate(900, 1 << 30, 9), reason="Launch"
    )
    page = opens("olga@example.org", "/tenants/", width=360)
    troubles = []
    for path in (
        "/tenants/",
        "/tenants/eve/",
        "/entitlements/",
        f"/entitlements/{eve.slug}/",
        f"/entitlements/{eve.slug}/edit/",
        f"/entitlements/{eve.slug}/explain/",
        "/requests/",
        f"/requests/{asked.pk}/",
        "/t/eve/",
        "/t/eve/requests/",
        "/t/eve/keys/",
        "/t/eve/members/",
    ):
        assert page.goto(site.address + path).ok, path
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        troubles += [f"{path} is {wide} px too wide"] if wide > 0 else []
    troubles += serious(page)
    page.goto(f"{site.address}/requests/{asked.pk}/")
    assert troubles + serious(page) == []
