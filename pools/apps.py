"""App of pools."""

from django.apps import AppConfig


class PoolsConfig(AppConfig):
    """Capacity and admission."""

    name = "pools"
