"""Root looks after people: roles, deactivation, lost factors. Nobody is locked out for good."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator

from portal.accounts.choices import Given, PlatformRole, TenantRole
from portal.accounts.models import GroupRule, User
from portal.audit.models import AuditRecord, Source
from portal.audit.services import Actor
from portal.lib.errors import DomainError
from portal.people.account import profile_update
from portal.people.groups import group_rule_add, group_rule_remove, terms
from portal.people.roles import platform_role_set, second_factors_reset, user_active_set
from tests.cast import NOW, tenant_make
from tests.portal_cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Actor:
    return Actor(person("root@example.org", PlatformRole.ADMIN), Source.PAGE)


def test_a_role_given_by_hand_no_longer_follows_the_groups(root: Actor) -> None:
    user = person("olga@example.org", PlatformRole.AUDITOR)
    User.objects.filter(pk=user.pk).update(platform_role_from=Given.SSO)
    platform_role_set(actor=root, now=NOW, user_id=user.pk, role=PlatformRole.OPERATOR, reason="New job.")
    user.refresh_from_db()
    assert (user.platform_role, user.platform_role_from) == (PlatformRole.OPERATOR, Given.HAND)
    record = AuditRecord.objects.get(verb="platform_role_set")
    assert (record.before, record.after, record.reason) == (
        {"platform_role": "auditor"},
        {"platform_role": "operator"},
        "New job.",
    )


def test_the_last_platform_admin_stays(root: Actor) -> None:
    assert root.user is not None
    with pytest.raises(DomainError) as lowered:
        platform_role_set(actor=root, now=NOW, user_id=root.user.pk, role=PlatformRole.NONE)
    assert lowered.value.code == "last_platform_admin"
    second = person("rita@example.org", PlatformRole.ADMIN)
    with pytest.raises(DomainError, match="yourself"):
        user_active_set(actor=root, now=NOW, user_id=root.user.pk, active=False)
    user_active_set(actor=root, now=NOW, user_id=second.pk, active=False)
    with pytest.raises(DomainError, match="last active platform admin"):
        platform_role_set(actor=root, now=NOW, user_id=root.user.pk, role=PlatformRole.OPERATOR)


@pytest.mark.parametrize("role", [PlatformRole.OPERATOR, PlatformRole.AUDITOR, PlatformRole.NONE])
def test_nobody_else_changes_people(role: str, root: Actor) -> None:
    somebody, actor = person("x@example.org"), Actor(person("y@example.org", role), Source.PAGE)
    for deed in (
        lambda: platform_role_set(actor=actor, now=NOW, user_id=somebody.pk, role=PlatformRole.ADMIN),
        lambda: user_active_set(actor=actor, now=NOW, user_id=somebody.pk, active=False),
        lambda: second_factors_reset(actor=actor, now=NOW, user_id=somebody.pk),
        lambda: group_rule_add(actor=actor, now=NOW, group="g", platform_role=PlatformRole.ADMIN),
    ):
        with pytest.raises(DomainError) as refused:
            deed()
        assert refused.value.status == 403
    assert not GroupRule.objects.exists()


def test_lost_factors_are_taken_away_with_a_record(root: Actor) -> None:
    user = person("olga@example.org", PlatformRole.OPERATOR)
    Authenticator.objects.create(user=user, type="totp", data={"secret": "x"})
    second_factors_reset(actor=root, now=NOW, user_id=user.pk, reason="Lost the phone.")
    assert not Authenticator.objects.exists()
    assert AuditRecord.objects.get(verb="second_factors_reset").reason == "Lost the phone."


def test_rules_are_added_once_and_come_back(root: Actor) -> None:
    tenant_make("alice")
    row = group_rule_add(actor=root, now=NOW, group=" red ", tenant="alice", role=TenantRole.MEMBER)
    with pytest.raises(DomainError, match="already"):
        group_rule_add(actor=root, now=NOW, group="red", tenant="alice", role=TenantRole.ADMIN)
    removed = group_rule_remove(actor=root, now=NOW, rule_id=row.pk)
    assert terms(removed) == {"group": "red", "tenant": "alice", "role": "member", "platform_role": ""}
    group_rule_add(actor=root, now=NOW, **terms(removed))
    assert GroupRule.objects.get().tenant is not None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"group": "", "platform_role": "admin"}, "group"),
        ({"group": "g"}, "role"),
        ({"group": "g", "platform_role": "none"}, "role"),
        ({"group": "g", "tenant": "nobody", "role": "member"}, "tenant"),
    ],
)
def test_a_bad_rule_names_its_field(given: dict[str, str], field: str, root: Actor) -> None:
    with pytest.raises(DomainError) as refused:
        group_rule_add(actor=root, now=NOW, **given)
    assert list(refused.value.fields) == [field]


def test_names_and_time_zones(root: Actor) -> None:
    user = person("olga@example.org")
    profile_update(actor=root, now=NOW, user=user, name="  علياء  👩‍🚀 ", time_zone="Europe/Berlin")
    assert user.get_full_name() == "علياء 👩‍🚀"
    with pytest.raises(DomainError) as refused:
        profile_update(actor=root, now=NOW, user=user, name="x" * 151, time_zone="Moon/Base")
    assert set(refused.value.fields) == {"name", "time_zone"}
