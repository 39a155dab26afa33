"""Every page by name, in the world of ``everybody``: query ratchet, browser checks and access tests walk this list."""

from __future__ import annotations

TABS = ("", "entitlements", "usage", "keys", "members", "debt", "requests", "history")
OPERATOR = {
    "overview": "/overview/",
    "pools": "/pools/",
    "pool": "/pools/chat-8b/",
    "tiers": "/tiers/",
    "tier": "/tiers/elastic/",
    "tier new": "/tiers/new/",
    "tier edit": "/tiers/elastic/edit/",
    "tier diff": "/tiers/elastic/diff/",
    "tier revert": "/tiers/elastic/revert/1/",
    "entitlements": "/entitlements/",
    "entitlement": "/entitlements/alice-chat-8b/",
    "entitlement new": "/entitlements/new/",
    "entitlement edit": "/entitlements/alice-chat-8b/edit/",
    "bulk edit": "/entitlements/bulk/?all=1",
    "bulk jobs": "/entitlements/jobs/",
    "requests": "/requests/",
    "explain": "/entitlements/eve-chat-8b/explain/",
    "tenants": "/tenants/",
    **{f"one tenant: {tab or 'overview'}": f"/tenants/eve/?tab={tab}" for tab in TABS},
    "onboard tenant": "/onboard/look/tenant/",
    "onboard admin": "/onboard/look/admin/",
    "onboard promise": "/onboard/look/promise/",
    "onboard key": "/onboard/look/key/",
    "tenant edit": "/tenants/eve/edit/",
    "tenant suspend": "/tenants/eve/suspend/",
    "tenant offboard": "/tenants/eve/offboard/",
    "scaling": "/scaling/",
    "system": "/system/",
    "people": "/people/",
    "people groups": "/people/groups/",
    "account": "/account/",
    "audit": "/audit/?q=a",
    "alerts": "/alerts/",
    "alert history": "/alerts/history/",
    "alert messages": "/alerts/deliveries/",
    "alert rule new": "/alerts/rules/new/",
    "alert channel new": "/alerts/channels/new/",
}
TENANT = {
    "tenant home": "/t/eve/",
    "tenant usage": "/t/eve/usage/",
    "tenant debt": "/t/eve/debt/",
    "tenant explain": "/t/eve/explain/?pool=chat-8b",
    "tenant keys": "/t/eve/keys/",
    "tenant history": "/t/eve/audit/",
    "tenant requests": "/t/eve/requests/",
}
PARTS = {
    "overview charts": "/overview/charts/",
    "overview live": "/overview/live/",
    "overview latest": "/overview/latest/",
    "pool charts": "/pools/chat-8b/charts/",
    "tenant charts": "/t/eve/charts/",
    "entitlement charts": "/entitlements/alice-chat-8b/charts/",
    "entitlements live": "/entitlements/live/?ids=1,2,3",
}
"""Addresses that are fetched by pages and are not looked at themselves."""
