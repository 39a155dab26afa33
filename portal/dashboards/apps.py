"""App of portal.dashboards."""

from django.apps import AppConfig


class DashboardsConfig(AppConfig):
    """Templates and static files of this room."""

    name = "portal.dashboards"
