"""Root is platform admin, Olga operates, Ada audits; Anna, Alan and Vera belong to Alice's team, Eda to Eve's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.core.cache import cache
from django.test import Client

from portal.accounts.choices import PlatformRole, TenantRole
from portal.accounts.models import User
from tests import cast
from tests.portal_cast import person, publish


@pytest.fixture(autouse=True)
def _stores(db: None, valkey: object) -> None:
    """A transaction that is rolled back, and a flushed Valkey."""
    cache.clear()


@dataclass(frozen=True)
class Everybody:
    """The world and who looks at it."""

    world: cast.World
    olga: User
    ada: User
    alan: User
    vera: User
    eda: User
    anna: User
    root: User


@pytest.fixture
def everybody() -> Everybody:
    """One pool with live numbers; a person of every role."""
    world = cast.world_make()
    publish(world.pool)
    alice, eve = world.alice.tenant, world.eve.tenant
    return Everybody(
        world,
        person("olga@example.org", PlatformRole.OPERATOR),
        person("ada@example.org", PlatformRole.AUDITOR),
        person("alan@example.org", tenant=alice, role=TenantRole.MEMBER),
        person("vera@example.org", tenant=alice, role=TenantRole.VIEWER),
        person("eda@example.org", tenant=eve, role=TenantRole.ADMIN),
        person("anna@example.org", tenant=alice, role=TenantRole.ADMIN),
        person("root@example.org", PlatformRole.ADMIN),
    )


@pytest.fixture
def as_() -> Callable[[User | None], Client]:
    """A browser signed in as somebody, or as nobody."""

    def make(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return make
