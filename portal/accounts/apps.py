"""App of tenants and people."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Tenants, people, memberships, API keys."""

    name = "portal.accounts"
    label = "accounts"
