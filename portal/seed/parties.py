"""Who there is: tenants, people with their memberships, API keys nobody knows the plaintext of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.utils.crypto import get_random_string

from portal.accounts.choices import KeyKind, PlatformRole, TenantRole, TenantState
from portal.accounts.models import ApiKey, Membership, Tenant, User
from portal.lib.copying import copy_models, ids_take
from portal.lib.secrets import KEY_PREFIX, MANAGEMENT_PREFIX
from portal.seed.names import PEOPLE, tenant_names

DOMAIN = "seed.example"
LOGINS = (
    ("OPERATOR", "operator", PlatformRole.OPERATOR),
    ("AUDITOR", "auditor", PlatformRole.AUDITOR),
    ("ADMIN", "admin", PlatformRole.ADMIN),
)
"""People of the platform who get a password; the tenant's are made beside them (``TENANT``, ``VIEWER``)."""


@dataclass(frozen=True, slots=True)
class Parties:
    """``busiest`` comes last in ``tenants``. ``logins``: name in demo.env → e-mail address, of those with a
    password."""

    tenants: list[Tenant]
    people: list[User]
    keys: dict[int, list[int]]
    logins: dict[str, str]

    @property
    def busiest(self) -> Tenant:
        """The tenant with the most entitlements."""
        return self.tenants[-1]


def parties_write(mark: str, count: int, password: str, dice: random.Random, now: datetime) -> Parties:
    """Tenants, one to five people in each (some in several), one to four keys for each."""
    tenants = _tenants(mark, count, dice, now)
    copy_models(tenants)
    known = make_password(password)
    platform = [_person(f"{mark}{name}@{DOMAIN}", known, now, platform_role=role) for _, name, role in LOGINS]
    busiest = tenants[-1]
    of_tenant = [_person(f"{mark}{name}@{busiest.slug}.example", known, now) for name in ("lead", "guest")]
    nobody = make_password(None)
    crowd = [
        _person(f"{mark}{dice.choice(PEOPLE)}.{number}@{DOMAIN}", nobody, now - timedelta(days=dice.randint(1, 400)))
        for number in range(count * 3)
    ]
    people = [*platform, *of_tenant, *crowd]
    for person, identity in zip(people, ids_take(User, len(people)), strict=True):
        person.pk = identity
    copy_models(people)
    copy_models(_memberships(tenants, of_tenant, crowd, dice, now))
    keys = [key for tenant in tenants for key in _keys(tenant, crowd, dice, now)]
    copy_models(keys)
    by_tenant: dict[int, list[int]] = {}
    for key in keys:
        by_tenant.setdefault(key.tenant_id, []).append(key.pk)
    names = {who: person.email for (who, _, _), person in zip(LOGINS, platform, strict=True)}
    logins = {**names, "TENANT": of_tenant[0].email, "VIEWER": of_tenant[1].email}
    return Parties(tenants, people, by_tenant, logins)


def _tenants(mark: str, count: int, dice: random.Random, now: datetime) -> list[Tenant]:
    found = []
    for number, ((slug, name), identity) in enumerate(zip(tenant_names(count), ids_take(Tenant, count), strict=True)):
        odd = TenantState.SUSPENDED if number % 83 == 40 else TenantState.OFFBOARDED if number % 97 == 60 else None
        found.append(
            Tenant(
                pk=identity,
                slug=mark + slug,
                name=name,
                state=odd or TenantState.ACTIVE,
                contact_email=f"capacity@{slug}.example",
                created_at=now - timedelta(days=dice.randint(30, 700)),
            )
        )
    return found


def _person(email: str, password: str, at: datetime, **more: str) -> User:
    return User(email=email, password=password, date_joined=at, is_active=True, **more)


def _memberships(
    tenants: Sequence[Tenant], of_tenant: Sequence[User], crowd: Sequence[User], dice: random.Random, now: datetime
) -> list[Membership]:
    busiest = tenants[-1]
    found = [
        Membership(tenant=busiest, user=user, role=role, created_at=now)
        for user, role in zip(of_tenant, (TenantRole.ADMIN, TenantRole.VIEWER), strict=True)
    ]
    for tenant in tenants:
        for place, user in enumerate(dice.sample(crowd, min(len(crowd), dice.randint(1, 5)))):
            role = TenantRole.ADMIN if place == 0 else dice.choice((TenantRole.MEMBER, TenantRole.VIEWER))
            found.append(Membership(tenant=tenant, user=user, role=role, created_at=tenant.created_at))
    return found


def _keys(tenant: Tenant, crowd: Sequence[User], dice: random.Random, now: datetime) -> list[ApiKey]:
    found = []
    for number in range(dice.randint(1, 4)):
        kind = KeyKind.MANAGEMENT if number == 3 else KeyKind.GATEWAY
        at = tenant.created_at + timedelta(days=number)
        found.append(
            ApiKey(
                tenant=tenant,
                name=dice.choice(("production", "staging", "batch", "notebook 📓", "ci", "مفتاح الاختبار")),
                kind=kind,
                prefix=(MANAGEMENT_PREFIX if kind == KeyKind.MANAGEMENT else KEY_PREFIX) + get_random_string(6),
                digest=get_random_string(64, "0123456789abcdef"),
                created_at=at,
                created_by=dice.choice(crowd),
                expires_at=now + timedelta(days=dice.randint(3, 200)) if dice.random() < 0.4 else None,
                revoked_at=now - timedelta(days=1) if dice.random() < 0.1 else None,
                last_used_at=now - timedelta(hours=dice.uniform(0, 60)) if dice.random() < 0.7 else None,
            )
        )
    return found
