"""Who may open what: one line per route name. ``test_roles`` asks every route as every role and compares.

A new route needs its line here, nothing else: ``"name": (who may GET, who may POST)``. Slugs and ids in the address are
filled in by the test from the world of ``everybody`` (see ``test_roles.FILL`` for things of a new kind).
"""

from __future__ import annotations

ROLES = ("nobody", "stranger", "viewer", "member", "tenant_admin", "auditor", "operator", "admin")
"""nobody: not signed in; stranger: admin of another tenant; viewer, member, tenant_admin: of the address's tenant."""

NONE = frozenset[str]()  # the method does not exist there
ALL = frozenset(ROLES)
PEOPLE = ALL - {"nobody"}
READERS = frozenset({"auditor", "operator", "admin"})
OPERATORS = frozenset({"operator", "admin"})
ADMINS = frozenset({"admin"})
# Of one tenant: its people from that role on, and the platform's. …_ACT leaves out auditors, who change nothing.
VIEWERS, MEMBERS, TENANT_ADMINS = (
    frozenset({"viewer", "member", "tenant_admin"}) | READERS,
    frozenset({"member", "tenant_admin"}) | READERS,
    frozenset({"tenant_admin"}) | READERS,
)
VIEWERS_ACT, MEMBERS_ACT, TENANT_ADMINS_ACT = (who - {"auditor"} for who in (VIEWERS, MEMBERS, TENANT_ADMINS))

