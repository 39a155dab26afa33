"""App of billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Usage, debt ledger, prices."""

    name = "billing"