ROUTES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    # the door
    "home": (PEOPLE, NONE),
    "sign-in": (ALL, ALL),
    "sign-out": (NONE, ALL),
    "account_login": (ALL, ALL),
    "account_inactive": (NONE, NONE),  # 403 for everybody: it says so
    "mfa_authenticate": (ALL, ALL),
    "mfa_login_webauthn": (ALL, ALL),
    "sso": (NONE, NONE),  # 404 where single sign-on is not set up
    "sso-back": (NONE, NONE),
    "account_reset_password": (ALL, ALL),
    "account_reset_password_done": (ALL, NONE),
    "account_reset_password_from_key": (ALL, ALL),
    "account_reset_password_from_key_done": (ALL, NONE),
    "account_confirm_email": (ALL, ALL),
    "livez": (ALL, NONE),
    "readyz": (ALL, NONE),
    "invitation": (ALL, frozenset({"nobody"})),  # others are told that it is for somebody else
    # one's own account
    "account": (PEOPLE, PEOPLE),
    "account-end-sessions": (NONE, PEOPLE),
    "account_change_password": (PEOPLE, PEOPLE),
    "account_set_password": (PEOPLE, PEOPLE),
    "account_email": (PEOPLE, PEOPLE),
    "account_email_verification_sent": (ALL, NONE),
    "account_reauthenticate": (PEOPLE, PEOPLE),
    "mfa_reauthenticate": (PEOPLE, PEOPLE),
    "mfa_reauthenticate_webauthn": (PEOPLE, PEOPLE),
    "mfa_index": (PEOPLE, NONE),
    "mfa_list_webauthn": (PEOPLE, NONE),
    "mfa_activate_totp": (PEOPLE, PEOPLE),
    "mfa_deactivate_totp": (PEOPLE, PEOPLE),
    "mfa_add_webauthn": (PEOPLE, PEOPLE),
    "mfa_edit_webauthn": (PEOPLE, PEOPLE),
    "mfa_remove_webauthn": (PEOPLE, PEOPLE),
    "mfa_view_recovery_codes": (PEOPLE, NONE),
    "mfa_generate_recovery_codes": (PEOPLE, PEOPLE),
    "mfa_download_recovery_codes": (PEOPLE, NONE),
    # platform
    "overview": (READERS, NONE),
    "overview-live": (READERS, NONE),
    "overview-charts": (READERS, NONE),
    "overview-latest": (READERS, NONE),
    "system": (READERS, NONE),
    "pools": (READERS, NONE),
    "pool": (READERS, NONE),
    "pool-charts": (READERS, NONE),
    "pool-live": (READERS, NONE),
    "pool-endpoints": (READERS, NONE),
    "pool-decisions": (READERS, NONE),
    "tiers": (READERS, NONE),
    "tier": (READERS, NONE),
    "tier-new": (OPERATORS, OPERATORS),
    "tier-edit": (OPERATORS, OPERATORS),
    "tier-preview": (NONE, OPERATORS),
    "tier-diff": (READERS, NONE),
    "tier-revert": (OPERATORS, OPERATORS),
    "tier-undo": (NONE, OPERATORS),
    "tier-plan-cancel": (NONE, OPERATORS),
    "tier-plan-again": (NONE, OPERATORS),
    "tier-shadow-stop": (NONE, OPERATORS),
    "tier-shadow-publish": (OPERATORS, OPERATORS),
    "tier-shadow-resume": (NONE, OPERATORS),
    "tier-shadow-chart": (READERS, NONE),
    "tier-what-if": (NONE, OPERATORS),
    "tier-archive": (NONE, OPERATORS),
    "tier-restore": (NONE, OPERATORS),
    "entitlements": (READERS, NONE),
    "entitlements-csv": (READERS, NONE),
    "entitlements-live": (READERS, NONE),
    "entitlement-tenants": (READERS, NONE),
    "entitlements-view-save": (NONE, READERS),  # one's own bookmarks: auditors too
    "entitlements-view-delete": (NONE, READERS),
    "entitlement-new": (OPERATORS, OPERATORS),
    "entitlement-check": (NONE, OPERATORS),
    "entitlement": (READERS, NONE),
    "entitlement-charts": (READERS, NONE),
    "entitlement-live": (READERS, NONE),
    "entitlement-edit": (OPERATORS, OPERATORS),
    "entitlement-suspend": (NONE, OPERATORS),
    "entitlement-resume": (NONE, OPERATORS),
    "entitlement-end": (NONE, OPERATORS),
    "entitlement-undo": (NONE, OPERATORS),
    "bulk": (OPERATORS, NONE),
    "bulk-preview": (NONE, OPERATORS),
    "bulk-start": (NONE, OPERATORS),
    "bulk-jobs": (READERS, NONE),
    "bulk-job": (READERS, NONE),
    "bulk-job-progress": (READERS, NONE),
    "bulk-job-items": (READERS, NONE),
    "bulk-job-cancel": (NONE, OPERATORS),
    "bulk-job-undo": (NONE, OPERATORS),
    "bulk-job-report": (READERS, NONE),
    "requests": (READERS, NONE),
    "request": (READERS, OPERATORS),
    "request-check": (NONE, OPERATORS),
    "scaling": (READERS, NONE),
    "tenants": (READERS, NONE),
    "tenants-csv": (READERS, NONE),
    "tenant": (READERS, NONE),
    "tenants-edit": (OPERATORS, OPERATORS),
    "tenants-undo": (NONE, OPERATORS),
    "tenants-suspend": (OPERATORS, OPERATORS),
    "tenants-resume": (NONE, OPERATORS),
    "tenants-export": (NONE, READERS),
    "tenants-offboard": (OPERATORS, OPERATORS),
    "audit": (READERS, NONE),
    "audit-record": (READERS, NONE),
    "audit-export": (NONE, NONE),  # csv and jsonl: see test_audit
    "audit-verify": (NONE, READERS),
    "people": (READERS, NONE),
    "person": (READERS, NONE),
    "people-invite": (ADMINS, ADMINS),
    "people-invitation-resend": (NONE, ADMINS),
    "people-invitation-revoke": (NONE, ADMINS),
    "people-invitation-restore": (NONE, ADMINS),
    "people-groups": (READERS, NONE),
    "people-group-add": (NONE, ADMINS),
    "people-group-remove": (NONE, ADMINS),
    "people-group-restore": (NONE, ADMINS),
    "person-role": (NONE, ADMINS),
    "person-role-undo": (NONE, ADMINS),
    "person-active": (NONE, ADMINS),
    "person-factors-reset": (NONE, ADMINS),
    "person-sessions-end": (NONE, ADMINS),
    # a tenant's own
    "tenant-home": (VIEWERS, NONE),
    "tenant-charts": (VIEWERS, NONE),
    "tenant-live": (VIEWERS, NONE),
    "tenant-usage": (VIEWERS, NONE),
    "tenant-usage-chart": (VIEWERS, NONE),
    "tenant-usage-csv": (VIEWERS, NONE),
    "tenant-debt": (VIEWERS, NONE),
    "tenant-debt-chart": (VIEWERS, NONE),
    "tenant-keys": (VIEWERS, NONE),
    "tenant-key-create": (NONE, MEMBERS_ACT),
    "tenant-key-revoke": (NONE, MEMBERS_ACT),
    "tenant-audit": (TENANT_ADMINS, NONE),
    "tenant-requests": (VIEWERS, TENANT_ADMINS_ACT),
    "tenant-request-check": (NONE, TENANT_ADMINS_ACT),
    "tenant-request-withdraw": (NONE, TENANT_ADMINS_ACT),
}
